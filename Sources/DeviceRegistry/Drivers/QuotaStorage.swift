public import ClusterRole

/// Keeps the quotas of tenants: a standard one and overrides.
///
/// The store that keeps them enforces the bounds on counts inside its guarded writes: of two enrolments
/// at once for the last place, one is refused. Rates are the façades' business.
public protocol QuotaStorage: Sendable {
    /// The tenant's own quota, else the standard one, else ``TenantQuota/unlimited``.
    func quota(of tenant: TenantID) async throws -> TenantQuota

    /// The override of a tenant, or with no tenant the standard quota; `nil` if there is none.
    func storedQuota(of tenant: TenantID?) async throws -> TenantQuota?

    /// Sets the override of a tenant, or with no tenant the standard quota; `nil` takes it away. It holds
    /// from the next write on. No replica holds quotas, so it takes no revision.
    func setQuota(_ quota: TenantQuota?, of tenant: TenantID?, epoch: Epoch) async throws

    /// What the tenant uses.
    func usage(of tenant: TenantID) async throws -> QuotaUsage
}
