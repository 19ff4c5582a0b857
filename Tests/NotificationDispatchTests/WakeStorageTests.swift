import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class WakeStorageTests: XCTestCase {
    private let fleet = GroupID(rawValue: "fleet")

    func test_groupOf2500_isExpandedInPagesOf1000_passingByWhoWasContacted() async throws {
        let scene = Scene()
        let all = try await scene.enrol(names("d", 2_500), groups: ["fleet"], transport: nil)
        try await scene.enqueue(.group(fleet))
        // Two of the second page have come by themselves since.
        try await scene.contact("d-1000")
        try await scene.contact("d-1500")

        func expand() async throws -> WakeExpansionReceipt {
            try await scene.storage.expand(limit: 1_000, epoch: scene.epoch, at: scene.clock.now())
        }
        let first = try await expand()
        XCTAssertEqual(first, WakeExpansionReceipt(added: 1_000, coalesced: 0, isFinished: false))
        XCTAssertEqual(scene.rows.map(\.device), Array(all.prefix(1_000)))
        let cursor = scene.wakes.withState { $0.expansions.first?.cursor }
        XCTAssertEqual(cursor, all[999])

        let second = try await expand()
        XCTAssertEqual(second, WakeExpansionReceipt(added: 1_000, coalesced: 0, isFinished: false))
        let third = try await expand()
        XCTAssertEqual(third, WakeExpansionReceipt(added: 498, coalesced: 0, isFinished: true))
        XCTAssertEqual(
            scene.rows.map(\.device),
            all.filter { $0.rawValue != "d-1000" && $0.rawValue != "d-1500" }
        )
    }

    func test_expansion_ofAnOldEpoch_isFencedAndLeavesTheCursor() async throws {
        let scene = Scene()
        try await scene.enrol(["d-1"], groups: ["fleet"])
        try await scene.enqueue(.group(fleet))
        _ = scene.ledger.raiseEpoch()
        do {
            _ = try await scene.storage.expand(limit: 10, epoch: scene.epoch, at: scene.clock.now())
            XCTFail("expected fenced")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .fenced)
        }
        XCTAssertEqual(scene.rows, [])
    }

    func test_dispatcher_expandsAGroupAtTheHerdControlRate() async throws {
        let scene = Scene()
        try await scene.enrol(names("d", 250), groups: ["fleet"])
        var configuration = WakeDispatchConfiguration()
        configuration.rate = try WakeRate(perSecond: 100)
        let dispatcher = scene.makeDispatcher(configuration)
        try await scene.enqueue(.group(fleet))
        var sent: [Int] = []
        for _ in 0..<4 {
            let step = try await dispatcher.step()
            XCTAssertLessThanOrEqual(step.expanded, 100)
            sent.append(step.sent)
            scene.clock.advance(by: .seconds(1))
        }
        XCTAssertEqual(sent, [100, 100, 50, 0])
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device).sorted().count, 250)
        let next = try await scene.storage.nextDue()
        XCTAssertNil(next)
    }

    func test_inMemoryDriver_passesItsConformanceSuite() async throws {
        _ = try await WakeStorageConformance {
            let ledger = InMemoryLedger()
            let devices = InMemoryDeviceStorage(ledger: ledger)
            let wakes = InMemoryWakeTable()
            var store = StoreUnderTest(
                devices: devices,
                operations: InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: wakes)
            ) { ledger.raiseEpoch() }
            store.wakes = InMemoryWakeStorage(wakes: wakes, devices: devices, ledger: ledger)
            return store
        }.run()
    }
}
