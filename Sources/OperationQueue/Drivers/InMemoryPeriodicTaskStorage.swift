public import ClusterRole
internal import Synchronization

/// Periodic tasks in memory.
public final class InMemoryPeriodicTaskStorage: PeriodicTaskStorage {
    private let ledger: InMemoryLedger
    private let tasks = Mutex<[TenantID: [PeriodicTaskID: PeriodicTask]]>([:])

    /// - Parameter ledger: the ledger that all in-memory drivers of one store share.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    private func write(
        epoch: Epoch,
        _ body: (inout [TenantID: [PeriodicTaskID: PeriodicTask]]) -> Void
    ) throws {
        // No replica holds tasks, so a change of them takes no revision.
        _ = try ledger.guarded(epoch: epoch) { _ in
            tasks.withLock { body(&$0) }
            return ([], ())
        }
    }

    public func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        try write(epoch: epoch) { tasks in
            var task = task
            if let known = tasks[tenant]?[task.id] { task.due = known.due }
            tasks[tenant, default: [:]][task.id] = task
        }
    }

    public func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        try write(epoch: epoch) { $0[tenant]?[task] = nil }
    }

    public func due(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, task: PeriodicTask)] {
        tasks.withLock { tasks in
            let due = tasks.flatMap { tenant, tasks in
                tasks.values.filter { $0.due <= now }.map { (tenant: tenant, task: $0) }
            }
            let ordered = due.sorted {
                ($0.task.due, $0.tenant, $0.task.id) < ($1.task.due, $1.tenant, $1.task.id)
            }
            return Array(ordered.prefix(max(0, limit)))
        }
    }

    public func advance(
        _ task: PeriodicTaskID,
        from due: Timestamp,
        to next: Timestamp,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        try write(epoch: epoch) { tasks in
            if tasks[tenant]?[task]?.due == due { tasks[tenant]?[task]?.due = next }
        }
    }

    public func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        tasks.withLock { ($0[tenant] ?? [:]).values.sorted { $0.id < $1.id } }
    }
}
