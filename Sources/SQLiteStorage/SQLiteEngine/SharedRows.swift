#if SQLite
/// A row that the calls of a group commit may change one after the other, and that is stored once.
package protocol SharedRow {
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
        var value: Int64
        /// Whether it is still to be stored.
        var isChanged = false
    }

    var numbers: [String: Number] = [:]
    /// Changed and still to be stored, by a number of the caller's choice.
    var rows: [Int64: any SharedRow] = [:]
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
        shared?.rows[key] = row
    }

    /// Forgets a row that has been stored, or removed, otherwise.
    package func unshare(_ key: Int64) {
        if shared?.rows.isEmpty == false { shared?.rows[key] = nil }
    }

    /// Stores what the calls of the group commit have left.
    func storeShared() throws {
        guard let shared else { return }
        self.shared = nil
        for (_, row) in shared.rows.sorted(by: { $0.key < $1.key }) { try row.store(self) }
        for (name, number) in shared.numbers.sorted(by: { $0.key < $1.key }) where number.isChanged
        {
            try storeMetaNumber(name, number.value)
        }
    }
}
#endif
