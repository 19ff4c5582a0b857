/// Decides which releases may go ahead on a node, by what they need of its other channels. It knows
/// numbers and names only.
///
/// A release that needs what is not here yet waits; the others go on. What a channel stands on
/// decides the order in which a node brings its channels back, and the reverse is the order in
/// which it removes them.
struct DependencyCore {
    /// A release, as far as others depend on it.
    struct Standing: Hashable {
        let number: ReleaseNumber
        let needs: [ReleaseDependency]
    }

    private struct Channel {
        var active: Standing?
        /// The newest release the channel was asked to take and has not taken.
        var offered: Standing?
        /// Why the offered one waits.
        var hold: DependencyHold?
        /// The offered one was refused by the node itself.
        var isRefused = false
    }

    private var channels: [ChannelName: Channel] = [:]

    /// The node keeps this channel from now on.
    mutating func onConfigured(_ channel: ChannelName) -> [DependencyDirective] {
        guard channels[channel] == nil else { return [] }
        channels[channel] = Channel()
        return wakeThoseHeld(by: channel)
    }

    /// The node does not keep this channel any more.
    mutating func onRemoved(_ channel: ChannelName) -> [DependencyDirective] {
        guard channels.removeValue(forKey: channel) != nil else { return [] }
        return wakeThoseHeld(by: channel)
    }

    /// The channel serves this release.
    mutating func onActive(_ channel: ChannelName, _ standing: Standing) -> [DependencyDirective] {
        guard var entry = channels[channel], entry.active != standing else { return [] }
        entry.active = standing
        if let offered = entry.offered, offered.number <= standing.number {
            entry.offered = nil
            entry.hold = nil
            entry.isRefused = false
        }
        channels[channel] = entry
        return wakeThoseHeld(by: channel)
    }

    /// The node refused the release; what is active stays.
    mutating func onRefused(_ channel: ChannelName, _ standing: Standing) -> [DependencyDirective] {
        guard var entry = channels[channel],
            !entry.isRefused || entry.offered != standing,
            entry.active.map({ $0.number < standing.number }) ?? true
        else { return [] }
        entry.offered = standing
        entry.hold = nil
        entry.isRefused = true
        channels[channel] = entry
        return wakeThoseHeld(by: channel)
    }

    /// The channel would take this release now.
    ///
    /// - Returns: why it must wait, `nil` if it may go ahead; and who is to look again because that
    ///   changed.
    mutating func onOffered(
        _ channel: ChannelName,
        _ standing: Standing
    ) -> (hold: DependencyHold?, directives: [DependencyDirective]) {
        guard var entry = channels[channel] else { return (nil, []) }
        let before = entry.hold
        let wasAnother = entry.offered != standing || entry.isRefused
        entry.offered = standing
        entry.hold = nil
        entry.isRefused = false
        channels[channel] = entry
        let hold = self.hold(of: channel, standing)
        channels[channel]?.hold = hold
        let isNews = wasAnother || before != hold
        return (hold, isNews ? wakeThoseHeld(by: channel) : [])
    }

    private func hold(of channel: ChannelName, _ standing: Standing) -> DependencyHold? {
        if let circle = circle(from: channel) { return .circle(circle) }
        var waits: DependencyHold?
        for need in standing.needs {
            guard let other = channels[need.channel] else { return .notKept(need) }
            if let active = other.active, active.number >= need.lowest { continue }
            if let offered = other.offered, offered.number >= need.lowest,
                other.isRefused || other.hold?.isBlocking == true
            {
                return .refused(need)
            }
            waits = waits ?? .awaited(need)
        }
        return waits
    }

    /// What a channel stands on, or will: a refused or held-for-good offer changes nothing.
    private func needs(of channel: ChannelName) -> [ReleaseDependency] {
        guard let entry = channels[channel] else { return [] }
        if let offered = entry.offered, !entry.isRefused, entry.hold?.isBlocking != true {
            return offered.needs
        }
        return entry.active?.needs ?? []
    }

    /// The way from a channel back to itself, if there is one.
    private func circle(from start: ChannelName) -> [ChannelName]? {
        var cameFrom: [ChannelName: ChannelName] = [:]
        var open = [start]
        while let channel = open.popLast() {
            for need in needs(of: channel) {
                if need.channel == start {
                    var way = [start]
                    var step: ChannelName? = channel
                    while let current = step, current != start {
                        way.append(current)
                        step = cameFrom[current]
                    }
                    return [start] + way.dropFirst().reversed()
                }
                guard cameFrom[need.channel] == nil else { continue }
                cameFrom[need.channel] = channel
                open.append(need.channel)
            }
        }
        return nil
    }

    private func wakeThoseHeld(by channel: ChannelName) -> [DependencyDirective] {
        channels.keys.sorted().compactMap { name in
            guard name != channel, let entry = channels[name], let hold = entry.hold else {
                return nil
            }
            if case .circle = hold { return .lookAgain(name) }
            let isNeeded = entry.offered?.needs.contains { $0.channel == channel } == true
            return isNeeded ? .lookAgain(name) : nil
        }
    }
}

/// What ``DependencyCore`` tells its caller to do.
enum DependencyDirective: Hashable {
    /// What this channel waits for changed.
    case lookAgain(ChannelName)
}
