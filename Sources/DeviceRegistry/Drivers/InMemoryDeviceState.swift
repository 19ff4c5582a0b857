internal import ClusterRole

struct InMemoryDeviceKey: Hashable, Sendable {
    var tenant: TenantID
    var id: DeviceID

    init(_ tenant: TenantID, _ id: DeviceID) {
        self.tenant = tenant
        self.id = id
    }
}

struct InMemoryGroupKey: Hashable, Sendable {
    var tenant: TenantID
    var group: GroupID

    init(_ tenant: TenantID, _ group: GroupID) {
        self.tenant = tenant
        self.group = group
    }
}

/// Device ids that are sorted when somebody asks for them in order.
struct InMemoryDeviceOrder: Sendable {
    private var ids: [DeviceID] = []
    private var isSorted = true

    mutating func append(_ id: DeviceID) {
        if let last = ids.last, id < last { isSorted = false }
        ids.append(id)
    }

    mutating func page(after: DeviceID?, limit: Int) -> [DeviceID] {
        if !isSorted {
            ids.sort()
            isSorted = true
        }
        var low = 0
        if let after {
            var high = ids.count
            while low < high {
                let middle = (low + high) / 2
                if ids[middle] > after { high = middle } else { low = middle + 1 }
            }
        }
        return Array(ids[low...].prefix(limit))
    }
}

/// What the in-memory driver keeps.
struct InMemoryDeviceState: Sendable {
    struct Entry: Sendable {
        var device: Device
        /// The idempotency key of the present incarnation.
        var key: String?
        var information: [InformationKind: DeviceInformation] = [:]
        /// When the newest registration, or its end, was given.
        var registrationTime: Timestamp?
        /// Oldest first.
        var memberships: [Membership] = []

        func isPresent(in group: GroupID) -> Bool {
            memberships.contains { $0.group == group && $0.left == nil }
        }
    }

    struct Group: Sendable {
        /// Devices that are or were in it.
        var devices = InMemoryDeviceOrder()
        /// How many are in it now.
        var present = 0
        /// How often its members poll by themselves.
        var pollingFrequency: Duration?
    }

    struct Outcome {
        var keys: [ChangeKey] = []
        var row: DeviceRow?
        var changed = 0
        var unknown = 0
    }

    var entries: [InMemoryDeviceKey: Entry] = [:]
    /// In order of first enrolment.
    var order: [InMemoryDeviceKey] = []
    var credentials: [CredentialDigest: InMemoryDeviceKey] = [:]
    var groups: [InMemoryGroupKey: Group] = [:]
    private var devicesByTenant: [TenantID: InMemoryDeviceOrder] = [:]

    mutating func deviceIDs(
        in group: GroupID?,
        tenant: TenantID,
        after: DeviceID?,
        limit: Int
    ) -> [DeviceID] {
        if let group {
            groups[InMemoryGroupKey(tenant, group)]?.devices.page(after: after, limit: limit) ?? []
        } else {
            devicesByTenant[tenant]?.page(after: after, limit: limit) ?? []
        }
    }

