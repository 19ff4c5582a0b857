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
        expires, lease, created, initiator, request_key, request_digest, unknown, sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("operation", sum: 17)
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
            createdAt: Timestamp(rawValue: row.int64(12))
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
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
            unknown
        )
        try connection.run(
            sealedFor: "payload",
            "INSERT INTO payload (number, bytes, sum) VALUES (?, ?, ?)",
            operation.number,
            operation.payload
        )
    }
}

/// A row of table `activity`: what changes while devices answer.
struct ActivityRecord {
    var number: Int64
    var groupIdx: Int64?
    var expires: Timestamp?
    var state: ActivityState
    var closedAt: Timestamp?
    var addressed: Int
    var late: Int
    var counts: StateCounts
    /// Whether replicas and open work hold it.
    var isLive: Bool

    static let columns =
        "number, group_idx, expires, state, closed, addressed, late, counts, live, sum"

    init(_ row: PreparedStatement) throws {
        try row.verify("activity", sum: 9)
        guard let state = ActivityState(rawValue: UInt8(truncatingIfNeeded: row.int64(3))) else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        number = row.int64(0)
        groupIdx = row.optionalInt64(1)
        expires = row.optionalInt64(2).map { Timestamp(rawValue: $0) }
        self.state = state
        closedAt = row.optionalInt64(4).map { Timestamp(rawValue: $0) }
        addressed = row.int(5)
        late = row.int(6)
        counts = try StateCounts(stored: row.blob(7))
        isLive = row.int64(8) == 1
    }

    init(_ operation: OperationRecord, addressed: Int) {
        number = operation.operation.number
        groupIdx = operation.groupIdx
        expires = operation.operation.expiresAt
        self.addressed = addressed
        state = addressed == 0 ? .finished : .open
        closedAt = addressed == 0 ? operation.operation.createdAt : nil
        late = 0
        counts = StateCounts()
        isLive = addressed > 0
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "activity",
            """
            INSERT INTO activity (\(ActivityRecord.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (number) DO UPDATE SET state = excluded.state, closed = excluded.closed,
                late = excluded.late, counts = excluded.counts, live = excluded.live,
                sum = excluded.sum
            """,
            number,
            groupIdx,
            expires?.rawValue,
            state.rawValue,
            closedAt?.rawValue,
            addressed,
            late,
            counts.stored,
            isLive
        )
    }

    /// The activity as the vocabulary has it.
    func activity(of operation: OperationRecord) -> Activity {
        Activity(
            tenant: operation.tenant,
            operation: operation.operation,
            group: operation.group,
            initiator: operation.initiator,
            state: state,
            closedAt: closedAt,
            addressed: addressed,
            rowCounts: counts,
            answeredLate: late
        )
    }

    /// Takes over what ``Activity``'s own rules made of it.
    mutating func take(_ activity: Activity) {
        state = activity.state
        closedAt = activity.closedAt
        counts = activity.rowCounts
        late = activity.answeredLate
        isLive = activity.isLive
    }
}

extension StateCounts {
    /// A version byte, then one count a state, in the order of the raw values.
    var stored: [UInt8] {
        var writer = ByteWriter(capacity: 32)
        writer.write(UInt8(1))
        writer.write(array: ExecutionState.allCases) { $0.writeVariable(UInt64(max(0, self[$1]))) }
        return writer.bytes
    }

    init(stored bytes: [UInt8]) throws {
        self.init()
        var reader = ByteReader(bytes)
        try reader.expectVersion(1, of: "activity counts")
        let values = try reader.readArray { (reader) throws(ClusterRoleError) in
            try reader.readVariable()
        }
        for (state, value) in zip(ExecutionState.allCases, values) {
            self[state] = Int(truncatingIfNeeded: value)
        }
    }
}

/// A row of table `execution`.
struct ExecutionRecord {
    var number: Int64
    var deviceIdx: Int64
    /// Everything of an ``Execution`` but its id, which follows from the operation and the device.
    var state: ExecutionState
    var version: Int32
    var attempt: AttemptID?
    var until: Timestamp?
    var redeliveries: Int32
    var updatedAt: Timestamp
    var detail: [UInt8]
    var lateAnswer: [UInt8]?

    static let columns = """
        number, device_idx, state, version, attempt, until, redeliveries, updated, detail, \
        late_answer, sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("execution", sum: 10)
        guard let state = ExecutionState(rawValue: UInt8(truncatingIfNeeded: row.int64(2))) else {
            throw SQLiteStorageError.corruptRow(in: "execution")
        }
        number = row.int64(0)
        deviceIdx = row.int64(1)
        self.state = state
        version = Int32(truncatingIfNeeded: row.int64(3))
        attempt = try row.optionalUInt128(4).map { AttemptID(bits: $0) }
        until = row.optionalInt64(5).map { Timestamp(rawValue: $0) }
        redeliveries = Int32(truncatingIfNeeded: row.int64(6))
        updatedAt = Timestamp(rawValue: row.int64(7))
        detail = row.blob(8)
        lateAnswer = row.optionalBlob(9)
    }

    init(_ execution: Execution, number: Int64, deviceIdx: Int64) {
        self.number = number
        self.deviceIdx = deviceIdx
        state = execution.state
        version = execution.version
        attempt = execution.attempt
        until = execution.until
        redeliveries = execution.redeliveries
        updatedAt = execution.updatedAt
        detail = execution.detail
        lateAnswer = execution.lateAnswer
    }

    func execution(of operation: OperationID, on device: DeviceRow) -> Execution {
        Execution(
            id: ExecutionID(
                operation: operation,
                incarnation: device.incarnation,
                device: device.id
            ),
            state: state,
            version: version,
            attempt: attempt,
            until: until,
            redeliveries: redeliveries,
            updatedAt: updatedAt,
            detail: detail,
            lateAnswer: lateAnswer
        )
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "execution",
            """
            INSERT OR REPLACE INTO execution (\(ExecutionRecord.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            number,
            deviceIdx,
            state.rawValue,
            version,
            attempt?.bits,
            until?.rawValue,
            redeliveries,
            updatedAt.rawValue,
            detail,
            lateAnswer
        )
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

    func activity(_ number: Int64) throws -> ActivityRecord? {
        try row("SELECT \(ActivityRecord.columns) FROM activity WHERE number = ?", number) {
            try ActivityRecord($0)
        }
    }

    func execution(_ number: Int64, deviceIdx: Int64) throws -> ExecutionRecord? {
        try row(
            """
            SELECT \(ExecutionRecord.columns) FROM execution WHERE number = ? AND device_idx = ?
            """,
            number,
            deviceIdx
        ) { try ExecutionRecord($0) }
    }
}
#endif
