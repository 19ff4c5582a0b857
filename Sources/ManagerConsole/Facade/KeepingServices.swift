#if Server
public import ClusterRole
public import DeviceRegistry
public import OperationQueue

/// A backup that was taken.
public struct StoredBackup: Hashable, Sendable {
    /// The file.
    public var path: String
    /// Its length in bytes.
    public var bytes: Int64
    /// The newest revision in it.
    public var revision: Revision
    public var takenAt: Timestamp
    /// Rows whose checksum was verified in the copy.
    public var rows: Int

    public init(path: String, bytes: Int64, revision: Revision, takenAt: Timestamp, rows: Int) {
        self.path = path
        self.bytes = bytes
        self.revision = revision
        self.takenAt = takenAt
        self.rows = rows
    }
}

extension AdminServices {
    /// Backups, purging and quotas of the store.
    public struct Keeping: Sendable {
        /// Whose administrators keep the store. To administrators of other tenants the routes that concern
        /// all tenants answer 403: nobody raises his own quota.
        public var operators: TenantID
        /// Takes a backup to a path; the second argument says whether a file there may be replaced.
        public var backup: @Sendable (String, Bool) async throws -> StoredBackup
        /// Where backups may be written through the admin API; ``PublishRoots/none`` unless said.
        public var roots: PublishRoots
        /// Asked to purge now; it runs by itself as well.
        public var retention: RetentionTask
        public var quotas: any QuotaStorage
        /// The right to set quotas.
        public var capability: WriteCapability

        /// - Parameters:
        ///   - operators: the tenant whose administrators keep the store.
        ///   - backup: takes a backup.
        ///   - roots: directories below which backups may be written.
        ///   - retention: purges history.
        ///   - quotas: where quotas are kept.
        ///   - capability: the coordinator's right to write.
        public init(
            operators: TenantID = .standard,
            backup: @escaping @Sendable (String, Bool) async throws -> StoredBackup,
            roots: PublishRoots = .none,
            retention: RetentionTask,
            quotas: any QuotaStorage,
            capability: WriteCapability
        ) {
            self.operators = operators
            self.backup = backup
            self.roots = roots
            self.retention = retention
            self.quotas = quotas
            self.capability = capability
        }
    }
}
#endif
