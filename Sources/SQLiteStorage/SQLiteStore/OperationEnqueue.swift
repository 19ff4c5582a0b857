#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// What an enqueue did, without its revision.
struct EnqueueOutcome: Sendable {
    var activity: ActivityID
    var number: Int64
    var addressed: Int
    var unknown: Int
    var wasRepeated: Bool
}

/// One operation being enqueued, inside its transaction.
struct OperationEnqueue {
    private let connection: SQLConnection
    private let tenant: TenantID
    private let number: Int64
    private var writer: ExecutionWriter

    /// What it logs.
    var draft: ChangeDraft { writer.draft }

    /// - Parameters:
    ///   - connection: the writer's.
    ///   - tenant: whose operation.
    ///   - number: the number of the write, and so the operation's.
    ///   - now: when.
    ///   - isLimited: whether any tenant has a quota.
    init(
        _ connection: SQLConnection,
        tenant: TenantID,
        number: Int64,
        now: Timestamp,
        isLimited: Bool
    ) {
        self.connection = connection
        self.tenant = tenant
        self.number = number
        writer = ExecutionWriter(connection, revision: number, now: now)
        writer.isLimited = isLimited
    }

    mutating func enqueue(_ plan: EnqueuePlan) throws -> EnqueueOutcome {
        if let repeated = try repeated(plan) { return repeated }
        var record = OperationRecord(plan, tenant: tenant, number: number)
        let dependencies = try resolveDependencies(of: &record.operation)
        let (addressed, targets) = try resolve(plan.target, for: &record)
        var activity = Activity(
            tenant: tenant,
            operation: record.operation,
            group: record.group,
            initiator: record.initiator,
            addressed: addressed
        )
        activity.open(at: writer.now)
        if addressed == 0, !record.operation.terms.scope.isStanding {
            // Nobody to wait for.
            activity.state = .finished
            activity.closedAt = record.operation.createdAt
        }
        if writer.isLimited {
            try connection.requireQuota(for: targets, isLive: activity.isLive, of: tenant)
        }
        try record.store(connection)
        try connection.store(targets, number: number)
        let key = Self.controlKey(of: activity, record, targets)
        writer.add(record, activity, controlKey: key)
        if activity.isLive {
            for other in dependencies { try writer.addDependent(number, to: other) }
        }
        if let due = plan.wakeAt, activity.state == .open, activity.gate == OfferGate(),
            let touched = try writer.touch(number)
        {
            try writer.wake(touched, 0..<RolloutPlan.everyone, due: due, named: targets)
        }
        if let key, activity.replacesOlder(at: writer.now) {
            try closeOlder(than: activity, key: key, targets)
        }
        try writer.finish()
        return EnqueueOutcome(
            activity: activity.id,
            number: number,
            addressed: addressed,
            unknown: record.unknown,
            wasRepeated: false
        )
    }

    private func repeated(_ plan: EnqueuePlan) throws -> EnqueueOutcome? {
        guard let key = plan.idempotencyKey else { return nil }
        let found = try connection.row(
            """
            SELECT \(OperationRecord.columns) FROM operation WHERE tenant = ? AND request_key = ?
            """,
            tenant.rawValue,
            key
        ) { try OperationRecord($0) }
        guard let found else { return nil }
        guard found.requestDigest == plan.requestDigest else {
            throw OperationQueueError(
                .keyConflict,
                "The idempotency key was used for another request (activity "
                    + "\(found.operation.activity)). Use a new key for a new request."
            )
        }
        guard let activity = try connection.activity(found.operation.number) else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        return EnqueueOutcome(
            activity: found.operation.activity,
            number: found.operation.number,
            addressed: activity.addressed,
            unknown: found.unknown,
            wasRepeated: true
        )
    }

    /// Leaves the dependencies that must be waited for.
    ///
    /// - Returns: the numbers of the activities they name.
    private mutating func resolveDependencies(
        of operation: inout DeviceOperation
    ) throws -> [Int64] {
        if operation.terms.after.isEmpty { return [] }
        var open: [OperationDependency] = []
        var numbers: [Int64] = []
        for dependency in operation.terms.after {
            let known = try writer.touch(dependency.activity, tenant: tenant)
            guard try DependencyRules.mustWait(operation, for: dependency, known?.activity),
                let known
            else { continue }
            open.append(dependency)
            numbers.append(known.number)
        }
        operation.terms.after = open
        return numbers
    }

