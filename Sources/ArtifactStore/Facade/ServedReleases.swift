internal import ClusterRole
internal import Synchronization

/// Holds a release's tree in place while a request uses it.
///
/// It ends with ``end()``, or when nobody refers to it any more.
public final class ReleaseLease: Sendable {
    /// What the request is served from, until its very end.
    public let release: ActiveRelease
    private let slot: ServedReleases.Slot
    private let isEnded = Atomic<Bool>(false)

    init(_ slot: ServedReleases.Slot, _ release: ActiveRelease) {
        self.slot = slot
        self.release = release
    }

    deinit { end() }

    /// Gives the lease back. Doing it twice is harmless.
    public func end() {
        if !isEnded.exchange(true, ordering: .acquiringAndReleasing) { slot.leave() }
    }
}

/// The release that is served, and the older ones that requests still use.
final class ServedReleases: Sendable {
    /// One release while it is served or drained.
    final class Slot: Sendable {
        private struct Use {
            var leases = 0
            var isRetired = false
        }

        let release: ActiveRelease
        private let use = Mutex(Use())
        private let drained = Signal()

        init(_ release: ActiveRelease) { self.release = release }

        var isInUse: Bool { use.withLock { $0.leases > 0 } }

        func enter() { use.withLock { $0.leases += 1 } }

        func leave() {
            let isLast = use.withLock { use in
                use.leases -= 1
                return use.isRetired && use.leases == 0
            }
            if isLast { drained.raise() }
        }

        /// Waits until no lease is left, at most for `timeout`.
        ///
        /// - Returns: whether none is left.
        func retire(timeout: Duration, time: any TimeSource) async -> Bool {
            let isFree = use.withLock { use in
                use.isRetired = true
                return use.leases == 0
            }
            if isFree { return true }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.drained.wait() }
                group.addTask { try? await time.sleep(for: timeout) }
                await group.next()
                group.cancelAll()
            }
            return use.withLock { $0.leases == 0 }
        }
    }

    private struct Current {
        var slot: Slot?
        /// What new leases are told; the slot's own release, or the same tree under a newer number.
        var release: ActiveRelease?
    }

    private let current = Mutex(Current())

    var active: ActiveRelease? { current.withLock { $0.release } }

    /// Entering happens under the same lock as the switch: a lease is either on the old release
    /// before it is retired, or on the new one.
    func lease() -> ReleaseLease? {
        current.withLock { current in
            guard let slot = current.slot, let release = current.release else { return nil }
            slot.enter()
            return ReleaseLease(slot, release)
        }
    }

    /// Makes `release` the one that is served.
    ///
    /// - Returns: what was served before, to be retired.
    func activate(_ release: ActiveRelease) -> Slot? {
        current.withLock { current in
            defer { current = Current(slot: Slot(release), release: release) }
            return current.slot
        }
    }

    /// Nothing is served from now on.
    ///
    /// - Returns: what was served before, to be retired.
    func deactivate() -> Slot? {
        current.withLock { current in
            defer { current = Current() }
            return current.slot
        }
    }

    /// The same tree is served under a newer release from now on. Leases stay as they are.
    func rename(_ release: ActiveRelease) {
        current.withLock { current in
            if current.slot != nil { current.release = release }
        }
    }
}