    mutating func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        number: Int64,
        at now: Timestamp
    ) -> Outcome {
        switch change {
        case .enrol(let record): enrol(record, tenant: tenant, number: number, at: now)
        case .remove(let id): remove(InMemoryDeviceKey(tenant, id), number: number, at: now)
        case .join(let group, let devices):
            join(group, devices, tenant: tenant, number: number)
        case .leave(let group, let devices):
            leave(group, devices, tenant: tenant, number: number)
        case .setPollingFrequency(let id, let frequency):
            setPollingFrequency(InMemoryDeviceKey(tenant, id), frequency)
        case .setGroupPollingFrequency(let group, let frequency):
            setPollingFrequency(InMemoryGroupKey(tenant, group), frequency)
        }
    }

    private mutating func enrol(
        _ record: EnrolmentRecord,
        tenant: TenantID,
        number: Int64,
        at now: Timestamp
    ) -> Outcome {
        let key = InMemoryDeviceKey(tenant, record.device)
        var outcome = Outcome(keys: [deviceKey(key)], changed: 1)
        if let known = entries[key] { credentials[known.device.row.credential] = nil }
        credentials[record.credential] = key
        if let known = entries[key], known.device.row.state == .enrolled, let given = record.key,
            known.key == given
        {
            entries[key]?.device.row.credential = record.credential
            outcome.row = entries[key]?.device.row
            return outcome
        }
        if entries[key] == nil {
            order.append(key)
            devicesByTenant[tenant, default: InMemoryDeviceOrder()].append(record.device)
        } else {
            outcome.keys += endMemberships(of: key, number: number)
        }
        let row = DeviceRow(
            tenant: tenant,
            id: record.device,
            incarnation: record.incarnation,
            state: .enrolled,
            credential: record.credential,
            pollingFrequency: record.pollingFrequency
        )
        entries[key] = Entry(
            device: Device(row: row, enrolledAt: now),
            key: record.key,
            memberships: entries[key]?.memberships ?? []
        )
        outcome.row = row
        for group in [.everyone] + record.groups {
            if let logged = beginMembership(of: key, in: group, number: number) {
                outcome.keys.append(logged)
            }
        }
        return outcome
    }

    private mutating func remove(
        _ key: InMemoryDeviceKey,
        number: Int64,
        at now: Timestamp
    ) -> Outcome {
        guard let entry = entries[key], entry.device.row.state == .enrolled else {
            return Outcome(unknown: 1)
        }
        credentials[entry.device.row.credential] = nil
        entries[key]?.device.row.state = .removed
        entries[key]?.device.removedAt = now
        entries[key]?.device.push = nil
        let keys = [deviceKey(key)] + endMemberships(of: key, number: number)
        return Outcome(keys: keys, changed: 1)
    }

    private mutating func join(
        _ group: GroupID,
        _ devices: [DeviceID],
        tenant: TenantID,
        number: Int64
    ) -> Outcome {
        var outcome = Outcome()
        // Joining makes the group, even if nobody joins.
        if groups[InMemoryGroupKey(tenant, group)] == nil {
            groups[InMemoryGroupKey(tenant, group)] = Group()
        }
        for device in devices {
            let key = InMemoryDeviceKey(tenant, device)
            guard entries[key]?.device.row.state == .enrolled else {
                outcome.unknown += 1
                continue
            }
            if let logged = beginMembership(of: key, in: group, number: number) {
                outcome.keys.append(logged)
                outcome.changed += 1
            }
        }
        return outcome
    }

    private mutating func leave(
        _ group: GroupID,
        _ devices: [DeviceID],
        tenant: TenantID,
        number: Int64
    ) -> Outcome {
        var outcome = Outcome()
        for device in devices {
            let key = InMemoryDeviceKey(tenant, device)
            guard entries[key]?.device.row.state == .enrolled else {
                outcome.unknown += 1
                continue
            }
            let ended = endMemberships(of: key, number: number) { $0 == group }
            outcome.keys += ended
            outcome.changed += ended.isEmpty ? 0 : 1
        }
        return outcome
    }

    private mutating func setPollingFrequency(
        _ key: InMemoryDeviceKey,
        _ frequency: Duration?
    ) -> Outcome {
        guard let entry = entries[key], entry.device.row.state == .enrolled else {
            return Outcome(unknown: 1)
        }
        entries[key]?.device.row.pollingFrequency = frequency
        return Outcome(keys: [deviceKey(key)], row: entries[key]?.device.row, changed: 1)
    }

    private mutating func setPollingFrequency(
        _ key: InMemoryGroupKey,
        _ frequency: Duration?
    ) -> Outcome {
        if key.group == .everyone, groups[key] == nil { groups[key] = Group() }
        guard groups[key] != nil else { return Outcome(unknown: 1) }
        groups[key]?.pollingFrequency = frequency
        return Outcome(
            keys: [.group(tenant: key.tenant, name: key.group.rawValue)],
            changed: 1
        )
    }

    private mutating func beginMembership(
        of key: InMemoryDeviceKey,
        in group: GroupID,
        number: Int64
    ) -> ChangeKey? {
        guard let entry = entries[key], !entry.isPresent(in: group) else { return nil }
        let isNew = !entry.memberships.contains { $0.group == group }
        entries[key]?.memberships.append(
            Membership(
                group: group,
                device: key.id,
                incarnation: entry.device.row.incarnation,
                joined: number
            )
        )
        groups[InMemoryGroupKey(key.tenant, group), default: Group()].present += 1
        if isNew { groups[InMemoryGroupKey(key.tenant, group)]?.devices.append(key.id) }
        return membershipKey(key, group)
    }

    private mutating func endMemberships(
        of key: InMemoryDeviceKey,
        number: Int64,
        where matches: (GroupID) -> Bool = { _ in true }
    ) -> [ChangeKey] {
        var logged: [ChangeKey] = []
        let memberships = entries[key]?.memberships ?? []
        for (index, interval) in memberships.enumerated()
        where interval.left == nil && matches(interval.group) {
            entries[key]?.memberships[index].left = number
            groups[InMemoryGroupKey(key.tenant, interval.group)]?.present -= 1
            logged.append(membershipKey(key, interval.group))
        }
        return logged
    }

    private func deviceKey(_ key: InMemoryDeviceKey) -> ChangeKey {
        .device(tenant: key.tenant, id: key.id.rawValue)
    }

    private func membershipKey(_ key: InMemoryDeviceKey, _ group: GroupID) -> ChangeKey {
        .membership(tenant: key.tenant, group: group.rawValue, device: key.id.rawValue)
    }
}