    // MARK: Targets

    private func resolve(
        _ target: OperationTarget,
        for record: inout OperationRecord
    ) throws -> (addressed: Int, targets: [NamedTarget]) {
        switch target {
        case .group(let group):
            var known = try connection.group(group, tenant: tenant)
            guard known != nil || group == .everyone else {
                throw OperationQueueError(
                    .unknownGroup,
                    "There is no group \(group). Add a device to it first."
                )
            }
            let scope = record.operation.terms.scope
            if known == nil && scope.isStanding {
                // Those who join later find it by the group's row.
                let newest =
                    try connection.row("SELECT max(idx) FROM device_group") { $0.int64(0) } ?? 0
                let made = GroupRecord(idx: newest + 1, tenant: tenant, group: group)
                try made.store(connection)
                known = made
            }
            record.groupIdx = known?.idx
            return (scope == .joinersOnly ? 0 : known?.members ?? 0, [])
        case .devices(let named):
            let (targets, unknown) = try resolve(named)
            record.unknown = unknown
            guard !targets.isEmpty else {
                throw OperationQueueError(
                    .noTarget,
                    "None of the \(named.count) devices named is enrolled. Enrol them first."
                )
            }
            return (targets.count, targets)
        }
    }

    /// The enrolled ones among the named devices, each once, in order; and how many are not enrolled.
    private func resolve(
        _ named: [DeviceID]
    ) throws -> (found: [NamedTarget], unknown: Int) {
        var found: [NamedTarget] = []
        found.reserveCapacity(named.count)
        var seen: Set<DeviceID> = []
        seen.reserveCapacity(named.count)
        var unknown = 0
        for device in named where seen.insert(device).inserted {
            if let record = try connection.device(device, tenant: tenant), record.isEnrolled {
                found.append(NamedTarget(device: record.row.id, idx: record.idx))
            } else {
                unknown += 1
            }
        }
        found.sort(by: NamedTarget.precedes)
        return (found, unknown)
    }

    // MARK: Replacing

    /// Tenant, key and target in one text, so that however many operations have the same key, those for
    /// the same target are found at once.
    private static func controlKey(
        of activity: Activity,
        _ record: OperationRecord,
        _ targets: [NamedTarget]
    ) -> String? {
        guard case .supersede(let key) = activity.operation.terms.control else { return nil }
        let target: String
        if record.group != nil {
            target = "group:\(record.groupIdx ?? 0):\(activity.operation.terms.scope.rawValue)"
        } else {
            var sum = RowChecksum(table: "target")
            for device in targets { sum.add(device.idx) }
            target = "devices:\(targets.count):\(sum.value)"
        }
        return "\(record.tenant.rawValue) \(target) \(key)"
    }

    /// Closes older activities that this one is done in place of, for the same devices.
    private mutating func closeOlder(
        than activity: Activity,
        key: String,
        _ targets: [NamedTarget]
    ) throws {
        let older = try connection.rows(
            "SELECT number FROM activity WHERE live = 1 AND control_key = ? AND number < ?",
            key,
            number
        ) { $0.int64(0) }
        for other in older {
            guard var known = try writer.touch(other)?.activity, known.state == .open,
                known.tenant == tenant,
                known.operation.terms.control == activity.operation.terms.control,
                known.group == activity.group,
                known.operation.terms.scope == activity.operation.terms.scope,
                try names(targets, other)
            else { continue }
            _ = try known.on(.close(.superseded), at: writer.now)
            try writer.store(known)
        }
    }

    /// Whether an operation names exactly these devices.
    private func names(_ targets: [NamedTarget], _ other: Int64) throws -> Bool {
        if targets.isEmpty { return true }
        let pages = try connection.targetPages(other, from: 0, limit: .max)
        return pages.flatMap(\.devices) == targets.map(\.idx)
    }
}
#endif
