#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine
internal import Synchronization

extension EmbeddedStore: QuotaStorage {
    public func quota(of tenant: TenantID) async throws -> TenantQuota {
        try await file.read { try $0.quota(of: tenant) }
    }

    public func storedQuota(of tenant: TenantID?) async throws -> TenantQuota? {
        try await file.read { try $0.storedQuota(of: tenant) }
    }

    public func setQuota(_ quota: TenantQuota?, of tenant: TenantID?, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { [self] connection, _ in
            // It stays set until the file is opened again: looking for quotas that are gone is harmless.
            hasQuotas.store(true, ordering: .releasing)
            try connection.store(quota, of: tenant)
            return ([], ())
        }
    }

    public func usage(of tenant: TenantID) async throws -> QuotaUsage {
        try await file.read { connection in
            QuotaUsage(
                devices: try connection.group(.everyone, tenant: tenant)?.members ?? 0,
                openActivities: try connection.openActivities(of: tenant)
            )
        }
    }
}

extension TenantID {
    /// How table `quota` names a tenant, or the standard: no tenant has an empty name.
    fileprivate static func stored(_ tenant: TenantID?) -> String { tenant?.rawValue ?? "" }
}

extension SQLConnection {
    func hasQuotas() throws -> Bool {
        try row("SELECT 1 FROM quota UNION ALL SELECT 1 FROM quota_usage LIMIT 1") { _ in true }
            ?? false
    }

    func quota(of tenant: TenantID) throws -> TenantQuota {
        try storedQuota(of: tenant) ?? storedQuota(of: nil) ?? .unlimited
    }

    fileprivate func storedQuota(of tenant: TenantID?) throws -> TenantQuota? {
        try row(
            """
            SELECT tenant, devices, open_activities, enqueues, named, sum
            FROM quota WHERE tenant = ?
            """,
            TenantID.stored(tenant)
        ) {
            try $0.verify("quota", sum: 5)
            return TenantQuota(
                devices: $0.optionalInt64(1).map { Int($0) },
                openActivities: $0.optionalInt64(2).map { Int($0) },
                enqueuesPerMinute: $0.optionalInt64(3).map { Int($0) },
                namedOperationsPerDevice: $0.optionalInt64(4).map { Int($0) }
            )
        }
    }

    fileprivate func store(_ quota: TenantQuota?, of tenant: TenantID?) throws {
        let name = TenantID.stored(tenant)
        guard let quota else { return try run("DELETE FROM quota WHERE tenant = ?", name) }
        try run(
            sealedFor: "quota",
            """
            INSERT OR REPLACE INTO quota
                (tenant, devices, open_activities, enqueues, named, sum)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            name,
            quota.devices,
            quota.openActivities,
            quota.enqueuesPerMinute,
            quota.namedOperationsPerDevice
        )
    }

    /// Holds an enqueue against its tenant's quota, before anything is stored.
    ///
    /// - Parameters:
    ///   - targets: the devices named.
    ///   - isLive: whether the activity will be.
    ///   - tenant: whose quota it is.
    /// - Throws: `OperationQueueError` with code `quotaExceeded`.
    func requireQuota(
        for targets: [NamedTarget],
        isLive: Bool,
        of tenant: TenantID
    ) throws {
        let quota = try quota(of: tenant)
        if isLive, let limit = quota.openActivities {
            let open =
                try openActivities(of: tenant) ?? beginCountingOpenActivities(of: tenant)
            if open >= limit { throw OperationQueueError.quotaExceeded(openActivities: limit) }
        }
        guard let limit = quota.namedOperationsPerDevice else { return }
        for target in targets {
            let open =
                try row(
                    "SELECT count(*) FROM (SELECT 1 FROM target WHERE device_idx = ? LIMIT ?)",
                    target.idx,
                    limit
                ) { $0.int(0) } ?? 0
            if open >= limit {
                throw OperationQueueError.quotaExceeded(named: limit, device: target.device)
            }
        }
    }
}
#endif
