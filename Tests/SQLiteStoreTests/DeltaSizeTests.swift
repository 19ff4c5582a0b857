#if SQLite
import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

@testable import SQLiteStore

/// What one operation costs on the link.
final class DeltaSizeTests: XCTestCase {
    func test_theDeltaOfOneOperation_isAtMostOneKilobyteWhateverTheGroupsSize() async throws {
        let scene = try await EmbeddedScene.open()
        let ids = try await scene.enrolFleet(2_000, group: "fleet")
        let group = GroupID(rawValue: "fleet")
        for target in [OperationTarget.group(group), .devices([ids[0]])] {
            let before = try await scene.store.currentRevision()
            var plan = scene.plan(target)
            plan.operation.payload = [UInt8](repeating: 0x70, count: 200)
            _ = try await scene.enqueue(plan)
            let page = try await scene.store.page(
                after: before,
                cursor: nil,
                limit: 10_000,
                for: NodeID(rawValue: "worker")
            )
            XCTAssertEqual(page.content, .delta)
            XCTAssertLessThanOrEqual(page.encoded().count, 1_024, "\(target)")
        }
        try await scene.store.close()
    }
}
#endif
