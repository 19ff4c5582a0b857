internal import ClusterRole
internal import DeviceRegistry

/// The tables of one ``ReplicaImage``.
///
/// Membership intervals of a device are chained through one pool of 32 bytes each; operations are found
/// through the groups and, for named devices, through a list a device.
struct ReplicaTables: Sendable {
    typealias DeviceIndex = ReplicaDevices.Index

    private var devices = ReplicaDevices()
    private var tenants: [TenantID] = []
    private var tenantIndices: [TenantID: Int32] = [:]
    private var intervals: [Interval] = []
    private var freeInterval: Int32 = -1
    private var groupIndices: [GroupKey: Int32] = [:]
    /// Live operations for the members of each group at their own number, ascending.
    private var groupNumbers: [[Int64]] = []
    /// Live operations of each group that also reach those who join, ascending.
    private var standingNumbers: [[Int64]] = []
    /// The polling frequency of each group in milliseconds; −1: none.
    private var groupPolling: [Int64] = []
    private var namedTargets: [DeviceIndex: [NamedTarget]] = [:]
    private var activities: [ActivitySlot] = []
    /// Where the activity of each number stands in `activities`.
    private var places: [Int64: Int] = [:]
    private var numbersByActivity: [ActivityID: Int64] = [:]
    private var freePlaces: [Int] = []
    private(set) var enrolledCount = 0

    // MARK: Reading

    var activityCount: Int { places.count }

    func index(of device: DeviceID, tenant: TenantID) -> DeviceIndex? {
        tenantIndices[tenant].flatMap { devices.index(of: device, tenant: $0) }
    }

    func row(at index: DeviceIndex) -> DeviceRow? {
        let slot = devices[index]
        guard let state = slot.state else { return nil }
        return DeviceRow(
            tenant: tenants[Int(slot.tenant)],
            id: devices.id(at: index),
            incarnation: slot.incarnation,
            state: state,
            credential: slot.credential,
            pollingFrequency: slot.pollingMilliseconds < 0
                ? nil : .milliseconds(slot.pollingMilliseconds)
        )
    }

    func row(of credential: CredentialDigest) -> DeviceRow? {
        devices.index(of: credential).flatMap { row(at: $0) }
    }

    /// The shortest polling frequency of the groups a device is in.
    func groupPollingFrequency(at index: DeviceIndex) -> Duration? {
        let slot = devices[index]
        let incarnation = UInt64(truncatingIfNeeded: slot.incarnation.bits)
        var shortest: Int64?
        var next = slot.intervals
        while next >= 0 {
            let interval = intervals[Int(next)]
            next = interval.next
            let frequency = groupPolling[Int(interval.group)]
            guard frequency >= 0, interval.left == .max, interval.incarnation == incarnation else {
                continue
            }
            shortest = min(shortest ?? frequency, frequency)
        }
        return shortest.map { .milliseconds($0) }
    }

    /// The devices an activity names; `nil` for one that addresses a group or is not held.
    func targets(of number: Int64) -> [ConcernedDevice]? {
        guard let place = places[number], activities[place].group == nil else { return nil }
        return activities[place].targets.map { index in
            ConcernedDevice(
                tenant: tenants[Int(devices[index].tenant)],
                device: devices.id(at: index)
            )
        }
    }

    func openItems(at index: DeviceIndex) -> [OpenItem] {
        var items: [OpenItem] = []
        let slot = devices[index]
        let incarnation = UInt64(truncatingIfNeeded: slot.incarnation.bits)
        func add(_ number: Int64) {
            guard let place = places[number], !activities[place].done.contains(index),
                let activity = activities[place].activity
            else { return }
            var item = OpenItem(
                operation: activity.operation,
                activityState: activity.state,
                gate: activity.gate,
                row: activities[place].open[index]
            )
            if item.state.isFinal { return }
            for dependency in activity.operation.terms.after {
                item.dependencies[dependency.activity] = state(
                    of: dependency.activity,
                    on: index
                )
            }
            items.append(item)
        }
        if !namedTargets.isEmpty {
            for target in namedTargets[index] ?? [] where target.incarnation == incarnation {
                add(target.number)
            }
        }
        var next = slot.intervals
        while next >= 0 {
            let interval = intervals[Int(next)]
            next = interval.next
            guard interval.incarnation == incarnation else { continue }
            let numbers = groupNumbers[Int(interval.group)]
            if !numbers.isEmpty {
                var position = numbers.sortedIndex(of: interval.joined)
                while position < numbers.count && numbers[position] < interval.left {
                    add(numbers[position])
                    position += 1
                }
            }
            for number in standingNumbers[Int(interval.group)]
            where isBound(index, by: interval, to: number) {
                add(number)
            }
        }
        return items
    }

