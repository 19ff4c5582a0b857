public import ClusterRole

/// Stores periodic tasks and their due times.
public protocol PeriodicTaskStorage: Sendable {
    /// Adds a task or replaces its definition. A task that exists keeps its due time, so that a restart
    /// neither loses nor doubles a run.
    func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws

    func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws

    /// Tasks of every tenant that are due at `now`, longest overdue first.
    func due(at now: Timestamp, limit: Int) async throws -> [(tenant: TenantID, task: PeriodicTask)]

    /// Moves a task's due time from `due` to `next`; does nothing if it has another due time already.
    func advance(
        _ task: PeriodicTaskID,
        from due: Timestamp,
        to next: Timestamp,
        tenant: TenantID,
        epoch: Epoch
    ) async throws

    /// All tasks of a tenant, by name.
    func tasks(tenant: TenantID) async throws -> [PeriodicTask]
}
