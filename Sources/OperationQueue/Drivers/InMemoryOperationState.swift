internal import ClusterRole
internal import DeviceRegistry

/// One activity with everything that belongs to it.
struct InMemoryActivity: Sendable {
    struct Target: Hashable, Sendable {
        var device: DeviceID
        var incarnation: IncarnationID

        init(device: DeviceID, incarnation: IncarnationID) {
            self.device = device
            self.incarnation = incarnation
        }

        init(_ execution: ExecutionID) {
            device = execution.device
            incarnation = execution.incarnation
        }
    }

    var activity: Activity
    var requestDigest: [UInt8]
    var requestKey: String?
    /// Named devices in order of id; empty when a group is addressed.
    var targets: [Target] = []
    var unknown = 0
    /// By enrolment: a device that enrols anew begins anew.
    var rows: [Target: Execution] = [:]
    /// Enrolments in the order in which they got a row.
    var rowOrder: [Target] = []
    /// What named devices and members have uploaded of large results.
    var uploads: [Target: InMemoryUploads] = [:]

    var number: Int64 { activity.operation.number }

    /// The row of one enrolment of a device.
    func row(_ device: DeviceID, _ incarnation: IncarnationID) -> Execution? {
        rows[Target(device: device, incarnation: incarnation)]
    }

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

    /// Of the activity only what is answered: copying a whole one costs more than making it.
    struct EnqueueOutcome {
        var activity: ActivityID
        var number: Int64
        var addressed: Int
        var unknown: Int
        var wasRepeated: Bool

        init(_ entry: InMemoryActivity, wasRepeated: Bool) {
            activity = entry.activity.id
            number = entry.number
            addressed = entry.activity.addressed
            unknown = entry.unknown
            self.wasRepeated = wasRepeated
        }
    }

    /// By number.
    var activities: [Int64: InMemoryActivity] = [:]
    /// Of each tenant, ascending.
    var numbers: [TenantID: [Int64]] = [:]
    /// Live activities, ascending.
    var live: [Int64] = []
    var marks: [NodeID: SpoolMark] = [:]
    var rejections: [RejectedEntry] = []
    /// When something is due by itself.
    var timers: [InMemoryTimer.Key: Timestamp] = [:]
    /// Open activities that wait for each, ascending.
    var dependents: [ActivityID: [Int64]] = [:]
    private var byActivity: [ActivityKey: Int64] = [:]
    private var byOperation: [OperationID: Int64] = [:]
    private var byRequest: [RequestKey: Int64] = [:]
    private var liveByGroup: [GroupKey: [Int64]] = [:]
    private var liveByDevice: [InMemoryWakeTable.Key: [Int64]] = [:]

    func number(of activity: ActivityID, tenant: TenantID) -> Int64? {
        byActivity[ActivityKey(tenant: tenant, id: activity)]
    }

    func number(of operation: OperationID) -> Int64? { byOperation[operation] }

    /// The number of the activity that a request with this key made, if there is one.
    func numbers(requestedWith key: String, tenant: TenantID) -> [Int64] {
        byRequest[RequestKey(tenant: tenant, key: key)].map { [$0] } ?? []
    }

