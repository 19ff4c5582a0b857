#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `expansion`: a group operation whose members are still to be given their wakes.
///
/// Two operations may ask for theirs in one revision, when both their times have come.
struct ExpansionRecord {
    /// The revision that asks for the wakes.
    var number: Int64
    /// The operation: members as of it are woken.
    var operation: Int64
    var ranks: Range<Int32>
    var groupIdx: Int64
    /// The last member looked at.
    var after: DeviceID?
    var due: Timestamp

    static let columns = "number, operation, low, high, group_idx, after, due, sum"

    init(
        number: Int64,
        operation: Int64,
        ranks: Range<Int32>,
        groupIdx: Int64,
        due: Timestamp
    ) {
        self.number = number
        self.operation = operation
        self.ranks = ranks
        self.groupIdx = groupIdx
        self.due = due
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("expansion", sum: 7)
        let low = Int32(truncatingIfNeeded: row.int64(2))
        let high = Int32(truncatingIfNeeded: row.int64(3))
        guard low <= high else { throw SQLiteStorageError.corruptRow(in: "expansion") }
        number = row.int64(0)
        operation = row.int64(1)
        ranks = low..<high
        groupIdx = row.int64(4)
        after = row.optionalText(5).map { DeviceID(rawValue: $0) }
        due = Timestamp(rawValue: row.int64(6))
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "expansion",
            """
            INSERT OR REPLACE INTO expansion (\(ExpansionRecord.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            number,
            operation,
            ranks.lowerBound,
            ranks.upperBound,
            groupIdx,
            after?.rawValue,
            due.rawValue
        )
    }

    func forget(_ connection: SQLConnection) throws {
        try connection.run(
            "DELETE FROM expansion WHERE number = ? AND operation = ?",
            number,
            operation
        )
    }
}
#endif
