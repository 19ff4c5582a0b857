internal import ClusterMembership
internal import ClusterRole

/// The contract of `MemberRegistry`.
public struct MemberRegistryConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("MemberRegistry", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("members are listed by id, as they last said", lists),
        .init("a change takes a revision and logs the member", logsChanges),
        .init("a heartbeat that changes nothing else takes no revision", keepsHeartbeatsQuiet),
        .init("a removed member is gone, and removing it twice is harmless", removes),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("members are there after a restart", survivesReopening),
    ]

    private static func member(
        _ name: String,
        _ scene: StoreScene,
        role: NodeRole = .worker
    ) -> Member {
        Member(
            node: NodeID(rawValue: name),
            role: role,
            domain: .standard(for: role),
            address: "10.0.0.4:8443",
            version: "1.0",
            properties: ["zone": "north", "rack": "7"],
            joinedAt: scene.now,
            lastHeard: scene.now
        )
    }

    private static func lists(_ scene: StoreScene) async throws {
        let registry = try scene.needs(\.members, "MemberRegistry")
        var members = [member("b", scene), member("c", scene), member("a", scene, role: .manager)]
        for member in members { _ = try await registry.put(member, epoch: scene.epoch) }
        members.sort { $0.node < $1.node }
        try scene.check.equal(try await registry.members(), members, "the members")
        members[1].state = .suspect
        members[1].address = "10.0.0.9:8443"
        members[1].properties = [:]
        members[1].mode = .draining
        members[1].askedMode = .maintenance
        members[1].applied = try await scene.revision()
        _ = try await registry.put(members[1], epoch: scene.epoch)
        try scene.check.equal(try await registry.members(), members, "the members after a change")
    }

    private static func logsChanges(_ scene: StoreScene) async throws {
        let registry = try scene.needs(\.members, "MemberRegistry")
        let log = try scene.needs(\.log, "RevisionLog")
        var one = member("a", scene)
        for state in [MemberState.alive, .suspect, .alive] {
            let before = try await log.current()
            one.state = state
            let revision = try await registry.put(one, epoch: scene.epoch)
            try scene.check.isTrue(revision.number > before.number, "\(state) takes a revision")
            let keys = try await log.changes(after: before, limit: 10).flatMap(\.keys)
            try scene.check.equal(keys, [.member(one.node)], "keys logged for \(state)")
        }
        let before = try await log.current()
        let removal = try await registry.remove(one.node, epoch: scene.epoch)
        try scene.check.isTrue(removal.number > before.number, "a removal takes a revision")
        let keys = try await log.changes(after: before, limit: 10).flatMap(\.keys)
        try scene.check.equal(keys, [.member(one.node)], "keys logged for the removal")
    }

    private static func keepsHeartbeatsQuiet(_ scene: StoreScene) async throws {
        let registry = try scene.needs(\.members, "MemberRegistry")
        var one = member("a", scene)
        let first = try await registry.put(one, epoch: scene.epoch)
        for beat in 1...3 {
            one.lastHeard = scene.now + .seconds(beat * 5)
            let revision = try await registry.put(one, epoch: scene.epoch)
            try scene.check.equal(revision, first, "the revision after heartbeat \(beat)")
        }
        try scene.check.equal(try await registry.members(), [one], "the member, last heard")
    }

    private static func removes(_ scene: StoreScene) async throws {
        let registry = try scene.needs(\.members, "MemberRegistry")
        let one = member("a", scene)
        let two = member("b", scene)
        for member in [one, two] { _ = try await registry.put(member, epoch: scene.epoch) }
        let first = try await registry.remove(one.node, epoch: scene.epoch)
        try scene.check.equal(try await registry.members(), [two], "the members")
        let second = try await registry.remove(one.node, epoch: scene.epoch)
        try scene.check.equal(second, first, "the revision after removing it twice")
        _ = try await registry.put(one, epoch: scene.epoch)
        try scene.check.equal(try await registry.members(), [one, two], "the members, one back")
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let registry = try scene.needs(\.members, "MemberRegistry")
        let one = member("a", scene)
        _ = try await registry.put(one, epoch: scene.epoch)
        var changed = one
        changed.state = .failed
        var heard = one
        heard.lastHeard = scene.now + .seconds(5)
        for (what, member) in [("a change", changed), ("a heartbeat", heard)] {
            try await scene.expectFenced(what) { epoch in
                _ = try await registry.put(member, epoch: epoch)
            }
        }
        try await scene.expectFenced("a removal") { epoch in
            _ = try await registry.remove(one.node, epoch: epoch)
        }
        try scene.check.equal(try await registry.members(), [one], "the members")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let registry = try scene.needs(\.members, "MemberRegistry")
        let one = member("a", scene)
        _ = try await registry.put(one, epoch: scene.epoch)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let reopened = try again.needs(\.members, "MemberRegistry")
        try again.check.equal(try await reopened.members(), [one], "the members")
        try await store.close()
    }
}
