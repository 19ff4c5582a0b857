public import ClusterRole
public import DeviceRegistry

/// Stores periodic tasks and, for each device they ask, when it is due next.
///
/// Three things happen in the transactions of other protocols, by ``PeriodicTask``'s rules: a device
/// that joins a task's group gets a due time, one that leaves loses it, and one whose information of
/// the kind that satisfies the task is applied has it moved away.
public protocol PeriodicTaskStorage: Sendable {
    /// Adds a task or replaces its definition. Devices keep their due times if the new definition
    /// ``PeriodicTask/keepsTime(with:)`` the old one, which then also keeps its beginning; otherwise
    /// they are spread anew.
    func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws

    /// Removes a task. Nobody is asked any more; steps that were claimed are forgotten.
    func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws

    /// All tasks of a tenant, by name.
    func tasks(tenant: TenantID) async throws -> [PeriodicTask]

    /// When each task is due for a device, by name of the task; tasks that do not ask it, and those
    /// that have not come to it yet, are missing.
    func dueTimes(of device: DeviceID, tenant: TenantID) async throws -> [TaskDueTime]

    /// Gives due times to devices that were in a task's group before the task was, and forgets those of
    /// tasks that are gone, for at most `limit` devices. Where it stopped is stored.
    ///
    /// - Returns: whether nothing is left to do.
    func spread(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> Bool

    /// Takes devices that are due, longest overdue first, moves each to its next due time, and stores
    /// them as steps, one for each task; all in one transaction. Steps that were claimed before and
    /// not finished come first, and then nothing else does.
    ///
    /// The cost grows with `limit`, not with the devices there are.
    ///
    /// - Parameters:
    ///   - limit: the most devices.
    ///   - partition: devices of other slots are left to others.
    ///   - epoch: the writer's.
    ///   - now: what is due.
    func claim(
        limit: Int,
        in partition: TaskPartition,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> [TaskStep]

    /// Forgets a claimed step: its operation is enqueued, or never can be.
    func finish(_ step: TaskStep, epoch: Epoch) async throws
}
