#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

// The queries of administrators that sift: bounded work a call.
extension EmbeddedStore {
    public func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage {
        let limit = max(1, min(limit, maximumPageSize))
        return try await file.read { connection in
            var page = ActivityPage(activities: [], next: nil)
            page.next = try connection.examine(
                OperationQuery(filter, tenant: tenant),
                before: before
            ) { operation in
                guard
                    filter.matches(
                        operation.operation,
                        group: operation.group,
                        initiator: operation.initiator
                    ), let record = try connection.activity(operation.operation.number),
                    filter.matches(record.state)
                else { return true }
                page.activities.append(try connection.activity(of: operation))
                return page.activities.count < limit
            }
            return page
        }
    }

    public func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage? {
        let limit = max(1, min(limit, maximumPageSize))
        return try await file.read { connection in
            guard let record = try connection.device(device, tenant: tenant) else { return nil }
            var page = DeviceExecutionPage(executions: [], next: nil)
            page.next = try connection.examine(
                OperationQuery(.everything, tenant: tenant),
                before: before
            ) { operation in
                let number = operation.operation.number
                guard try connection.concerns(operation, record),
                    let activity = try connection.activity(number)
                else { return true }
                page.executions.append(
                    DeviceExecution(
                        operation: operation.operation,
                        group: operation.group,
                        execution: try connection.execution(of: operation, activity, on: record)
                    )
                )
                return page.executions.count < limit
            }
            return page
        }
    }
}

/// The part of a filter that the database answers, from the index that selects best; the rest is sifted.
private struct OperationQuery: Sendable {
    var tenant: TenantID
    var index: String
    /// Beside the tenant: at most one.
    var condition: (column: String, value: String)?

    init(_ filter: ActivityFilter, tenant: TenantID) {
        self.tenant = tenant
        if let key = filter.idempotencyKey {
            index = "operation_request"
            condition = ("request_key", key)
        } else if filter.codes.count == 1, let code = filter.codes.first {
            index = "operation_code"
            condition = ("code", code.rawValue)
        } else if let group = filter.group {
            index = "operation_group"
            condition = ("group_name", group.rawValue)
        } else if let initiator = filter.initiator {
            index = "operation_initiator"
            condition = ("initiator", initiator)
        } else {
            index = "operation_tenant"
        }
    }
}

extension SQLConnection {
    /// Operations read at once.
    private static let examinedARead = 200

    /// Gives operations to `body`, newest first, until it returns `false`, none is left, or
    /// `maximumOperationsExamined` were given.
    ///
    /// - Returns: the number of the last one given, if more may follow.
    fileprivate func examine(
        _ query: OperationQuery,
        before: Int64?,
        _ body: (OperationRecord) throws -> Bool
    ) throws -> Int64? {
        var position = before ?? .max
        var examined = 0
        while examined < maximumOperationsExamined {
            let found = try operations(query, before: position, limit: Self.examinedARead)
            for (index, operation) in found.enumerated() {
                position = operation.operation.number
                examined += 1
                if try body(operation) { continue }
                let isLast = index == found.count - 1 && found.count < Self.examinedARead
                return isLast ? nil : position
            }
            if found.count < Self.examinedARead { return nil }
        }
        return position
    }

    private func operations(
        _ query: OperationQuery,
        before: Int64,
        limit: Int
    ) throws -> [OperationRecord] {
        let columns = OperationRecord.columns
        guard let (column, value) = query.condition else {
            return try rows(
                """
                SELECT \(columns) FROM operation INDEXED BY \(query.index)
                WHERE tenant = ? AND number < ? ORDER BY number DESC LIMIT ?
                """,
                query.tenant.rawValue,
                before,
                limit
            ) { try OperationRecord($0) }
        }
        return try rows(
            """
            SELECT \(columns) FROM operation INDEXED BY \(query.index)
            WHERE tenant = ? AND \(column) = ? AND number < ? ORDER BY number DESC LIMIT ?
            """,
            query.tenant.rawValue,
            value,
            before,
            limit
        ) { try OperationRecord($0) }
    }

    /// Whether this enrolment has a row of the operation or is addressed by it.
    fileprivate func concerns(_ operation: OperationRecord, _ device: DeviceRecord) throws -> Bool {
        if try execution(operation.operation.number, deviceIdx: device.idx) != nil { return true }
        return try addresses(operation, device)
    }
}
#endif
