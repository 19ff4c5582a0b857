import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

/// A retention task over a driver that fails loses nothing and goes on.
final class FailingRetentionTests: XCTestCase {
    func test_retention_eachCallFailsOnce_isDoneAllTheSame() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("d-1")
        var receipts: [EnqueueReceipt] = []
        for _ in 0..<3 {
            let receipt = try await cluster.enqueuer.enqueue(
                EnqueueRequest("lock", to: .devices(["d-1"]))
            )
            try await cluster.enqueuer.cancel(receipt.activity)
            receipts.append(receipt)
        }
        cluster.time.advance(by: .seconds(200))
        let faults = FaultScript()
        let task = RetentionTask(
            storage: FailingOperationStorage(cluster.operations, faults),
            policy: RetentionPolicy(keepFor: .seconds(100), keepAtMost: 9),
            capability: cluster.capability
        )
        let methods: [DriverMethod] = [
            .closedActivities, .historyCounts, .purge, .sweep, .forgetEvidence, .forgetDevices,
        ]
        for method in methods {
            let receipt = try await cluster.enqueuer.enqueue(
                EnqueueRequest("lock", to: .devices(["d-1"]))
            )
            try await cluster.enqueuer.cancel(receipt.activity)
            cluster.time.advance(by: .seconds(200))
            receipts.append(receipt)
            faults.failNext(1, of: method)
            do {
                try await task.tick(at: cluster.time.now())
                XCTFail("\(method) did not fail")
            } catch { XCTAssertEqual(error.code, .storage, "\(method)") }
            try await task.tick(at: cluster.time.now())
            for receipt in receipts {
                let known = try await cluster.operations.activity(
                    receipt.activity,
                    tenant: .standard
                )
                XCTAssertNil(known, "after \(method)")
            }
        }
    }

}
