public import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// Periodic tasks in memory, atomic with the devices of the same ledger.
public final class InMemoryPeriodicTaskStorage: PeriodicTaskStorage {
    private let ledger: InMemoryLedger
    private let devices: InMemoryDeviceStorage
    /// Taken inside the ledger's lock by writes, alone by reads; never while the devices' lock is held.
    private let state = Mutex(InMemoryTaskState())

    /// - Parameters:
    ///   - ledger: the ledger that all in-memory drivers of one store share.
    ///   - devices: the devices of that store; from now on their memberships and information are
    ///     followed.
    public init(ledger: InMemoryLedger, devices: InMemoryDeviceStorage) {
        self.ledger = ledger
        self.devices = devices
        devices.follow(
            InMemoryDeviceFollower(
                memberships: { [weak self] in self?.memberships($0, at: $1) },
                information: { [weak self] in self?.told($0, by: $1) }
            )
        )
    }

    // No replica holds tasks, so a change of them takes no revision.
    private func write<Result>(
        epoch: Epoch,
        _ body: (inout InMemoryTaskState) -> Result
    ) throws -> Result {
        try ledger.guarded(epoch: epoch) { _ in ([], state.withLock { body(&$0) }) }.result
    }

    public func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        try write(epoch: epoch) { $0.put(task, tenant: tenant) }
    }

    public func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        try write(epoch: epoch) { $0.remove(task, tenant: tenant) }
    }

    public func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        state.withLock { $0.tasks(tenant: tenant) }
    }

    public func dueTimes(of device: DeviceID, tenant: TenantID) async throws -> [TaskDueTime] {
        state.withLock { $0.dueTimes(of: device, tenant: tenant) }
    }

    public func spread(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> Bool {
        let limit = max(1, min(limit, maximumPageSize))
        return try write(epoch: epoch) { state in
            guard let series = state.spreading else { return true }
            let members = devices.memberships(
                of: series.task.group,
                tenant: series.tenant,
                after: series.cursor,
                limit: limit
            )
            for member in members where member.left == nil {
                state.add(member.device, to: series.number, at: now) {
                    devices.received($0, of: member.device, tenant: series.tenant)
                }
            }
            let last = members.last?.device
            let isLastPage = Set(members.map(\.device)).count < limit
            state.note(cursor: last, isLastPage: isLastPage, of: series.number)
            return state.spreading == nil
        }
    }

    public func claim(
        limit: Int,
        in partition: TaskPartition,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> [TaskStep] {
        try write(epoch: epoch) { $0.claim(limit: limit, in: partition, at: now) }
    }

    public func finish(_ step: TaskStep, epoch: Epoch) async throws {
        try write(epoch: epoch) { $0.finish(step) }
    }

    /// The earliest due time of any device.
    package var nextDue: Timestamp? { state.withLock { $0.order.first } }

    private func memberships(_ changes: [MembershipChange], at now: Timestamp) {
        state.withLock { state in
            for change in changes {
                let device = change.membership.device
                let tenant = change.tenant
                for series in state.series(of: change.membership.group, tenant: tenant) {
                    if change.membership.left == nil {
                        state.add(device, to: series, at: now) {
                            devices.received($0, of: device, tenant: tenant)
                        }
                    } else {
                        state.remove(device, from: series)
                    }
                }
            }
        }
    }

    func told(_ information: DeviceInformation, by device: DeviceIdentity) {
        state.withLock { $0.note(information, of: device.device, tenant: device.tenant) }
    }
}
