public import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// Operations and executions in memory: complete, atomic with the other in-memory drivers of its
/// ledger, and gone with the process.
///
/// It is a store (``OperationStorage``) and serves replicas (``ReplicaSource``), so that the whole
/// path of an operation runs in a test without a file or a socket.
public final class InMemoryOperationStorage: OperationStorage, ReplicaSource, WorkSignals {
    let ledger: InMemoryLedger
    let devices: InMemoryDeviceStorage
    let wakes: InMemoryWakeTable
    /// Taken inside the ledger's lock by writes, alone by reads; the devices' and the wake table's
    /// locks are taken inside it.
    let state = Mutex(InMemoryOperationState())
    private let signals = WorkSignalHub()

    /// - Parameters:
    ///   - ledger: the ledger that all in-memory drivers of one store share.
    ///   - devices: the devices of that store.
    ///   - wakes: the wake outbox of that store.
    public init(
        ledger: InMemoryLedger,
        devices: InMemoryDeviceStorage,
        wakes: InMemoryWakeTable = InMemoryWakeTable()
    ) {
        self.ledger = ledger
        self.devices = devices
        self.wakes = wakes
        ledger.observe { [weak self] in self?.signal($0) }
    }

    public func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void) {
        signals.observeWork(observer)
    }

    /// Every write of the ledger comes by here, those of other drivers too.
    private func signal(_ keys: [ChangeKey]) {
        signals.send(
            WorkConcern(keys) { tenant, number in
                state.withLock { state in
                    guard let entry = state.activities[number], entry.activity.group == nil else {
                        return nil
                    }
                    return entry.targets.map { ConcernedDevice(tenant: tenant, device: $0.device) }
                }
            }
        )
    }

    /// The newest entries that could not be applied, oldest first; at most
    /// ``InMemoryOperationStorage/keptRejections``.
    public var rejections: [RejectedEntry] { state.withLock { $0.rejections } }

    /// How many rejected entries are kept: enough to see what is wrong, not enough to fill memory.
    public static let keptRejections = 10_000

    public func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        let (outcome, revision) = try ledger.guarded(epoch: epoch) { number in
            let outcome = try state.withLock {
                try $0.enqueue(plan, tenant: tenant, number: number, devices: devices)
            }
            if !outcome.wasRepeated, let due = plan.wakeAt {
                requestWakes(for: plan, entry: outcome.entry, due: due)
            }
            let key = ChangeKey.activity(tenant: tenant, number: outcome.entry.number)
            return (outcome.wasRepeated ? [] : [key], outcome)
        }
        return EnqueueReceipt(
            activity: outcome.entry.activity.id,
            number: outcome.entry.number,
            revision: revision,
            addressed: outcome.entry.activity.addressed,
            unknown: outcome.entry.unknown,
            wasRepeated: outcome.wasRepeated
        )
    }

    private func requestWakes(
        for plan: EnqueuePlan,
        entry: InMemoryActivity,
        due: Timestamp
    ) {
        guard entry.activity.addressed > 0 else { return }
        let tenant = entry.activity.tenant
        let expansion = plan.target.group.map {
            WakeExpansion(tenant: tenant, group: $0, number: entry.number, due: due)
        }
        let targets = entry.targets
        let number = entry.number
        wakes.withState { state in
            if let expansion { state.expansions.append(expansion) }
            for target in targets {
                let key = InMemoryWakeTable.Key(tenant: tenant, device: target.device)
                state.request(key, number: number, due: due)
            }
        }
    }

    public func close(
        _ activity: ActivityID,
        as closed: ActivityState,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        guard closed != .open, closed != .finished else {
            throw OperationQueueError(
                .invalidRequest,
                "An activity is closed as cancelled, expired or superseded."
            )
        }
        let (result, revision) = try ledger.guarded(epoch: epoch) { _ in
            let (activity, changed) = try state.withLock {
                try $0.close(activity, as: closed, tenant: tenant, at: now)
            }
            let key = ChangeKey.activity(tenant: tenant, number: activity.operation.number)
            return (changed ? [key] : [], activity)
        }
        return (result, revision)
    }

    public func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> ApplyReceipt {
        let history = ledger.revision.history
        let (outcome, revision) = try ledger.guarded(epoch: epoch) { _ in
            let outcome = state.withLock {
                $0.apply(entries, from: spool, history: history, devices: devices, at: now)
            }
            let contacts = outcome.contacts
            wakes.withState { state in
                for (key, number) in contacts { state.contact(key, answeredAt: number) }
            }
            return (outcome.keys, outcome)
        }
        return ApplyReceipt(
            revision: revision,
            mark: outcome.mark,
            applied: outcome.applied,
            skipped: outcome.skipped,
            rejected: outcome.rejected
        )
    }

    public func expired(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, id: ActivityID)] {
        state.withLock { state in
            var found: [(tenant: TenantID, id: ActivityID)] = []
            for number in state.live {
                guard found.count < limit else { break }
                guard let activity = state.activities[number]?.activity, activity.state == .open,
                    let expiry = activity.operation.expiresAt, expiry <= now
                else { continue }
                found.append((tenant: activity.tenant, id: activity.id))
            }
            return found
        }
    }

    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        let (found, revision) = consistent { () -> (row: DeviceRow, items: [OpenItem])? in
            guard let row = devices.row(of: device, tenant: tenant), row.state == .enrolled else {
                return nil
            }
            let memberships = devices.memberships(of: device, tenant: tenant)
            return (row, state.withLock { $0.openItems(of: row, memberships: memberships) })
        }
        guard let found else { return nil }
        var work = OpenWork(revision: revision, device: found.row, items: found.items)
        work.groupPollingFrequency = devices.groupPollingFrequency(of: device, tenant: tenant)
        return work
    }

    /// Reads several tables as of one revision, without holding up writers: if a write went on
    /// meanwhile, the read is repeated.
    func consistent<Value>(_ read: () -> Value) -> (value: Value, revision: Revision) {
        var revision = ledger.revision
        for _ in 0..<64 {
            let value = read()
            let afterwards = ledger.revision
            if afterwards == revision { return (value, revision) }
            revision = afterwards
        }
        // Writers never paused. What is read now is at least as new as the revision named.
        return (read(), revision)
    }
}

/// An entry that could not be applied, kept as evidence.
public struct RejectedEntry: Hashable, Sendable {
    /// Whose spool it came from; `nil` for one accepted in process.
    public var node: NodeID?
    public var number: Int64
    public var entry: InboxEntry
    public var reason: String

    public init(node: NodeID?, number: Int64, entry: InboxEntry, reason: String) {
        self.node = node
        self.number = number
        self.entry = entry
        self.reason = reason
    }
}
