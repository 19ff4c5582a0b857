#if SQLite
internal import GRDBSQLite

/// A value a statement can carry.
package protocol SQLBindable {
    func bind(to statement: PreparedStatement, at index: Int32) throws
    func add(to sum: inout RowChecksum)
}

/// SQLite copies the bytes before the call returns.
nonisolated(unsafe) private let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

extension Int64: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try statement.check(sqlite3_bind_int64(statement.handle, index, self))
    }
    package func add(to sum: inout RowChecksum) { sum.add(self) }
}

extension Int: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try Int64(self).bind(to: statement, at: index)
    }
    package func add(to sum: inout RowChecksum) { sum.add(Int64(self)) }
}

extension Int32: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try Int64(self).bind(to: statement, at: index)
    }
    package func add(to sum: inout RowChecksum) { sum.add(Int64(self)) }
}

extension UInt8: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try Int64(self).bind(to: statement, at: index)
    }
    package func add(to sum: inout RowChecksum) { sum.add(Int64(self)) }
}

extension Bool: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try Int64(self ? 1 : 0).bind(to: statement, at: index)
    }
    package func add(to sum: inout RowChecksum) { sum.add(self ? 1 : 0) }
}

extension String: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        var text = self
        try text.withUTF8 { bytes in
            guard let start = bytes.baseAddress else {
                return try statement.check(
                    sqlite3_bind_text(statement.handle, index, "", 0, copied)
                )
            }
            try statement.check(
                start.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                    sqlite3_bind_text(statement.handle, index, $0, Int32(bytes.count), copied)
                }
            )
        }
    }
    package func add(to sum: inout RowChecksum) {
        var text = self
        text.withUTF8 { sum.add(text: UnsafeRawBufferPointer($0)) }
    }
}

extension Array: SQLBindable where Element == UInt8 {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        if isEmpty { return try statement.check(sqlite3_bind_zeroblob(statement.handle, index, 0)) }
        try withUnsafeBytes { bytes in
            try statement.check(
                sqlite3_bind_blob64(
                    statement.handle,
                    index,
                    bytes.baseAddress,
                    UInt64(bytes.count),
                    copied
                )
            )
        }
    }
    package func add(to sum: inout RowChecksum) { withUnsafeBytes { sum.add(blob: $0) } }
}

extension UInt128: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        try withUnsafeBytes(of: bigEndian) { bytes in
            try statement.check(
                sqlite3_bind_blob(statement.handle, index, bytes.baseAddress, 16, copied)
            )
        }
    }
    package func add(to sum: inout RowChecksum) {
        withUnsafeBytes(of: bigEndian) { sum.add(blob: $0) }
    }
}

extension Optional: SQLBindable where Wrapped: SQLBindable {
    package func bind(to statement: PreparedStatement, at index: Int32) throws {
        if let self {
            try self.bind(to: statement, at: index)
        } else {
            try statement.check(sqlite3_bind_null(statement.handle, index))
        }
    }
    package func add(to sum: inout RowChecksum) {
        if let self { self.add(to: &sum) } else { sum.addNull() }
    }
}
#endif