    /// Whether a stay in a group makes a standing operation the device's, or did and left it with
    /// something to end.
    private func isBound(_ index: DeviceIndex, by interval: Interval, to number: Int64) -> Bool {
        guard let place = places[number], let activity = activities[place].activity else {
            return false
        }
        let scope = activity.operation.terms.scope
        if interval.isAddressed(by: number, scope) { return true }
        // It has left, and not come back: that stay's interval answers then.
        return interval.left != .max && activities[place].open[index] != nil
            && !isMember(index, of: interval.group)
    }

    private func isMember(_ index: DeviceIndex, of group: Int32) -> Bool {
        var next = devices[index].intervals
        while next >= 0 {
            let interval = intervals[Int(next)]
            if interval.group == group && interval.left == .max { return true }
            next = interval.next
        }
        return false
    }

    /// How an activity that another waits for stands on a device.
    private func state(of activity: ActivityID, on index: DeviceIndex) -> DependencyState {
        // A live activity keeps what it waits for alive: what is not here has not come yet.
        guard let number = numbersByActivity[activity], let place = places[number],
            let known = activities[place].activity
        else { return .waits(activity) }
        let slot = activities[place]
        if slot.done.contains(index) {
            return slot.unsuccessful.contains(index) ? .failed(activity) : .met
        }
        guard slot.open[index] != nil || isAddressed(index, by: number, slot) else { return .met }
        return DependencyState(activity, known.state.effective(slot.open[index]?.state))
    }

    private func isAddressed(_ index: DeviceIndex, by number: Int64, _ slot: ActivitySlot) -> Bool {
        let incarnation = UInt64(truncatingIfNeeded: devices[index].incarnation.bits)
        guard let group = slot.group, let scope = slot.activity?.operation.terms.scope else {
            return namedTargets[index]?.contains {
                $0.number == number && $0.incarnation == incarnation
            } ?? false
        }
        var next = devices[index].intervals
        while next >= 0 {
            let interval = intervals[Int(next)]
            if interval.group == group && interval.incarnation == incarnation
                && interval.isAddressed(by: number, scope)
            {
                return true
            }
            next = interval.next
        }
        return false
    }

    // MARK: Taking rows

    /// Takes rows of a snapshot, which come in any order and may name what has not come yet.
    ///
    /// - Returns: the mark, if the page held one.
    mutating func takeSnapshot(_ rows: [ReplicaRow]) -> SpoolMark? {
        var mark: SpoolMark?
        for row in rows { take(row, mark: &mark) }
        return mark
    }

    /// Forgets what a snapshot's rows left behind: executions of activities that never came. The
    /// delta that follows holds whatever of them is live.
    mutating func finishSnapshot() {
        for (number, rows) in pendingExecutions {
            for pending in rows { take(pending.row, of: pending.device, number: number) }
        }
        pendingExecutions = [:]
        earlyTargets = [:]
    }

