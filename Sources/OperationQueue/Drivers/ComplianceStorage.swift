public import ClusterRole
public import DeviceRegistry

/// Stores policies and how each device stands to them.
///
/// Two things happen in the transactions of other protocols: a report of a member is applied by
/// ``CompliancePolicy/standing(after:of:known:receivedAt:)``, and who leaves the policy's group is
/// forgotten. Counts are kept, not counted.
public protocol ComplianceStorage: Sendable {
    /// Adds a policy or replaces it. With another group or version what devices reported is forgotten,
    /// page by page; it counts no more at once.
    func put(
        _ policy: CompliancePolicy,
        activity: ActivityID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws

    /// Removes a policy and what devices reported on it.
    func remove(_ policy: PolicyID, tenant: TenantID, epoch: Epoch) async throws

    /// All policies of a tenant, by name, with their counts.
    func policies(tenant: TenantID) async throws -> [PolicyStanding]

    /// Devices that stand so to a policy, in order of id; empty for an unknown policy.
    ///
    /// - Parameters:
    ///   - policy: the policy.
    ///   - wanted: only devices in this state.
    ///   - after: only ids behind it; `nil` begins at the first.
    ///   - limit: at most `maximumPageSize`.
    ///   - tenant: the tenant.
    func devices(
        of policy: PolicyID,
        in wanted: ComplianceState,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceCompliance]

    /// Violating devices that are due to get their policy again, longest overdue first: a step for each
    /// policy. The cost grows with `limit`, not with the devices there are.
    func violators(
        at now: Timestamp,
        limit: Int,
        in partition: TaskPartition
    ) async throws -> [ReapplicationStep]

    /// Notes that a step was done: each device that still stands as it says moves on by
    /// ``CompliancePolicy/standing(afterReapplying:at:)``.
    func advance(_ step: ReapplicationStep, epoch: Epoch, at now: Timestamp) async throws

    /// Forgets what is left of policies that are gone, at most `limit` devices.
    ///
    /// - Returns: whether nothing is left to do.
    func sweep(limit: Int, epoch: Epoch) async throws -> Bool
}

extension CompliancePolicy {
    /// Whether what devices reported on `other` holds for this one.
    package func keepsReports(of other: CompliancePolicy) -> Bool {
        group == other.group && version == other.version
    }
}
