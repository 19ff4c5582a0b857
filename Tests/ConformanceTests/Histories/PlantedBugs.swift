import ClusterRole
import DeviceRegistry
import OperationQueue
import Synchronization

/// Drivers with one mistake each, to see that the random histories find it.
enum PlantedBug: String, CaseIterable {
    /// Each fifth result is accepted and forgotten.
    case lostResult
    /// A repeated answer is counted a second time.
    case doubleCount
    /// What was handed out is handed out again at once.
    case leaseIgnored
    /// Priority is forgotten.
    case orderBroken
    /// Cancelled work is offered again.
    case cancelledWorkOffered
    /// Idempotency keys are not kept.
    case keyForgotten
    /// What has expired is handed out until somebody closes it.
    case expiryIgnored
    /// Of two operations under one key the older is offered.
    case olderOffered
    /// What has the code of other work is done as well.
    case repetitionOffered
    /// A rollout goes to everybody at once.
    case ceilingIgnored
    /// Work goes out without approval and while it is paused.
    case holdIgnored
    /// Nobody waits for what must be done first.
    case dependencyIgnored
    /// What is behind a failed step is left open.
    case stopForgotten
    /// Work goes out at any time of the day.
    case windowIgnored
    /// A failure is repeated once more than was asked.
    case oneRetryTooMany
    /// Nothing ever times out.
    case timersForgotten
    /// The user is asked again after agreeing.
    case agreementForgotten

    var decoration: QueueHouse.Decoration {
        { BuggyOperationStorage($0, self) }
    }
}

private final class BuggyOperationStorage: OperationStorage {
    private struct State {
        var results = 0
        var answered: [OperationID: Int] = [:]
        var repeated: [OperationID: Int] = [:]
        var offered: [DeviceID: [OpenItem]] = [:]
    }

    private let base: any OperationStorage
    private let bug: PlantedBug
    private let state = Mutex(State())

    init(_ base: any OperationStorage, _ bug: PlantedBug) {
        self.base = base
        self.bug = bug
    }

