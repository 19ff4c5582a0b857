public import ClusterMembership
public import ClusterRole
public import DeviceRegistry
public import NotificationDispatch
public import OperationQueue

/// An `OperationStorage` whose calls fail as a ``FaultScript`` says.
public struct FailingOperationStorage: OperationStorage {
    let base: any OperationStorage
    let script: FaultScript

    public init(_ base: any OperationStorage, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        try await script.around(.enqueue) {
            try await base.enqueue(plan, tenant: tenant, epoch: epoch)
        }
    }

    public func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        try await script.around(.change) {
            try await base.change(activity, change, tenant: tenant, epoch: epoch, at: now)
        }
    }

    public func command(
        _ execution: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (execution: Execution, revision: Revision) {
        try await script.around(.command) {
            try await base.command(
                execution,
                command,
                ifVersion: version,
                tenant: tenant,
                epoch: epoch,
                at: now
            )
        }
    }

    public func cancelAll(
        of device: DeviceID,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (count: Int, revision: Revision) {
        try await script.around(.cancelAll) {
            try await base.cancelAll(of: device, tenant: tenant, epoch: epoch, at: now)
        }
    }

    public func fireTimers(at now: Timestamp, limit: Int, epoch: Epoch) async throws -> Int {
        try await script.around(.fireTimers) {
            try await base.fireTimers(at: now, limit: limit, epoch: epoch)
        }
    }

    public func rollouts(after: Int64?, limit: Int) async throws -> [Activity] {
        try await script.around(.rollouts) {
            try await base.rollouts(after: after, limit: limit)
        }
    }

    public func addressedCount(
        of activity: ActivityID,
        below ceiling: Int32,
        tenant: TenantID
    ) async throws -> Int {
        try await script.around(.addressedCount) {
            try await base.addressedCount(of: activity, below: ceiling, tenant: tenant)
        }
    }

    public func execution(_ id: ExecutionID, tenant: TenantID) async throws -> Execution? {
        try await script.around(.executions) { try await base.execution(id, tenant: tenant) }
    }

    public func wakeUp(of device: DeviceID, tenant: TenantID) async throws -> WakeUp? {
        try await script.around(.wakeUp) {
            try await base.wakeUp(of: device, tenant: tenant)
        }
    }

    public func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> ApplyReceipt {
        try await script.around(.apply) {
            try await base.apply(entries, from: spool, epoch: epoch, at: now)
        }
    }

    public func expired(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, id: ActivityID)] {
        try await script.around(.expired) { try await base.expired(at: now, limit: limit) }
    }

    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        try await script.around(.openWork) {
            try await base.openWork(for: device, tenant: tenant)
        }
    }

    public func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity? {
        try await script.around(.activity) { try await base.activity(id, tenant: tenant) }
    }

    public func activities(
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Activity] {
        try await script.around(.activities) {
            try await base.activities(before: before, limit: limit, tenant: tenant)
        }
    }

    public func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage {
        try await script.around(.activities) {
            try await base.activities(
                matching: filter,
                before: before,
                limit: limit,
                tenant: tenant
            )
        }
    }

    public func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage? {
        try await script.around(.executions) {
            try await base.executions(on: device, before: before, limit: limit, tenant: tenant)
        }
    }

    public func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution] {
        try await script.around(.executions) {
            try await base.executions(of: activity, after: after, limit: limit, tenant: tenant)
        }
    }
}

extension FailingOperationStorage {
    public func largeResult(
        of activity: ActivityID,
        on device: DeviceID,
        tenant: TenantID
    ) async throws -> LargeResult? {
        try await script.around(.largeResult) {
            try await base.largeResult(of: activity, on: device, tenant: tenant)
        }
    }

    public func chunk(
        _ index: Int32,
        of result: LargeResult,
        tenant: TenantID
    ) async throws -> [UInt8]? {
        try await script.around(.chunk) {
            try await base.chunk(index, of: result, tenant: tenant)
        }
    }

    public func clearUploads(
        begunBefore time: Timestamp,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await script.around(.clearUploads) {
            try await base.clearUploads(begunBefore: time, limit: limit, epoch: epoch)
        }
    }
}

/// A `DeviceStorage` whose calls fail as a ``FaultScript`` says.
public struct FailingDeviceStorage: DeviceStorage {
    let base: any DeviceStorage
    let script: FaultScript

