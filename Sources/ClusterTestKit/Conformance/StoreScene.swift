internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

/// What a step works with: a store, its first epoch, and short words for long calls.
struct StoreScene: Sendable {
    let store: StoreUnderTest
    let epoch: Epoch
    let check: ConformanceCheck
    let random = SeededRandomSource(seed: 0x5EED)
    let tenant = TenantID(rawValue: "conformance")
    let otherTenant = TenantID(rawValue: "neighbour")
    /// The time at which a scene plays, unless a step says otherwise.
    let now = ManualTimeSource.standardStart

    static func open(_ make: StoreFactory, _ check: ConformanceCheck) async throws -> StoreScene {
        let store = try await make()
        return StoreScene(store: store, epoch: try await store.newEpoch(), check: check)
    }

    var devices: any DeviceStorage { store.devices }
    var operations: any OperationStorage { store.operations }

    func needs<Driver>(_ driver: KeyPath<StoreUnderTest, Driver?>, _ name: String) throws -> Driver
    {
        guard let driver = store[keyPath: driver] else {
            throw StepSkip(reason: "the store has no \(name)")
        }
        return driver
    }

    // MARK: Devices

    func enrolment(of id: DeviceID, groups: [GroupID] = [], key: String? = nil) -> EnrolmentRecord {
        EnrolmentRecord(
            device: id,
            incarnation: IncarnationID(from: random),
            credential: DeviceCredential(from: random).digest,
            groups: groups,
            key: key
        )
    }

    @discardableResult
    func change(
        _ change: DeviceChange,
        tenant: TenantID? = nil,
        epoch: Epoch? = nil,
        at time: Timestamp? = nil
    ) async throws -> DeviceChangeReceipt {
        try await devices.commit(
            change,
            tenant: tenant ?? self.tenant,
            epoch: epoch ?? self.epoch,
            at: time ?? now
        )
    }

    @discardableResult
    func enrol(
        _ name: String,
        groups: [GroupID] = [],
        tenant: TenantID? = nil
    ) async throws -> DeviceRow {
        let record = enrolment(of: DeviceID(rawValue: name), groups: groups)
        let receipt = try await change(.enrol(record), tenant: tenant)
        return try check.some(receipt.row, "the row in the receipt of an enrolment")
    }

    func enrol(_ names: [String], groups: [GroupID] = []) async throws -> [DeviceRow] {
        var rows: [DeviceRow] = []
        for name in names { rows.append(try await enrol(name, groups: groups)) }
        return rows
    }

