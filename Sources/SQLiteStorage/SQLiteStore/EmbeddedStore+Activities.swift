#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

// What administrators see: ActivityReader, which OperationStorage includes.
extension EmbeddedStore {
    public func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity? {
        try await file.read { connection in
            try connection.operation(of: id, tenant: tenant).map { try connection.activity(of: $0) }
        }
    }

    public func activities(
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Activity] {
        let limit = max(0, min(limit, maximumPageSize))
        return try await file.read { connection in
            let operations = try connection.rows(
                """
                SELECT \(OperationRecord.columns) FROM operation WHERE tenant = ? AND number < ?
                ORDER BY number DESC LIMIT ?
                """,
                tenant.rawValue,
                before ?? .max,
                limit
            ) { try OperationRecord($0) }
            return try operations.map { try connection.activity(of: $0) }
        }
    }

    /// Rows carry the state the device's execution is in: for work that ended with its activity, the
    /// activity's, so that the list agrees with `Activity.counts`.
    public func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution] {
        let limit = max(0, min(limit, maximumPageSize))
        return try await file.read { connection in
            guard let operation = try connection.operation(of: activity, tenant: tenant),
                let record = try connection.activity(operation.operation.number)
            else { return [] }
            let devices: [DeviceRecord]
            if operation.group == nil {
                devices = try connection.named(
                    operation.operation.number,
                    after: after,
                    limit: limit
                )
            } else {
                devices = try connection.members(of: operation, after: after, limit: limit)
            }
            return try devices.map { try connection.execution(of: operation, record, on: $0) }
        }
    }

    public func execution(_ id: ExecutionID, tenant: TenantID) async throws -> Execution? {
        try await file.read { connection in
            guard let operation = try connection.operation(id.operation),
                operation.tenant == tenant,
                let record = try connection.activity(operation.operation.number),
                let device = try connection.device(id.device, tenant: tenant),
                device.row.incarnation == id.incarnation
            else { return nil }
            let row = try connection.execution(record.number, deviceIdx: device.idx)
            guard try row != nil || connection.addresses(operation, device) else { return nil }
            return try connection.execution(of: operation, record, on: device)
        }
    }
}

extension SQLConnection {
    func activity(of operation: OperationRecord) throws -> Activity {
        let number = operation.operation.number
        guard let record = try activity(number) else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        var operation = operation
        operation.operation.payload = try payload(number)
        return record.activity(of: operation)
    }

    /// The named devices behind `after`, in order.
    fileprivate func named(
        _ number: Int64,
        after: DeviceID?,
        limit: Int
    ) throws -> [DeviceRecord] {
        var result: [DeviceRecord] = []
        var page = try after.flatMap { try targetPage(number, holding: $0)?.page } ?? 0
        while result.count < limit, let next = try targetPages(number, from: page, limit: 1).first {
            for idx in next.devices where result.count < limit {
                guard let device = try device(at: idx) else {
                    throw SQLiteStorageError.corruptRow(in: "target_page")
                }
                if let after {
                    let isBehind = NamedTarget.precedes(
                        NamedTarget(device: after, idx: 0),
                        NamedTarget(device: device.row.id, idx: 0)
                    )
                    if !isBehind { continue }
                }
                result.append(device)
            }
            page = next.page + 1
        }
        return result
    }

    /// Whom an operation for joiners is for, and who left with a row of it; behind `after`, in order.
    private func joiners(
        of operation: OperationRecord,
        in group: Int64,
        after: DeviceID?,
        limit: Int
    ) throws -> [DeviceRecord] {
        let number = operation.operation.number
        let scope = operation.operation.terms.scope
        var result: [DeviceRecord] = []
        var seen: Set<Int64> = []
        try withStatement(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id > ? ORDER BY device_id, joined
            """
        ) { statement in
            try statement.bind(group, after?.rawValue ?? "")
            while result.count < limit, try statement.step() {
                let interval = try MembershipRecord(statement)
                if seen.contains(interval.deviceIdx) { continue }
                let isAddressed = scope.addresses(
                    number,
                    joined: interval.joined,
                    left: interval.ended
                )
                guard
                    try isAddressed
                        || execution(number, deviceIdx: interval.deviceIdx) != nil
                else { continue }
                guard let device = try device(at: interval.deviceIdx) else {
                    throw SQLiteStorageError.corruptRow(in: "membership")
                }
                seen.insert(interval.deviceIdx)
                result.append(device)
            }
        }
        return result
    }

    /// The members of the operation's group at its number, behind `after`, in order.
    fileprivate func members(
        of operation: OperationRecord,
        after: DeviceID?,
        limit: Int
    ) throws -> [DeviceRecord] {
        guard let group = operation.groupIdx else { return [] }
        if operation.operation.terms.scope.isStanding {
            return try joiners(of: operation, in: group, after: after, limit: limit)
        }
        let number = operation.operation.number
        let intervals = try rows(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id > ? AND joined <= ? AND ifnull(ended, ?) > ?
            ORDER BY device_id LIMIT ?
            """,
            group,
            after?.rawValue ?? "",
            number,
            Int64.max,
            number,
            limit
        ) { try MembershipRecord($0) }
        return try intervals.map { interval in
            guard let device = try device(at: interval.deviceIdx) else {
                throw SQLiteStorageError.corruptRow(in: "membership")
            }
            return device
        }
    }

    /// The row of a device that is addressed, or what the activity says of it.
    func execution(
        of operation: OperationRecord,
        _ record: ActivityRecord,
        on device: DeviceRecord
    ) throws -> Execution {
        let id = operation.operation.id
        if let row = try execution(record.number, deviceIdx: device.idx) {
            var execution = row.execution(of: id, on: device.row)
            execution.state = record.state.effective(row.state)
            return execution
        }
        return Execution(
            id: ExecutionID(
                operation: id,
                incarnation: device.row.incarnation,
                device: device.row.id
            ),
            state: record.state.effective(nil),
            version: 0,
            updatedAt: record.closedAt ?? operation.operation.createdAt
        )
    }
}
#endif
