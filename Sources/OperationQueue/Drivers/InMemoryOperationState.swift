internal import ClusterRole
internal import DeviceRegistry

/// One activity with everything that belongs to it.
struct InMemoryActivity: Sendable {
    struct Target: Hashable, Sendable {
        var device: DeviceID
        var incarnation: IncarnationID
    }

    var activity: Activity
    var requestDigest: [UInt8]
    /// Named devices in order of id; empty when a group is addressed.
    var targets: [Target] = []
    var unknown = 0
    var rows: [DeviceID: Execution] = [:]
    /// Devices in the order in which they got a row.
    var rowOrder: [DeviceID] = []
    /// What named devices and members have uploaded of large results.
    var uploads: [Target: InMemoryUploads] = [:]

    var number: Int64 { activity.operation.number }

    /// The index of the first target behind `device`.
    func targetIndex(after device: DeviceID) -> Int {
        var low = 0
        var high = targets.count
        while low < high {
            let middle = (low + high) / 2
            if targets[middle].device > device { high = middle } else { low = middle + 1 }
        }
        return low
    }

    func isTarget(_ device: DeviceID, _ incarnation: IncarnationID) -> Bool {
        let index = targetIndex(after: device) - 1
        return index >= 0 && targets[index] == Target(device: device, incarnation: incarnation)
    }
}

/// What the in-memory driver keeps.
struct InMemoryOperationState: Sendable {
    struct ActivityKey: Hashable, Sendable {
        var tenant: TenantID
        var id: ActivityID
    }

    struct RequestKey: Hashable, Sendable {
        var tenant: TenantID
        var key: String
    }

    struct GroupKey: Hashable, Sendable {
        var tenant: TenantID
        var group: GroupID
    }

    struct EnqueueOutcome {
        var entry: InMemoryActivity
        var wasRepeated: Bool
    }

    /// By number.
    var activities: [Int64: InMemoryActivity] = [:]
    /// Of each tenant, ascending.
    var numbers: [TenantID: [Int64]] = [:]
    /// Live activities, ascending.
    var live: [Int64] = []
    var marks: [NodeID: SpoolMark] = [:]
    var rejections: [RejectedEntry] = []
    private var byActivity: [ActivityKey: Int64] = [:]
    private var byOperation: [OperationID: Int64] = [:]
    private var byRequest: [RequestKey: Int64] = [:]
    private var liveByGroup: [GroupKey: [Int64]] = [:]
    private var liveByDevice: [InMemoryWakeTable.Key: [Int64]] = [:]

    func number(of activity: ActivityID, tenant: TenantID) -> Int64? {
        byActivity[ActivityKey(tenant: tenant, id: activity)]
    }

    func number(of operation: OperationID) -> Int64? { byOperation[operation] }

