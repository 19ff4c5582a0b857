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
        devices.observeMemberships { [weak self] changes, number, now in
            self?.membershipsChanged(changes, number: number, at: now) ?? ([], nil)
        }
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

    /// Does what follows from devices joining and leaving groups, inside their guarded write.
    private func membershipsChanged(
        _ changes: [MembershipChange],
        number: Int64,
        at now: Timestamp
    ) -> (keys: [ChangeKey], note: ChangeNote?) {
        var write = InMemoryWrite(number: number, at: now)
        state.withLock { $0.membershipsChanged(changes, devices: devices, in: &write) }
        request(write)
        return (write.draft.keys, write.draft.note)
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
        let (outcome, revision) = try guarded(epoch, at: plan.operation.createdAt) { state, write in
            try state.enqueue(plan, tenant: tenant, devices: devices, in: &write)
        }
        return EnqueueReceipt(
            activity: outcome.activity,
            number: outcome.number,
            revision: revision,
            addressed: outcome.addressed,
            unknown: outcome.unknown,
            wasRepeated: outcome.wasRepeated
        )
    }

    /// Runs one guarded write: the state's part under its lock, then the wakes it asks for.
    func guarded<Result>(
        _ epoch: Epoch,
        at now: Timestamp,
        _ body: (inout InMemoryOperationState, inout InMemoryWrite) throws -> Result
    ) throws -> (result: Result, revision: Revision) {
        try ledger.guarded(epoch: epoch) { number, draft in
            var write = InMemoryWrite(number: number, at: now)
            let result = try state.withLock { try body(&$0, &write) }
            request(write)
            draft = write.draft
            return result
        }
    }

    private func request(_ write: InMemoryWrite) {
        guard !write.wakes.isEmpty || !write.expansions.isEmpty else { return }
        wakes.withState { state in
            state.expansions += write.expansions
            for wake in write.wakes {
                state.request(wake.key, number: write.number, due: wake.due)
            }
        }
    }

    public func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        let (result, revision) = try guarded(epoch, at: now) { state, write in
            try state.change(activity, change, tenant: tenant, in: &write)
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
        let (outcome, revision) = try ledger.guarded(epoch: epoch) { number, draft in
            let outcome = apply(entries, from: spool, history: history, number: number, at: now)
            draft = outcome.write.draft
            return outcome
        }
        return ApplyReceipt(
            revision: revision,
            mark: outcome.mark,
            applied: outcome.applied,
            skipped: outcome.skipped,
            rejected: outcome.rejected
        )
    }

    public func exchange<Answer: Sendable>(
        with device: DeviceID,
        tenant: TenantID,
        seen: OpenWork?,
        epoch: Epoch,
        at now: Timestamp,
        _ decide: @escaping @Sendable (OpenWork?) throws -> ExchangeDecision<Answer>
    ) async throws -> Answer {
        let history = ledger.revision.history
        return try ledger.guarded(epoch: epoch) { number, draft in
            let before = Revision(history: history, number: number - 1)
            let decision = try decide(work(of: device, tenant: tenant, as: before))
            guard !decision.entries.isEmpty else { return decision.answer }
            let outcome = apply(
                decision.entries.map { SpooledEntry(number: 0, entry: $0) },
                from: nil,
                history: history,
                number: number,
                at: now
            )
            draft = outcome.write.draft
            return decision.answer
        }.result
    }

    /// Applies entries, and does what follows from them in the wake table.
    private func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        history: HistoryID,
        number: Int64,
        at now: Timestamp
    ) -> InMemoryOperationState.ApplyOutcome {
        let outcome = state.withLock {
            $0.apply(
                entries,
                from: spool,
                history: history,
                devices: devices,
                number: number,
                at: now
            )
        }
        wakes.withState { state in
            for (key, number) in outcome.contacts { state.contact(key, answeredAt: number) }
        }
        request(outcome.write)
        return outcome
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
        var (found, revision) = consistent {
            work(of: device, tenant: tenant, as: ledger.revision)
        }
        found?.revision = revision
        return found
    }

    private func work(of device: DeviceID, tenant: TenantID, as revision: Revision) -> OpenWork? {
        guard let row = devices.row(of: device, tenant: tenant), row.state == .enrolled else {
            return nil
        }
        let memberships = devices.memberships(of: device, tenant: tenant)
        let items = state.withLock { $0.openItems(of: row, memberships: memberships) }
        var work = OpenWork(revision: revision, device: row, items: items)
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
