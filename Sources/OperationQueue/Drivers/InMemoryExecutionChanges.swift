internal import ClusterRole
internal import DeviceRegistry

/// What one guarded write of operations has done so far.
struct InMemoryWrite {
    var number: Int64
    var now: Timestamp
    /// The entry of the log: keys, and each transition as it is made.
    var draft: ChangeDraft
    /// Wake-ups to request for devices, with when they fall due.
    var wakes: [(key: InMemoryWakeTable.Key, due: Timestamp)] = []
    var expansions: [WakeExpansion] = []

    init(number: Int64, at now: Timestamp) {
        self.number = number
        self.now = now
        draft = ChangeDraft(at: now)
    }

    mutating func log(_ key: ChangeKey) { draft.log(key) }
}

extension InMemoryOperationState {
    /// Stores what a rule made of an execution, and all that follows from it: counts, the activity's
    /// end, timers, and what becomes of the work that waits for it.
    mutating func store(
        _ change: ExecutionChange,
        of number: Int64,
        devices: InMemoryDeviceStorage,
        in write: inout InMemoryWrite
    ) {
        var waiting = [(change, number)]
        while let (change, number) = waiting.popLast() {
            // Only the activity: while a copy of the entry lives, storing a row copies all its rows.
            guard change.changedRow, let after = change.after,
                let before = activities[number]?.activity
            else { continue }
            let target = InMemoryActivity.Target(after.id)
            write.draft.log(after, from: change.before?.state, of: before)
            if change.before == nil { activities[number]?.rowOrder.append(target) }
            activities[number]?.rows[target] = after
            setTimer(
                after.attention(under: before.operation.terms),
                InMemoryTimer.Key(number: number, target: target)
            )
            var activity = before
            activity.recount(from: change.before?.state, to: after.state, at: write.now)
            if change.wasLate { activity.answeredLate += 1 }
            store(activity, before: before, in: &write)
            if after.state.isFinal, after.state != .completed,
                !(change.before?.state.isFinal ?? false)
            {
                waiting += stopped(by: activity, on: after.id, devices: devices, at: write.now)
            }
        }
    }

    /// The executions behind a failed one that are cancelled with it.
    private func stopped(
        by activity: Activity,
        on id: ExecutionID,
        devices: InMemoryDeviceStorage,
        at now: Timestamp
    ) -> [(ExecutionChange, Int64)] {
        (dependents[activity.id] ?? []).compactMap { number in
            guard let entry = activities[number], entry.activity.state == .open,
                entry.activity.operation.terms.after.contains(where: {
                    $0.activity == activity.id && $0.onFailure == .stop
                }),
                addresses(entry, id.device, id.incarnation, devices: devices)
            else { return nil }
            let change = ExecutionRules.apply(
                .requestCancel,
                to: entry.row(id.device, id.incarnation),
                ExecutionID(
                    operation: entry.activity.operation.id,
                    incarnation: id.incarnation,
                    device: id.device
                ),
                of: entry.activity.operation,
                in: entry.activity.state,
                at: now
            )
            return (change, number)
        }
    }

    /// Stores an activity and lets go of it when it is no longer live.
    mutating func store(_ activity: Activity, before: Activity, in write: inout InMemoryWrite) {
        let number = activity.operation.number
        activities[number]?.activity = activity
        if activity.state != before.state {
            write.draft.log(activity, from: before.state, at: write.now)
        } else if activity.isLive != before.isLive || activity.gate != before.gate {
            write.log(.activity(tenant: activity.tenant, number: number))
        }
        setTimer(activityTimer(activity), InMemoryTimer.Key(number: number, target: nil))
        if before.state == .open && activity.state != .open {
            releaseDependencies(of: activity, in: &write)
        }
        if before.isLive && !activity.isLive { forgetLive(number) }
    }

    private func activityTimer(_ activity: Activity) -> Timestamp? {
        activity.state == .open
            ? timers[InMemoryTimer.Key(number: activity.operation.number, target: nil)]
            : activity.cancellationDeadline
    }

    /// What a closed activity waited for need not be kept for its sake.
    private mutating func releaseDependencies(of activity: Activity, in write: inout InMemoryWrite)
    {
        for dependency in activity.operation.terms.after {
            dependents[dependency.activity]?.removeAll { $0 == activity.operation.number }
            if dependents[dependency.activity]?.isEmpty ?? false {
                dependents[dependency.activity] = nil
            }
            guard let number = number(of: dependency.activity, tenant: activity.tenant),
                let before = activities[number]?.activity
            else { continue }
            var after = before
            after.dependents -= 1
            store(after, before: before, in: &write)
        }
    }

    /// Whether an activity asks this enrolment of a device.
    func addresses(
        _ entry: InMemoryActivity,
        _ device: DeviceID,
        _ incarnation: IncarnationID,
        devices: InMemoryDeviceStorage
    ) -> Bool {
        guard let group = entry.activity.group else { return entry.isTarget(device, incarnation) }
        let scope = entry.activity.operation.terms.scope
        return devices.memberships(of: device, tenant: entry.activity.tenant).contains {
            $0.group == group && $0.incarnation == incarnation
                && scope.addresses(entry.number, joined: $0.joined, left: $0.left)
        }
    }

