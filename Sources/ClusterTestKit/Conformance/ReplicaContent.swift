internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// What a replica holds after taking pages: the smallest replica there is.
struct ReplicaContent: Sendable {
    struct DeviceKey: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    struct GroupKey: Hashable {
        var tenant: TenantID
        var group: GroupID
    }

    struct MembershipKey: Hashable {
        var tenant: TenantID
        var group: GroupID
        var device: DeviceID
        var joined: Int64
    }

    struct ActivityKey: Hashable {
        var tenant: TenantID
        var number: Int64
    }

    struct ExecutionKey: Hashable {
        var activity: ActivityKey
        var device: DeviceID
        var incarnation: IncarnationID
    }

    var revision: Revision?
    private(set) var devices: [DeviceKey: DeviceRow] = [:]
    private(set) var memberships: [MembershipKey: Membership] = [:]
    private(set) var activities: [ActivityKey: ReplicaActivity] = [:]
    private(set) var targets: Set<ExecutionKey> = []
    private(set) var executions: [ExecutionKey: Execution] = [:]
    private(set) var groups: [GroupKey: Duration] = [:]
    private(set) var marks: [NodeID: SpoolMark] = [:]

    mutating func take(_ page: ReplicaPage) {
        if page.content == .snapshotBegins { self = ReplicaContent() }
        for row in page.rows { take(row) }
        if page.next == nil { revision = page.revision }
    }

    mutating func take(_ row: ReplicaRow) {
        switch row {
        case .device(let row):
            devices[DeviceKey(tenant: row.tenant, device: row.id)] = row
        case .membership(let tenant, let interval):
            let key = MembershipKey(
                tenant: tenant,
                group: interval.group,
                device: interval.device,
                joined: interval.joined
            )
            memberships[key] = interval
        case .activity(let tenant, let activity):
            activities[ActivityKey(tenant: tenant, number: activity.operation.number)] = activity
        case .target(let tenant, let number, let device, let incarnation):
            let activity = ActivityKey(tenant: tenant, number: number)
            targets.insert(
                ExecutionKey(activity: activity, device: device, incarnation: incarnation)
            )
        case .execution(let tenant, let number, let row):
            let activity = ActivityKey(tenant: tenant, number: number)
            let key = ExecutionKey(
                activity: activity,
                device: row.id.device,
                incarnation: row.id.incarnation
            )
            executions[key] = row
        case .activityGone(let tenant, let number):
            let gone = ActivityKey(tenant: tenant, number: number)
            activities[gone] = nil
            targets = targets.filter { $0.activity != gone }
            executions = executions.filter { $0.key.activity != gone }
        case .group(let tenant, let group, let frequency):
            groups[GroupKey(tenant: tenant, group: group)] = frequency
        case .mark(let mark):
            marks[mark.node] = mark
        }
    }

    /// Only what an answer to a device can depend on, so that a replica that came by deltas equals one
    /// that came by a snapshot: enrolled devices, their own intervals, live activities.
    var essence: Essence {
        func isPresent(_ tenant: TenantID, _ device: DeviceID, _ life: IncarnationID) -> Bool {
            let row = devices[DeviceKey(tenant: tenant, device: device)]
            return row?.state == .enrolled && row?.incarnation == life
        }
        return Essence(
            devices: devices.filter { $0.value.state == .enrolled },
            memberships: memberships.filter { key, interval in
                isPresent(key.tenant, key.device, interval.incarnation)
                    && (interval.left == nil || isReferred(interval, key.tenant))
            },
            activities: activities,
            targets: targets.filter {
                isPresent($0.activity.tenant, $0.device, $0.incarnation)
                    && activities[$0.activity] != nil
            },
            executions: executions.filter {
                isPresent($0.key.activity.tenant, $0.key.device, $0.key.incarnation)
                    && activities[$0.key.activity] != nil
            },
            groups: groups,
            marks: marks
        )
    }

    struct Essence: Equatable {
        var devices: [DeviceKey: DeviceRow]
        var memberships: [MembershipKey: Membership]
        var activities: [ActivityKey: ReplicaActivity]
        var targets: Set<ExecutionKey>
        var executions: [ExecutionKey: Execution]
        var groups: [GroupKey: Duration]
        var marks: [NodeID: SpoolMark]

