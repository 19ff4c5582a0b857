#if SQLite
internal import GRDBSQLite

/// Looking through a whole file for damage.
///
/// A row's checksum is compared whenever the row is read; that finds what was changed, but not what
/// can no longer be found. SQLite's integrity check finds that: every index entry has its row and
/// every row its entries, and each page is filled without a gap.
extension DatabaseFile {
    /// Reads everything, in one snapshot, beside the writer.
    ///
    /// - Parameter ownKeys: tables whose first column is a key that SQLite gives out when a row is
    ///   inserted, and so is not under the checksum.
    /// - Returns: how many rows were read.
    /// - Throws: ``SQLiteStorageError`` with `corruptFile` or `corruptRow` for the first damage found.
    package func verify(ownKeys: Set<String> = []) async throws -> Int {
        try await read { connection in
            try connection.checkStructure()
            let tables = try connection.rows(
                "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
            ) { $0.text(0) }
            return try tables.reduce(0) {
                $0 + (try connection.verifyRows(of: $1, from: ownKeys.contains($1) ? 1 : 0))
            }
        }
    }
}

extension SQLConnection {
    fileprivate func checkStructure() throws {
        let problem = try row("PRAGMA integrity_check(1)") { $0.text(0) }
        guard problem == "ok" else {
            throw SQLiteStorageError(
                .corruptFile,
                "The file is damaged (\(problem ?? "")). Restore it from a backup, and check the disk."
            )
        }
    }

    /// Compares the checksums of a table's rows, if its last column is one.
    fileprivate func verifyRows(of table: String, from first: Int32) throws -> Int {
        try withStatement("SELECT * FROM \"\(table)\"") { statement in
            let sum = sqlite3_column_count(statement.handle) - 1
            guard sum > first,
                sqlite3_column_name(statement.handle, sum).map({ String(cString: $0) }) == "sum"
            else { return 0 }
            var name = table
            let begun = name.withUTF8 { RowChecksum(tableName: UnsafeRawBufferPointer($0)) }
            var count = 0
            while try statement.step() {
                let expected = statement.checksum(begun, of: first..<sum)
                if statement.int64(sum) != expected {
                    throw SQLiteStorageError.corruptRow(inTable: table)
                }
                count += 1
            }
            return count
        }
    }
}
#endif
