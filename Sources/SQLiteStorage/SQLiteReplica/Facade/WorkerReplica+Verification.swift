#if SQLite
internal import SQLiteEngine

extension WorkerReplica {
    /// Reads the whole file and compares every checksum.
    ///
    /// Rows and entries that are found damaged while the file is opened count in ``damage``; rows that
    /// are not found any more, because a page was damaged, are reported by this only.
    ///
    /// - Returns: how many rows were read.
    /// - Throws: `SQLiteStorageError` with code `corruptFile` or `corruptRow` for the first damage
    ///   found; `poisoned`, `closed`, `io`.
    public func verify() async throws -> Int {
        try await file.database.verify()
    }
}
#endif
