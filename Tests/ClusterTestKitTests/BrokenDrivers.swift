import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import Synchronization

/// A driver broken in one way, over one that works: each hook changes what a call is given or answers.
struct BrokenOperations: OperationStorage {
    let base: any OperationStorage
    var onEnqueue: @Sendable (inout EnqueuePlan, inout Epoch) -> Void = { _, _ in }
    var onApply: @Sendable (inout [SpooledEntry], inout SpoolMark?, inout Epoch) -> Void = {
        _,
        _,
        _ in
    }
    var isAppliedTwice = false
    var onOpenWork: @Sendable (OpenWork?, DeviceID) async throws -> OpenWork? = { work, _ in work }
    var tenantOfQueries: TenantID?
    var tenantOfLargeResults: TenantID?
    var onExecutions: @Sendable ([Execution]) -> [Execution] = { $0 }
    var onChunk: @Sendable ([UInt8]?) -> [UInt8]? = { $0 }

    func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        var (plan, epoch) = (plan, epoch)
        onEnqueue(&plan, &epoch)
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
        try await base.fireTimers(at: now, limit: limit, epoch: epoch)
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
        var (entries, spool, epoch) = (entries, spool, epoch)
        onApply(&entries, &spool, &epoch)
        if isAppliedTwice {
            _ = try await base.apply(entries, from: nil, epoch: epoch, at: now)
        }
        return try await base.apply(entries, from: spool, epoch: epoch, at: now)
    }

    func expired(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, id: ActivityID)] {
        try await base.expired(at: now, limit: limit)
    }

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        try await onOpenWork(base.openWork(for: device, tenant: tenant), device)
    }

    func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity? {
        try await base.activity(id, tenant: tenantOfQueries ?? tenant)
    }

    func activities(
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Activity] {
        try await base.activities(before: before, limit: limit, tenant: tenantOfQueries ?? tenant)
    }

    func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage {
        try await base.activities(
            matching: filter,
            before: before,
            limit: limit,
            tenant: tenantOfQueries ?? tenant
        )
    }

    func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage? {
        try await base.executions(
            on: device,
            before: before,
            limit: limit,
            tenant: tenantOfQueries ?? tenant
        )
    }

    func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution] {
        let tenant = tenantOfQueries ?? tenant
        return try await onExecutions(
            base.executions(of: activity, after: after, limit: limit, tenant: tenant)
        )
    }
}

extension BrokenOperations {
    func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult? {
        try await base.largeResult(of: activity, on: device, tenant: tenantOfLargeResults ?? tenant)
    }

    func chunk(_ index: Int32, of result: LargeResult, tenant: TenantID) async throws -> [UInt8]? {
        onChunk(try await base.chunk(index, of: result, tenant: tenantOfLargeResults ?? tenant))
    }

    func clearUploads(begunBefore time: Timestamp, limit: Int, epoch: Epoch) async throws -> Int {
        try await base.clearUploads(begunBefore: time, limit: limit, epoch: epoch)
    }
}

struct BrokenDevices: DeviceStorage {
    let base: any DeviceStorage
    var onCommit: @Sendable (DeviceChange, Epoch) -> (DeviceChange, Epoch) = { ($0, $1) }
    var onCredential: @Sendable (DeviceRow?, CredentialDigest) async throws -> DeviceRow? = {
        row,
        _ in row
    }
    var onDevices: @Sendable ([Device]) -> [Device] = { $0 }

    func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> DeviceChangeReceipt {
        let (change, epoch) = onCommit(change, epoch)
        return try await base.commit(change, tenant: tenant, epoch: epoch, at: now)
    }

    func device(_ id: DeviceID, tenant: TenantID) async throws -> Device? {
        try await base.device(id, tenant: tenant)
    }

    func device(credential: CredentialDigest) async throws -> DeviceRow? {
        try await onCredential(base.device(credential: credential), credential)
    }

    func devices(
        in group: GroupID?,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        onDevices(try await base.devices(in: group, after: after, limit: limit, tenant: tenant))
    }

    func groups(tenant: TenantID) async throws -> [GroupSummary] {
        try await base.groups(tenant: tenant)
    }

    func information(
        of device: DeviceID,
        tenant: TenantID
    ) async throws -> [DeviceInformation] {
        try await base.information(of: device, tenant: tenant)
    }
}