    func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        var plan = plan
        switch bug {
        case .keyForgotten: plan.idempotencyKey = nil
        case .oneRetryTooMany: plan.operation.terms.retry?.count += 1
        case .stopForgotten:
            for index in plan.operation.terms.after.indices {
                plan.operation.terms.after[index].onFailure = .pause
            }
        default: break
        }
        return try await base.enqueue(plan, tenant: tenant, epoch: epoch)
    }

    func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        try await base.change(activity, change, tenant: tenant, epoch: epoch, at: now)
    }

    func command(
        _ execution: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (execution: Execution, revision: Revision) {
        try await base.command(
            execution,
            command,
            ifVersion: version,
            tenant: tenant,
            epoch: epoch,
            at: now
        )
    }

    func cancelAll(
        of device: DeviceID,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (count: Int, revision: Revision) {
        try await base.cancelAll(of: device, tenant: tenant, epoch: epoch, at: now)
    }

    func fireTimers(at now: Timestamp, limit: Int, epoch: Epoch) async throws -> Int {
        if bug == .timersForgotten { return 0 }
        return try await base.fireTimers(at: now, limit: limit, epoch: epoch)
    }

    func rollouts(after: Int64?, limit: Int) async throws -> [Activity] {
        try await base.rollouts(after: after, limit: limit)
    }

    func addressedCount(
        of activity: ActivityID,
        below ceiling: Int32,
        tenant: TenantID
    ) async throws -> Int {
        try await base.addressedCount(of: activity, below: ceiling, tenant: tenant)
    }

    func execution(_ id: ExecutionID, tenant: TenantID) async throws -> Execution? {
        try await base.execution(id, tenant: tenant)
    }

    func wakeUp(of device: DeviceID, tenant: TenantID) async throws -> WakeUp? {
        try await base.wakeUp(of: device, tenant: tenant)
    }

    func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> ApplyReceipt {
        let kept = state.withLock { state in
            entries.filter { numbered in
                guard case .result(let operation, _, .completed, _) = numbered.entry.body else {
                    return true
                }
                state.results += 1
                if state.answered[operation] != nil { state.repeated[operation, default: 0] += 1 }
                state.answered[operation] = 1
                return bug != .lostResult || state.results % 5 != 0
            }
        }
        return try await base.apply(kept, from: spool, epoch: epoch, at: now)
    }

    func expired(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, id: ActivityID)] {
        try await base.expired(at: now, limit: limit)
    }

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        guard let work = try await base.openWork(for: device, tenant: tenant) else { return nil }
        var items = work.items
        switch bug {
        case .leaseIgnored:
            for index in items.indices where items[index].state == .delivered {
                items[index].row?.until = nil
            }
        case .orderBroken:
            items.reverse()
            for index in items.indices {
                items[index].operation.number = Int64(index)
            }
        case .cancelledWorkOffered:
            items = state.withLock { state in
                let present = Set(items.map(\.operation.id))
                let old = (state.offered[device] ?? []).filter {
                    !present.contains($0.operation.id) && $0.row == nil
                }
                state.offered[device] = items.filter { $0.row == nil } + old
                return items + old
            }
        case .expiryIgnored:
            for index in items.indices { items[index].operation.expiresAt = nil }
        case .olderOffered: Self.reverse(&items)
        case .repetitionOffered:
            for index in items.indices where items[index].operation.terms.control == .noRepeat {
                items[index].operation.terms.control = .always
            }
        case .ceilingIgnored:
            for index in items.indices { items[index].gate.ceiling = RolloutPlan.everyone }
        case .holdIgnored:
            for index in items.indices { items[index].gate.hold = .none }
        case .dependencyIgnored:
            for index in items.indices { items[index].dependencies = [:] }
        case .windowIgnored:
            for index in items.indices { items[index].operation.terms.window = nil }
        case .agreementForgotten:
            for index in items.indices { items[index].row?.confirmedAt = nil }
        case .lostResult, .doubleCount, .keyForgotten, .stopForgotten, .oneRetryTooMany,
            .timersForgotten:
            break
        }
        return OpenWork(revision: work.revision, device: work.device, items: items)
    }

    /// Gives operations under one key each other's numbers.
    private static func reverse(_ items: inout [OpenItem]) {
        for key in ["policy", "wallpaper"] {
            let rivals = items.indices.filter {
                items[$0].operation.terms.control == .supersede(key)
            }
            let numbers = rivals.map { items[$0].operation.number }
            for (index, number) in zip(rivals, numbers.reversed()) {
                items[index].operation.number = number
            }
        }
    }

    func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity? {
        guard var activity = try await base.activity(id, tenant: tenant) else { return nil }
        if bug == .doubleCount, activity.rowCounts[.completed] > 0 {
            activity.rowCounts[.completed] += state.withLock {
                $0.repeated[activity.operation.id] ?? 0
            }
        }
        return activity
    }

    func activities(
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Activity] {
        try await base.activities(before: before, limit: limit, tenant: tenant)
    }

    func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution] {
        try await base.executions(of: activity, after: after, limit: limit, tenant: tenant)
    }

    func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage {
        try await base.activities(matching: filter, before: before, limit: limit, tenant: tenant)
    }

    func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage? {
        try await base.executions(on: device, before: before, limit: limit, tenant: tenant)
    }

    func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult? {
        try await base.largeResult(of: activity, on: device, tenant: tenant)
    }

    func chunk(
        _ index: Int32,
        of result: LargeResult,
        tenant: TenantID
    ) async throws -> [UInt8]? {
        try await base.chunk(index, of: result, tenant: tenant)
    }

    func clearUploads(
        begunBefore time: Timestamp,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await base.clearUploads(begunBefore: time, limit: limit, epoch: epoch)
    }
}
