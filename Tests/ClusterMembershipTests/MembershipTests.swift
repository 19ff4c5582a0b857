import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class MembershipTests: XCTestCase {
    private let clock = ManualTimeSource()
    private let ledger = InMemoryLedger()

    private func worker(_ name: String, properties: [String: String] = [:]) -> Member {
        Member(
            node: NodeID(rawValue: name),
            role: .worker,
            domain: .standard(for: .worker),
            properties: properties,
            joinedAt: .distantPast,
            lastHeard: .distantPast
        )
    }

    private func makeWriter(_ registry: any MemberRegistry) -> (
        ClusterMembersWriter, WriteCapability
    ) {
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        return (
            ClusterMembers(registry: registry).writer(for: capability, clock: clock), capability
        )
    }

    func test_silence_makesAMemberSuspectThenFailed_andNothingElseChangesIt() throws {
        let timeouts = MemberTimeouts.standard
        let (short, long) = (Duration.milliseconds(1_499), Duration.milliseconds(1_500))
        XCTAssertEqual(MemberState.alive.after(silence: short, timeouts), .alive)
        XCTAssertEqual(MemberState.alive.after(silence: long, timeouts), .suspect)
        XCTAssertEqual(MemberState.suspect.after(silence: .seconds(1), timeouts), .alive)
        XCTAssertEqual(MemberState.alive.after(silence: .milliseconds(4_500), timeouts), .failed)
        XCTAssertEqual(MemberState.failed.after(silence: .zero, timeouts), .failed)
        XCTAssertEqual(MemberState.left.after(silence: .seconds(999), timeouts), .left)
        XCTAssertThrowsError(
            try MemberTimeouts(suspectAfter: .seconds(30), failedAfter: .seconds(30))
        )
    }

    func test_member_thatFallsSilent_isSweptAndMustJoinAgain() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let (writer, _) = makeWriter(registry)
        let node = NodeID(rawValue: "w-1")
        try await writer.join(worker("w-1"))
        try await writer.join(worker("w-2"))
        clock.advance(by: .seconds(2))
        try await writer.heartbeat(NodeID(rawValue: "w-2"))
        try await writer.sweep()
        let states = try await ClusterMembers(registry: registry).all().map(\.state)
        XCTAssertEqual(states, [.suspect, .alive])

        try await writer.heartbeat(node)
        let back = try await ClusterMembers(registry: registry).member(node)?.state
        XCTAssertEqual(back, .alive)

        clock.advance(by: .seconds(5))
        try await writer.sweep()
        let failed = try await ClusterMembers(registry: registry).member(node)?.state
        XCTAssertEqual(failed, .failed)
        do {
            try await writer.heartbeat(node)
            XCTFail("a failed member has to join again")
        } catch {
            XCTAssertEqual(error.code, .notJoined)
        }
        try await writer.join(worker("w-1"))
        try await writer.heartbeat(node)
    }

    func test_newCoordinator_countsSilenceFromItsOwnBeginning() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let (first, _) = makeWriter(registry)
        try await first.join(worker("w-1"))
        clock.advance(by: .seconds(3_600))
        let (second, _) = makeWriter(registry)
        try await second.sweep()
        clock.jumpWallClock(by: .seconds(86_400 * 30))
        try await second.sweep()
        let states = try await registry.members().map(\.state)
        XCTAssertEqual(states, [.alive])
    }

    func test_heartbeat_withoutNews_takesNoRevision_andPropertiesChangeLive() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let (writer, _) = makeWriter(registry)
        let node = NodeID(rawValue: "w-1")
        try await writer.join(worker("w-1", properties: ["zone": "north"]))
        let before = ledger.revision
        for _ in 0..<10 {
            clock.advance(by: .seconds(3))
            try await writer.heartbeat(node, applied: ledger.revision)
        }
        XCTAssertEqual(ledger.revision, before)
        let stored = try await registry.members().first
        XCTAssertEqual(stored?.applied, before)
        XCTAssertGreaterThan(try XCTUnwrap(stored).lastHeard, clock.now() - .seconds(6))

        try await writer.heartbeat(node, properties: ["zone": "south"])
        let zone = try await registry.members().first?.properties["zone"]
        XCTAssertEqual(zone, "south")
        XCTAssertEqual(
            ledger.changes(after: before.number).flatMap(\.keys),
            [.member(node)]
        )
    }

    func test_leave_isStored_andForgottenLater() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let (writer, _) = makeWriter(registry)
        try await writer.join(worker("w-1"))
        try await writer.leave(NodeID(rawValue: "w-1"))
        try await writer.leave(NodeID(rawValue: "w-1"))
        let states = try await registry.members().map(\.state)
        XCTAssertEqual(states, [.left])
        clock.advance(by: .seconds(86_400))
        try await writer.sweep()
        let count = try await registry.members().count
        XCTAssertEqual(count, 0)
    }

    func test_revokedCapability_andOldEpoch_refuseEveryWrite() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let (writer, capability) = makeWriter(registry)
        try await writer.join(worker("w-1"))
        capability.revoke()
        do {
            try await writer.join(worker("w-2"))
            XCTFail("expected revoked")
        } catch {
            XCTAssertEqual((error.cause as? ClusterRoleError)?.code, .revoked)
            XCTAssertEqual(error.category, .unavailable)
        }
        let (fenced, _) = makeWriter(registry)
        _ = ledger.raiseEpoch()
        do {
            try await fenced.join(worker("w-2"))
            XCTFail("expected fenced")
        } catch {
            XCTAssertEqual((error.cause as? ClusterRoleError)?.code, .fenced)
        }
        let names = try await registry.members().map(\.node.rawValue)
        XCTAssertEqual(names, ["w-1"])
    }

    func test_member_withTooMuchText_isRefused() async throws {
        let (writer, _) = makeWriter(InMemoryMemberRegistry(ledger: ledger))
        let many = Dictionary(uniqueKeysWithValues: (0..<65).map { ("k\($0)", "v") })
        do {
            try await writer.join(worker("w-1", properties: many))
            XCTFail("expected a refusal")
        } catch {
            XCTAssertEqual(error.code, .invalidMember)
        }
    }

    func test_hintBus_givesASlowReaderTheNewestOnly() async throws {
        let bus = InMemoryHintBus()
        var hints = bus.hints().makeAsyncIterator()
        let history = HistoryID(bits: 1)
        for number in 1...5 as ClosedRange<Int64> {
            bus.publish(Revision(history: history, number: number))
        }
        let newest = await hints.next()
        XCTAssertEqual(newest?.number, 5)
    }

    func test_inMemoryDrivers_passTheirConformanceSuites() async throws {
        let factory: StoreFactory = {
            let (ledger, clock) = (InMemoryLedger(), ManualTimeSource())
            let devices = InMemoryDeviceStorage(ledger: ledger)
            let operations = InMemoryOperationStorage(ledger: ledger, devices: devices)
            var store = StoreUnderTest(devices: devices, operations: operations) {
                ledger.raiseEpoch()
            }
            store.leases = InMemoryLeaseStore(ledger: ledger, clock: clock)
            store.members = InMemoryMemberRegistry(ledger: ledger)
            store.log = InMemoryRevisionLog(ledger: ledger)
            store.capabilities = [.competingLeaseHolders]
            store.advanceLeaseClock = { clock.advance(by: $0) }
            return store
        }
        _ = try await LeaseStoreConformance(factory).run()
        _ = try await MemberRegistryConformance(factory).run()
        _ = try await RevisionLogConformance(factory).run()
    }
}
