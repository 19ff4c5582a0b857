package import ClusterRole

/// How long a member may be silent.
public struct MemberTimeouts: Hashable, Sendable {
    /// Silent for so long: suspect. 1.5 s, three heartbeats; with the time to the next sweep it is seen
    /// within 2 s.
    public let suspectAfter: Duration
    /// Silent for so long: failed; it has to join again. 4.5 s, so that it is seen within 5 s.
    public let failedAfter: Duration
    /// Failed or gone for so long: forgotten. 24 h.
    public let forgottenAfter: Duration

    /// - Throws: ``ClusterMembershipError`` with `invalidConfiguration` unless they grow.
    public init(
        suspectAfter: Duration,
        failedAfter: Duration,
        forgottenAfter: Duration = .seconds(86_400)
    ) throws(ClusterMembershipError) {
        guard .zero < suspectAfter, suspectAfter < failedAfter, failedAfter < forgottenAfter else {
            throw ClusterMembershipError(
                .invalidConfiguration,
                "A silent member is first suspect, then failed, then forgotten: give three growing times."
            )
        }
        self.init(trusted: suspectAfter, failedAfter, forgottenAfter)
    }

    private init(trusted suspect: Duration, _ failed: Duration, _ forgotten: Duration) {
        suspectAfter = suspect
        failedAfter = failed
        forgottenAfter = forgotten
    }

    /// 1.5 s, 4.5 s, 24 h. The coordinator's lease of 15 s has nothing to do with them.
    public static let standard = MemberTimeouts(
        trusted: .milliseconds(1_500),
        .milliseconds(4_500),
        .seconds(86_400)
    )
}

extension MemberState {
    /// How a member that stood like this stands after a silence: alive, then suspect, then failed. What
    /// has failed or left stays so until it joins again.
    public func after(silence: Duration, _ timeouts: MemberTimeouts) -> MemberState {
        switch self {
        case .left, .failed: self
        case .alive, .suspect:
            if silence >= timeouts.failedAfter {
                .failed
            } else {
                silence >= timeouts.suspectAfter ? .suspect : .alive
            }
        }
    }
}

