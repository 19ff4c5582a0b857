#if SQLite
public import SQLiteEngine

extension WorkerReplica {
    /// Reads the whole file and compares every checksum, beside readers and writer.
    ///
    /// Rows and entries that are found damaged while the file is opened count in ``damage``; rows that
    /// are not found any more, because a page was damaged, are reported by this only.
    ///
    /// - Returns: what was found. Damage is reported, not thrown.
    public func verify() async throws -> FileVerification {
        try await file.database.walk { try $0.verifyEveryRow() }
    }
}
#endif
