internal import ClusterRole

/// What happened to a member, as a reader of the registry sees it.
public enum MemberEvent: Hashable, Sendable {
    /// It is there: for the first time, or again after it had failed or left.
    case joined(Member)
    /// It said good-bye.
    case left(Member)
    /// It fell silent and was taken for dead. Not the same as leaving: what it did may be half done.
    case failed(Member)
    /// It fell silent a moment ago, and may come back as it was.
    case suspected(Member)
    /// It was suspect and is alive.
    case recovered(Member)
    /// Its properties, mode, version, address or domain changed, or it joined anew while it was known.
    case changed(Member, from: Member)
    /// It had failed or left long ago and is no longer listed.
    case forgotten(Member)

    /// The member, as it is now.
    public var member: Member {
        switch self {
        case .joined(let member), .left(let member), .failed(let member), .suspected(let member),
            .recovered(let member), .changed(let member, _), .forgotten(let member):
            member
        }
    }
}

/// What two looks at the registry differ by.
package enum MemberChanges {
    /// The events that lead from `old` to `new`, in order of the members' ids; of one member a change
    /// comes before what became of it.
    package static func events(from old: [Member], to new: [Member]) -> [MemberEvent] {
        var known: [NodeID: Member] = [:]
        for member in old { known[member.node] = member }
        var events: [MemberEvent] = []
        var present: Set<NodeID> = []
        for member in new.sorted(by: { $0.node < $1.node }) {
            present.insert(member.node)
            events += Self.events(from: known[member.node], to: member)
        }
        for member in old.sorted(by: { $0.node < $1.node }) where !present.contains(member.node) {
            if member.state.isPresent { events.append(.failed(member)) }
            events.append(.forgotten(member))
        }
        return events
    }

    private static func events(from old: Member?, to new: Member) -> [MemberEvent] {
        guard let old, old.state.isPresent || !new.state.isPresent else {
            // One that had failed or left before anybody looked is no news.
            guard new.state.isPresent else { return [] }
            return new.state == .suspect ? [.joined(new), .suspected(new)] : [.joined(new)]
        }
        var events: [MemberEvent] = []
        var same = old
        same.state = new.state
        if !same.isSameButForHeartbeat(as: new) { events.append(.changed(new, from: old)) }
        switch (old.state, new.state) {
        case (.alive, .suspect): events.append(.suspected(new))
        case (.suspect, .alive): events.append(.recovered(new))
        case (let before, .failed) where before != .failed: events.append(.failed(new))
        case (let before, .left) where before != .left: events.append(.left(new))
        default: break
        }
        return events
    }
}

extension MemberState {
    /// Whether it counts as being there: alive, or only suspect.
    public var isPresent: Bool { self == .alive || self == .suspect }
}
