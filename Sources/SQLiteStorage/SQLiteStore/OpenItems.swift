#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

extension SQLConnection {
    private static let targetsOfDevice = StatementText(
        "SELECT device_idx, number, sum FROM target WHERE device_idx = ? ORDER BY number"
    )
    private static let liveOfGroup = StatementText(
        """
        SELECT number, 0 FROM activity
        WHERE live = 1 AND standing = 0 AND group_idx = ?1 AND number >= ?2 AND number < ?3
        UNION ALL
        SELECT number, standing FROM activity
        WHERE live = 1 AND standing > 0 AND group_idx = ?1
        """
    )

    /// What is open for an enrolled device.
    func openItems(of device: DeviceRecord) throws -> [OpenItem] {
        var items: [OpenItem] = []
        for number in try targets(ofDeviceAt: device.idx) {
            if let item = try openItem(number, on: device) { items.append(item) }
        }
        var standing: Set<Int64> = []
        for membership in try memberships(ofDeviceAt: device.idx) {
            for found in try liveNumbers(of: membership) {
                // Two stays in a group may both name a standing operation.
                if found.scope.isStanding, standing.contains(found.number) { continue }
                guard try isBound(membership, to: found) else { continue }
                if found.scope.isStanding { standing.insert(found.number) }
                if let item = try openItem(found.number, on: device) { items.append(item) }
            }
        }
        return items
    }

    /// Live operations that name a device, ascending.
    private func targets(ofDeviceAt idx: Int64) throws -> [Int64] {
        let known = knownDevice(at: idx)
        if let targets = known?.targets { return targets }
        var found: [Int64] = []
        try forEach(Self.targetsOfDevice, idx) {
            try $0.verify("target", sum: 2)
            found.append($0.int64(1))
        }
        if found.count <= KnownDevices.maximumRows { known?.targets = found }
        return found
    }

    /// Live operations of the group for who stayed in it then, and those that are for joiners.
    private func liveNumbers(
        of membership: MembershipRecord
    ) throws -> [KnownGroupWork.LiveNumber] {
        let group = membership.groupIdx
        if isWriter, !remembered.groupWork.isCrowded(group) {
            let all = try remembered.groupWork[group] ?? liveNumbers(ofGroupAt: group)
            remembered.groupWork.set(group, to: all)
            if all.count <= KnownGroupWork.maximumNumbers {
                return all.filter { $0.scope.isStanding || membership.contains($0.number) }
            }
        }
        return try liveNumbers(
            ofGroupAt: group,
            from: membership.joined,
            to: membership.ended ?? .max,
            limit: .max
        )
    }

    /// Without bounds one more than are kept, which tells that there are too many.
    private func liveNumbers(
        ofGroupAt idx: Int64,
        from first: Int64 = .min,
        to end: Int64 = .max,
        limit: Int = KnownGroupWork.maximumNumbers + 1
    ) throws -> [KnownGroupWork.LiveNumber] {
        let statement = try take(Self.liveOfGroup)
        defer { release(statement) }
        try statement.bind(idx, at: 1)
        try statement.bind(first, at: 2)
        try statement.bind(end, at: 3)
        var found: [KnownGroupWork.LiveNumber] = []
        while found.count < limit, try statement.step() {
            let raw = UInt8(truncatingIfNeeded: statement.int64(1))
            guard let scope = GroupScope(rawValue: raw) else {
                throw SQLiteStorageError.corruptRow(in: "activity")
            }
            found.append(.init(number: statement.int64(0), scope: scope))
        }
        return found
    }

    /// Whether a stay makes an operation the device's, or did and left it with something to end.
    private func isBound(_ membership: MembershipRecord, to found: KnownGroupWork.LiveNumber) throws
        -> Bool
    {
        if found.scope.addresses(found.number, joined: membership.joined, left: membership.ended) {
            return true
        }
        guard found.scope.isStanding else { return false }
        let row = try execution(found.number, deviceIdx: membership.deviceIdx)
        return row.map { !$0.state.isFinal } ?? false
    }

    /// `nil` when nothing is left to do.
    private func openItem(_ number: Int64, on device: DeviceRecord) throws -> OpenItem? {
        let row = try execution(number, deviceIdx: device.idx)
        if let row, row.state.isFinal { return nil }
        guard let activity = try activity(number), activity.isLive,
            !activity.state.effective(row?.state).isFinal,
            let record = try knownOperation(number)
        else { return nil }
        let operation = try knownOperation(withPayloadOf: record)
        var item = OpenItem(
            operation: operation,
            activityState: activity.state,
            gate: activity.gate.gate,
            row: row?.execution(of: operation.id, on: device.row)
        )
        for dependency in operation.terms.after {
            item.dependencies[dependency.activity] = try state(
                of: dependency.activity,
                of: record.tenant,
                on: device
            )
        }
        return item
    }

    /// How an activity that another waits for stands on a device.
    private func state(
        of id: ActivityID,
        of tenant: TenantID,
        on device: DeviceRecord
    ) throws -> DependencyState {
        guard let operation = try operation(of: id, tenant: tenant),
            let activity = try activity(operation.operation.number)
        else { return .met }
        let row = try execution(activity.number, deviceIdx: device.idx)
        guard try row != nil || addresses(operation, device) else { return .met }
        return DependencyState(id, activity.state.effective(row?.state))
    }
}
#endif
