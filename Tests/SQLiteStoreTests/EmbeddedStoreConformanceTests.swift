#if SQLite
import ClusterMembership
import ClusterTestKit
import XCTest

@testable import SQLiteStore

/// Every suite of the test kit on the embedded store.
final class EmbeddedStoreConformanceTests: XCTestCase {
    private let make: StoreFactory = { .embedded(try await EmbeddedScene.open()) }

    private func show(_ report: ConformanceReport) {
        print(report)
        XCTAssertFalse(report.passed.isEmpty, "\(report.suite) tried nothing")
    }

    func test_devices_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await DeviceStorageConformance(make).run())
    }

    func test_operations_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await OperationStorageConformance(make).run())
    }

    func test_replicaSources_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await ReplicaSourceConformance(make).run())
    }

    func test_wakeUps_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await WakeStorageConformance(make).run())
    }

    func test_protocols_onTheEmbeddedStore_areAtomicTogether() async throws {
        show(try await AtomicityConformance(make).run())
    }

    func test_leases_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await LeaseStoreConformance(make).run())
    }

    func test_revisionLogs_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await RevisionLogConformance(make).run())
    }

    func test_members_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await MemberRegistryConformance(make).run())
    }

    func test_periodicTasks_onTheEmbeddedStore_keepTheContract() async throws {
        show(try await PeriodicTaskStorageConformance(make).run())
    }

    func test_releases_onTheEmbeddedStore_keepTheContract() async throws {
        try await ReleaseStorageConformance {
            let store = try await EmbeddedScene.open().store
            return ReleaseStorageConformance.Subject(storage: store) {
                try await store.acquire(holder: EmbeddedScene.node, duration: .seconds(30)).epoch
            }
        }.run()
    }

    func test_hints_onTheEmbeddedStore_keepTheContract() async throws {
        let suite = HintBusConformance {
            let scene = try await EmbeddedScene.open()
            var subject = HintBusUnderTest(scene.store)
            subject.close = { try await scene.store.close() }
            return subject
        }
        show(try await suite.run())
    }
}
#endif
