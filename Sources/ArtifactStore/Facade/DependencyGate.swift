internal import Synchronization

/// Holds the decision for all channels of a node, and wakes those it concerns.
final class DependencyGate: Sendable {
    private let core = Mutex(DependencyCore())
    private let wake: @Sendable (ChannelName) -> Void

    /// - Parameter wake: makes a channel look again soon.
    init(wake: @escaping @Sendable (ChannelName) -> Void) { self.wake = wake }

    func onConfigured(_ channel: ChannelName) { obey(core.withLock { $0.onConfigured(channel) }) }

    func onRemoved(_ channel: ChannelName) { obey(core.withLock { $0.onRemoved(channel) }) }

    func onActive(_ release: Release) {
        obey(core.withLock { $0.onActive(release.channel, Self.standing(release)) })
    }

    func onRefused(_ release: Release) {
        obey(core.withLock { $0.onRefused(release.channel, Self.standing(release)) })
    }

    /// - Returns: why the release must wait; `nil` if it may go ahead.
    func onOffered(_ release: Release) -> DependencyHold? {
        let (hold, directives) = core.withLock {
            $0.onOffered(release.channel, Self.standing(release))
        }
        obey(directives)
        return hold
    }

    private static func standing(_ release: Release) -> DependencyCore.Standing {
        DependencyCore.Standing(number: release.number, needs: release.dependencies)
    }

    private func obey(_ directives: [DependencyDirective]) {
        for case .lookAgain(let channel) in directives { wake(channel) }
    }
}
