#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `operation`: what does not change once enqueued, without the payload.
struct OperationRecord {
    /// With an empty payload: that has a table of its own.
    var operation: DeviceOperation
    var tenant: TenantID
    var groupIdx: Int64?
    var group: GroupID?
    var initiator: String
    var requestKey: String?
    var requestDigest: [UInt8]
    var unknown: Int

    static let columns = """
        number, id, activity, tenant, group_idx, group_name, code, type, priority, strictness, \
        expires, lease, created, initiator, request_key, request_digest, unknown, \
        terms, sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("operation", sum: 18)
        guard let type = OperationType(rawValue: row.text(7)),
            let order = OrderRule(rawValue: UInt8(truncatingIfNeeded: row.int64(9)))
        else { throw SQLiteStorageError.corruptRow(in: "operation") }
        operation = DeviceOperation(
            id: OperationID(bits: try row.uint128(1)),
            activity: ActivityID(bits: try row.uint128(2)),
            number: row.int64(0),
            code: OperationCode(rawValue: row.text(6)),
            type: type,
            priority: Int32(truncatingIfNeeded: row.int64(8)),
            order: order,
            expiresAt: row.optionalInt64(10).map { Timestamp(rawValue: $0) },
            deliveryLease: .milliseconds(row.int64(11)),
            createdAt: Timestamp(rawValue: row.int64(12)),
            terms: try row.terms(17)
        )
        tenant = TenantID(rawValue: row.text(3))
        groupIdx = row.optionalInt64(4)
        group = row.optionalText(5).map { GroupID(rawValue: $0) }
        initiator = row.text(13)
        requestKey = row.optionalText(14)
        requestDigest = row.blob(15)
        unknown = row.int(16)
    }

    init(_ plan: EnqueuePlan, tenant: TenantID, number: Int64) {
        operation = plan.operation
        operation.number = number
        self.tenant = tenant
        group = plan.target.group
        initiator = plan.initiator
        requestKey = plan.idempotencyKey
        requestDigest = plan.requestDigest
        unknown = 0
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "operation",
            """
            INSERT INTO operation (\(OperationRecord.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            operation.number,
            operation.id.bits,
            operation.activity.bits,
            tenant.rawValue,
            groupIdx,
            group?.rawValue,
            operation.code.rawValue,
            operation.type.rawValue,
            operation.priority,
            operation.order.rawValue,
            operation.expiresAt?.rawValue,
            operation.deliveryLease.milliseconds,
            operation.createdAt.rawValue,
            initiator,
            requestKey,
            requestDigest,
            unknown,
            operation.terms.encoded
        )
        try connection.run(
            sealedFor: "payload",
            "INSERT INTO payload (number, bytes, sum) VALUES (?, ?, ?)",
            operation.number,
            operation.payload
        )
    }
}

extension PreparedStatement {
    /// Nothing is decoded for standard terms, which most operations have.
    fileprivate func terms(_ column: Int32) throws -> OperationTerms {
        let bytes = blob(column)
        return bytes.isEmpty ? .standard : try OperationTerms(encoded: bytes)
    }
}

extension SQLConnection {
    func operation(_ number: Int64) throws -> OperationRecord? {
        try row("SELECT \(OperationRecord.columns) FROM operation WHERE number = ?", number) {
            try OperationRecord($0)
        }
    }

    func operation(_ id: OperationID) throws -> OperationRecord? {
        let found = try row(
            "SELECT \(OperationRecord.columns) FROM operation WHERE id = ?",
            id.bits
        ) { try OperationRecord($0) }
        if let found, found.operation.id != id {
            throw SQLiteStorageError.corruptRow(in: "operation_id")
        }
        return found
    }

    func operation(of activity: ActivityID, tenant: TenantID) throws -> OperationRecord? {
        let found = try row(
            "SELECT \(OperationRecord.columns) FROM operation WHERE activity = ?",
            activity.bits
        ) { try OperationRecord($0) }
        if let found, found.operation.activity != activity {
            throw SQLiteStorageError.corruptRow(in: "operation_activity")
        }
        return found?.tenant == tenant ? found : nil
    }

    func payload(_ number: Int64) throws -> [UInt8] {
        let bytes = try row("SELECT number, bytes, sum FROM payload WHERE number = ?", number) {
            try $0.verify("payload", sum: 2)
            return $0.blob(1)
        }
        guard let bytes else { throw SQLiteStorageError.corruptRow(in: "payload") }
        return bytes
    }

    private static let activityByNumber = StatementText(
        "SELECT \(ActivityRecord.columns) FROM activity WHERE number = ?"
    )
    private static let executionByPlace = StatementText(
        "SELECT \(ExecutionRecord.columns) FROM execution WHERE number = ? AND device_idx = ?"
    )

    func activity(_ number: Int64) throws -> ActivityRecord? {
        if let shared = sharedRow(number) as? SharedActivity { return shared.record }
        guard isWriter else {
            return try row(Self.activityByNumber, number) { try ActivityRecord($0) }
        }
        if let known = remembered.activities[number] { return known }
        let record = try row(Self.activityByNumber, number) { try ActivityRecord($0) }
        if let record { remembered.activities[number] = record }
        return record
    }

    func execution(_ number: Int64, deviceIdx: Int64) throws -> ExecutionRecord? {
        try row(Self.executionByPlace, number, deviceIdx) { try ExecutionRecord($0) }
    }
}
#endif
