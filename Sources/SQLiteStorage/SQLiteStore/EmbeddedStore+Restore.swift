#if SQLite
public import ClusterRole
internal import SQLiteEngine

/// What a restore did, and what it could not bring back.
public struct RestoreReport: Hashable, Sendable {
    /// The restored store.
    public var path: String
    /// When the backup was taken; `nil` for a file that is a copy made by other means.
    public var takenAt: Timestamp?
    /// The newest revision of the backup, in the history it was taken of.
    public var revision: Revision
    /// The restored store's history: workers of the one before take a full snapshot.
    public var history: HistoryID
    /// The restored store's epoch; opening it begins the next one.
    public var epoch: Epoch
    /// Rows verified.
    public var rows: Int
    /// Where the store that was there before is kept, if there was one.
    public var setAside: String?
    /// How many operations that store held which the backup does not; `nil` if there was none or it
    /// cannot be read.
    public var lostOperations: Int?
}

extension EmbeddedStore {
    /// Makes a store out of a backup, for a node that is not running.
    ///
    /// The restored store has a new history and the epoch max(stored, milliseconds since 1970) + 1, so
    /// that nothing is taken for what it is not: workers take a full snapshot, hand in again the results
    /// they still keep, and refuse the writer of before. Idempotency keys and the marks of spools are
    /// those of the backup. What was committed after the backup was taken is lost, but for those results.
    ///
    /// It is all or nothing: the copy is verified, synced and renamed at the end.
    ///
    /// - Parameters:
    ///   - source: the backup. It is not changed.
    ///   - path: of the store; its directory exists.
    ///   - node: who takes the lock; a second process is told this name.
    ///   - replaces: whether a store that is there may be set aside; it is kept beside, and the report
    ///     says where.
    ///   - now: the epoch is above it.
    ///   - random: draws the history id.
    /// - Throws: `SQLiteStorageError`: `exists`, `locked`, `corruptRow`, `corruptFile`, `newerSchema`,
    ///   `foreignSchema`, `full`, `io`. The store that was there is then as it was.
    public static func restore(
        from source: String,
        to path: String,
        node: NodeID,
        replaces: Bool = false,
        at now: Timestamp = SystemTimeSource().now(),
        random: any RandomSource = SystemRandomSource()
    ) async throws -> RestoreReport {
        let lock = try FileLock(besideDatabase: path, node: node)
        defer { withExtendedLifetime(lock) {} }
        try DatabaseCopy.requireFile(source)
        let hadStore = DatabaseCopy.isFile(path)
        let suffix = ".replaced-\(now.rawValue)"
        var request = DatabaseCopy.Request(source: source, isSourceOpen: true, path: path)
        request.existing = replaces ? .setAside(suffix: suffix) : .refuse
        request.columnOrder = Schema.sealedColumns
        let drawn = [random.next(), random.next()]
        let history = drawn.flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
        let made = try await DatabaseCopy.make(request) { connection in
            try connection.renew(history: history, at: now)
        }
        var report = made.value
        report.path = path
        report.rows = made.verification?.rows ?? 0
        if hadStore, replaces {
            report.setAside = path + suffix
            report.lostOperations = try? await operations(
                of: path + suffix,
                above: report.revision.number
            )
        }
        return report
    }

    /// How many operations a store that was set aside holds above a number.
    private static func operations(of path: String, above number: Int64) async throws -> Int {
        try await DatabaseCopy.read(path) { connection in
            try connection.row("SELECT count(*) FROM operation WHERE number > ?", number) {
                $0.int(0)
            } ?? 0
        }
    }
}

extension SQLConnection {
    fileprivate func renew(history: [UInt8], at now: Timestamp) throws -> RestoreReport {
        try requireStore()
        try Migration.apply(Schema.migrations, to: self)
        let taken = try metaNumber(MetaName.backup)
        let revision = Revision(history: try self.history(), number: try revisionNumber())
        try script("BEGIN IMMEDIATE")
        let stored = try epoch()
        let epoch = max(stored, Epoch(rawValue: now.rawValue)).next
        try setMetaBytes(MetaName.history, history)
        try setMetaNumber(MetaName.epoch, epoch.rawValue)
        try run("DELETE FROM meta WHERE name = ?", MetaName.backup)
        try script("COMMIT")
        return RestoreReport(
            path: "",
            takenAt: taken == 0 ? nil : Timestamp(rawValue: taken),
            revision: revision,
            history: try self.history(),
            epoch: epoch,
            rows: 0
        )
    }
}
#endif
