#if Server && SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteReplica
import XCTest

@testable import ClusterLink

/// Hints only make it quicker; what converges does so by polling.
final class LossyHintTests: XCTestCase {
    /// The clock that the waiting goes by is moved by hand.
    func test_hints_thatAreAllLost_costAWorkerOnePollAtMost() async throws {
        let clock = ManualTimeSource()
        let manager = try ManagerScene(time: clock, losesHints: true)
        let administration = DeviceAdministration(
            storage: manager.devices,
            capability: manager.capability
        )
        let device = try await administration.enrol("d", groups: [])
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            try await worker.running {
                try await eventually("the worker has what there is") {
                    worker.replica.position.revision == manager.ledger.revision
                }
                for _ in 0..<3 {
                    try await clock.waitForSleepers(1)
                    let before = worker.replica.position.revision
                    try await manager.enqueue(.devices([device.identity.device]))
                    XCTAssertEqual(worker.replica.position.revision, before, "who told it?")
                    clock.advance(by: WorkerScene.quick.pollWait)
                    try await eventually("one poll later the worker has it") {
                        worker.replica.position.revision == manager.ledger.revision
                    }
                }
            }
            worker.remove()
        }
    }
}
#endif
