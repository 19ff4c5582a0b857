public import ClusterRole
public import DeviceRegistry
internal import Synchronization

extension InMemoryOperationStorage {
    public func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity? {
        state.withLock { state in
            state.number(of: id, tenant: tenant).flatMap { state.activities[$0]?.activity }
        }
    }

    public func activities(
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Activity] {
        let limit = max(0, min(limit, maximumPageSize))
        return state.withLock { state in
            let numbers = state.numbers[tenant] ?? []
            let end = before.map { numbers.sortedIndex(of: $0) } ?? numbers.count
            return numbers[..<end].suffix(limit).reversed()
                .compactMap { state.activities[$0]?.activity }
        }
    }

    public func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage {
        let limit = max(1, min(limit, maximumPageSize))
        return state.withLock { state in
            var page = ActivityPage(activities: [], next: nil)
            var examined = 0
            let numbers =
                filter.idempotencyKey.map { state.numbers(requestedWith: $0, tenant: tenant) }
                ?? state.numbers[tenant] ?? []
            let end = before.map { numbers.sortedIndex(of: $0) } ?? numbers.count
            for number in numbers[..<end].reversed() {
                if examined == maximumOperationsExamined { break }
                examined += 1
                page.next = number
                guard let activity = state.activities[number]?.activity,
                    filter.matches(
                        activity.operation,
                        group: activity.group,
                        initiator: activity.initiator
                    ), filter.matches(activity.state)
                else { continue }
                page.activities.append(activity)
                if page.activities.count == limit { break }
            }
            if page.next == numbers.first { page.next = nil }
            return page
        }
    }

    public func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage? {
        guard let row = devices.row(of: device, tenant: tenant) else { return nil }
        let limit = max(1, min(limit, maximumPageSize))
        let memberships = devices.memberships(of: device, tenant: tenant)
            .filter { $0.incarnation == row.incarnation }
        return state.withLock { state in
            var page = DeviceExecutionPage(executions: [], next: nil)
            var examined = 0
            let numbers = state.numbers[tenant] ?? []
            let end = before.map { numbers.sortedIndex(of: $0) } ?? numbers.count
            for number in numbers[..<end].reversed() {
                if examined == maximumOperationsExamined { break }
                examined += 1
                page.next = number
                guard let entry = state.activities[number],
                    entry.concerns(row, memberships: memberships)
                else { continue }
                page.executions.append(
                    DeviceExecution(
                        operation: entry.activity.operation,
                        group: entry.activity.group,
                        execution: entry.execution(of: device, incarnation: row.incarnation)
                    )
                )
                if page.executions.count == limit { break }
            }
            if page.next == numbers.first { page.next = nil }
            return page
        }
    }

    /// Rows carry the state the device's execution is in: for work that ended with its activity, the
    /// activity's, so that the list agrees with ``Activity/counts``.
    public func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution] {
        let limit = max(0, min(limit, maximumPageSize))
        let found = state.withLock { state in
            state.number(of: activity, tenant: tenant).flatMap { state.activities[$0] }
        }
        guard let entry = found, limit > 0 else { return [] }
        if let group = entry.activity.group {
            return executions(of: entry, in: group, after: after, limit: limit)
        }
        let start = after.map { entry.targetIndex(after: $0) } ?? 0
        return entry.targets[start...].prefix(limit).map {
            entry.execution(of: $0.device, incarnation: $0.incarnation)
        }
    }

    private func executions(
        of entry: InMemoryActivity,
        in group: GroupID,
        after: DeviceID?,
        limit: Int
    ) -> [Execution] {
        var result: [Execution] = []
        var position = after
        while result.count < limit {
            let page = devices.memberships(
                of: group,
                tenant: entry.activity.tenant,
                after: position,
                limit: limit
            )
            guard let last = page.last else { break }
            position = last.device
            for membership in page where entry.asks(membership) {
                guard result.count < limit else { break }
                // Who left and came back is listed once.
                if let last = result.last?.id, last.device == membership.device,
                    last.incarnation == membership.incarnation
                {
                    continue
                }
                result.append(
                    entry.execution(
                        of: membership.device,
                        incarnation: membership.incarnation
                    )
                )
            }
        }
        return result
    }
}

extension InMemoryActivity {
    /// Whether this enrolment has a row of it or is addressed by it.
    fileprivate func concerns(_ device: DeviceRow, memberships: [Membership]) -> Bool {
        if row(device.id, device.incarnation) != nil { return true }
        guard let group = activity.group else {
            return isTarget(device.id, device.incarnation)
        }
        return memberships.contains { $0.group == group && asks($0) }
    }

    /// Whether a stay in its group makes an execution of a device appear: it is addressed, or it was and
    /// something has happened on it.
    fileprivate func asks(_ membership: Membership) -> Bool {
        let scope = activity.operation.terms.scope
        if scope.addresses(number, joined: membership.joined, left: membership.left) { return true }
        return scope.isStanding && row(membership.device, membership.incarnation) != nil
    }

    /// The row of a device that is addressed, or what the activity says of it.
    func execution(of device: DeviceID, incarnation: IncarnationID) -> Execution {
        if var row = row(device, incarnation) {
            row.state = activity.state.effective(row.state)
            return row
        }
        let id = ExecutionID(
            operation: activity.operation.id,
            incarnation: incarnation,
            device: device
        )
        return Execution(
            id: id,
            state: activity.state.effective(nil),
            version: 0,
            updatedAt: activity.closedAt ?? activity.operation.createdAt
        )
    }
}
