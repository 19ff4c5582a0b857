#if SQLite
internal import GRDBSQLite

/// One open connection with its compiled statements.
///
/// It is not `Sendable`: it is handed to the closures of ``DatabaseFile/read(_:)`` and
/// ``GroupCommitter/write(_:)`` and must not leave them. Statements are compiled once and kept.
package final class SQLConnection {
    let handle: OpaquePointer
    /// Whether it is the file's one writer: what it remembers of rows is true, for nobody else changes
    /// them.
    package let isWriter: Bool
    private var statements: [TextKey: PreparedStatement] = [:]
    /// By ``StatementText/index``.
    private var numbered: [PreparedStatement?] = []
    /// What the calls of the present group commit share; `nil` outside of one.
    var shared: SharedRows?
    /// The numbers that the group commit before has read or stored: the next begins with them.
    var committedNumbers: [SharedRows.Number] = []
    /// What the layer above remembers with this connection, and like it confined to one user at a time.
    package var memory: AnyObject?

    init(handle: OpaquePointer, isWriter: Bool) {
        self.handle = handle
        self.isWriter = isWriter
    }

    /// The compiled statement, ready to bind. Give it back with ``giveBack(_:)``.
    ///
    /// A statement that is in use further up the stack is compiled a second time.
    @usableFromInline
    package func take(_ sql: String) throws -> PreparedStatement {
        let text = TextKey(sql: sql)
        if let known = statements[text] {
            if known.isBusy { return try PreparedStatement(sql, on: handle) }
            known.isBusy = true
            return known
        }
        let statement = try PreparedStatement(sql, on: handle)
        statement.isBusy = true
        statements[text] = statement
        return statement
    }

    /// The same for a text with a number. Give it back with ``release(_:)`` or ``giveBack(_:)``.
    @usableFromInline
    package func take(_ text: StatementText) throws -> PreparedStatement {
        if text.index < numbered.count, let known = numbered[text.index], !known.isBusy {
            known.isBusy = true
            return known
        }
        let statement = try PreparedStatement(text.sql, on: handle)
        statement.isBusy = true
        while numbered.count <= text.index { numbered.append(nil) }
        if numbered[text.index] == nil { numbered[text.index] = statement }
        return statement
    }

    @usableFromInline
    package func release(_ statement: PreparedStatement) {
        statement.rewind()
        statement.isBusy = false
    }

    @usableFromInline
    package func giveBack(_ statement: PreparedStatement) {
        statement.reset()
        statement.isBusy = false
    }

    /// Lends a compiled statement, for loops that bind and step many times.
    @inlinable
    package func withStatement<Result>(
        _ sql: String,
        _ body: (PreparedStatement) throws -> Result
    ) throws -> Result {
        let statement = try take(sql)
        defer { giveBack(statement) }
        return try body(statement)
    }

    /// Runs a statement to its end.
    @inlinable
    package func run<each Value: SQLBindable>(
        _ sql: String,
        _ values: repeat each Value
    ) throws {
        let statement = try take(sql)
        defer { giveBack(statement) }
        try statement.bind(repeat each values)
        while try statement.step() {}
    }

    /// Runs a statement whose last parameter is the checksum over the others.
    @inlinable
    package func run<each Value: SQLBindable>(
        sealedFor table: StaticString,
        _ sql: String,
        _ values: repeat each Value
    ) throws {
        let statement = try take(sql)
        defer { giveBack(statement) }
        try statement.bind(sealedFor: table, repeat each values)
        while try statement.step() {}
    }

    /// The rows of a query.
    @inlinable
    package func rows<each Value: SQLBindable, Row>(
        _ sql: String,
        _ values: repeat each Value,
        read: (PreparedStatement) throws -> Row
    ) throws -> [Row] {
        let statement = try take(sql)
        defer { giveBack(statement) }
        try statement.bind(repeat each values)
        var result: [Row] = []
        while try statement.step() { result.append(try read(statement)) }
        return result
    }

    /// The first row of a query, if there is one.
    @inlinable
    package func row<each Value: SQLBindable, Row>(
        _ sql: String,
        _ values: repeat each Value,
        read: (PreparedStatement) throws -> Row
    ) throws -> Row? {
        let statement = try take(sql)
        defer { giveBack(statement) }
        try statement.bind(repeat each values)
        return try statement.step() ? try read(statement) : nil
    }

    /// How many rows the last statement changed.
    package var changes: Int { Int(sqlite3_changes(handle)) }

    /// The rowid of the last insertion.
    package var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(handle) }

    /// Runs statements that take no values and are not worth keeping: pragmas, schema.
    package func script(_ sql: String) throws {
        let result = sqlite3_exec(handle, sql, nil, nil, nil)
        if result != SQLITE_OK { throw SQLiteStorageError.of(result, on: handle, during: sql) }
    }

    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Finalizes all statements, so that the connection can close.
    func forgetStatements() {
        statements = [:]
        numbered = []
    }
}

/// The key of a compiled statement. Texts of statements are long and differ in their middle and at
/// their ends: a few words of them are hashed, the whole is compared.
private struct TextKey: Hashable {
    let sql: String

    func hash(into hasher: inout Hasher) {
        var sql = sql
        sql.withUTF8 { bytes in
            let count = bytes.count
            hasher.combine(count)
            let bytes = UnsafeRawBufferPointer(bytes)
            for offset in [count / 4, count / 2, count - 8] where offset >= 0 && offset + 8 <= count
            {
                hasher.combine(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            }
        }
    }
}

extension SQLConnection {
    /// A number kept for the whole file; 0 before it is first set.
    package func metaNumber(_ name: String) throws -> Int64 {
        if let known = shared?.number(name) { return known }
        let number = try storedMetaNumber(name)
        shared?.know(name, as: number)
        return number
    }

    /// In a group commit the number is stored once, with the commit.
    package func setMetaNumber(_ name: String, _ number: Int64) throws {
        guard shared == nil else {
            shared?.set(name, to: number)
            return
        }
        try storeMetaNumber(name, number)
    }

    private static let meta = StatementText(
        "SELECT name, number, bytes, sum FROM meta WHERE name = ?"
    )
    private static let metaStore = StatementText(
        "INSERT OR REPLACE INTO meta (name, number, bytes, sum) VALUES (?, ?, ?, ?)"
    )

    private func storedMetaNumber(_ name: String) throws -> Int64 {
        let statement = try take(Self.meta)
        defer { release(statement) }
        try statement.bind(name, at: 1)
        guard try statement.step() else { return 0 }
        try statement.verify("meta", sum: 3)
        return statement.int64(1)
    }

    func storeMetaNumber(_ name: String, _ number: Int64) throws {
        try store(Self.metaStore, sealedFor: "meta") { row in
            try row.add(name)
            try row.add(number)
            try row.addNull()
        }
    }

    /// Bytes kept for the whole file.
    package func metaBytes(_ name: String) throws -> [UInt8]? {
        try row("SELECT name, number, bytes, sum FROM meta WHERE name = ?", name) {
            try $0.verify("meta", sum: 3)
            return $0.optionalBlob(2)
        } ?? nil
    }

    package func setMetaBytes(_ name: String, _ bytes: [UInt8]) throws {
        try run(
            sealedFor: "meta",
            "INSERT OR REPLACE INTO meta (name, number, bytes, sum) VALUES (?, ?, ?, ?)",
            name,
            Int64(0),
            bytes
        )
    }
}
#endif
