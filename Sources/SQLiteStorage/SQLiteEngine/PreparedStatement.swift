#if SQLite
internal import GRDBSQLite

/// One compiled statement of one connection. Confined to it: neither is `Sendable`.
package final class PreparedStatement {
    let handle: OpaquePointer
    private let connection: OpaquePointer
    var isBusy = false

    init(_ sql: String, on connection: OpaquePointer) throws {
        var statement: OpaquePointer?
        let result = sqlite3_prepare_v3(
            connection,
            sql,
            -1,
            UInt32(SQLITE_PREPARE_PERSISTENT),
            &statement,
            nil
        )
        guard result == SQLITE_OK, let statement else {
            throw SQLiteStorageError.of(result, on: connection, during: sql)
        }
        handle = statement
        self.connection = connection
    }

    deinit { sqlite3_finalize(handle) }

    /// Steps once.
    ///
    /// - Returns: whether there is a row to read.
    @discardableResult
    package func step() throws -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let result:
            let sql = sqlite3_sql(handle).map { String(cString: $0) } ?? "statement"
            throw SQLiteStorageError.of(result, on: connection, during: sql)
        }
    }

    /// Makes it ready for new values.
    package func reset() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    /// Makes it ready for new values of all parameters; the old ones stay until then. For statements
    /// with short ones.
    func rewind() { sqlite3_reset(handle) }

    package func bind(_ number: Int64, at index: Int32) throws {
        try check(sqlite3_bind_int64(handle, index, number))
    }

    package func bind(_ text: String, at index: Int32) throws { try text.bind(to: self, at: index) }

    func bindNull(at index: Int32) throws { try check(sqlite3_bind_null(handle, index)) }

    /// Binds all parameters, from the first on.
    @inlinable
    package func bind<each Value: SQLBindable>(_ values: repeat each Value) throws {
        var index: Int32 = 0
        for value in repeat each values {
            index += 1
            try value.bind(to: self, at: index)
        }
    }

    /// Binds all parameters and, as the last one, the checksum over them.
    @inlinable
    package func bind<each Value: SQLBindable>(
        sealedFor table: StaticString,
        _ values: repeat each Value
    ) throws {
        var index: Int32 = 0
        var sum = RowChecksum(table: table)
        for value in repeat each values {
            index += 1
            try value.bind(to: self, at: index)
            value.add(to: &sum)
        }
        try sum.value.bind(to: self, at: index + 1)
    }

    func check(_ result: Int32) throws {
        if result != SQLITE_OK {
            throw SQLiteStorageError.of(result, on: connection, during: "binding a value")
        }
    }

    // MARK: Columns of the present row

    package func isNull(_ column: Int32) -> Bool {
        sqlite3_column_type(handle, column) == SQLITE_NULL
    }

    package func int64(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    package func int(_ column: Int32) -> Int {
        Int(truncatingIfNeeded: sqlite3_column_int64(handle, column))
    }

    package func optionalInt64(_ column: Int32) -> Int64? {
        isNull(column) ? nil : int64(column)
    }

    package func text(_ column: Int32) -> String {
        guard let bytes = sqlite3_column_text(handle, column) else { return "" }
        let count = Int(sqlite3_column_bytes(handle, column))
        return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    package func optionalText(_ column: Int32) -> String? { isNull(column) ? nil : text(column) }

    package func withBytes<Result>(
        _ column: Int32,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        let start = sqlite3_column_blob(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        return try body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }

    package func blob(_ column: Int32) -> [UInt8] { withBytes(column) { Array($0) } }

    package func optionalBlob(_ column: Int32) -> [UInt8]? { isNull(column) ? nil : blob(column) }

    /// A 128-bit number, stored as 16 big-endian bytes.
    package func uint128(_ column: Int32) throws -> UInt128 {
        try withBytes(column) { bytes in
            guard bytes.count == 16 else {
                throw SQLiteStorageError(.corruptRow, "An identifier has \(bytes.count) bytes.")
            }
            return UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self))
        }
    }

    package func optionalUInt128(_ column: Int32) throws -> UInt128? {
        isNull(column) ? nil : try uint128(column)
    }

    /// Compares the checksum in column `sumColumn` with the columns from `first` up to it.
    ///
    /// - Throws: ``SQLiteStorageError`` with code `corruptRow`, naming the table.
    package func verify(_ table: StaticString, from first: Int32 = 0, sum sumColumn: Int32) throws {
        guard matches(RowChecksum(table: table), from: first, sum: sumColumn) else {
            throw SQLiteStorageError.corruptRow(in: table)
        }
    }

    /// Whether the checksum in column `sumColumn` is that of the columns from `first` up to it.
    ///
    /// - Parameters:
    ///   - seed: the sum of the table's name.
    ///   - first: the first column that is summed.
    ///   - sumColumn: where the stored sum is.
    func matches(_ seed: RowChecksum, from first: Int32 = 0, sum sumColumn: Int32) -> Bool {
        var sum = seed
        for column in first..<sumColumn {
            switch sqlite3_column_type(handle, column) {
            case SQLITE_NULL: sum.addNull()
            case SQLITE_INTEGER: sum.add(sqlite3_column_int64(handle, column))
            case SQLITE_TEXT:
                let start = sqlite3_column_text(handle, column)
                let count = Int(sqlite3_column_bytes(handle, column))
                sum.add(text: UnsafeRawBufferPointer(start: start, count: count))
            default: withBytes(column) { sum.add(blob: $0) }
            }
        }
        return sum.value == sqlite3_column_int64(handle, sumColumn)
    }
}

extension SQLiteStorageError {
    /// A row that is not what was written.
    package static func corruptRow(in table: StaticString) -> SQLiteStorageError {
        corruptRow(inTable: table.description)
    }

    /// The code of a statement that met such a row: SQLite's for damage, with a part of our own.
    static let rowMismatch = SQLITE_CORRUPT | (200 << 8)

    static func corruptRow(inTable table: String) -> SQLiteStorageError {
        SQLiteStorageError(
            .corruptRow,
            "A row of table \(table) does not match its checksum: the file was damaged. Restore it "
                + "from a backup, and check the disk."
        )
    }

    /// The error of a failed call of the sqlite3 C API.
    static func of(
        _ result: Int32,
        on connection: OpaquePointer?,
        during what: String
    ) -> SQLiteStorageError {
        let detail = connection.flatMap { sqlite3_errmsg($0) }.map { String(cString: $0) } ?? ""
        if result == rowMismatch { return corruptRow(inTable: detail) }
        let text = "SQLite error \(result) (\(detail)) in: \(what.prefix(200))"
        return switch result & 0xFF {
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            SQLiteStorageError(
                .corruptFile,
                "The file is damaged or no database. Restore it from a backup. \(text)"
            )
        case SQLITE_FULL:
            SQLiteStorageError(
                .full,
                "The disk is full: free some space. Nothing of this call was stored. \(text)",
                retryAfter: .seconds(10)
            )
        case SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_PERM:
            SQLiteStorageError(.io, "Cannot read or write the file. \(text)")
        default: SQLiteStorageError(.statement, text)
        }
    }
}
#endif
