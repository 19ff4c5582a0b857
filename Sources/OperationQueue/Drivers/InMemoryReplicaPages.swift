public import ClusterRole
internal import DeviceRegistry
internal import Synchronization

/// Where a snapshot's next page begins: the revision it began at, the table, and the place in it.
private struct SnapshotPosition {
    enum Stage: Int64 { case devices, activities, executions, groups }

    var began: Int64
    var stage = Stage.devices
    /// The index of a device in the order of enrolment, or the number of an activity.
    var major: Int64 = 0
    /// The place among what belongs to it.
    var minor: Int64 = 0

    init(began: Int64) { self.began = began }

    init?(_ cursor: ReplicaCursor) {
        let parts = cursor.token.split(separator: ".").compactMap { Int64($0) }
        guard parts.count == 4, parts.allSatisfy({ $0 >= 0 }), let stage = Stage(rawValue: parts[1])
        else { return nil }
        began = parts[0]
        self.stage = stage
        major = parts[2]
        minor = parts[3]
    }

    var cursor: ReplicaCursor {
        ReplicaCursor(token: "\(began).\(stage.rawValue).\(major).\(minor)")
    }

    mutating func begin(_ next: Stage) {
        stage = next
        major = 0
        minor = 0
    }
}

extension InMemoryOperationStorage {
    public func currentRevision() async throws -> Revision { ledger.revision }