struct BrokenWakes: WakeStorage {
    let base: any WakeStorage
    var onDue: @Sendable ([DueWakeUp]) -> [DueWakeUp] = { $0 }
    var onSettle: @Sendable (WakeSettlement) async throws -> WakeSettlement = { $0 }
    var onExpand: @Sendable (WakeExpansionReceipt) -> WakeExpansionReceipt = { $0 }

    func expand(
        limit: Int,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> WakeExpansionReceipt {
        onExpand(try await base.expand(limit: limit, epoch: epoch, at: now))
    }

    func due(at now: Timestamp, limit: Int) async throws -> [DueWakeUp] {
        onDue(try await base.due(at: now, limit: limit))
    }

    func settle(
        _ outcomes: [WakeSettlement],
        epoch: Epoch,
        at now: Timestamp
    ) async throws {
        var changed: [WakeSettlement] = []
        for outcome in outcomes { changed.append(try await onSettle(outcome)) }
        try await base.settle(changed, epoch: epoch, at: now)
    }

    func nextDue() async throws -> Timestamp? { try await base.nextDue() }

    func counters() async throws -> WakeCounters { try await base.counters() }
}

struct BrokenReplicas: ReplicaSource {
    let base: any ReplicaSource
    var isForeignHistoryTrusted = false
    /// Changes the rows of a delta.
    var onRows: @Sendable ([ReplicaRow]) -> [ReplicaRow]

    func currentRevision() async throws -> Revision { try await base.currentRevision() }

    func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        for node: NodeID
    ) async throws -> ReplicaPage {
        var after = after
        if isForeignHistoryTrusted, let number = after?.number {
            after = Revision(history: try await currentRevision().history, number: number)
        }
        var page = try await base.page(after: after, cursor: cursor, limit: limit, for: node)
        if page.content == .delta { page.rows = onRows(page.rows) }
        return page
    }
}

struct BrokenLeases: LeaseStore {
    let base: any LeaseStore
    let ledger: InMemoryLedger

    func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        try await base.acquire(holder: holder, duration: duration)
    }

    /// Renews whatever epoch it is given as the newest.
    func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        Lease(holder: holder, epoch: ledger.epoch, remaining: duration)
    }

    func release(holder: NodeID, epoch: Epoch) async throws {
        try await base.release(holder: holder, epoch: epoch)
    }
}

struct BrokenTasks: PeriodicTaskStorage {
    let base: any PeriodicTaskStorage

    /// Forgets the devices' due times.
    func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        try await base.remove(task.id, tenant: tenant, epoch: epoch)
        try await base.put(task, tenant: tenant, epoch: epoch)
    }

    func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        try await base.remove(task, tenant: tenant, epoch: epoch)
    }

    func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        try await base.tasks(tenant: tenant)
    }

    func dueTimes(of device: DeviceID, tenant: TenantID) async throws -> [TaskDueTime] {
        try await base.dueTimes(of: device, tenant: tenant)
    }

    func spread(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> Bool {
        try await base.spread(limit: limit, epoch: epoch, at: now)
    }

    func claim(
        limit: Int,
        in partition: TaskPartition,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> [TaskStep] {
        try await base.claim(limit: limit, in: partition, epoch: epoch, at: now)
    }

    func finish(_ step: TaskStep, epoch: Epoch) async throws {
        try await base.finish(step, epoch: epoch)
    }
}

struct BrokenMembers: MemberRegistry {
    let base: any MemberRegistry

    /// Every heartbeat takes a revision.
    func put(_ member: Member, epoch: Epoch) async throws -> Revision {
        let known = try await base.members().first { $0.node == member.node }
        if known?.isSameButForHeartbeat(as: member) ?? false {
            _ = try await base.remove(member.node, epoch: epoch)
        }
        return try await base.put(member, epoch: epoch)
    }

    func remove(_ node: NodeID, epoch: Epoch) async throws -> Revision {
        try await base.remove(node, epoch: epoch)
    }

    func members() async throws -> [Member] { try await base.members() }
}

struct BrokenLog: RevisionLog {
    let base: any RevisionLog

    func current() async throws -> Revision { try await base.current() }

    /// Newest first.
    func changes(after revision: Revision, limit: Int) async throws -> [LoggedChange] {
        try await base.changes(after: revision, limit: limit).reversed()
    }

    func append(_ keys: [ChangeKey], epoch: Epoch) async throws -> Revision {
        try await base.append(keys, epoch: epoch)
    }
}

/// An inbox that takes everything and keeps nothing.
struct ForgettingInbox: DeviceInbox {
    func accept(_ entries: [InboxEntry]) async throws {}
}
