#if Server && SQLite
internal import ClusterRole
internal import ManagerConsole
internal import OperationQueue
internal import SQLiteStore

extension AdminServices.Keeping {
    /// What the admin API shows of a manager's own store: its operators are the administrators of the
    /// manager's tenant.
    init(
        _ configuration: ManagerConfiguration,
        _ store: EmbeddedStore,
        _ retention: RetentionTask,
        _ capability: WriteCapability
    ) throws {
        let time = configuration.time
        self.init(
            operators: configuration.tenant,
            backup: { path, replaces in
                try await store.storedBackup(to: path, replaces: replaces, at: time.now())
            },
            roots: try PublishRoots(configuration.backupRoots),
            retention: retention,
            quotas: store,
            capability: capability
        )
    }
}

extension EmbeddedStore {
    /// Takes a backup and tells of it as the admin API does.
    func storedBackup(
        to path: String,
        replaces: Bool,
        at now: Timestamp
    ) async throws -> StoredBackup {
        var options = BackupOptions()
        options.replaces = replaces
        let report = try await backup(to: path, at: now, options: options)
        return StoredBackup(
            path: report.path,
            bytes: report.bytes,
            revision: report.revision,
            takenAt: report.takenAt,
            rows: report.rows
        )
    }
}
#endif