        /// Where two differ, in words.
        func difference(from other: Essence) -> String? {
            var parts: [String] = []
            if devices != other.devices { parts.append("devices \(devices) / \(other.devices)") }
            if memberships != other.memberships {
                parts.append("memberships \(memberships.values) / \(other.memberships.values)")
            }
            if activities != other.activities {
                parts.append("activities \(activities.values) / \(other.activities.values)")
            }
            if targets != other.targets { parts.append("targets \(targets) / \(other.targets)") }
            if executions != other.executions {
                parts.append("executions \(executions.values) / \(other.executions.values)")
            }
            if groups != other.groups { parts.append("groups \(groups) / \(other.groups)") }
            if marks != other.marks { parts.append("marks \(marks) / \(other.marks)") }
            return parts.isEmpty ? nil : parts.joined(separator: "; ")
        }
    }

    private func isReferred(_ interval: Membership, _ tenant: TenantID) -> Bool {
        activities.contains { key, activity in
            key.tenant == tenant && activity.group == interval.group
                && isBound(interval, to: key, activity)
        }
    }

    /// Whether a stay in a group binds its device to an activity: it addresses it, or it left with
    /// something of it open.
    private func isBound(
        _ interval: Membership,
        to key: ActivityKey,
        _ activity: ReplicaActivity
    ) -> Bool {
        let scope = activity.operation.terms.scope
        if scope.addresses(key.number, joined: interval.joined, left: interval.left) { return true }
        guard scope.isStanding else { return false }
        let execution = ExecutionKey(
            activity: key,
            device: interval.device,
            incarnation: interval.incarnation
        )
        return executions[execution].map { !$0.state.isFinal } ?? false
    }

    /// What the replica would answer for a device: `nil` if it is not enrolled here.
    func openWork(for device: DeviceID, tenant: TenantID) -> OpenWork? {
        guard let row = devices[DeviceKey(tenant: tenant, device: device)],
            row.state == .enrolled, let revision
        else { return nil }
        let items = activities.compactMap { key, activity -> OpenItem? in
            guard key.tenant == tenant else { return nil }
            let execution = ExecutionKey(
                activity: key,
                device: device,
                incarnation: row.incarnation
            )
            guard isAsked(row, of: key, activity, orBound: true) else { return nil }
            var item = OpenItem(
                operation: activity.operation,
                activityState: activity.state,
                gate: activity.gate,
                row: executions[execution]
            )
            for dependency in activity.operation.terms.after {
                item.dependencies[dependency.activity] = state(of: dependency.activity, on: row)
            }
            return item
        }
        var work = OpenWork(revision: revision, device: row, items: items)
        work.groupPollingFrequency = memberships.values.filter {
            $0.device == device && $0.incarnation == row.incarnation && $0.left == nil
        }.compactMap { groups[GroupKey(tenant: tenant, group: $0.group)] }.min()
        return work
    }

    private func isAsked(
        _ row: DeviceRow,
        of key: ActivityKey,
        _ activity: ReplicaActivity,
        orBound: Bool
    ) -> Bool {
        let execution = ExecutionKey(
            activity: key,
            device: row.id,
            incarnation: row.incarnation
        )
        if targets.contains(execution) { return true }
        return memberships.values.contains {
            guard $0.device == row.id, $0.group == activity.group,
                $0.incarnation == row.incarnation
            else { return false }
            if orBound { return isBound($0, to: key, activity) }
            return activity.operation.terms.scope.addresses(
                key.number,
                joined: $0.joined,
                left: $0.left
            )
        }
    }

    private func state(of activity: ActivityID, on row: DeviceRow) -> DependencyState {
        let found = activities.first {
            $0.key.tenant == row.tenant && $0.value.operation.activity == activity
        }
        guard let (key, known) = found else { return .waits(activity) }
        let execution = ExecutionKey(
            activity: key,
            device: row.id,
            incarnation: row.incarnation
        )
        let state = executions[execution]?.state
        guard state != nil || isAsked(row, of: key, known, orBound: false) else { return .met }
        return DependencyState(activity, known.state.effective(state))
    }
}