    /// Enrols many at once, which lets a driver commit them together.
    func enrolTogether(_ names: [String]) async throws -> [DeviceRow] {
        try await withThrowingTaskGroup(of: DeviceRow.self) { group in
            for name in names { group.addTask { try await enrol(name) } }
            return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.id < $1.id }
        }
    }

    func device(_ id: DeviceID, tenant: TenantID? = nil) async throws -> Device {
        try check.some(
            try await devices.device(id, tenant: tenant ?? self.tenant),
            "device \(id)"
        )
    }

    /// Ids of a group's present members, or of all devices.
    func ids(in group: GroupID?, tenant: TenantID? = nil) async throws -> [String] {
        try await devices.devices(
            in: group,
            after: nil,
            limit: maximumPageSize,
            tenant: tenant ?? self.tenant
        ).map(\.id.rawValue)
    }

    // MARK: Operations

    func plan(
        for target: OperationTarget,
        code: String = "lock",
        priority: Int32 = 0,
        expiresAt: Timestamp? = nil,
        key: String? = nil,
        wakeAt: Timestamp? = nil
    ) -> EnqueuePlan {
        let operation = DeviceOperation(
            id: OperationID(from: random),
            activity: ActivityID(from: random),
            number: 0,
            code: OperationCode(rawValue: code),
            payload: Array("{\"code\":\"\(code)\"}".utf8),
            priority: priority,
            expiresAt: expiresAt,
            createdAt: now
        )
        return EnqueuePlan(
            operation: operation,
            target: target,
            initiator: "conformance",
            idempotencyKey: key,
            requestDigest: Array("\(code)|\(target)|\(priority)".utf8),
            wakeAt: wakeAt
        )
    }

    func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID? = nil,
        epoch: Epoch? = nil
    ) async throws -> EnqueueReceipt {
        try await operations.enqueue(
            plan,
            tenant: tenant ?? self.tenant,
            epoch: epoch ?? self.epoch
        )
    }

    /// Enqueues one operation to named devices and returns it with its number.
    func enqueue(
        to rows: [DeviceRow],
        code: String = "lock",
        priority: Int32 = 0,
        wakeAt: Timestamp? = nil
    ) async throws -> DeviceOperation {
        let plan = plan(
            for: .devices(rows.map(\.id)),
            code: code,
            priority: priority,
            wakeAt: wakeAt
        )
        return try await committed(plan, tenant: rows.first?.tenant)
    }

    /// Enqueues one operation to a group and returns it with its number.
    func enqueue(to group: GroupID, code: String = "lock", wakeAt: Timestamp? = nil) async throws
        -> DeviceOperation
    {
        try await committed(plan(for: .group(group), code: code, wakeAt: wakeAt), tenant: nil)
    }

    private func committed(_ plan: EnqueuePlan, tenant: TenantID?) async throws -> DeviceOperation {
        let receipt = try await enqueue(plan, tenant: tenant)
        var operation = plan.operation
        operation.number = receipt.number
        return operation
    }

    func activity(_ operation: DeviceOperation, tenant: TenantID? = nil) async throws -> Activity {
        try check.some(
            try await operations.activity(operation.activity, tenant: tenant ?? self.tenant),
            "activity of operation \(operation.number)"
        )
    }

    func executions(
        of operation: DeviceOperation,
        after: DeviceID? = nil,
        limit: Int = maximumPageSize
    ) async throws -> [Execution] {
        try await operations.executions(
            of: operation.activity,
            after: after,
            limit: limit,
            tenant: tenant
        )
    }

    func execution(of operation: DeviceOperation, on row: DeviceRow) async throws -> Execution {
        let all = try await executions(of: operation)
        return try check.some(
            all.first { $0.id.device == row.id && $0.id.incarnation == row.incarnation },
            "the execution of operation \(operation.number) on \(row.id)"
        )
    }

    func openWork(for row: DeviceRow) async throws -> OpenWork {
        try check.some(
            try await operations.openWork(for: row.id, tenant: row.tenant),
            "the open work of \(row.id)"
        )
    }

    /// Codes of what would be handed out now, in order.
    func offered(
        to row: DeviceRow,
        redelivery: RedeliveryRule = .afterLease,
        at time: Timestamp? = nil
    ) async throws -> [String] {
        try await openWork(for: row)
            .batch(limit: 100, redelivery: redelivery, at: time ?? now)
            .map(\.operation.code.rawValue)
    }

    // MARK: Reports

    func entry(_ row: DeviceRow, _ body: InboxEntry.Body, at time: Timestamp? = nil) -> InboxEntry {
        InboxEntry(identity: row.identity, receivedAt: time ?? now, body: body)
    }

    func claim(
        _ operation: DeviceOperation,
        by row: DeviceRow,
        at time: Timestamp? = nil
    ) -> InboxEntry {
        let time = time ?? now
        return entry(
            row,
            .claim(
                operation.id,
                attempt: AttemptID(from: random),
                leaseEnd: time + operation.deliveryLease
            ),
            at: time
        )
    }

    func result(
        _ outcome: ResultOutcome,
        of operation: DeviceOperation,
        by row: DeviceRow,
        detail: String = "",
        at time: Timestamp? = nil
    ) -> InboxEntry {
        entry(
            row,
            .result(operation.id, attempt: nil, outcome: outcome, detail: Array(detail.utf8)),
            at: time
        )
    }

    func contact(
        _ row: DeviceRow,
        answeredAt revision: Revision?,
        at time: Timestamp? = nil
    ) -> InboxEntry {
        entry(row, .contact(answeredAt: revision), at: time)
    }

    func numbered(_ entries: [InboxEntry], from first: Int64 = 1) -> [SpooledEntry] {
        entries.enumerated().map {
            SpooledEntry(number: first + Int64($0.offset), entry: $0.element)
        }
    }

    /// Applies entries as accepted in process.
    @discardableResult
    func apply(_ entries: InboxEntry..., at time: Timestamp? = nil) async throws -> ApplyReceipt {
        try await operations.apply(numbered(entries), from: nil, epoch: epoch, at: time ?? now)
    }

    /// Applies entries as a spool hands them over.
    @discardableResult
    func drain(
        _ entries: [InboxEntry],
        from first: Int64,
        of spool: SpoolMark,
        epoch: Epoch? = nil
    ) async throws -> ApplyReceipt {
        var mark = spool
        mark.number = first + Int64(entries.count) - 1
        return try await operations.apply(
            numbered(entries, from: first),
            from: mark,
            epoch: epoch ?? self.epoch,
            at: now
        )
    }

    func newSpool(of node: String = "worker-1") -> SpoolMark {
        SpoolMark(
            node: NodeID(rawValue: node),
            incarnation: IncarnationID(from: random),
            number: 0
        )
    }

    // MARK: Positions and refusals

    /// The store's newest revision, from whichever driver tells it; `nil` if none does.
    func revision() async throws -> Revision? {
        if let log = store.log { return try await log.current() }
        return try await store.replicas?.currentRevision()
    }

    /// Expects a guarded write with an old epoch to be fenced and to take no revision.
    func expectFenced(_ what: String, _ write: (Epoch) async throws -> Void) async throws {
        let current = try await store.newEpoch()
        let before = try await revision()
        do {
            try await write(epoch)
        } catch let error as ClusterRoleError where error.code == .fenced {
            try check.equal(
                error.currentEpoch,
                current,
                "the epoch named by the refusal of \(what)"
            )
            try check.equal(try await revision(), before, "the revision after a fenced \(what)")
            return
        } catch {
            throw check.failure(
                "\(what) with \(epoch), store at \(current): expected ClusterRoleError fenced, thrown: \(error)"
            )
        }
        throw check.failure("\(what) with \(epoch) was accepted by a store at \(current)")
    }

    /// Expects a refusal with a code of OperationQueue.
    func expect(
        _ code: OperationQueueError.Code,
        from what: String,
        _ call: () async throws -> Void
    ) async throws {
        let before = try await revision()
        do {
            try await call()
        } catch let error as OperationQueueError where error.code == code {
            try check.equal(try await revision(), before, "the revision after a refused \(what)")
            return
        } catch {
            throw check.failure("\(what): expected \(code.rawValue), thrown: \(error)")
        }
        throw check.failure("\(what): expected \(code.rawValue), but it was accepted")
    }
}

/// Runs steps on stores.
func runStoreConformance(
    _ suite: String,
    _ makeStore: @escaping StoreFactory,
    _ timeLimit: Duration,
    _ steps: [ConformanceStep<StoreScene>]
) async throws -> ConformanceReport {
    try await runConformance(
        suite,
        steps,
        timeLimit: timeLimit,
        make: { try await StoreScene.open(makeStore, $0) },
        close: { try await $0.store.close() }
    )
}
