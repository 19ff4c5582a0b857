#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

// What administrators and the clock do to executions: the rest of OperationStorage.
extension EmbeddedStore {
    public func command(
        _ execution: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (execution: Execution, revision: Revision) {
        let (result, revision) = try await guarded(epoch: epoch) { connection, number, draft in
            var writer = ExecutionWriter(connection, revision: number, now: now)
            let result = try writer.command(
                execution,
                command,
                ifVersion: version,
                tenant: tenant
            )
            try writer.finish()
            draft = writer.draft
            return result
        }
        return (result, revision)
    }

    public func cancelAll(
        of device: DeviceID,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (count: Int, revision: Revision) {
        let (count, revision) = try await guarded(epoch: epoch) { connection, number, draft in
            var writer = ExecutionWriter(connection, revision: number, now: now)
            let count = try writer.cancelAll(of: device, tenant: tenant)
            try writer.finish()
            draft = writer.draft
            return count
        }
        return (count, revision)
    }

    public func fireTimers(at now: Timestamp, limit: Int, epoch: Epoch) async throws -> Int {
        try await guarded(epoch: epoch) { connection, number, draft in
            var writer = ExecutionWriter(connection, revision: number, now: now)
            let count = try writer.fireTimers(limit: max(0, limit))
            try writer.finish()
            draft = writer.draft
            return count
        }.result
    }

    public func rollouts(after: Int64?, limit: Int) async throws -> [Activity] {
        try await file.read { connection in
            let records = try connection.rows(
                """
                SELECT \(ActivityRecord.columns) FROM activity
                WHERE live = 1 AND rolling = 1 AND number > ? ORDER BY number LIMIT ?
                """,
                after ?? -1,
                max(0, limit)
            ) { try ActivityRecord($0) }
            return try records.map { record in
                guard var operation = try connection.operation(record.number) else {
                    throw SQLiteStorageError.corruptRow(in: "operation")
                }
                operation.operation.payload = try connection.payload(record.number)
                return record.activity(of: operation)
            }
        }
    }

    public func addressedCount(
        of activity: ActivityID,
        below ceiling: Int32,
        tenant: TenantID
    ) async throws -> Int {
        try await file.read { connection in
            guard let operation = try connection.operation(of: activity, tenant: tenant) else {
                return 0
            }
            return operation.group == nil
                ? try connection.namedCount(of: operation, below: ceiling)
                : try connection.memberCount(of: operation, below: ceiling)
        }
    }

    public func wakeUp(of device: DeviceID, tenant: TenantID) async throws -> WakeUp? {
        try await file.read { connection in
            guard let device = try connection.device(device, tenant: tenant) else { return nil }
            return try connection.wake(ofDeviceAt: device.idx)?.wake(device.row)
        }
    }
}

extension ExecutionWriter {
    mutating func change(
        _ id: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID
    ) throws -> Activity {
        guard var activity = try touch(id, tenant: tenant)?.activity else {
            throw OperationQueueError(
                .unknownActivity,
                "There is no activity \(id) in this tenant. Use an id that enqueue returned."
            )
        }
        let before = activity
        let directives = try activity.on(change, at: now)
        if activity != before { try store(activity) }
        for case .wake(let ranks) in directives {
            guard let changed = try touch(activity.operation.number) else { continue }
            try wake(changed, ranks, due: now)
        }
        return activity
    }

    mutating func command(
        _ id: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID
    ) throws -> Execution {
        guard let known = try touch(id.operation), known.operation.tenant == tenant,
            let device = try connection.device(id.device, tenant: tenant),
            device.row.incarnation == id.incarnation
        else { throw OperationQueueError.unknownExecution(id) }
        let row = try row(of: known, on: device)
        guard try row != nil || addresses(known, device) else {
            throw OperationQueueError.unknownExecution(id)
        }
        let change = try command.change(
            of: row,
            id,
            ifVersion: version,
            in: known.activity,
            at: now
        )
        try store(change, of: known.number, on: device)
        return change.after
            ?? Execution(
                id: id,
                state: known.activity.state.effective(nil),
                version: 0,
                updatedAt: known.operation.operation.createdAt
            )
    }

    /// - Returns: how many executions were cancelled or are asked to be.
    mutating func cancelAll(of id: DeviceID, tenant: TenantID) throws -> Int {
        guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
            throw OperationQueueError(
                .unknownDevice,
                "The device \(id) is not enrolled in this tenant."
            )
        }
        var count = 0
        for item in try connection.openItems(of: device) {
            guard let known = try touch(item.operation.number) else { continue }
            // Cancelling one may have cancelled what waits for it.
            let change = try change(known, on: device, by: .requestCancel)
            let isStopped = item.row != change.before
            guard change.changedRow || isStopped else { continue }
            count += 1
            try store(change, of: known.number, on: device)
        }
        return count
    }
}

extension SQLConnection {
    fileprivate func namedCount(of operation: OperationRecord, below ceiling: Int32) throws -> Int {
        let activity = operation.operation.activity
        var count = 0
        var page = 0
        while let next = try targetPages(operation.operation.number, from: page, limit: 1).first {
            for idx in next.devices {
                guard let device = try device(at: idx) else {
                    throw SQLiteStorageError.corruptRow(in: "target_page")
                }
                if activity.rank(of: device.row.id) < ceiling { count += 1 }
            }
            page = next.page + 1
        }
        return count
    }

    fileprivate func memberCount(of operation: OperationRecord, below ceiling: Int32) throws -> Int
    {
        guard let group = operation.groupIdx else { return 0 }
        let number = operation.operation.number
        let activity = operation.operation.activity
        let scope = operation.operation.terms.scope
        return try withStatement(
            "SELECT \(MembershipRecord.columns) FROM membership WHERE group_idx = ?"
        ) { statement in
            try statement.bind(group)
            var count = 0
            while try statement.step() {
                let interval = try MembershipRecord(statement)
                if scope.addresses(number, joined: interval.joined, left: interval.ended),
                    activity.rank(of: interval.device) < ceiling
                {
                    count += 1
                }
            }
            return count
        }
    }
}
#endif
