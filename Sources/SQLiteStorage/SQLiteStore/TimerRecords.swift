#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `timer`: when the server must look at something by itself.
struct TimerRecord {
    var number: Int64
    /// ``ofActivity`` for the activity's own.
    var deviceIdx: Int64
    var due: Timestamp

    static let ofActivity: Int64 = 0

    init(number: Int64, deviceIdx: Int64, due: Timestamp) {
        self.number = number
        self.deviceIdx = deviceIdx
        self.due = due
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("timer", sum: 3)
        number = row.int64(0)
        deviceIdx = row.int64(1)
        due = Timestamp(rawValue: row.int64(2))
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "timer",
            "INSERT OR REPLACE INTO timer (number, device_idx, due, sum) VALUES (?, ?, ?, ?)",
            number,
            deviceIdx,
            due.rawValue
        )
    }
}

extension SQLConnection {
    /// What is due, oldest first.
    func dueTimers(at now: Timestamp, limit: Int) throws -> [TimerRecord] {
        try rows(
            """
            SELECT number, device_idx, due, sum FROM timer WHERE due <= ?
            ORDER BY due, number, device_idx LIMIT ?
            """,
            now.rawValue,
            limit
        ) { try TimerRecord($0) }
    }

    func forgetTimer(_ number: Int64, deviceIdx: Int64) throws {
        try run("DELETE FROM timer WHERE number = ? AND device_idx = ?", number, deviceIdx)
    }

    // MARK: Table `dependency`: open activities that wait for another

    func addDependency(on number: Int64, of dependent: Int64) throws {
        try run(
            sealedFor: "dependency",
            "INSERT OR REPLACE INTO dependency (on_number, number, sum) VALUES (?, ?, ?)",
            number,
            dependent
        )
    }

    func forgetDependency(on number: Int64, of dependent: Int64) throws {
        try run("DELETE FROM dependency WHERE on_number = ? AND number = ?", number, dependent)
    }

    /// Those that wait for an activity, ascending.
    func dependents(on number: Int64) throws -> [Int64] {
        try rows(
            "SELECT on_number, number, sum FROM dependency WHERE on_number = ? ORDER BY number",
            number
        ) {
            try $0.verify("dependency", sum: 2)
            return $0.int64(1)
        }
    }
}
#endif
