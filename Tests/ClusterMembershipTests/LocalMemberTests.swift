import ClusterMembership
import ClusterRole
import ClusterTestKit
import Logging
import ServiceLifecycle
import Synchronization
import XCTest

/// The coordinator's own node among the members.
final class LocalMemberTests: XCTestCase {
    private let clock = ManualTimeSource()
    private let ledger = InMemoryLedger()
    private let mode = ModeCell()

    /// What the node says of its readiness.
    private final class ModeCell: Sendable {
        private let state = Mutex(MemberMode.active)
        var now: MemberMode {
            get { state.withLock { $0 } }
            set { state.withLock { $0 = newValue } }
        }
    }

    private struct Scene {
        let registry: InMemoryMemberRegistry
        let capability: WriteCapability
        let writer: ClusterMembersWriter
        let local: LocalMember

        func row() async throws -> Member? { try await registry.members().first }
    }

    private func scene() -> Scene {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let writer = ClusterMembers(registry: registry).writer(for: capability, clock: clock)
        let own = Member(
            node: "node-1",
            role: .combined,
            domain: .standard(for: .combined),
            address: "10.0.0.2:8180",
            version: "2.1",
            properties: ["label.zone": "eu"],
            joinedAt: clock.now(),
            lastHeard: clock.now()
        )
        let (ledger, mode) = (ledger, mode)
        let local = LocalMember(
            own,
            writer: writer,
            clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { LocalMember.Word(applied: ledger.revision, mode: mode.now) }
        return Scene(registry: registry, capability: capability, writer: writer, local: local)
    }

    func test_ownNode_joinsWithWhatItIs_andLeaves() async throws {
        let scene = scene()
        let before = ledger.revision
        try await scene.local.say()
        let row = try await scene.row()
        let joined = try XCTUnwrap(row)
        XCTAssertEqual(joined.state, .alive)
        XCTAssertEqual(joined.role, .combined)
        XCTAssertEqual(joined.address, "10.0.0.2:8180")
        XCTAssertEqual(joined.version, "2.1")
        XCTAssertEqual(joined.properties, ["label.zone": "eu"])
        XCTAssertEqual(joined.applied, before)
        try await scene.local.leave()
        let left = try await scene.row()
        XCTAssertEqual(left?.state, .left)
        let after = ledger.revision
        try await scene.local.leave()
        XCTAssertEqual(ledger.revision, after, "good-bye twice changes nothing")
    }

    func test_ownNode_thatFallsSilent_failsLikeAnyOther_andJoinsAgainWithItsNextWord()
        async throws
    {
        let scene = scene()
        try await scene.local.say()
        for _ in 0..<10 {
            clock.advance(by: .milliseconds(500))
            try await scene.local.say()
            try await scene.writer.sweep()
        }
        let heard = try await scene.row()
        XCTAssertEqual(heard?.state, .alive)
        clock.advance(by: .seconds(6))
        try await scene.writer.sweep()
        let silent = try await scene.row()
        XCTAssertEqual(silent?.state, .failed)
        try await scene.local.say()
        let back = try await scene.row()
        XCTAssertEqual(back?.state, .alive)
    }

    func test_modes_ofTheOwnNode_areSaidAndAsked() async throws {
        let scene = scene()
        try await scene.local.say()
        XCTAssertEqual(scene.local.askedMode, .active)
        mode.now = .draining
        try await scene.writer.ask("node-1", for: .maintenance)
        try await scene.local.say()
        let row = try await scene.row()
        XCTAssertEqual(row?.mode, .draining)
        XCTAssertEqual(scene.local.askedMode, .maintenance)
        // What was asked holds for its next life, too.
        try await scene.local.leave()
        try await scene.local.say()
        XCTAssertEqual(scene.local.askedMode, .maintenance)
    }

    func test_service_saysThatItIsThereUntilShutdown_thenLeaves() async throws {
        let scene = scene()
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [scene.local],
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        let running = Task { try await group.run() }
        let limit = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < limit, try await scene.row() == nil { await Task.yield() }
        let start = try await scene.row()?.lastHeard
        // More than one word: what a heartbeat moves is stored every five seconds.
        while ContinuousClock.now < limit, try await scene.row()?.lastHeard == start {
            clock.advance(by: .milliseconds(500))
            await Task.yield()
        }
        let later = try await scene.row()
        XCTAssertEqual(later?.state, .alive)
        XCTAssertGreaterThan(try XCTUnwrap(later?.lastHeard), try XCTUnwrap(start))
        await group.triggerGracefulShutdown()
        try await running.value
        let left = try await scene.row()
        XCTAssertEqual(left?.state, .left)
    }

    func test_service_withoutItsRightToWrite_endsInOrder_andItsRowStays() async throws {
        let scene = scene()
        try await scene.local.say()
        scene.capability.revoke()
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [scene.local],
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        let running = Task { try await group.run() }
        for _ in 0..<200 {
            clock.advance(by: .milliseconds(500))
            await Task.yield()
        }
        await group.triggerGracefulShutdown()
        try await running.value
        let row = try await scene.row()
        XCTAssertEqual(row?.state, .alive, "nobody may write that it left")
    }
}
