#if SQLite
internal import GRDBSQLite

extension SQLConnection {
    /// Makes the row checksum known to SQL, for migrations that copy rows:
    ///
    /// - `reeve_sum('table', column…)`: the checksum of a row of the table with these columns.
    /// - `reeve_verify('table', sum, column…)`: 1 if the checksum is that of the columns; else the
    ///   statement fails with code `corruptRow`.
    func addChecksumFunctions() throws {
        try add("reeve_sum") { context, count, values in
            guard let values, let sum = checksum(of: values, Int(count), from: 1) else {
                return sqlite3_result_error(context, "reeve_sum: no table", -1)
            }
            sqlite3_result_int64(context, sum.value)
        }
        try add("reeve_verify") { context, count, values in
            guard let values, count > 1, let sum = checksum(of: values, Int(count), from: 2) else {
                return sqlite3_result_error(context, "reeve_verify: no table or no sum", -1)
            }
            guard sum.value == sqlite3_value_int64(values[1]) else {
                // The message is the table's name: the error is made of it.
                let name = sqlite3_value_text(values[0])
                let size = sqlite3_value_bytes(values[0])
                name?.withMemoryRebound(to: CChar.self, capacity: Int(size)) {
                    sqlite3_result_error(context, $0, size)
                }
                return sqlite3_result_error_code(context, SQLiteStorageError.rowMismatch)
            }
            sqlite3_result_int(context, 1)
        }
    }

    private func add(
        _ name: String,
        _ body:
            @convention(c) (OpaquePointer?, Int32, UnsafeMutablePointer<OpaquePointer?>?) -> Void
    ) throws {
        let result = sqlite3_create_function_v2(
            handle,
            name,
            -1,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
            nil,
            body,
            nil,
            nil,
            nil
        )
        guard result == SQLITE_OK else {
            throw SQLiteStorageError.of(result, on: handle, during: "adding \(name)")
        }
    }
}

/// The sum over the values from `first` on; the first value is the table's name.
private func checksum(
    of values: UnsafeMutablePointer<OpaquePointer?>,
    _ count: Int,
    from first: Int
) -> RowChecksum? {
    guard count > 0, let name = sqlite3_value_text(values[0]) else { return nil }
    let size = Int(sqlite3_value_bytes(values[0]))
    var sum = RowChecksum(tableName: UnsafeRawBufferPointer(start: name, count: size))
    for index in first..<max(first, count) {
        let value = values[index]
        switch sqlite3_value_type(value) {
        case SQLITE_NULL: sum.addNull()
        case SQLITE_INTEGER: sum.add(sqlite3_value_int64(value))
        case SQLITE_TEXT:
            let start = sqlite3_value_text(value)
            let size = Int(sqlite3_value_bytes(value))
            sum.add(text: UnsafeRawBufferPointer(start: start, count: size))
        default:
            let start = sqlite3_value_blob(value)
            let size = start == nil ? 0 : Int(sqlite3_value_bytes(value))
            sum.add(blob: UnsafeRawBufferPointer(start: start, count: size))
        }
    }
    return sum
}
#endif
