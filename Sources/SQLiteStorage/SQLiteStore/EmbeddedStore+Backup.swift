#if SQLite
public import ClusterRole
public import SQLiteEngine

/// What a backup holds.
public struct BackupReport: Hashable, Sendable {
    /// The file.
    public var path: String
    /// Its length in bytes.
    public var bytes: Int64
    /// The newest revision in it.
    public var revision: Revision
    public var takenAt: Timestamp
    /// What the check of every row found; `nil` if it was not asked for. A backup with damage is never
    /// reported: it throws.
    public var verification: FileVerification?
    /// Rows whose checksum was verified in the copy.
    public var rows: Int { verification?.rows ?? 0 }
}

/// How a backup is taken.
public struct BackupOptions: Hashable, Sendable {
    /// Whether a file of that name may be replaced, in one rename.
    public var replaces = false
    /// Whether every row's checksum in the copy is verified before it counts as done.
    public var verifies = true

    public init() {}
}

extension EmbeddedStore {
    /// Writes a consistent copy of the running store to `path`, beside its readers and its writer.
    ///
    /// The copy is the store as of one revision. It is written under a temporary name, verified, synced
    /// and renamed, its directory synced: when this returns the backup survives a power loss, and when it
    /// throws there is none. Writers are not held up; the write-ahead log grows while it goes on.
    ///
    /// The store's secrets are in it sealed: keep the key of the `SecretBox` elsewhere, or the push
    /// registrations cannot be read after a restore.
    ///
    /// - Parameters:
    ///   - path: of the copy. Its directory exists and is no shared one: the copy holds the digests of
    ///     all credentials. The file is readable by its owner only.
    ///   - now: kept in the copy, so that a restore can say how old it is.
    ///   - options: whether an older file is replaced, and whether the copy is verified.
    /// - Throws: `SQLiteStorageError`: `exists`, `full`, `io`, `corruptRow`, `corruptFile`, `closed`,
    ///   `poisoned`.
    public func backup(
        to path: String,
        at now: Timestamp = SystemTimeSource().now(),
        options: BackupOptions = BackupOptions()
    ) async throws -> BackupReport {
        try await file.read { _ in }
        return try await Self.copy(file.path, isOpen: true, to: path, at: now, options: options)
    }

    /// The same for a store that is not running: locks it for as long as it takes.
    ///
    /// - Parameters:
    ///   - source: the store's file.
    ///   - path: of the copy.
    ///   - node: who takes the lock; a second process is told this name.
    ///   - now: kept in the copy.
    ///   - options: whether an older file is replaced, and whether the copy is verified.
    /// - Throws: as ``backup(to:at:options:)``, and `locked` naming the process that has the store.
    public static func backup(
        of source: String,
        to path: String,
        node: NodeID,
        at now: Timestamp = SystemTimeSource().now(),
        options: BackupOptions = BackupOptions()
    ) async throws -> BackupReport {
        let lock = try FileLock(besideDatabase: source, node: node)
        defer { withExtendedLifetime(lock) {} }
        try DatabaseCopy.requireFile(source)
        return try await copy(source, isOpen: false, to: path, at: now, options: options)
    }

    /// Reads every row of every table and compares it with its checksum, beside readers and writer.
    ///
    /// - Returns: what was found. Damage is reported, not thrown.
    public func verify() async throws -> FileVerification {
        try await file.walk { try $0.verifyEveryRow(order: Schema.sealedColumns) }
    }

    private static func copy(
        _ source: String,
        isOpen: Bool,
        to path: String,
        at now: Timestamp,
        options: BackupOptions
    ) async throws -> BackupReport {
        var request = DatabaseCopy.Request(source: source, isSourceOpen: isOpen, path: path)
        request.existing = options.replaces ? .replace : .refuse
        request.verifies = options.verifies
        request.columnOrder = Schema.sealedColumns
        let made = try await DatabaseCopy.make(request) { connection in
            try connection.requireStore()
            try connection.setMetaNumber(MetaName.backup, now.rawValue)
            return Revision(
                history: try connection.history(),
                number: try connection.revisionNumber()
            )
        }
        return BackupReport(
            path: path,
            bytes: made.bytes,
            revision: made.value,
            takenAt: now,
            verification: made.verification
        )
    }
}

extension MetaName {
    /// In a backup: when it was taken, in milliseconds since 1970.
    static let backup = "backup-taken"
}

extension SQLConnection {
    /// - Throws: `corruptFile` for a database that is no store.
    func requireStore() throws {
        let hasMeta = try row("SELECT 1 FROM sqlite_schema WHERE name = 'meta'") { _ in true }
        guard hasMeta == true, try metaBytes(MetaName.history) != nil else {
            throw SQLiteStorageError(
                .corruptFile,
                "The file is no store of a manager: it has no history. Name the file store.db of a "
                    + "manager's directory, or a backup of it."
            )
        }
    }
}
#endif