    /// Takes the rows of a delta. Activities go first and memberships before what hangs on them, so
    /// that the order in a page does not matter.
    ///
    /// - Parameter revision: the number of the revision the delta reaches.
    mutating func takeDelta(_ rows: [ReplicaRow], revision: Int64) -> SpoolMark? {
        var mark: SpoolMark?
        for row in rows {
            switch row {
            case .device, .activity, .group, .mark: take(row, mark: &mark)
            case .membership, .target, .execution, .activityGone: continue
            }
        }
        for row in rows {
            switch row {
            case .membership, .target, .execution: take(row, mark: &mark)
            case .device, .activity, .group, .mark, .activityGone: continue
            }
        }
        for row in rows {
            if case .activityGone(_, let number) = row { remove(activity: number) }
        }
        for row in rows {
            if case .membership(let tenant, let membership) = row {
                pruneIntervals(
                    of: intern(membership.device, intern(tenant)),
                    until: revision
                )
            }
        }
        pendingExecutions = [:]
        earlyTargets = [:]
        return mark
    }

    /// Rows that came before their activity in a snapshot.
    private var pendingExecutions: [Int64: [PendingExecution]] = [:]

    private mutating func take(_ row: ReplicaRow, mark: inout SpoolMark?) {
        switch row {
        case .device(let row): take(row)
        case .membership(let tenant, let membership): take(membership, of: tenant)
        case .activity(let tenant, let activity): take(activity, of: tenant)
        case .target(let tenant, let number, let device, let incarnation):
            take(target: intern(device, intern(tenant)), incarnation, number: number)
        case .execution(let tenant, let number, let execution):
            let device = intern(execution.id.device, intern(tenant))
            if places[number] == nil {
                let pending = PendingExecution(device: device, row: execution)
                pendingExecutions[number, default: []].append(pending)
            } else {
                take(execution, of: device, number: number)
            }
        case .activityGone(_, let number): remove(activity: number)
        case .group(let tenant, let group, let frequency):
            let index = intern(group, intern(tenant))
            groupPolling[Int(index)] = frequency?.milliseconds ?? -1
        case .mark(let newest): mark = newest
        }
    }

    private mutating func intern(_ tenant: TenantID) -> Int32 {
        if let index = tenantIndices[tenant] { return index }
        let index = Int32(tenants.count)
        tenants.append(tenant)
        tenantIndices[tenant] = index
        return index
    }

    private mutating func intern(_ device: DeviceID, _ tenant: Int32) -> DeviceIndex {
        devices.intern(device, tenant: tenant)
    }

    private mutating func intern(_ group: GroupID, _ tenant: Int32) -> Int32 {
        let key = GroupKey(tenant: tenant, group: group)
        if let index = groupIndices[key] { return index }
        let index = Int32(groupNumbers.count)
        groupIndices[key] = index
        groupNumbers.append([])
        standingNumbers.append([])
        groupPolling.append(-1)
        return index
    }

    private mutating func take(_ row: DeviceRow) {
        let index = intern(row.id, intern(row.tenant))
        let old = devices[index]
        if old.state == .enrolled {
            enrolledCount -= 1
            devices.removeCredential(of: index)
        }
        if old.state != nil, old.incarnation != row.incarnation { forgetRows(of: index) }
        devices[index].incarnation = row.incarnation
        devices[index].credential = row.credential
        devices[index].state = row.state
        devices[index].pollingMilliseconds = row.pollingFrequency?.milliseconds ?? -1
        guard row.state == .enrolled else { return }
        enrolledCount += 1
        devices.addCredential(of: index)
    }

    private mutating func take(_ membership: Membership, of tenant: TenantID) {
        let tenant = intern(tenant)
        let index = intern(membership.device, tenant)
        let group = intern(membership.group, tenant)
        var next = devices[index].intervals
        while next >= 0 {
            if intervals[Int(next)].group == group
                && intervals[Int(next)].joined == membership.joined
            {
                intervals[Int(next)].left = membership.left ?? .max
                return
            }
            next = intervals[Int(next)].next
        }
        let interval = Interval(
            joined: membership.joined,
            left: membership.left ?? .max,
            incarnation: UInt64(truncatingIfNeeded: membership.incarnation.bits),
            group: group,
            next: devices[index].intervals
        )
        if freeInterval >= 0 {
            let place = freeInterval
            freeInterval = intervals[Int(place)].next
            intervals[Int(place)] = interval
            devices[index].intervals = place
        } else {
            devices[index].intervals = Int32(intervals.count)
            intervals.append(interval)
        }
    }

