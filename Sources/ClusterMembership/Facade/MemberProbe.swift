public import ClusterRole

/// Tries whether a node answers at an address, or asks somebody else to try.
public protocol NodeProber: Sendable {
    /// Returns when the node has answered.
    ///
    /// - Throws: anything, if it did not; the message is shown to administrators.
    func probe(_ node: NodeID, at address: String) async throws
}

/// What came of asking whether a member is there.
public struct ProbeReport: Hashable, Sendable {
    /// How it was asked.
    public enum Way: Hashable, Sendable {
        /// Over the link it holds: its next word is the answer.
        case link
        /// By dialling the address it advertises.
        case direct
        /// By another manager.
        case through(NodeID)
    }

    /// What came of one way.
    public enum Outcome: Hashable, Sendable {
        case answered
        case silent
        case failed(String)
        /// There was no way to ask: it advertises no address, say.
        case notTried(String)
    }

    public struct Answer: Hashable, Sendable {
        public var way: Way
        public var outcome: Outcome

        public init(way: Way, outcome: Outcome) {
            self.way = way
            self.outcome = outcome
        }
    }

    public var node: NodeID
    /// How the member stood when it was asked for.
    public var state: MemberState
    /// In order: the link, direct, the other managers as configured.
    public var answers: [Answer]

    public init(node: NodeID, state: MemberState, answers: [Answer]) {
        self.node = node
        self.state = state
        self.answers = answers
    }

    /// Whether it answered in some way.
    public var isThere: Bool { answers.contains { $0.outcome == .answered } }
}

/// Asks on request whether a member is there: over its link, at its address, and through other managers.
///
/// An answer counts as a word of the member, so one that is only suspect recovers.
public struct MemberProbe: Sendable {
    /// How long a member has to answer, whichever way. 2 s: four heartbeats.
    public static let standardLimit = Duration.seconds(2)

    private let members: ClusterMembers
    private let writer: @Sendable () -> ClusterMembersWriter?
    private let direct: (any NodeProber)?
    private let others: [(manager: NodeID, prober: any NodeProber)]
    private let limit: Duration
    private let clock: any TimeSource

    /// - Parameters:
    ///   - members: where the member's address is.
    ///   - writer: the coordinator's, which hears the links; `nil` while this manager is not it.
    ///   - direct: dials addresses; without one that is not tried.
    ///   - others: other managers that are asked to try.
    ///   - limit: how long each way may take.
    ///   - clock: counts it.
    public init(
        members: ClusterMembers,
        writer: @escaping @Sendable () -> ClusterMembersWriter?,
        direct: (any NodeProber)? = nil,
        others: [(manager: NodeID, prober: any NodeProber)] = [],
        limit: Duration = MemberProbe.standardLimit,
        clock: any TimeSource = SystemTimeSource()
    ) {
        self.members = members
        self.writer = writer
        self.direct = direct
        self.others = others
        self.limit = limit
        self.clock = clock
    }

    /// Asks in every way at once, and waits for all of them within the limit.
    ///
    /// - Parameters:
    ///   - node: who is asked for.
    ///   - asksOthers: whether other managers are asked too; not, if one of them is asking.
    /// - Throws: ``ClusterMembershipError`` with `notJoined` for a node nobody knows, and `storage`.
    public func probe(
        _ node: NodeID,
        asksOthers: Bool = true
    ) async throws(ClusterMembershipError) -> ProbeReport {
        guard let member = try await members.member(node) else {
            throw ClusterMembershipError(.notJoined, "\(node) is no member. Check the name.")
        }
        let others = asksOthers ? others : []
        let answers = await withTaskGroup(of: (Int, ProbeReport.Answer).self) { group in
            group.addTask { (0, await self.askOverLink(node)) }
            group.addTask { (1, await self.dial(member, with: self.direct, .direct)) }
            for (index, other) in others.enumerated() {
                group.addTask {
                    let way = ProbeReport.Way.through(other.manager)
                    return (2 + index, await self.dial(member, with: other.prober, way))
                }
            }
            var found: [(Int, ProbeReport.Answer)] = []
            for await answer in group { found.append(answer) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
        let report = ProbeReport(node: node, state: member.state, answers: answers)
        if report.isThere { await writer()?.heard(node) }
        return report
    }

    private func askOverLink(_ node: NodeID) async -> ProbeReport.Answer {
        guard let writer = writer() else {
            return .init(way: .link, outcome: .notTried("this manager is not the coordinator"))
        }
        let isHeard = await writer.waitForWord(of: node, within: limit)
        return .init(way: .link, outcome: isHeard ? .answered : .silent)
    }

    private func dial(
        _ member: Member,
        with prober: (any NodeProber)?,
        _ way: ProbeReport.Way
    ) async -> ProbeReport.Answer {
        guard let prober else {
            return .init(way: way, outcome: .notTried("this manager dials nobody"))
        }
        guard !member.address.isEmpty else {
            return .init(way: way, outcome: .notTried("the node advertises no address"))
        }
        let (clock, limit) = (clock, limit)
        let outcome = await withTaskGroup(of: ProbeReport.Outcome.self) { group in
            group.addTask {
                do {
                    try await prober.probe(member.node, at: member.address)
                    return .answered
                } catch {
                    return .failed((error as? any CodedError)?.message ?? "\(error)")
                }
            }
            group.addTask {
                try? await clock.sleep(for: limit)
                return .silent
            }
            defer { group.cancelAll() }
            return await group.next() ?? .silent
        }
        return .init(way: way, outcome: outcome)
    }
}