/// What the coordinator knows of the members, and what of it must be stored.
///
/// Silence is counted on the monotonic clock from when this process last heard of a member or, if it
/// never did, from when it began: neither a jump of the wall clock nor a new coordinator fails anybody.
package struct MembershipCore: Sendable {
    /// What the shell must do, in order.
    package enum Directive: Hashable, Sendable {
        case store(Member)
        case remove(NodeID)
    }

    private struct Entry: Sendable {
        var member: Member
        var heardAt: Duration
        /// When it was last given to the store; `nil` if the store may not have it.
        var storedAt: Duration?
    }

    private let timeouts: MemberTimeouts
    private let storeEvery: Duration
    private let maximumMembers: Int
    private var entries: [NodeID: Entry] = [:]
    /// When members were last judged.
    private var sweptAt: Duration?

    package init(timeouts: MemberTimeouts, storeEvery: Duration, maximumMembers: Int) {
        self.timeouts = timeouts
        self.storeEvery = storeEvery
        self.maximumMembers = maximumMembers
    }

    /// All members as known here, by id.
    package var members: [Member] {
        entries.values.map(\.member).sorted { $0.node < $1.node }
    }

    /// What the store held when this coordinator began.
    package mutating func onLoaded(_ stored: [Member], at monotonic: Duration) {
        for member in stored where entries[member.node] == nil {
            entries[member.node] = Entry(member: member, heardAt: monotonic, storedAt: monotonic)
        }
    }

    package mutating func onJoin(
        _ member: Member,
        at now: Timestamp,
        monotonic: Duration
    ) throws(ClusterMembershipError) -> [Directive] {
        try member.validate()
        guard entries[member.node] != nil || entries.count < maximumMembers else {
            throw ClusterMembershipError(
                .invalidMember,
                "The cluster has \(maximumMembers) members, the most it may. Raise the limit or remove some."
            )
        }
        var joined = member
        joined.state = .alive
        joined.joinedAt = now
        joined.lastHeard = now
        joined.askedMode = entries[member.node]?.member.askedMode ?? .active
        entries[member.node] = Entry(member: joined, heardAt: monotonic, storedAt: monotonic)
        return [.store(joined)]
    }

    /// - Throws: `notJoined` for a member that is unknown, has failed or left.
    package mutating func onHeartbeat(
        _ node: NodeID,
        applied: Revision?,
        properties: [String: String]?,
        mode: MemberMode? = nil,
        at now: Timestamp,
        monotonic: Duration
    ) throws(ClusterMembershipError) -> [Directive] {
        guard var entry = entries[node],
            entry.member.state == .alive || entry.member.state == .suspect
        else {
            throw ClusterMembershipError(
                .notJoined,
                "\(node) is no member, or was taken for dead. Join again, then send heartbeats."
            )
        }
        let before = entry.member
        entry.member.state = .alive
        entry.member.lastHeard = max(now, before.lastHeard)
        entry.member.applied = applied ?? before.applied
        entry.member.properties = properties ?? before.properties
        entry.member.mode = mode ?? before.mode
        if properties != nil { try entry.member.validate() }
        entry.heardAt = monotonic
        let isNews = !entry.member.isSameButForHeartbeat(as: before)
        let isOverdue = entry.storedAt.map { monotonic - $0 >= storeEvery } ?? true
        if isNews || isOverdue { entry.storedAt = monotonic }
        entries[node] = entry
        return isNews || isOverdue ? [.store(entry.member)] : []
    }

    /// A member has spoken in whatever way: it is not silent. Nothing is stored for it.
    package mutating func onHeard(_ node: NodeID, monotonic: Duration) {
        guard let entry = entries[node], entry.member.state.isPresent else { return }
        entries[node]?.heardAt = max(entry.heardAt, monotonic)
    }

    /// When this process last heard of a member, if it is one.
    package func heardAt(_ node: NodeID) -> Duration? {
        entries[node].flatMap { $0.member.state.isPresent ? $0.heardAt : nil }
    }

    /// What an administrator asked of a member.
    package func askedMode(of node: NodeID) -> MemberMode {
        entries[node]?.member.askedMode ?? .active
    }

    /// An administrator asks a member to take work, or not.
    ///
    /// - Throws: `notJoined` for a node that is no member.
    package mutating func onModeAsked(
        _ mode: MemberMode,
        of node: NodeID,
        monotonic: Duration
    ) throws(ClusterMembershipError) -> [Directive] {
        guard var entry = entries[node] else {
            throw ClusterMembershipError(.notJoined, "\(node) is no member. Check the name.")
        }
        guard entry.member.askedMode != mode else { return [] }
        entry.member.askedMode = mode
        entry.storedAt = monotonic
        entries[node] = entry
        return [.store(entry.member)]
    }

    /// Saying good-bye twice, or without having joined, is harmless.
    package mutating func onLeave(_ node: NodeID, monotonic: Duration) -> [Directive] {
        guard var entry = entries[node], entry.member.state != .left else { return [] }
        entry.member.state = .left
        entry.heardAt = monotonic
        entries[node] = entry
        return [.store(entry.member)]
    }

    /// Judges every member's silence, in order of id, and stores what the store refused before.
    ///
    /// - Parameter interval: how often this is done. If it comes much later, this process was paused or
    ///   starved itself and heard nobody: the time it missed is nobody's silence.
    package mutating func onSweep(monotonic: Duration, every interval: Duration? = nil)
        -> [Directive]
    {
        if let interval, let sweptAt {
            let missed = monotonic - sweptAt - interval
            if missed > interval {
                for node in entries.keys.sorted() {
                    entries[node]?.heardAt += missed
                }
            }
        }
        sweptAt = monotonic
        var directives: [Directive] = []
        for member in members {
            guard var entry = entries[member.node] else { continue }
            let silence = monotonic - entry.heardAt
            let state = member.state.after(silence: silence, timeouts)
            if (state == .failed || state == .left) && silence >= timeouts.forgottenAfter {
                entries[member.node] = nil
                directives.append(.remove(member.node))
            } else if state != member.state || entry.storedAt == nil {
                entry.member.state = state
                entry.storedAt = monotonic
                entries[member.node] = entry
                directives.append(.store(entry.member))
            }
        }
        return directives
    }

    /// The store refused: the next heartbeat or sweep stores it again.
    package mutating func onStoreFailed(_ node: NodeID) { entries[node]?.storedAt = nil }
}