    public init(_ base: any DeviceStorage, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> DeviceChangeReceipt {
        try await script.around(.commit) {
            try await base.commit(change, tenant: tenant, epoch: epoch, at: now)
        }
    }

    public func device(_ id: DeviceID, tenant: TenantID) async throws -> Device? {
        try await script.around(.device) { try await base.device(id, tenant: tenant) }
    }

    public func device(credential: CredentialDigest) async throws -> DeviceRow? {
        try await script.around(.device) { try await base.device(credential: credential) }
    }

    public func devices(
        in group: GroupID?,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        try await script.around(.devices) {
            try await base.devices(in: group, after: after, limit: limit, tenant: tenant)
        }
    }

    public func groups(tenant: TenantID) async throws -> [GroupSummary] {
        try await script.around(.groups) { try await base.groups(tenant: tenant) }
    }

    public func information(
        of device: DeviceID,
        tenant: TenantID
    ) async throws -> [DeviceInformation] {
        try await script.around(.information) {
            try await base.information(of: device, tenant: tenant)
        }
    }
}

/// A `WakeStorage` whose calls fail as a ``FaultScript`` says.
public struct FailingWakeStorage: WakeStorage {
    private let base: any WakeStorage
    private let script: FaultScript

    public init(_ base: any WakeStorage, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func expand(
        limit: Int,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> WakeExpansionReceipt {
        try await script.around(.expand) {
            try await base.expand(limit: limit, epoch: epoch, at: now)
        }
    }

    public func due(at now: Timestamp, limit: Int) async throws -> [DueWakeUp] {
        try await script.around(.due) { try await base.due(at: now, limit: limit) }
    }

    public func settle(
        _ outcomes: [WakeSettlement],
        epoch: Epoch,
        at now: Timestamp
    ) async throws {
        try await script.around(.settle) {
            try await base.settle(outcomes, epoch: epoch, at: now)
        }
    }

    public func nextDue() async throws -> Timestamp? {
        try await script.around(.nextDue) { try await base.nextDue() }
    }

    public func counters() async throws -> WakeCounters {
        try await script.around(.counters) { try await base.counters() }
    }
}

/// A `LeaseStore` whose calls fail as a ``FaultScript`` says.
public struct FailingLeaseStore: LeaseStore {
    private let base: any LeaseStore
    private let script: FaultScript

    public init(_ base: any LeaseStore, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        try await script.around(.acquire) {
            try await base.acquire(holder: holder, duration: duration)
        }
    }

    public func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        try await script.around(.renew) {
            try await base.renew(holder: holder, epoch: epoch, duration: duration)
        }
    }

    public func release(holder: NodeID, epoch: Epoch) async throws {
        try await script.around(.release) { try await base.release(holder: holder, epoch: epoch) }
    }

    public func holder() async throws -> Lease? { try await base.holder() }
}

/// A `ReplicaSource` whose calls fail as a ``FaultScript`` says.
public struct FailingReplicaSource: ReplicaSource {
    private let base: any ReplicaSource
    private let script: FaultScript

    public init(_ base: any ReplicaSource, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func currentRevision() async throws -> Revision {
        try await script.around(.currentRevision) { try await base.currentRevision() }
    }

    public func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        for node: NodeID
    ) async throws -> ReplicaPage {
        try await script.around(.page) {
            try await base.page(after: after, cursor: cursor, limit: limit, for: node)
        }
    }
}

/// An `EventReader` whose calls fail as a ``FaultScript`` says.
public struct FailingEventReader: EventReader {
    private let base: any EventReader
    private let script: FaultScript

    public init(_ base: any EventReader, _ script: FaultScript) {
        self.base = base
        self.script = script
    }

    public func currentRevision() async throws -> Revision {
        try await script.around(.currentRevision) { try await base.currentRevision() }
    }

    public func events(
        after revision: Revision,
        limit: Int,
        tenant: TenantID
    ) async throws -> EventPage {
        try await script.around(.events) {
            try await base.events(after: revision, limit: limit, tenant: tenant)
        }
    }

    public func revision(before time: Timestamp) async throws -> Revision {
        try await script.around(.events) { try await base.revision(before: time) }
    }
}
