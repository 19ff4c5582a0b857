#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

/// One ``DeviceChange`` being applied, inside its transaction.
struct DeviceChanges {
    let connection: SQLConnection
    let tenant: TenantID
    let number: Int64
    let now: Timestamp
    private(set) var keys: [ChangeKey] = []
    private(set) var row: DeviceRow?
    private(set) var changed = 0
    private(set) var unknown = 0
    /// Groups touched, by name; their counts are stored once, at the end.
    private var groups: [GroupID: GroupRecord] = [:]

    init(connection: SQLConnection, tenant: TenantID, number: Int64, now: Timestamp) {
        self.connection = connection
        self.tenant = tenant
        self.number = number
        self.now = now
    }

    mutating func apply(_ change: DeviceChange) throws {
        switch change {
        case .enrol(let record): try enrol(record)
        case .remove(let id): try remove(id)
        case .join(let group, let devices): try join(group, devices)
        case .leave(let group, let devices): try leave(group, devices)
        case .setPollingFrequency(let id, let frequency): try poll(id, every: frequency)
        case .setGroupPollingFrequency(let group, let frequency):
            try poll(membersOf: group, every: frequency)
        }
        for group in groups.keys.sorted() { try groups[group]?.store(connection) }
    }

    // MARK: One device

    private mutating func enrol(_ record: EnrolmentRecord) throws {
        changed = 1
        let known = try connection.device(record.device, tenant: tenant)
        if var device = known, device.isEnrolled, let key = record.key, device.key == key {
            device.row.credential = record.credential
            try device.store(connection)
            row = device.row
            log(device.row.id)
            return
        }
        log(record.device)
        if var device = known {
            try endMemberships(of: device)
            device.isCurrent = false
            try device.store(connection)
            try forgetReachability(of: device.idx)
        }
        let newest = try connection.row("SELECT max(idx) FROM device") { $0.int64(0) } ?? 0
        let device = DeviceRecord(
            idx: newest + 1,
            row: DeviceRow(
                tenant: tenant,
                id: record.device,
                incarnation: record.incarnation,
                state: .enrolled,
                credential: record.credential,
                pollingFrequency: record.pollingFrequency
            ),
            enrolledAt: now,
            key: record.key
        )
        try device.store(connection)
        row = device.row
        for group in [.everyone] + record.groups {
            try beginMembership(of: device, in: group)
        }
    }

    private mutating func remove(_ id: DeviceID) throws {
        guard var device = try connection.device(id, tenant: tenant), device.isEnrolled else {
            unknown = 1
            return
        }
        log(id)
        try endMemberships(of: device)
        device.row.state = .removed
        device.removedAt = now
        try device.store(connection)
        try forgetReachability(of: device.idx)
        changed = 1
    }

    private mutating func poll(_ id: DeviceID, every frequency: Duration?) throws {
        guard var device = try connection.device(id, tenant: tenant), device.isEnrolled else {
            unknown = 1
            return
        }
        device.row.pollingFrequency = frequency
        try device.store(connection)
        row = device.row
        changed = 1
        log(id)
    }

    /// Nobody can be woken at an ended enrolment.
    private func forgetReachability(of idx: Int64) throws {
        try connection.run("DELETE FROM wake WHERE device_idx = ?", idx)
        try connection.run("DELETE FROM registration WHERE device_idx = ?", idx)
    }

    // MARK: Groups

    private mutating func join(_ group: GroupID, _ devices: [DeviceID]) throws {
        // Joining makes the group, even if nobody joins.
        _ = try record(of: group)
        for id in devices {
            guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
                unknown += 1
                continue
            }
            if try beginMembership(of: device, in: group) { changed += 1 }
        }
    }

    private mutating func leave(_ group: GroupID, _ devices: [DeviceID]) throws {
        for id in devices {
            guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
                unknown += 1
                continue
            }
            guard let known = try knownRecord(of: group),
                let membership = try openMembership(of: device, in: known)
            else { continue }
            try end(membership, in: group)
            changed += 1
        }
    }

    private mutating func poll(membersOf group: GroupID, every frequency: Duration?) throws {
        let known = group == .everyone ? try record(of: group) : try knownRecord(of: group)
        guard let known else {
            unknown = 1
            return
        }
        try connection.setPollingFrequency(frequency, ofGroupAt: known.idx)
        changed = 1
        keys.append(.group(tenant: tenant, name: group.rawValue))
    }

    private mutating func knownRecord(of group: GroupID) throws -> GroupRecord? {
        if let known = groups[group] { return known }
        let stored = try connection.group(group, tenant: tenant)
        groups[group] = stored
        return stored
    }

    private mutating func record(of group: GroupID) throws -> GroupRecord {
        if let known = try knownRecord(of: group) { return known }
        let newest = try connection.row("SELECT max(idx) FROM device_group") { $0.int64(0) } ?? 0
        let made = GroupRecord(idx: newest + 1, tenant: tenant, group: group)
        try made.store(connection)
        groups[group] = made
        return made
    }

    private func openMembership(
        of device: DeviceRecord,
        in group: GroupRecord
    ) throws -> MembershipRecord? {
        try connection.row(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id = ? AND ended IS NULL
            """,
            group.idx,
            device.row.id.rawValue
        ) { try MembershipRecord($0) }
    }

    @discardableResult
    private mutating func beginMembership(
        of device: DeviceRecord,
        in group: GroupID
    ) throws -> Bool {
        let record = try record(of: group)
        guard try openMembership(of: device, in: record) == nil else { return false }
        try MembershipRecord(
            groupIdx: record.idx,
            device: device.row.id,
            joined: number,
            deviceIdx: device.idx
        ).store(connection)
        groups[group]?.members += 1
        log(device.row.id, in: group)
        return true
    }

    private mutating func endMemberships(of device: DeviceRecord) throws {
        for membership in try connection.memberships(ofDeviceAt: device.idx)
        where membership.ended == nil {
            guard let group = try connection.group(at: membership.groupIdx) else { continue }
            _ = try knownRecord(of: group.group)
            try end(membership, in: group.group)
        }
    }

    private mutating func end(_ membership: MembershipRecord, in group: GroupID) throws {
        var ended = membership
        ended.ended = number
        try ended.store(connection)
        groups[group]?.members -= 1
        log(membership.device, in: group)
    }

    private mutating func log(_ device: DeviceID) {
        keys.append(.device(tenant: tenant, id: device.rawValue))
    }

    private mutating func log(_ device: DeviceID, in group: GroupID) {
        keys.append(
            .membership(tenant: tenant, group: group.rawValue, device: device.rawValue)
        )
    }
}
#endif
