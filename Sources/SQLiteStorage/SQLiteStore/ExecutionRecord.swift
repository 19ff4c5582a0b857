#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `execution`: everything of an ``Execution`` but its id, which follows from the
/// operation and the device.
struct ExecutionRecord {
    var number: Int64
    var deviceIdx: Int64
    var state: ExecutionState
    var version: Int32
    var attempt: AttemptID?
    var until: Timestamp?
    var redeliveries: Int32
    var retries: Int32
    var deferrals: Int32
    var startedAt: Timestamp?
    var confirmedAt: Timestamp?
    var updatedAt: Timestamp
    var detail: [UInt8]
    var lateAnswer: [UInt8]?

    static let columns = """
        number, device_idx, state, version, attempt, until, redeliveries, retries, deferrals, \
        started, confirmed, updated, detail, late_answer, sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("execution", sum: 14)
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
        retries = Int32(truncatingIfNeeded: row.int64(7))
        deferrals = Int32(truncatingIfNeeded: row.int64(8))
        startedAt = row.optionalInt64(9).map { Timestamp(rawValue: $0) }
        confirmedAt = row.optionalInt64(10).map { Timestamp(rawValue: $0) }
        updatedAt = Timestamp(rawValue: row.int64(11))
        detail = row.blob(12)
        lateAnswer = row.optionalBlob(13)
    }

    init(_ execution: Execution, number: Int64, deviceIdx: Int64) {
        self.number = number
        self.deviceIdx = deviceIdx
        state = execution.state
        version = execution.version
        attempt = execution.attempt
        until = execution.until
        redeliveries = execution.redeliveries
        retries = execution.retries
        deferrals = execution.deferrals
        startedAt = execution.startedAt
        confirmedAt = execution.confirmedAt
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
            retries: retries,
            deferrals: deferrals,
            startedAt: startedAt,
            confirmedAt: confirmedAt,
            updatedAt: updatedAt,
            detail: detail,
            lateAnswer: lateAnswer
        )
    }

    private static let insertion = StatementText(
        """
        INSERT OR REPLACE INTO execution (\(columns))
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    )

    func store(_ connection: SQLConnection) throws {
        try connection.store(Self.insertion, sealedFor: "execution") { row in
            try row.add(number)
            try row.add(deviceIdx)
            try row.add(state.rawValue)
            try row.add(version)
            try row.add(attempt?.bits)
            try row.add(until?.rawValue)
            try row.add(redeliveries)
            try row.add(retries)
            try row.add(deferrals)
            try row.add(startedAt?.rawValue)
            try row.add(confirmedAt?.rawValue)
            try row.add(updatedAt.rawValue)
            try row.add(detail)
            try row.add(lateAnswer)
        }
    }
}
#endif
