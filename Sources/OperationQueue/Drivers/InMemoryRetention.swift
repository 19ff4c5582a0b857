public import ClusterRole
internal import DeviceRegistry
internal import Synchronization

/// History in memory goes at once: nothing is left to sweep.
extension InMemoryOperationStorage: RetentionStorage {
    public func closedActivities(
        before: Timestamp,
        after: ClosedActivity?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        state.withLock { state in
            let found = state.activities.values.compactMap(\.closed).filter { closed in
                guard closed.closedAt <= before else { return false }
                guard let after else { return true }
                return (after.closedAt, after.number) < (closed.closedAt, closed.number)
            }
            let ordered = found.sorted { ($0.closedAt, $0.number) < ($1.closedAt, $1.number) }
            return Array(ordered.prefix(max(0, limit)))
        }
    }

    public func closedActivities(
        of tenant: TenantID,
        after: Int64?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        state.withLock { state in
            var found: [ClosedActivity] = []
            for number in state.numbers[tenant] ?? [] where number > after ?? .min {
                guard found.count < limit else { break }
                if let closed = state.activities[number]?.closed { found.append(closed) }
            }
            return found
        }
    }

    public func history() async throws -> [HistoryCount] {
        state.withLock { state in
            state.numbers.keys.sorted().compactMap { tenant in
                let closed = (state.numbers[tenant] ?? []).compactMap {
                    state.activities[$0]?.closed
                }
                guard !closed.isEmpty else { return nil }
                return HistoryCount(
                    tenant: tenant,
                    activities: closed.count,
                    executions: closed.reduce(0) { $0 + $1.executions }
                )
            }
        }
    }

    public func purge(
        _ activities: [ActivityID],
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Int {
        try ledger.guarded(epoch: epoch) { _ in
            let purged = state.withLock { state in
                let numbers = activities.compactMap { state.number(of: $0, tenant: tenant) }
                    .filter { state.activities[$0]?.closed != nil }
                for number in numbers { state.forget(number) }
                return numbers
            }
            wakes.withState { state in
                state.expansions.removeAll { purged.contains($0.number) }
            }
            return ([], purged.count)
        }.result
    }

    public func sweep(rows: Int, epoch: Epoch) async throws -> Int {
        try ledger.guarded(epoch: epoch) { _ in ([], 0) }.result
    }

    /// Rejected entries carry no time of their own here: what their device sent before `time` goes.
    /// Marks stay: this driver does not know the members.
    public func forgetEvidence(
        before time: Timestamp,
        rows: Int,
        epoch: Epoch
    ) async throws -> Int {
        try ledger.guarded(epoch: epoch) { _ in
            let forgotten = state.withLock { state in
                let old = state.rejections.indices
                    .filter { state.rejections[$0].entry.receivedAt < time }.prefix(max(0, rows))
                for index in old.reversed() { state.rejections.remove(at: index) }
                return old.count
            }
            return ([], forgotten)
        }.result
    }
}

extension InMemoryOperationStorage {
    public func forgetDevices(
        removedBefore time: Timestamp,
        after: Int64?,
        limit: Int,
        epoch: Epoch
    ) async throws -> ForgottenDevices {
        try ledger.guarded(epoch: epoch) { _ in
            let (rows, next) = devices.devices(
                from: Int(after ?? 0),
                limit: limit,
                removedBefore: time
            )
            let gone = state.withLock { state in
                rows.filter { !state.appears($0, devices: devices) }
            }
            for row in gone { devices.forget(row.id, tenant: row.tenant) }
            return ([], ForgottenDevices(count: gone.count, next: next.map(Int64.init)))
        }.result
    }
}

extension InMemoryOperationState {
    /// Whether a device, in any of its enrolments, appears in an activity that is kept.
    fileprivate func appears(_ row: DeviceRow, devices: InMemoryDeviceStorage) -> Bool {
        let memberships = devices.memberships(of: row.id, tenant: row.tenant)
        return (numbers[row.tenant] ?? []).contains { number in
            guard let entry = activities[number] else { return false }
            let scope = entry.activity.operation.terms.scope
            return entry.rowOrder.contains { $0.device == row.id }
                || entry.targets.contains { $0.device == row.id }
                || memberships.contains {
                    $0.group == entry.activity.group
                        && scope.addresses(number, joined: $0.joined, left: $0.left)
                }
        }
    }
}

extension InMemoryActivity {
    /// What it is as history; `nil` while it is live.
    fileprivate var closed: ClosedActivity? {
        guard !activity.isLive, let closedAt = activity.closedAt else { return nil }
        return ClosedActivity(
            tenant: activity.tenant,
            id: activity.id,
            number: number,
            createdAt: activity.operation.createdAt,
            closedAt: closedAt,
            hasKey: requestKey != nil,
            executions: rows.count
        )
    }
}
