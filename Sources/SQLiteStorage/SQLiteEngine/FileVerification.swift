#if SQLite
/// What a walk over every row of a database file found.
public struct FileVerification: Hashable, Sendable {
    /// One table.
    public struct Table: Hashable, Sendable {
        public var name: String
        /// Rows read.
        public var rows: Int
        /// Rows whose checksum does not match their columns.
        public var damaged: Int

        public init(name: String, rows: Int, damaged: Int) {
            self.name = name
            self.rows = rows
            self.damaged = damaged
        }
    }

    /// Every table whose rows carry checksums, in order of name.
    public var tables: [Table]
    /// What SQLite itself found wrong (`PRAGMA integrity_check`, a page that cannot be read), at most
    /// ``maximumProblems`` lines.
    public var problems: [String]

    /// Lines of ``problems`` that are kept: the first ones tell what happened.
    public static let maximumProblems = 100

    public init(tables: [Table] = [], problems: [String] = []) {
        self.tables = tables
        self.problems = problems
    }

    /// Whether every row is what was written and SQLite found nothing.
    public var isSound: Bool { problems.isEmpty && tables.allSatisfy { $0.damaged == 0 } }
    /// Rows read.
    public var rows: Int { tables.reduce(0) { $0 + $1.rows } }

    /// One line: what is wrong, or that nothing is.
    public var summary: String {
        if isSound { return "\(rows) rows in \(tables.count) tables, all sound" }
        let damaged = tables.filter { $0.damaged > 0 }
            .map { "\($0.damaged) of \($0.rows) rows of \($0.name) are damaged" }
        return (damaged + problems.prefix(3)).joined(separator: "; ")
    }
}

extension SQLConnection {
    /// Reads every row of every table that carries checksums, and lets SQLite check its own structure.
    ///
    /// Each table is one statement, outside a transaction, so that a walk over a large running store
    /// keeps no snapshot longer than one table takes.
    ///
    /// - Parameter order: the columns of tables whose checksum is not over the columns before `sum` in
    ///   their order in the table, by table; the last one is `sum`.
    package func verifyEveryRow(order: [String: [String]] = [:]) throws -> FileVerification {
        var result = FileVerification()
        let names = try rows(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ) { $0.text(0) }
        for name in names where !name.hasPrefix("sqlite_") {
            let known = try rows("SELECT name FROM pragma_table_info(?) ORDER BY cid", name) {
                $0.text(0)
            }
            let columns = order[name] ?? known
            guard columns.last == "sum" else {
                if known.contains("sum") {
                    result.problems.append("the order of the columns of table \(name) is not known")
                }
                continue
            }
            var table = FileVerification.Table(name: name, rows: 0, damaged: 0)
            do {
                try verify(&table, columns: columns)
            } catch let error as SQLiteStorageError where error.code == .corruptFile {
                result.problems.append("table \(name): \(error.message)")
            }
            result.tables.append(table)
        }
        do {
            result.problems += try rows(
                "PRAGMA integrity_check(\(FileVerification.maximumProblems))"
            ) { $0.text(0) }.filter { $0 != "ok" }
        } catch let error as SQLiteStorageError where error.code == .corruptFile {
            result.problems.append(error.message)
        }
        result.problems = Array(result.problems.prefix(FileVerification.maximumProblems))
        return result
    }

    private func verify(_ table: inout FileVerification.Table, columns: [String]) throws {
        let seed = RowChecksum(tableNamed: table.name)
        let sum = Int32(columns.count - 1)
        let list = columns.map { "\"\($0)\"" }.joined(separator: ", ")
        try withStatement("SELECT \(list) FROM \"\(table.name)\"") { statement in
            while try statement.step() {
                table.rows += 1
                if !statement.matches(seed, sum: sum) { table.damaged += 1 }
            }
        }
    }
}
#endif
