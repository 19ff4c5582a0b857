#if SQLite
internal import SQLiteEngine

extension EmbeddedStore {
    /// Reads the whole file and compares every checksum and every index with the rows.
    ///
    /// A damaged row is reported whenever it is read. What no read finds any more, because an index or
    /// a page of a table was damaged, is reported by this only: run it now and then, and before a
    /// backup replaces an older one. It runs beside the writer and other reads, in one snapshot, which
    /// keeps the log from being moved meanwhile; it reads about as fast as the disk does.
    ///
    /// - Returns: how many rows were read.
    /// - Throws: `SQLiteStorageError` with code `corruptFile` or `corruptRow` for the first damage
    ///   found; `poisoned`, `closed`, `io`.
    public func verify() async throws -> Int { try await file.verify(ownKeys: ["rejection"]) }
}
#endif