    mutating func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        number: Int64,
        devices: InMemoryDeviceStorage
    ) throws(OperationQueueError) -> EnqueueOutcome {
        if let repeated = try repeated(plan, tenant: tenant) { return repeated }
        var operation = plan.operation
        operation.number = number
        var entry = InMemoryActivity(
            activity: Activity(
                tenant: tenant,
                operation: operation,
                group: plan.target.group,
                initiator: plan.initiator,
                addressed: 0
            ),
            requestDigest: plan.requestDigest
        )
        switch plan.target {
        case .group(let group):
            guard let members = devices.memberCount(of: group, tenant: tenant) else {
                throw OperationQueueError(
                    .unknownGroup,
                    "There is no group \(group). Add a device to it first."
                )
            }
            entry.activity.addressed = members
        case .devices(let named):
            resolve(named, of: tenant, devices: devices, into: &entry)
            guard !entry.targets.isEmpty else {
                throw OperationQueueError(
                    .noTarget,
                    "None of the \(named.count) devices named is enrolled. Enrol them first."
                )
            }
        }
        insert(&entry, key: plan.idempotencyKey)
        return EnqueueOutcome(entry: entry, wasRepeated: false)
    }

    private func repeated(
        _ plan: EnqueuePlan,
        tenant: TenantID
    ) throws(OperationQueueError) -> EnqueueOutcome? {
        guard let key = plan.idempotencyKey,
            let number = byRequest[RequestKey(tenant: tenant, key: key)],
            let entry = activities[number]
        else { return nil }
        guard entry.requestDigest == plan.requestDigest else {
            throw OperationQueueError(
                .keyConflict,
                "The idempotency key was used for another request (activity \(entry.activity.id)). "
                    + "Use a new key for a new request."
            )
        }
        return EnqueueOutcome(entry: entry, wasRepeated: true)
    }

    private func resolve(
        _ named: [DeviceID],
        of tenant: TenantID,
        devices: InMemoryDeviceStorage,
        into entry: inout InMemoryActivity
    ) {
        var last: DeviceID?
        for device in named.sorted() where device != last {
            last = device
            if let row = devices.row(of: device, tenant: tenant), row.state == .enrolled {
                entry.targets.append(.init(device: device, incarnation: row.incarnation))
            } else {
                entry.unknown += 1
            }
        }
        entry.activity.addressed = entry.targets.count
    }

    private mutating func insert(_ entry: inout InMemoryActivity, key: String?) {
        let tenant = entry.activity.tenant
        let number = entry.number
        if entry.activity.addressed == 0 {
            // Nobody to wait for.
            entry.activity.state = .finished
            entry.activity.closedAt = entry.activity.operation.createdAt
        }
        numbers[tenant, default: []].append(number)
        byActivity[ActivityKey(tenant: tenant, id: entry.activity.id)] = number
        byOperation[entry.activity.operation.id] = number
        if let key { byRequest[RequestKey(tenant: tenant, key: key)] = number }
        activities[number] = entry
        guard entry.activity.isLive else { return }
        live.append(number)
        if let group = entry.activity.group {
            liveByGroup[GroupKey(tenant: tenant, group: group), default: []].append(number)
        }
        for target in entry.targets {
            let device = InMemoryWakeTable.Key(tenant: tenant, device: target.device)
            liveByDevice[device, default: []].append(number)
        }
    }

    mutating func close(
        _ id: ActivityID,
        as closed: ActivityState,
        tenant: TenantID,
        at now: Timestamp
    ) throws(OperationQueueError) -> (activity: Activity, changed: Bool) {
        guard let number = number(of: id, tenant: tenant),
            var activity = activities[number]?.activity
        else {
            throw OperationQueueError(
                .unknownActivity,
                "There is no activity \(id) in this tenant. Use an id that enqueue returned."
            )
        }
        guard activity.state == .open else { return (activity, false) }
        activity.state = closed
        activity.closedAt = now
        activities[number]?.activity = activity
        if !activity.isLive { forgetLive(number) }
        return (activity, true)
    }

    /// Takes an activity out of what replicas and open work are made from.
    mutating func forgetLive(_ number: Int64) {
        guard let entry = activities[number] else { return }
        let tenant = entry.activity.tenant
        live.removeSorted(number)
        if let group = entry.activity.group {
            let key = GroupKey(tenant: tenant, group: group)
            liveByGroup[key]?.removeSorted(number)
            if liveByGroup[key]?.isEmpty ?? false { liveByGroup[key] = nil }
        }
        for target in entry.targets {
            let key = InMemoryWakeTable.Key(tenant: tenant, device: target.device)
            liveByDevice[key]?.removeSorted(number)
            if liveByDevice[key]?.isEmpty ?? false { liveByDevice[key] = nil }
        }
    }

    /// Whether a live activity of a group has a number for which `matches` holds.
    func hasLive(in group: GroupID, tenant: TenantID, where matches: (Int64) -> Bool) -> Bool {
        liveByGroup[GroupKey(tenant: tenant, group: group)]?.contains(where: matches) ?? false
    }

    func openItems(of row: DeviceRow, memberships: [Membership]) -> [OpenItem] {
        var items: [OpenItem] = []
        func add(_ number: Int64) {
            guard let entry = activities[number] else { return }
            let item = OpenItem(
                operation: entry.activity.operation,
                activityState: entry.activity.state,
                row: entry.rows[row.id]
            )
            if !item.state.isFinal { items.append(item) }
        }
        let named = liveByDevice[InMemoryWakeTable.Key(tenant: row.tenant, device: row.id)] ?? []
        for number in named
        where activities[number]?.isTarget(row.id, row.incarnation) ?? false {
            add(number)
        }
        for membership in memberships where membership.incarnation == row.incarnation {
            let key = GroupKey(tenant: row.tenant, group: membership.group)
            let numbers = liveByGroup[key] ?? []
            for number in numbers[numbers.sortedIndex(of: membership.joined)...] {
                guard membership.contains(number) else { break }
                add(number)
            }
        }
        return items
    }
}

extension Array where Element == Int64 {
    /// The index of the first element that is at least `number`, in an ascending array.
    func sortedIndex(of number: Int64) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle] >= number { high = middle } else { low = middle + 1 }
        }
        return low
    }

    mutating func removeSorted(_ number: Int64) {
        let index = sortedIndex(of: number)
        if index < count && self[index] == number { remove(at: index) }
    }

    mutating func insertSorted(_ number: Int64) {
        if let last, last >= number {
            let index = sortedIndex(of: number)
            if self[index] != number { insert(number, at: index) }
        } else {
            append(number)
        }
    }
}