    mutating func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        devices: InMemoryDeviceStorage,
        in write: inout InMemoryWrite
    ) throws(OperationQueueError) -> EnqueueOutcome {
        if let repeated = try repeated(plan, tenant: tenant) { return repeated }
        var operation = plan.operation
        operation.number = write.number
        operation.terms.after = try resolve(plan.operation, tenant: tenant)
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
            entry.activity.addressed = operation.terms.scope == .joinersOnly ? 0 : members
            let asked = operation.terms.scope.isStanding ? 1 : members
            try requireQuota(for: [], addressed: asked, of: tenant, devices: devices)
        case .devices(let named):
            resolve(named, of: tenant, devices: devices, into: &entry)
            guard !entry.targets.isEmpty else {
                throw OperationQueueError(
                    .noTarget,
                    "None of the \(named.count) devices named is enrolled. Enrol them first."
                )
            }
        }
        if plan.target.group == nil {
            try requireQuota(
                for: entry.targets,
                addressed: entry.activity.addressed,
                of: tenant,
                devices: devices
            )
        }
        entry.activity.open(at: write.now)
        insert(&entry, key: plan.idempotencyKey, in: &write)
        if let due = plan.wakeAt, entry.activity.state == .open,
            entry.activity.gate == OfferGate()
        {
            wake(entry, 0..<RolloutPlan.everyone, due: due, in: &write)
        }
        if entry.activity.replacesOlder(at: write.now) { try closeOlder(than: entry, in: &write) }
        return EnqueueOutcome(entry, wasRepeated: false)
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
        return EnqueueOutcome(entry, wasRepeated: true)
    }

    /// Holds an enqueue against its tenant's quota.
    private func requireQuota(
        for targets: [InMemoryActivity.Target],
        addressed: Int,
        of tenant: TenantID,
        devices: InMemoryDeviceStorage
    ) throws(OperationQueueError) {
        let quota = devices.effectiveQuota(of: tenant)
        if addressed > 0, let limit = quota.openActivities {
            let open = live.count { activities[$0]?.activity.tenant == tenant }
            if open >= limit { throw .quotaExceeded(openActivities: limit) }
        }
        guard let limit = quota.namedOperationsPerDevice else { return }
        for target in targets {
            let key = InMemoryWakeTable.Key(tenant: tenant, device: target.device)
            if liveByDevice[key]?.count ?? 0 >= limit {
                throw .quotaExceeded(named: limit, device: target.device)
            }
        }
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

    /// What an operation must wait for, without what is done on every device.
    private func resolve(
        _ operation: DeviceOperation,
        tenant: TenantID
    ) throws(OperationQueueError) -> [OperationDependency] {
        var open: [OperationDependency] = []
        for dependency in operation.terms.after {
            let known = number(of: dependency.activity, tenant: tenant)
                .flatMap { activities[$0]?.activity }
            if try DependencyRules.mustWait(operation, for: dependency, known) {
                open.append(dependency)
            }
        }
        return open
    }

    /// Closes older activities that this one is done in place of, for the same devices.
    private mutating func closeOlder(
        than entry: InMemoryActivity,
        in write: inout InMemoryWrite
    ) throws(OperationQueueError) {
        for number in live where number < entry.number {
            guard let older = activities[number], older.activity.state == .open,
                older.activity.tenant == entry.activity.tenant,
                older.activity.operation.terms.control == entry.activity.operation.terms.control,
                older.activity.group == entry.activity.group,
                older.activity.operation.terms.scope == entry.activity.operation.terms.scope,
                older.targets == entry.targets
            else { continue }
            var activity = older.activity
            _ = try activity.on(.close(.superseded), at: write.now)
            store(activity, before: older.activity, in: &write)
        }
    }

    private mutating func insert(
        _ entry: inout InMemoryActivity,
        key: String?,
        in write: inout InMemoryWrite
    ) {
        let tenant = entry.activity.tenant
        let number = entry.number
        entry.requestKey = key
        if entry.activity.addressed == 0, !entry.activity.operation.terms.scope.isStanding {
            // Nobody to wait for.
            entry.activity.state = .finished
            entry.activity.closedAt = entry.activity.operation.createdAt
        }
        numbers[tenant, default: []].append(number)
        byActivity[ActivityKey(tenant: tenant, id: entry.activity.id)] = number
        byOperation[entry.activity.operation.id] = number
        if let key { byRequest[RequestKey(tenant: tenant, key: key)] = number }
        activities[number] = entry
        write.draft.log(entry.activity, from: nil, at: entry.activity.operation.createdAt)
        guard entry.activity.isLive else { return }
        live.append(number)
        if let group = entry.activity.group {
            liveByGroup[GroupKey(tenant: tenant, group: group), default: []].append(number)
        }
        for target in entry.targets {
            let device = InMemoryWakeTable.Key(tenant: tenant, device: target.device)
            liveByDevice[device, default: []].append(number)
        }
        for dependency in entry.activity.operation.terms.after {
            dependents[dependency.activity, default: []].append(number)
            guard let other = self.number(of: dependency.activity, tenant: tenant) else { continue }
            activities[other]?.activity.dependents += 1
        }
    }

    mutating func change(
        _ id: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        in write: inout InMemoryWrite
    ) throws(OperationQueueError) -> Activity {
        guard let number = number(of: id, tenant: tenant), let entry = activities[number] else {
            throw OperationQueueError(
                .unknownActivity,
                "There is no activity \(id) in this tenant. Use an id that enqueue returned."
            )
        }
        var activity = entry.activity
        let directives = try activity.on(change, at: write.now)
        store(activity, before: entry.activity, in: &write)
        for case .wake(let ranks) in directives {
            guard let entry = activities[number] else { continue }
            wake(entry, ranks, due: write.now, in: &write)
        }
        return activity
    }

    /// Removes a closed activity with everything that belongs to it.
    mutating func forget(_ number: Int64) {
        guard let entry = activities.removeValue(forKey: number) else { return }
        let tenant = entry.activity.tenant
        numbers[tenant]?.removeSorted(number)
        byActivity[ActivityKey(tenant: tenant, id: entry.activity.id)] = nil
        byOperation[entry.activity.operation.id] = nil
        if let key = entry.requestKey { byRequest[RequestKey(tenant: tenant, key: key)] = nil }
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

    /// Whether a stay in a group binds a device to a live activity: it addresses it, or it left with
    /// something of it open.
    func isBound(_ membership: Membership, to number: Int64) -> Bool {
        guard let entry = activities[number] else { return false }
        let scope = entry.activity.operation.terms.scope
        if scope.addresses(number, joined: membership.joined, left: membership.left) { return true }
        guard scope.isStanding,
            let row = entry.row(membership.device, membership.incarnation)
        else { return false }
        return !row.state.isFinal
    }

    /// Live activities of a group, ascending.
    func liveNumbers(of group: GroupID, tenant: TenantID) -> [Int64] {
        liveByGroup[GroupKey(tenant: tenant, group: group)] ?? []
    }

    func openItems(of row: DeviceRow, memberships: [Membership]) -> [OpenItem] {
        var items: [OpenItem] = []
        var seen: Set<Int64> = []
        func add(_ number: Int64) {
            guard seen.insert(number).inserted, let entry = activities[number] else { return }
            var item = OpenItem(
                operation: entry.activity.operation,
                activityState: entry.activity.state,
                gate: entry.activity.gate,
                row: entry.row(row.id, row.incarnation)
            )
            if item.state.isFinal { return }
            for dependency in item.operation.terms.after {
                item.dependencies[dependency.activity] = state(
                    of: dependency.activity,
                    on: row,
                    memberships
                )
            }
            items.append(item)
        }
        let named = liveByDevice[InMemoryWakeTable.Key(tenant: row.tenant, device: row.id)] ?? []
        for number in named
        where activities[number]?.isTarget(row.id, row.incarnation) ?? false {
            add(number)
        }
        for membership in memberships where membership.incarnation == row.incarnation {
            let numbers = liveNumbers(of: membership.group, tenant: row.tenant)
            for number in numbers where isBound(membership, to: number) { add(number) }
        }
        return items
    }

    /// How an activity that another waits for stands on a device.
    private func state(
        of activity: ActivityID,
        on row: DeviceRow,
        _ memberships: [Membership]
    ) -> DependencyState {
        guard let number = number(of: activity, tenant: row.tenant), let entry = activities[number]
        else { return .met }
        let known = entry.row(row.id, row.incarnation)
        let scope = entry.activity.operation.terms.scope
        let isAddressed =
            known != nil
            || entry.isTarget(row.id, row.incarnation)
            || memberships.contains {
                $0.group == entry.activity.group && $0.incarnation == row.incarnation
                    && scope.addresses(number, joined: $0.joined, left: $0.left)
            }
        let state = entry.activity.state.effective(known?.state)
        return DependencyState(activity, isAddressed ? state : nil)
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
