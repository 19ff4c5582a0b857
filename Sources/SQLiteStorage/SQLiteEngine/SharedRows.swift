#if SQLite
internal import GRDBSQLite

/// A row that the calls of a group commit may change one after the other, and that is stored once.
/// It does not change itself: who changes the row shares another.
package protocol SharedRow: AnyObject {
    /// Writes it.
    func store(_ connection: SQLConnection) throws
}

/// What the calls of one group commit read once and store once, just before the commit.
///
/// Nobody else writes the file: what one call read or set, the next need not read again. Queries by
/// anything but the key do not see a shared row's new columns, so only columns that no query asks for
/// may change in one.
struct SharedRows {
    /// A number of the table `meta`.
    struct Number {
        let name: String
        var value: Int64
        /// Whether it is still to be stored.
        var isChanged = false
    }

    /// A handful: looking at each is faster than hashing the name.
    private(set) var numbers: [Number]
    /// Changed and still to be stored, by a number of the caller's choice.
    private(set) var rows: [Int64: any SharedRow] = [:]
    /// How often something was left to be stored, or taken away again.
    private(set) var changes = 0

    /// - Parameter numbers: as they are in the file.
    init(numbers: [Number]) { self.numbers = numbers }

    func number(_ name: String) -> Int64? { numbers.first { $0.name == name }?.value }

    mutating func know(_ name: String, as value: Int64) {
        numbers.append(Number(name: name, value: value))
    }

    mutating func set(_ name: String, to value: Int64) {
        changes += 1
        if let index = numbers.firstIndex(where: { $0.name == name }) {
            numbers[index].value = value
            numbers[index].isChanged = true
        } else {
            numbers.append(Number(name: name, value: value, isChanged: true))
        }
    }

    mutating func set(_ key: Int64, to row: (any SharedRow)?) {
        rows[key] = row
        changes += 1
    }
}

extension SQLConnection {
    /// The row that an earlier call of this group commit left to be stored.
    package func sharedRow(_ key: Int64) -> (any SharedRow)? { shared?.rows[key] }

    /// Stores a row with the group commit; at once outside of one.
    ///
    /// - Parameters:
    ///   - row: as it is to be.
    ///   - key: what it is found by until then.
    package func share(_ row: some SharedRow, as key: Int64) throws {
        guard shared != nil else { return try row.store(self) }
        shared?.set(key, to: row)
    }

    /// Forgets a row that has been stored, or removed, otherwise.
    package func unshare(_ key: Int64) {
        if shared?.rows.isEmpty == false { shared?.set(key, to: nil) }
    }

    /// Grows with each change made through this connection, stored or left to be stored.
    var changesSoFar: Int { Int(sqlite3_total_changes64(handle)) &+ (shared?.changes ?? 0) }

    /// Forgets what calls have left to be stored, and what was read while it was not yet committed.
    func forgetUncommitted() {
        shared = nil
        committedNumbers = []
        memory = nil
    }

    /// Stores what the calls of the group commit have left.
    func storeShared() throws {
        guard let shared else { return }
        self.shared = nil
        for (_, row) in shared.rows.sorted(by: { $0.key < $1.key }) { try row.store(self) }
        committedNumbers = shared.numbers
        for index in committedNumbers.indices where committedNumbers[index].isChanged {
            try storeMetaNumber(committedNumbers[index].name, committedNumbers[index].value)
            committedNumbers[index].isChanged = false
        }
    }
}
#endif
