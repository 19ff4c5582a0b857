public import ClusterRole
public import DeviceRegistry
internal import Synchronization

extension InMemoryOperationStorage {
    public func command(
        _ execution: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (execution: Execution, revision: Revision) {
        let (result, revision) = try guarded(epoch, at: now) { state, write in
            guard let number = state.number(of: execution.operation),
                let entry = state.activities[number], entry.activity.tenant == tenant,
                let device = devices.row(of: execution.device, tenant: tenant),
                device.incarnation == execution.incarnation,
                entry.row(device.id, device.incarnation) != nil
                    || state.addresses(entry, device.id, device.incarnation, devices: devices)
            else { throw OperationQueueError.unknownExecution(execution) }
            let row = entry.row(execution.device, execution.incarnation)
            let change = try command.change(
                of: row,
                execution,
                ifVersion: version,
                in: entry.activity,
                at: now
            )
            state.store(change, of: number, devices: devices, in: &write)
            return change.after
                ?? Execution(
                    id: execution,
                    state: entry.activity.state.effective(nil),
                    version: 0,
                    updatedAt: entry.activity.operation.createdAt
                )
        }
        return (result, revision)
    }

    public func cancelAll(
        of device: DeviceID,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (count: Int, revision: Revision) {
        let (count, revision) = try guarded(epoch, at: now) { state, write in
            guard let row = devices.row(of: device, tenant: tenant), row.state == .enrolled else {
                throw OperationQueueError(
                    .unknownDevice,
                    "The device \(device) is not enrolled in this tenant."
                )
            }
            let memberships = devices.memberships(of: device, tenant: tenant)
            var count = 0
            for item in state.openItems(of: row, memberships: memberships) {
                // Cancelling one may have stopped another.
                let present = state.activities[item.operation.number]?.row(row.id, row.incarnation)
                let change = ExecutionRules.apply(
                    .requestCancel,
                    to: present,
                    item.executionID(on: row),
                    of: item.operation,
                    in: item.activityState,
                    at: now
                )
                guard change.changedRow else { continue }
                count += 1
                state.store(change, of: item.operation.number, devices: devices, in: &write)
            }
            return count
        }
        return (count, revision)
    }

    public func fireTimers(at now: Timestamp, limit: Int, epoch: Epoch) async throws -> Int {
        try guarded(epoch, at: now) { state, write in
            let due = state.dueTimers(at: now, limit: max(0, limit))
            for key in due { state.fire(key, devices: devices, in: &write) }
            return due.count
        }.result
    }

    /// When the next timer fires.
    package var nextTimer: Timestamp? { state.withLock { $0.timers.values.min() } }

    public func rollouts(after: Int64?, limit: Int) async throws -> [Activity] {
        state.withLock { state in
            var found: [Activity] = []
            for number in state.live where number > after ?? -1 {
                guard found.count < limit else { break }
                guard let activity = state.activities[number]?.activity, activity.state == .open,
                    activity.operation.terms.rollout != nil
                else { continue }
                found.append(activity)
            }
            return found
        }
    }

    public func addressedCount(
        of activity: ActivityID,
        below ceiling: Int32,
        tenant: TenantID
    ) async throws -> Int {
        let found = state.withLock { state in
            state.number(of: activity, tenant: tenant).flatMap { state.activities[$0] }
        }
        guard let entry = found else { return 0 }
        let id = entry.activity.id
        guard let group = entry.activity.group else {
            return entry.targets.count { id.rank(of: $0.device) < ceiling }
        }
        let scope = entry.activity.operation.terms.scope
        return devices.memberships(of: group, tenant: tenant).count {
            scope.addresses(entry.number, joined: $0.joined, left: $0.left)
                && id.rank(of: $0.device) < ceiling
        }
    }

    public func execution(_ id: ExecutionID, tenant: TenantID) async throws -> Execution? {
        state.withLock { state in
            guard let number = state.number(of: id.operation), let entry = state.activities[number],
                entry.activity.tenant == tenant,
                entry.row(id.device, id.incarnation) != nil
                    || state.addresses(entry, id.device, id.incarnation, devices: devices)
            else { return nil }
            return entry.execution(of: id.device, incarnation: id.incarnation)
        }
    }

    public func wakeUp(of device: DeviceID, tenant: TenantID) async throws -> WakeUp? {
        wakes.withState { $0.rows[InMemoryWakeTable.Key(tenant: tenant, device: device)] }
    }
}
