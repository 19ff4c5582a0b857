#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `wake`.
struct WakeRecord {
    var deviceIdx: Int64
    var generation: Int64
    var number: Int64
    var due: Timestamp
    var attempts: Int32 = 0
    var failure = ""

    static let columns = """
        wake.device_idx, wake.generation, wake.number, wake.due, wake.attempts, wake.failure, wake.sum
        """

    init(deviceIdx: Int64, generation: Int64, number: Int64, due: Timestamp) {
        self.deviceIdx = deviceIdx
        self.generation = generation
        self.number = number
        self.due = due
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("wake", sum: 6)
        deviceIdx = row.int64(0)
        generation = row.int64(1)
        number = row.int64(2)
        due = Timestamp(rawValue: row.int64(3))
        attempts = Int32(truncatingIfNeeded: row.int64(4))
        failure = row.text(5)
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "wake",
            """
            INSERT OR REPLACE INTO wake (device_idx, generation, number, due, attempts, failure, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            deviceIdx,
            generation,
            number,
            due.rawValue,
            attempts,
            failure
        )
    }

    func wake(_ device: DeviceRow) -> WakeUp {
        WakeUp(
            tenant: device.tenant,
            device: device.id,
            generation: generation,
            number: number,
            due: due,
            attempts: attempts,
            lastFailure: failure
        )
    }
}

/// Wishes to wake devices, made in one transaction. The generation and the count are stored once, by
/// ``finish()``.
struct WakeRequests {
    private let connection: SQLConnection
    private var generation: Int64
    private(set) var added = 0
    private(set) var coalesced = 0

    init(_ connection: SQLConnection) throws {
        self.connection = connection
        generation = try connection.metaNumber(MetaName.generation)
    }

    /// Adds a wish to wake a device for `number`, joining the row it has.
    mutating func request(deviceIdx: Int64, number: Int64, due: Timestamp) throws {
        generation += 1
        if var known = try connection.wake(ofDeviceAt: deviceIdx) {
            known.generation = generation
            known.number = max(known.number, number)
            try known.store(connection)
            coalesced += 1
        } else {
            try WakeRecord(
                deviceIdx: deviceIdx,
                generation: generation,
                number: number,
                due: due
            ).store(connection)
            added += 1
        }
    }

    func finish() throws {
        try connection.setMetaNumber(MetaName.generation, generation)
        try connection.count(.coalesced, coalesced)
    }
}

/// The totals of the outbox. The raw values are names in the table `meta`.
enum WakeCounterName: String {
    case sent = "wake-sent"
    case coalesced = "wake-coalesced"
    case retried = "wake-retried"
    case abandoned = "wake-abandoned"
    case foundByPolling = "wake-found-by-polling"
    case deadTokens = "wake-dead-tokens"
}

extension SQLConnection {
    private static let wakeOfDevice = StatementText(
        "SELECT \(WakeRecord.columns) FROM wake WHERE device_idx = ?"
    )

    func wake(ofDeviceAt idx: Int64) throws -> WakeRecord? {
        try row(Self.wakeOfDevice, idx) { try WakeRecord($0) }
    }

    func forgetWake(ofDeviceAt idx: Int64) throws {
        try run("DELETE FROM wake WHERE device_idx = ?", idx)
    }

    func count(_ counter: WakeCounterName, _ more: Int) throws {
        guard more != 0 else { return }
        try setMetaNumber(counter.rawValue, try metaNumber(counter.rawValue) + Int64(more))
    }

    func count(_ counter: WakeCounterName) throws -> Int {
        Int(truncatingIfNeeded: try metaNumber(counter.rawValue))
    }
}
#endif