    public func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        for node: NodeID
    ) async throws -> ReplicaPage {
        let limit = max(1, limit)
        if let cursor, let position = SnapshotPosition(cursor) {
            return snapshotPage(from: position, content: .snapshotContinues, limit: limit, node)
        }
        if let after, cursor == nil {
            let (delta, revision) = consistent {
                self.delta(after: after, limit: limit, for: node)
            }
            if let delta {
                return ReplicaPage(
                    content: .delta,
                    rows: delta.rows,
                    revision: Revision(
                        history: revision.history,
                        number: delta.reached ?? revision.number
                    ),
                    next: nil,
                    epoch: ledger.epoch
                )
            }
        }
        let position = SnapshotPosition(began: ledger.revision.number)
        return snapshotPage(from: position, content: .snapshotBegins, limit: limit, node)
    }

    // MARK: Delta

    /// - Returns: `nil` if only a snapshot will do. `reached` is `nil` when the delta reaches the
    ///   newest revision.
    private func delta(
        after: Revision,
        limit: Int,
        for node: NodeID
    ) -> (rows: [ReplicaRow], reached: Int64?)? {
        let current = ledger.revision
        guard after.history == current.history, after.number <= current.number else { return nil }
        var rows: [ReplicaRow] = []
        var seen: Set<ChangeKey> = []
        var reached: Int64?
        for change in ledger.changes(after: after.number) {
            var added: [ReplicaRow] = []
            for key in change.keys where seen.insert(key).inserted {
                added += self.rows(of: key, after: after.number, for: node)
                // One revision larger than a page: only a snapshot can be cut into pages.
                if added.count > limit { return reached.map { (rows, $0) } }
            }
            if rows.count + added.count > limit { return reached.map { (rows, $0) } }
            rows += added
            reached = change.number
        }
        return (rows, nil)
    }

    /// The current rows of a key, none for keys that replicas do not hold.
    private func rows(of key: ChangeKey, after: Int64, for node: NodeID) -> [ReplicaRow] {
        switch key {
        case .device(let tenant, let id):
            let id = DeviceID(rawValue: id)
            return [
                .device(
                    devices.row(of: id, tenant: tenant) ?? .forgotten(id, tenant: tenant)
                )
            ]
        case .membership(let tenant, let group, let device):
            return devices.memberships(of: DeviceID(rawValue: device), tenant: tenant)
                .filter { $0.group.rawValue == group }
                .map { .membership(tenant, $0) }
        case .group(let tenant, let name):
            let group = GroupID(rawValue: name)
            return devices.pollingFrequency(of: group, tenant: tenant).map {
                [.group(tenant, group, pollingFrequency: $0)]
            } ?? []
        case .activity(let tenant, let number):
            return state.withLock { state in
                guard let entry = state.activities[number], entry.activity.isLive else {
                    return [.activityGone(tenant, number: number)]
                }
                // Targets never change: whoever has the activity has them.
                let targets = number > after ? entry.targets.map { entry.replicaRow(of: $0) } : []
                return [entry.replicaRow] + targets
            }
        case .execution(let tenant, let number, let device):
            return state.withLock { state in
                guard let entry = state.activities[number], entry.activity.isLive,
                    let device = devices.row(of: DeviceID(rawValue: device), tenant: tenant),
                    let row = entry.row(device.id, device.incarnation)
                else { return [] }
                return [.execution(tenant, number: number, row)]
            }
        case .spoolMark(let marked):
            guard marked == node else { return [] }
            return state.withLock { $0.marks[node].map { [.mark($0)] } ?? [] }
        case .channel, .member, .sharedState:
            return []
        }
    }

    // MARK: Snapshot

    private func snapshotPage(
        from start: SnapshotPosition,
        content: ReplicaPage.Content,
        limit: Int,
        _ node: NodeID
    ) -> ReplicaPage {
        var position = start
        var rows: [ReplicaRow] = []
        if content == .snapshotBegins, let mark = state.withLock({ $0.marks[node] }) {
            // As of the beginning: an overlay may be dropped only for what the rows contain.
            rows.append(.mark(mark))
        }
        if position.stage == .devices { addDevices(&rows, &position, limit: limit) }
        if position.stage == .activities { addActivities(&rows, &position, limit: limit) }
        if position.stage == .executions, addExecutions(&rows, &position, limit: limit) {
            position.begin(.groups)
        }
        let isFinished = position.stage == .groups && addGroups(&rows, &position, limit: limit)
        return ReplicaPage(
            content: content,
            rows: rows,
            revision: Revision(history: ledger.revision.history, number: position.began),
            next: isFinished ? nil : position.cursor,
            epoch: ledger.epoch
        )
    }

    private func addDevices(
        _ rows: inout [ReplicaRow],
        _ position: inout SnapshotPosition,
        limit: Int
    ) {
        while let (row, memberships) = devices.device(at: Int(position.major)) {
            // Ended intervals of a removed or re-enrolled device concern nobody.
            let isEnrolled = row.state == .enrolled
            while position.minor <= Int64(memberships.count) {
                guard rows.count < limit else { return }
                if position.minor == 0 {
                    if isEnrolled { rows.append(.device(row)) }
                } else {
                    let membership = memberships[Int(position.minor) - 1]
                    if isEnrolled && membership.incarnation == row.incarnation
                        && isReferred(membership, tenant: row.tenant)
                    {
                        rows.append(.membership(row.tenant, membership))
                    }
                }
                position.minor += 1
            }
            position.major += 1
            position.minor = 0
        }
        position.begin(.activities)
    }

    private func isReferred(_ membership: Membership, tenant: TenantID) -> Bool {
        guard membership.left != nil else { return true }
        return state.withLock { state in
            state.hasLive(in: membership.group, tenant: tenant) {
                state.isBound(membership, to: $0)
            }
        }
    }

    private func addActivities(
        _ rows: inout [ReplicaRow],
        _ position: inout SnapshotPosition,
        limit: Int
    ) {
        while let entry = nextLive(position) {
            let count = Int64(entry.targets.count)
            if entry.number > position.major { position.minor = 0 }
            position.major = entry.number
            while position.minor <= count {
                guard rows.count < limit else { return }
                let index = Int(position.minor) - 1
                rows.append(
                    index < 0 ? entry.replicaRow : entry.replicaRow(of: entry.targets[index])
                )
                position.minor += 1
            }
            position.major += 1
            position.minor = 0
        }
        position.begin(.executions)
    }

    /// - Returns: whether nothing is left.
    private func addExecutions(
        _ rows: inout [ReplicaRow],
        _ position: inout SnapshotPosition,
        limit: Int
    ) -> Bool {
        while let entry = nextLive(position) {
            if entry.number > position.major { position.minor = 0 }
            position.major = entry.number
            while position.minor < Int64(entry.rowOrder.count) {
                guard rows.count < limit else { return false }
                if let row = entry.rows[entry.rowOrder[Int(position.minor)]] {
                    rows.append(.execution(entry.activity.tenant, number: entry.number, row))
                }
                position.minor += 1
            }
            position.major += 1
            position.minor = 0
        }
        return true
    }

    /// - Returns: whether nothing is left.
    private func addGroups(
        _ rows: inout [ReplicaRow],
        _ position: inout SnapshotPosition,
        limit: Int
    ) -> Bool {
        // By place in order: a group that gets a frequency meanwhile is in the delta that follows.
        let groups = devices.groupPollingFrequencies()
        while position.major < Int64(groups.count) {
            guard rows.count < limit else { return false }
            let (tenant, group, frequency) = groups[Int(position.major)]
            rows.append(.group(tenant, group, pollingFrequency: frequency))
            position.major += 1
        }
        return true
    }

    private func nextLive(_ position: SnapshotPosition) -> InMemoryActivity? {
        state.withLock { state in
            let index = state.live.sortedIndex(of: position.major)
            return index < state.live.count ? state.activities[state.live[index]] : nil
        }
    }
}

extension InMemoryActivity {
    fileprivate var replicaRow: ReplicaRow {
        .activity(
            activity.tenant,
            ReplicaActivity(
                operation: activity.operation,
                group: activity.group,
                state: activity.state,
                gate: activity.gate
            )
        )
    }

    fileprivate func replicaRow(of target: Target) -> ReplicaRow {
        .target(
            activity.tenant,
            number: number,
            device: target.device,
            incarnation: target.incarnation
        )
    }
}
