import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import Synchronization
import XCTest

/// The suites fail on drivers that are broken on purpose: a suite that passes them proves nothing.
final class BrokenDriverTests: XCTestCase {
    func expectFailure(
        at step: String,
        file: StaticString = #filePath,
        line: UInt = #line,
        _ run: () async throws -> ConformanceReport
    ) async {
        do {
            let report = try await run()
            XCTFail("the broken driver passed: \(report)", file: file, line: line)
        } catch let failure as ConformanceFailure {
            XCTAssertEqual(failure.step, step, "\(failure)", file: file, line: line)
        } catch {
            XCTFail("not a ConformanceFailure: \(error)", file: file, line: line)
        }
    }

    func store(
        _ change: @escaping @Sendable (inout StoreUnderTest, InMemoryCluster) -> Void
    ) -> StoreFactory {
        {
            let cluster = InMemoryCluster()
            var store = cluster.storeUnderTest
            change(&store, cluster)
            return store
        }
    }

    func test_operations_thatLoseWakeUps_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onEnqueue: { plan, _ in plan.wakeAt = nil }
            )
        }
        let step = "an enqueued operation asks for one wake-up a device, when it falls due"
        await expectFailure(at: step) { try await WakeStorageConformance(factory).run() }
        await expectFailure(at: "operation, wake-up and log key appear together") {
            try await AtomicityConformance(factory).run()
        }
    }

    func test_operations_thatIgnoreTheEpoch_areCaught() async {
        let factory = store { store, cluster in
            let ledger = cluster.ledger
            store.operations = BrokenOperations(
                base: store.operations,
                onEnqueue: { _, epoch in epoch = ledger.epoch }
            )
        }
        await expectFailure(at: "an old epoch changes nothing") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_operations_thatApplyWithAnyEpoch_areCaught() async {
        let factory = store { store, cluster in
            let ledger = cluster.ledger
            store.operations = BrokenOperations(
                base: store.operations,
                onApply: { _, _, epoch in epoch = ledger.epoch }
            )
        }
        await expectFailure(at: "entries applied with an old epoch leave nothing anywhere") {
            try await AtomicityConformance(factory).run()
        }
    }

    func test_operations_thatChangeTheBytesOfLargeResults_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onChunk: { bytes in bytes.map { $0.map { $0 &+ 1 } } }
            )
        }
        await expectFailure(
            at: "a large result is read back as it was sent, once all of it came"
        ) { try await OperationStorageConformance(factory).run() }
    }

    func test_operations_thatApplyEntriesTwice_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(base: store.operations, isAppliedTwice: true)
        }
        await expectFailure(at: "a claim withholds the work until its lease ends") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_operations_thatForgetTheMark_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onApply: { _, spool, _ in spool = nil }
            )
        }
        await expectFailure(at: "one call takes ten thousand entries") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_operations_thatMixSpoolIncarnations_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onApply: { _, spool, _ in
                    guard let mark = spool else { return }
                    let incarnation = IncarnationID(bits: 1)
                    spool = SpoolMark(
                        node: mark.node,
                        incarnation: incarnation,
                        number: mark.number
                    )
                }
            )
        }
        let step = "numbers below the mark are skipped and the mark never goes back"
        await expectFailure(at: step) { try await OperationStorageConformance(factory).run() }
    }

    func test_operations_thatAnswerForAnotherTenant_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                tenantOfQueries: TenantID(rawValue: "conformance")
            )
        }
        await expectFailure(at: "tenants never cross") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_largeResults_thatAnswerForAnotherTenant_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                tenantOfLargeResults: TenantID(rawValue: "conformance")
            )
        }
        await expectFailure(at: "a large result is read back as it was sent, once all of it came") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_operations_thatListOnlyRows_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onExecutions: { $0.filter { $0.version > 0 } }
            )
        }
        let step = "a group operation addresses the members as of its own number"
        await expectFailure(at: step) { try await OperationStorageConformance(factory).run() }
    }

    func test_operations_thatOfferCompletedWorkAgain_areCaught() async {
        let factory = store { store, _ in
            store.operations = BrokenOperations(
                base: store.operations,
                onOpenWork: { work, _ in
                    work.map { work in
                        let items = work.items.map {
                            OpenItem(operation: $0.operation, activityState: .open, row: nil)
                        }
                        return OpenWork(
                            revision: work.revision,
                            device: work.device,
                            items: items
                        )
                    }
                }
            )
        }
        await expectFailure(at: "a claim withholds the work until its lease ends") {
            try await OperationStorageConformance(factory).run()
        }
    }

    func test_workers_thatForgetWhatTheyAccepted_areCaught() async {
        let suite = PendingWorkConformance({ InMemoryCluster().storeUnderTest }) { _, store in
            WorkerUnderTest(store: store, reader: store.operations, inbox: ForgettingInbox())
        }
        await expectFailure(at: "a result is applied on the next read") { try await suite.run() }
    }

    func test_devices_thatFindOldCredentials_areCaught() async {
        let factory = store { store, _ in
            let known = Remembered()
            store.devices = BrokenDevices(
                base: store.devices,
                onCommit: { change, epoch in
                    if case .enrol(let record) = change { known.note(record) }
                    return (change, epoch)
                },
                onCredential: { row, digest in row ?? known.row(of: digest) }
            )
        }
        await expectFailure(at: "a repeated enrolment key only replaces the credential") {
            try await DeviceStorageConformance(factory).run()
        }
    }

    func test_devices_thatListUnsorted_areCaught() async {
        let factory = store { store, _ in
            store.devices = BrokenDevices(base: store.devices, onDevices: { $0.reversed() })
        }
        await expectFailure(at: "an enrolled device is in everyone and in the groups it named") {
            try await DeviceStorageConformance(factory).run()
        }
    }

    func test_devices_thatIgnoreTheEpoch_areCaught() async {
        let factory = store { store, cluster in
            let ledger = cluster.ledger
            store.devices = BrokenDevices(
                base: store.devices,
                onCommit: { change, _ in (change, ledger.epoch) }
            )
        }
        await expectFailure(at: "an old epoch changes nothing") {
            try await DeviceStorageConformance(factory).run()
        }
        await expectFailure(at: "the store refuses writes of the epoch before") {
            try await LeaseStoreConformance(factory).run()
        }
    }

    func test_wakeUps_thatAreDueUnsorted_areCaught() async {
        let factory = store { store, _ in
            guard let wakes = store.wakes else { return }
            store.wakes = BrokenWakes(base: wakes, onDue: { $0.reversed() })
        }
        await expectFailure(at: "wake-ups are given in order of due time, up to the limit") {
            try await WakeStorageConformance(factory).run()
        }
    }

    func test_wakeUps_whoseGenerationIsIgnored_areCaught() async {
        let factory = store { store, _ in
            guard let wakes = store.wakes else { return }
            store.wakes = BrokenWakes(
                base: wakes,
                onSettle: { settlement in
                    var settlement = settlement
                    let due = try await wakes.due(at: .distantFuture, limit: 100)
                    let row = due.first {
                        $0.wake.tenant == settlement.tenant && $0.wake.device == settlement.device
                    }
                    settlement.generation = row?.wake.generation ?? settlement.generation
                    return settlement
                }
            )
        }
        await expectFailure(at: "an outcome of an older generation leaves the wake-up due") {
            try await WakeStorageConformance(factory).run()
        }
    }

    func test_expansions_thatSayDoneTooEarly_areCaught() async {
        let factory = store { store, _ in
            guard let wakes = store.wakes else { return }
            store.wakes = BrokenWakes(
                base: wakes,
                onExpand: {
                    WakeExpansionReceipt(
                        added: $0.added,
                        coalesced: $0.coalesced,
                        isFinished: true
                    )
                }
            )
        }
        await expectFailure(at: "a group is expanded in pages, in order of device") {
            try await WakeStorageConformance(factory).run()
        }
    }

    func test_replicaSources_thatLoseRowsOfADelta_areCaught() async {
        let losses: [(String, @Sendable (ReplicaRow) -> Bool)] = [
            ("every guarded change is in the delta after it", { $0.isClosedMembership }),
            ("every guarded change is in the delta after it", { $0.isGone }),
            ("deltas lead to the content of a fresh snapshot", { $0.isMark }),
        ]
        for (step, isLost) in losses {
            let factory = store { store, _ in
                guard let replicas = store.replicas else { return }
                store.replicas = BrokenReplicas(base: replicas) { $0.filter { !isLost($0) } }
            }
            await expectFailure(at: step) { try await ReplicaSourceConformance(factory).run() }
        }
    }

    func test_replicaSources_thatTrustAForeignHistory_areCaught() async {
        let factory = store { store, _ in
            guard let replicas = store.replicas else { return }
            store.replicas = BrokenReplicas(base: replicas, isForeignHistoryTrusted: true) { $0 }
        }
        await expectFailure(at: "a revision of another history gets a snapshot") {
            try await ReplicaSourceConformance(factory).run()
        }
    }

    func test_leases_thatRenewAnyEpoch_areCaught() async {
        let factory = store { store, cluster in
            guard let leases = store.leases else { return }
            store.leases = BrokenLeases(base: leases, ledger: cluster.ledger)
        }
        await expectFailure(at: "an older epoch cannot be renewed") {
            try await LeaseStoreConformance(factory).run()
        }
    }

    func test_logs_thatReadBackwards_areCaught() async {
        let factory = store { store, _ in store.log = store.log.map(BrokenLog.init) }
        await expectFailure(at: "changes come oldest first, up to the limit, with their keys") {
            try await RevisionLogConformance(factory).run()
        }
    }

    func test_members_whoseHeartbeatsTakeRevisions_areCaught() async {
        let factory = store { store, _ in store.members = store.members.map(BrokenMembers.init) }
        await expectFailure(at: "a heartbeat that changes nothing else takes no revision") {
            try await MemberRegistryConformance(factory).run()
        }
    }

    func test_taskSlots_thatTakeProgressOfAnyEpoch_areCaught() async {
        let factory = store { store, _ in
            store.taskSlots = store.taskSlots.map(BrokenTaskSlots.init)
        }
        await expectFailure(at: "progress of an older epoch is refused and changes nothing") {
            try await TaskSlotStorageConformance(factory).run()
        }
    }

    func test_tasks_thatForgetTheirDueTime_areCaught() async {
        let factory = store { store, _ in store.tasks = store.tasks.map(BrokenTasks.init) }
        await expectFailure(at: "a new definition that keeps time keeps the due times") {
            try await PeriodicTaskStorageConformance(factory).run()
        }
    }

    func test_drivers_thatHang_failRatherThanHang() async {
        let faults = FaultScript()
        faults.hold(.commit)
        let factory = store { store, _ in
            store.devices = FailingDeviceStorage(store.devices, faults)
        }
        await expectFailure(at: "a new device is stored as enrolled, with what was given") {
            try await DeviceStorageConformance(timeLimit: .milliseconds(50), factory).run()
        }
    }

    func test_drivers_thatThrow_failWithTheirErrorNamed() async {
        let faults = FaultScript()
        faults.failCall(3, of: .commit)
        let factory = store { store, _ in
            store.devices = FailingDeviceStorage(store.devices, faults)
        }
        do {
            _ = try await DeviceStorageConformance(factory).run()
            XCTFail("the driver threw, and the suite passed")
        } catch {
            let failure = error as? ConformanceFailure
            XCTAssertEqual(failure?.suite, "DeviceStorage")
            XCTAssertEqual(failure?.message.contains("testkit.injected-fault"), true, "\(error)")
        }
    }

    func test_store_withoutACapability_skipsVisibly() async throws {
        let factory = store { store, _ in store.replicas = nil }
        let report = try await ReplicaSourceConformance(factory).run()
        XCTAssertEqual(report.passed, [])
        XCTAssertEqual(report.skipped.count, 12)
        XCTAssertTrue("\(report)".contains("the store has no ReplicaSource"))
    }
}

/// Every credential ever given out.
private final class Remembered: Sendable {
    private let rows = Mutex<[CredentialDigest: DeviceRow]>([:])

    func row(of digest: CredentialDigest) -> DeviceRow? { rows.withLock { $0[digest] } }

    func note(_ record: EnrolmentRecord) {
        let row = DeviceRow(
            tenant: TenantID(rawValue: "conformance"),
            id: record.device,
            incarnation: record.incarnation,
            state: .enrolled,
            credential: record.credential
        )
        rows.withLock { $0[record.credential] = row }
    }
}

extension ReplicaRow {
    fileprivate var isMark: Bool { if case .mark = self { true } else { false } }
    fileprivate var isGone: Bool { if case .activityGone = self { true } else { false } }
    fileprivate var isClosedMembership: Bool {
        if case .membership(_, let interval) = self { interval.left != nil } else { false }
    }
}