    /// Gives back a device's intervals that ended up to a revision and that no live operation refers
    /// to: all operations that could are known by then.
    private mutating func pruneIntervals(of index: DeviceIndex, until revision: Int64) {
        var kept: Int32 = -1
        var next = devices[index].intervals
        while next >= 0 {
            let place = next
            let interval = intervals[Int(place)]
            next = interval.next
            let numbers = groupNumbers[Int(interval.group)]
            let first = numbers.sortedIndex(of: interval.joined)
            let isReferred =
                (first < numbers.count && numbers[first] < interval.left)
                || standingNumbers[Int(interval.group)].contains {
                    places[$0].map { activities[$0].open[index] != nil } ?? false
                }
            if interval.left > revision || isReferred {
                intervals[Int(place)].next = kept
                kept = place
            } else {
                intervals[Int(place)].next = freeInterval
                freeInterval = place
            }
        }
        devices[index].intervals = kept
    }

    private mutating func take(_ activity: ReplicaActivity, of tenant: TenantID) {
        let number = activity.operation.number
        if let place = places[number] {
            activities[place].activity = activity
            return
        }
        let tenant = intern(tenant)
        let group = activity.group.map { intern($0, tenant) }
        let slot = ActivitySlot(activity: activity, group: group)
        if let place = freePlaces.popLast() {
            activities[place] = slot
            places[number] = place
        } else {
            places[number] = activities.count
            activities.append(slot)
        }
        numbersByActivity[activity.operation.activity] = number
        if let group {
            if activity.operation.terms.scope.isStanding {
                standingNumbers[Int(group)].insertSorted(number)
            } else {
                groupNumbers[Int(group)].insertSorted(number)
            }
        }
        for early in earlyTargets.removeValue(forKey: number) ?? [] {
            take(target: early.device, early.incarnation, number: number)
        }
    }

    /// Targets that came before their activity.
    private var earlyTargets: [Int64: [EarlyTarget]] = [:]

    private mutating func take(
        target index: DeviceIndex,
        _ incarnation: IncarnationID,
        number: Int64
    ) {
        guard let place = places[number] else {
            let early = EarlyTarget(device: index, incarnation: incarnation)
            earlyTargets[number, default: []].append(early)
            return
        }
        let low = UInt64(truncatingIfNeeded: incarnation.bits)
        if namedTargets[index]?.contains(where: { $0.number == number }) ?? false { return }
        namedTargets[index, default: []].append(NamedTarget(number: number, incarnation: low))
        activities[place].targets.append(index)
    }

    /// A device that enrols anew begins anew, also where a standing operation stays the same.
    private mutating func forgetRows(of index: DeviceIndex) {
        for place in places.values {
            activities[place].open[index] = nil
            activities[place].done.remove(index)
            activities[place].unsuccessful.remove(index)
        }
    }

    private mutating func take(_ row: Execution, of index: DeviceIndex, number: Int64) {
        guard let place = places[number] else { return }
        let slot = devices[index]
        guard slot.state == nil || slot.incarnation == row.id.incarnation else { return }
        if row.state.isFinal {
            activities[place].open[index] = nil
            activities[place].done.insert(index)
            if row.state != .completed { activities[place].unsuccessful.insert(index) }
        } else {
            activities[place].open[index] = row
        }
    }

    private mutating func remove(activity number: Int64) {
        pendingExecutions[number] = nil
        earlyTargets[number] = nil
        guard let place = places.removeValue(forKey: number) else { return }
        let slot = activities[place]
        activities[place] = ActivitySlot(activity: nil)
        freePlaces.append(place)
        if let id = slot.activity?.operation.activity { numbersByActivity[id] = nil }
        if let group = slot.group {
            groupNumbers[Int(group)].removeSorted(number)
            standingNumbers[Int(group)].removeSorted(number)
        }
        for index in slot.targets {
            namedTargets[index]?.removeAll { $0.number == number }
            if namedTargets[index]?.isEmpty ?? false { namedTargets[index] = nil }
        }
    }
}
