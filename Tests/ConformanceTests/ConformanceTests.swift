import ClusterTestKit
import XCTest

/// Every suite on every driver of ``DriverTable``.
final class ConformanceTests: XCTestCase {
    private func onEveryStore(
        _ run: (@escaping StoreFactory) async throws -> ConformanceReport
    ) async throws {
        for store in DriverTable.stores {
            do {
                try show(try await run(store.make), store.name)
            } catch {
                XCTFail("\(store.name): \(error)")
            }
        }
    }

    /// A skip is visible, and a suite that tried nothing has not passed.
    private func show(_ report: ConformanceReport, _ driver: String) throws {
        print("\(driver): \(report)")
        XCTAssertFalse(report.passed.isEmpty, "\(report.suite) tried nothing on \(driver)")
    }

    func test_devices_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await DeviceStorageConformance($0).run() }
    }

    func test_operations_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await OperationStorageConformance($0).run() }
    }

    func test_events_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await EventReaderConformance($0).run() }
    }

    func test_replicaSources_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await ReplicaSourceConformance($0).run() }
    }

    func test_wakeUps_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await WakeStorageConformance($0).run() }
    }

    func test_webhooks_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await WebhookStorageConformance($0).run() }
    }

    func test_protocolsOfOneStore_onEveryStore_areAtomicTogether() async throws {
        try await onEveryStore { try await AtomicityConformance($0).run() }
    }

    func test_leases_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await LeaseStoreConformance($0).run() }
    }

    func test_revisionLogs_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await RevisionLogConformance($0).run() }
    }

    func test_members_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await MemberRegistryConformance($0).run() }
    }

    func test_taskSlots_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await TaskSlotStorageConformance($0).run() }
    }

    func test_periodicTasks_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await PeriodicTaskStorageConformance($0).run() }
    }

    func test_compliance_onEveryStore_keepsTheContract() async throws {
        try await onEveryStore { try await ComplianceStorageConformance($0).run() }
    }

    func test_retention_onEveryStore_keepsTheContract() async throws {
        try await onEveryStore { try await RetentionStorageConformance($0).run() }
    }

    func test_quotas_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await QuotaStorageConformance($0).run() }
    }

    func test_rollouts_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await RolloutStorageConformance($0).run() }
    }

    func test_auditLogsIdentitiesAndOwners_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await AccessConformance($0).run() }
    }

    func test_messages_onEveryStore_keepTheContract() async throws {
        try await onEveryStore { try await MessageLogConformance($0).run() }
    }

    func test_sharedState_onEveryStore_keepsTheContract() async throws {
        try await onEveryStore { try await SharedStateConformance($0).run() }
    }

    func test_workers_ofEveryKind_keepTheContract() async throws {
        for worker in DriverTable.workers {
            do {
                let suite = PendingWorkConformance(worker.store, worker: worker.make)
                try show(try await suite.run(), worker.name)
            } catch {
                XCTFail("\(worker.name): \(error)")
            }
        }
    }

    func test_hintBuses_ofEveryKind_keepTheContract() async throws {
        for bus in DriverTable.buses {
            do {
                try show(try await HintBusConformance(bus.make).run(), bus.name)
            } catch {
                XCTFail("\(bus.name): \(error)")
            }
        }
    }

    func test_releases_onEveryStorage_keepTheContract() async throws {
        for releases in DriverTable.releases {
            do {
                try await ReleaseStorageConformance(releases.make).run()
            } catch {
                XCTFail("\(releases.name): \(error)")
            }
        }
    }
}
