#if SQLite
internal import Synchronization

/// The text of a statement that devices' exchanges run, with a number of its own: a connection finds
/// the compiled statement by the number, without a look at the text. Keep it in a `static let`.
package struct StatementText: Sendable {
    let sql: String
    let index: Int

    private static let made = Atomic<Int>(0)

    package init(_ sql: String) {
        self.sql = sql
        index = Self.made.wrappingAdd(1, ordering: .relaxed).oldValue
    }
}

// The same as the calls that take any text and any values, for the paths of devices. Packs of values
// are not specialized over module boundaries: each call of those costs more than a short statement.
extension SQLConnection {
    /// Runs a statement without parameters to its end.
    package func run(_ text: StatementText) throws {
        let statement = try take(text)
        defer { release(statement) }
        while try statement.step() {}
    }

    /// The first row with this key, if there is one.
    @inlinable
    package func row<Row>(
        _ text: StatementText,
        _ key: Int64,
        read: (PreparedStatement) throws -> Row
    ) throws -> Row? {
        let statement = try take(text)
        defer { release(statement) }
        try statement.bind(key, at: 1)
        return try statement.step() ? try read(statement) : nil
    }

    /// The first row with this key, if there is one.
    @inlinable
    package func row<Row>(
        _ text: StatementText,
        _ key: Int64,
        _ second: Int64,
        read: (PreparedStatement) throws -> Row
    ) throws -> Row? {
        let statement = try take(text)
        defer { release(statement) }
        try statement.bind(key, at: 1)
        try statement.bind(second, at: 2)
        return try statement.step() ? try read(statement) : nil
    }

    /// The first row with this key, if there is one.
    @inlinable
    package func row<Row>(
        _ text: StatementText,
        _ key: String,
        _ second: String,
        read: (PreparedStatement) throws -> Row
    ) throws -> Row? {
        let statement = try take(text)
        defer { release(statement) }
        try statement.bind(key, at: 1)
        try statement.bind(second, at: 2)
        return try statement.step() ? try read(statement) : nil
    }

    /// Calls `read` with each row that has this key.
    @inlinable
    package func forEach(
        _ text: StatementText,
        _ key: Int64,
        read: (PreparedStatement) throws -> Void
    ) throws {
        let statement = try take(text)
        defer { release(statement) }
        try statement.bind(key, at: 1)
        while try statement.step() { try read(statement) }
    }

    /// Calls `read` with each row of a query of three numbers.
    @inlinable
    package func forEach(
        _ text: StatementText,
        _ first: Int64,
        _ second: Int64,
        _ third: Int64,
        read: (PreparedStatement) throws -> Void
    ) throws {
        let statement = try take(text)
        defer { release(statement) }
        try statement.bind(first, at: 1)
        try statement.bind(second, at: 2)
        try statement.bind(third, at: 3)
        while try statement.step() { try read(statement) }
    }

    /// Runs a statement whose last parameter is the checksum over the others, which `body` adds in
    /// their order.
    @inlinable
    package func store(
        _ text: StatementText,
        sealedFor table: StaticString,
        _ body: (inout SealedRow) throws -> Void
    ) throws {
        let statement = try take(text)
        defer { giveBack(statement) }
        var row = SealedRow(statement, table: table)
        try body(&row)
        try row.seal()
        while try statement.step() {}
    }
}

/// A row on its way into its table: each value is bound and added to the checksum.
package struct SealedRow {
    private let statement: PreparedStatement
    private var index: Int32 = 0
    private var sum: RowChecksum

    package init(_ statement: PreparedStatement, table: StaticString) {
        self.statement = statement
        sum = RowChecksum(table: table)
    }

    package mutating func add(_ number: Int64) throws {
        index += 1
        try statement.bind(number, at: index)
        sum.add(number)
    }

    package mutating func add(_ number: Int32) throws { try add(Int64(number)) }
    package mutating func add(_ number: UInt8) throws { try add(Int64(number)) }
    package mutating func add(_ number: Int) throws { try add(Int64(number)) }
    package mutating func add(_ flag: Bool) throws { try add(flag ? 1 as Int64 : 0) }

    package mutating func addNull() throws {
        index += 1
        try statement.bindNull(at: index)
        sum.addNull()
    }

    package mutating func add(_ number: Int64?) throws {
        if let number { try add(number) } else { try addNull() }
    }

    package mutating func add(_ text: String) throws {
        index += 1
        try text.bind(to: statement, at: index)
        text.add(to: &sum)
    }

    package mutating func add(_ text: String?) throws {
        if let text { try add(text) } else { try addNull() }
    }

    package mutating func add(_ blob: [UInt8]) throws {
        index += 1
        try blob.bind(to: statement, at: index)
        blob.add(to: &sum)
    }

    package mutating func add(_ blob: [UInt8]?) throws {
        if let blob { try add(blob) } else { try addNull() }
    }

    package mutating func add(_ bits: UInt128?) throws {
        guard let bits else { return try addNull() }
        index += 1
        try bits.bind(to: statement, at: index)
        bits.add(to: &sum)
    }

    /// Binds the checksum over what was added.
    package mutating func seal() throws { try statement.bind(sum.value, at: index + 1) }
}
#endif
