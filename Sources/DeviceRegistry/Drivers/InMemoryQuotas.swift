public import ClusterRole
internal import Synchronization

extension InMemoryDeviceStorage: QuotaStorage {
    public func quota(of tenant: TenantID) async throws -> TenantQuota {
        effectiveQuota(of: tenant)
    }

    public func storedQuota(of tenant: TenantID?) async throws -> TenantQuota? {
        quotas.withLock { $0[tenant] }
    }

    public func setQuota(_ quota: TenantQuota?, of tenant: TenantID?, epoch: Epoch) async throws {
        _ = try ledger.guarded(epoch: epoch) { _ in
            quotas.withLock { $0[tenant] = quota }
            return ([], ())
        }
    }

    /// Open activities are the operations' storage's: this driver does not tell them.
    public func usage(of tenant: TenantID) async throws -> QuotaUsage {
        QuotaUsage(devices: memberCount(of: .everyone, tenant: tenant) ?? 0, openActivities: nil)
    }

    /// The quota that holds for a tenant now.
    package func effectiveQuota(of tenant: TenantID) -> TenantQuota {
        quotas.withLock { $0[tenant] ?? $0[nil] ?? .unlimited }
    }
}

extension InMemoryDeviceState {
    /// - Throws: ``DeviceRegistryError`` with code `quotaExceeded` for one device more than `limit`.
    func requireRoom(for device: DeviceID, tenant: TenantID, limit: Int) throws {
        if entries[InMemoryDeviceKey(tenant, device)]?.device.row.state == .enrolled { return }
        let present = groups[InMemoryGroupKey(tenant, .everyone)]?.present ?? 0
        if present >= limit { throw DeviceRegistryError.quotaExceeded(devices: limit) }
    }
}