    // MARK: Joiners

    /// Lets standing activities follow who joins and who leaves their groups.
    mutating func membershipsChanged(
        _ changes: [MembershipChange],
        devices: InMemoryDeviceStorage,
        in write: inout InMemoryWrite
    ) {
        for change in changes {
            let membership = change.membership
            for number in liveNumbers(of: membership.group, tenant: change.tenant) {
                guard let entry = activities[number], entry.activity.state == .open,
                    entry.activity.operation.terms.scope.isStanding
                else { continue }
                let row = entry.row(membership.device, membership.incarnation)
                if membership.left == nil {
                    if row == nil { activities[number]?.activity.addressed += 1 }
                } else if let row {
                    let cancelled = ExecutionRules.apply(
                        .requestCancel,
                        to: row,
                        row.id,
                        of: entry.activity.operation,
                        in: entry.activity.state,
                        at: write.now
                    )
                    store(cancelled, of: number, devices: devices, in: &write)
                } else if entry.activity.operation.terms.scope.addresses(
                    number,
                    joined: membership.joined,
                    left: nil
                ) {
                    activities[number]?.activity.addressed -= 1
                }
            }
        }
    }

    // MARK: Timers

    mutating func setTimer(_ due: Timestamp?, _ key: InMemoryTimer.Key) {
        if due != nil || !timers.isEmpty { timers[key] = due }
    }

    func dueTimers(at now: Timestamp, limit: Int) -> [InMemoryTimer.Key] {
        timers.filter { $0.value <= now }
            .sorted { ($0.value, $0.key) < ($1.value, $1.key) }
            .prefix(limit).map(\.key)
    }

    /// Does what is due for one timer.
    mutating func fire(
        _ key: InMemoryTimer.Key,
        devices: InMemoryDeviceStorage,
        in write: inout InMemoryWrite
    ) {
        timers[key] = nil
        guard let entry = activities[key.number] else { return }
        guard let target = key.target else {
            return fireActivity(entry, devices: devices, in: &write)
        }
        guard let row = entry.rows[target] else { return }
        let terms = entry.activity.operation.terms
        switch row.dueAttention(under: terms, at: write.now) {
        case nil: setTimer(row.attention(under: terms), key)
        case .wake?:
            guard entry.activity.state == .open, terms.wake == .push else { return }
            let key = InMemoryWakeTable.Key(tenant: entry.activity.tenant, device: target.device)
            write.wakes.append((key, write.now))
        case .apply(let event)?:
            let change = ExecutionRules.apply(
                event,
                to: row,
                row.id,
                of: entry.activity.operation,
                in: entry.activity.state,
                at: write.now
            )
            store(change, of: key.number, devices: devices, in: &write)
        }
    }

    private mutating func fireActivity(
        _ entry: InMemoryActivity,
        devices: InMemoryDeviceStorage,
        in write: inout InMemoryWrite
    ) {
        if entry.activity.state == .open {
            wake(entry, 0..<entry.activity.gate.ceiling, due: write.now, in: &write)
            return
        }
        for target in entry.rowOrder {
            guard let row = entry.rows[target], row.state.isHeldByDevice else { continue }
            let change = ExecutionRules.apply(
                .timeOut,
                to: row,
                row.id,
                of: entry.activity.operation,
                in: entry.activity.state,
                at: write.now
            )
            store(change, of: entry.number, devices: devices, in: &write)
        }
    }

    /// Wakes the addressed devices with these ranks: at `due`, or, if that is later, when the
    /// operation's time has come.
    mutating func wake(
        _ entry: InMemoryActivity,
        _ ranks: Range<Int32>,
        due: Timestamp,
        in write: inout InMemoryWrite
    ) {
        let activity = entry.activity
        guard activity.operation.terms.wake == .push, activity.addressed > 0 else { return }
        let offered = activity.offerTime(at: write.now)
        guard offered <= write.now else {
            setTimer(offered, InMemoryTimer.Key(number: entry.number, target: nil))
            return
        }
        if let group = activity.group {
            write.expansions.append(
                WakeExpansion(
                    tenant: activity.tenant,
                    group: group,
                    number: write.number,
                    operation: entry.number,
                    activity: activity.id,
                    ranks: ranks,
                    due: due
                )
            )
        }
        for target in entry.targets where ranks.contains(activity.id.rank(of: target.device)) {
            let key = InMemoryWakeTable.Key(tenant: activity.tenant, device: target.device)
            write.wakes.append((key, due))
        }
    }
}

/// Names in the in-memory driver's table of timers.
enum InMemoryTimer {
    /// An execution's, or, without a target, the activity's own.
    struct Key: Hashable, Comparable, Sendable {
        var number: Int64
        var target: InMemoryActivity.Target?

        static func < (left: Key, right: Key) -> Bool {
            left.number != right.number
                ? left.number < right.number
                : (left.target?.device.rawValue ?? "") < (right.target?.device.rawValue ?? "")
        }
    }
}
