#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import OperationQueue
import XCTest

@testable import SQLiteReplica

/// The suite that every worker's half must pass, on the replica and spool.
final class ReplicaConformanceTests: XCTestCase {
    func test_workerReplica_passesTheSuiteOfWorkers() async throws {
        let scene = try ReplicaScene()
        let directory = scene.directory
        let node = scene.node
        let suite = PendingWorkConformance({ InMemoryCluster().storeUnderTest }) { epoch, store in
            let path = directory.appending(path: "\(UUID().uuidString).sqlite").path
            let replica = try WorkerReplica(path: path, node: node, logger: quiet)
            let source = try XCTUnwrap(store.replicas)
            var store = store
            let closeStore = store.close
            store.close = {
                try await replica.close()
                try await closeStore()
            }
            return WorkerUnderTest(
                store: store,
                reader: replica,
                inbox: replica,
                refresh: {
                    var cursor: ReplicaCursor?
                    while true {
                        let page = try await source.page(
                            after: replica.position.revision,
                            cursor: cursor,
                            limit: 50,
                            for: node
                        )
                        try await replica.apply(page)
                        cursor = page.next
                        let newest = try await source.currentRevision()
                        if page.content == .delta, page.revision == newest { return }
                    }
                },
                drain: { [operations = store.operations] in
                    while let last = try await replica.pendingEntries(limit: 64).last {
                        let entries = try await replica.pendingEntries(limit: 64)
                        let receipt = try await operations.apply(
                            entries,
                            from: SpoolMark(
                                node: node,
                                incarnation: replica.incarnation,
                                number: last.number
                            ),
                            epoch: epoch,
                            at: SystemTimeSource().now()
                        )
                        guard replica.revision != nil else { return }
                        replica.handedOn(upTo: last.number, at: receipt.revision)
                    }
                }
            )
        }
        let report = try await suite.run()
        XCTAssertGreaterThan(report.passed.count, 5)
        XCTAssertEqual(report.skipped.map(\.step), [])
    }
}
#endif
