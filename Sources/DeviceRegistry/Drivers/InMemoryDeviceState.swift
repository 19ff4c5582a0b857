package import ClusterRole

/// A membership that has just begun, or, if it has an end, ended.
package struct MembershipChange: Sendable {
    package var tenant: TenantID
    package var membership: Membership
}

/// What the in-memory driver keeps.
struct InMemoryDeviceState: Sendable {
    struct Entry: Sendable {
        var device: Device
        /// The idempotency key of the present incarnation.
        var key: String?
        var information: [InformationKind: DeviceInformation] = [:]
        var properties: [String: PropertyValue] = [:]
        var applications: [String: InstalledApplication] = [:]
        /// In order of when they were received, oldest first.
        var locations: [DeviceLocation] = []
        /// What it was recorded as, and the contact that was judged by; `nil` while it is active.
        var silence: (liveness: Liveness, lastSeen: Timestamp)?
        /// When the newest registration, or its end, was given.
        var registrationTime: Timestamp?
        /// Oldest first.
        var memberships: [Membership] = []
        /// Its index in the order of first enrolment.
        var place = 0

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

    /// A group that is defined by a query.
    struct Definition: Sendable {
        var query: DeviceQuery
        /// The last device that was compared; `nil` before the first.
        var cursor: DeviceID?
        var isSettled = false
    }

    struct SubjectKey: Hashable, Sendable {
        var tenant: TenantID
        var subject: DeviceQuery.Subject
    }

    struct Outcome {
        var keys: [ChangeKey] = []
        var row: DeviceRow?
        var changed = 0
        var unknown = 0
        var evaluated = 0
        var isSettled = true
    }

    var entries: [InMemoryDeviceKey: Entry] = [:]
    /// In order of first enrolment.
    var order: [InMemoryDeviceKey] = []
    var credentials: [CredentialDigest: InMemoryDeviceKey] = [:]
    var groups: [InMemoryGroupKey: Group] = [:]
    /// What began and ended in the write that is going on, until somebody asks.
    var membershipChanges: [MembershipChange] = []
    var definitions: [InMemoryGroupKey: Definition] = [:]
    /// Groups whose queries look at a subject.
    var groupsBySubject: [SubjectKey: Set<GroupID>] = [:]
    var history: [InMemoryDeviceKey: [DeviceHistoryEntry]] = [:]
    /// Enrolled devices that are not active.
    var silent: [TenantID: LivenessCounts] = [:]
    /// Enrolled devices by their owner.
    var owned: [OwnerKey: Set<DeviceID>] = [:]
    private var devicesByTenant: [TenantID: InMemoryDeviceOrder] = [:]

    /// Removes all that is kept of a device. Its place in ``order`` stays empty.
    mutating func forget(_ key: InMemoryDeviceKey) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        history[key] = nil
        devicesByTenant[key.tenant]?.remove(key.id)
        for group in Set(entry.memberships.map(\.group)) {
            groups[InMemoryGroupKey(key.tenant, group)]?.devices.remove(key.id)
        }
    }

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

    /// If it throws, it has changed nothing.
    mutating func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        number: Int64,
        at now: Timestamp
    ) throws(DeviceRegistryError) -> Outcome {
        switch change {
        case .enrol(let record):
            for group in record.groups { try requireList(InMemoryGroupKey(tenant, group)) }
            return enrol(record, tenant: tenant, number: number, at: now)
        case .remove(let id, let erasure, let initiator):
            let key = InMemoryDeviceKey(tenant, id)
            return remove(key, erasure, by: initiator, number: number, at: now)
        case .join(let group, let devices):
            try requireList(InMemoryGroupKey(tenant, group))
            return join(group, devices, tenant: tenant, number: number)
        case .leave(let group, let devices):
            try requireList(InMemoryGroupKey(tenant, group))
            return leave(group, devices, tenant: tenant, number: number)
        case .setPollingFrequency(let id, let frequency, let initiator):
            let key = InMemoryDeviceKey(tenant, id)
            return setPollingFrequency(key, frequency, by: initiator, number: number, at: now)
        case .setOwner(let id, let owner, let initiator):
            return setOwner(owner, of: InMemoryDeviceKey(tenant, id), by: initiator, at: now)
        case .setGroupPollingFrequency(let group, let frequency):
            return setPollingFrequency(InMemoryGroupKey(tenant, group), frequency)
        case .define(let group, let query):
            return try define(InMemoryGroupKey(tenant, group), as: query)
        case .evaluate(let group, let limit):
            return evaluate(InMemoryGroupKey(tenant, group), limit: limit, number: number)
        case .recordLiveness(let changes): return record(changes, tenant: tenant, at: now)
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
            note(.credentialReplaced, of: key, by: record.initiator, at: now)
            return outcome
        }
        let isKnown = entries[key] != nil
        if isKnown {
            setOwner(nil, of: key, at: now)
            forgetSilence(of: key)
            outcome.keys += endMemberships(of: key, number: number)
        } else {
            order.append(key)
            devicesByTenant[tenant, default: InMemoryDeviceOrder()].append(record.device)
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
            memberships: entries[key]?.memberships ?? [],
            place: entries[key]?.place ?? order.count - 1
        )
        setOwner(record.owner, of: key, at: now)
        note(
            isKnown ? .reEnrolled : .enrolled,
            of: key,
            by: record.initiator,
            detail: record.incarnation.description,
            at: now
        )
        outcome.row = row
        for group in [.everyone] + record.groups {
            if let logged = beginMembership(of: key, in: group, number: number) {
                outcome.keys.append(logged)
            }
        }
        outcome.keys += reconsider(key, for: definedGroups(of: tenant), number: number)
        return outcome
    }

    private mutating func remove(
        _ key: InMemoryDeviceKey,
        _ erasure: Erasure,
        by initiator: String,
        number: Int64,
        at now: Timestamp
    ) -> Outcome {
        guard let entry = entries[key] else { return Outcome(unknown: 1) }
        if entry.device.row.state == .removed {
            guard erasure == .information, erase(key, by: initiator, at: now) else {
                return Outcome(unknown: 1)
            }
            return Outcome(changed: 1)
        }
        credentials[entry.device.row.credential] = nil
        setOwner(nil, of: key, at: now)
        forgetSilence(of: key)
        entries[key]?.device.row.state = .removed
        entries[key]?.device.removedAt = now
        entries[key]?.device.push = nil
        let keys = [deviceKey(key)] + endMemberships(of: key, number: number)
        note(.removed, of: key, by: initiator, at: now)
        if erasure == .information { erase(key, by: initiator, at: now) }
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
        makeGroup(InMemoryGroupKey(tenant, group))
        for device in devices {
            let key = InMemoryDeviceKey(tenant, device)
            guard entries[key]?.device.row.state == .enrolled else {
                outcome.unknown += 1
                continue
            }
            if let logged = beginMembership(of: key, in: group, number: number) {
                outcome.keys.append(logged)
                outcome.keys += reconsider(key, touching: [.group(group)], number: number)
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
            guard !ended.isEmpty else { continue }
            outcome.keys += ended
            outcome.keys += reconsider(key, touching: [.group(group)], number: number)
            outcome.changed += 1
        }
        return outcome
    }

    private mutating func setPollingFrequency(
        _ key: InMemoryDeviceKey,
        _ frequency: Duration?,
        by initiator: String,
        number: Int64,
        at now: Timestamp
    ) -> Outcome {
        guard let entry = entries[key], entry.device.row.state == .enrolled else {
            return Outcome(unknown: 1)
        }
        entries[key]?.device.row.pollingFrequency = frequency
        note(
            .pollingChanged,
            of: key,
            by: initiator,
            detail: frequency.map { "\($0.milliseconds)" } ?? "default",
            at: now
        )
        let keys =
            [deviceKey(key)] + reconsider(key, touching: [.polling], number: number)
        return Outcome(keys: keys, row: entries[key]?.device.row, changed: 1)
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

    mutating func makeGroup(_ key: InMemoryGroupKey) {
        if groups[key] == nil { groups[key] = Group() }
    }

    /// The one place where a membership begins.
    ///
    /// - Returns: what to log; `nil` for a device that is in the group already.
    mutating func beginMembership(
        of key: InMemoryDeviceKey,
        in group: GroupID,
        number: Int64
    ) -> ChangeKey? {
        guard let entry = entries[key], !entry.isPresent(in: group) else { return nil }
        let isNew = !entry.memberships.contains { $0.group == group }
        let membership = Membership(
            group: group,
            device: key.id,
            incarnation: entry.device.row.incarnation,
            joined: number
        )
        // What began and ended in this very revision goes on.
        if let same = entry.memberships.lastIndex(where: {
            $0.group == group && $0.joined == number
        }) {
            entries[key]?.memberships[same] = membership
        } else {
            entries[key]?.memberships.append(membership)
        }
        membershipChanges.append(MembershipChange(tenant: key.tenant, membership: membership))
        groups[InMemoryGroupKey(key.tenant, group), default: Group()].present += 1
        if isNew { groups[InMemoryGroupKey(key.tenant, group)]?.devices.append(key.id) }
        return membershipKey(key, group)
    }

    /// The one place where memberships end.
    ///
    /// - Returns: what to log.
    mutating func endMemberships(
        of key: InMemoryDeviceKey,
        number: Int64,
        where matches: (GroupID) -> Bool = { _ in true }
    ) -> [ChangeKey] {
        var logged: [ChangeKey] = []
        let memberships = entries[key]?.memberships ?? []
        for (index, interval) in memberships.enumerated()
        where interval.left == nil && matches(interval.group) {
            entries[key]?.memberships[index].left = number
            var ended = interval
            ended.left = number
            membershipChanges.append(MembershipChange(tenant: key.tenant, membership: ended))
            groups[InMemoryGroupKey(key.tenant, interval.group)]?.present -= 1
            logged.append(membershipKey(key, interval.group))
        }
        return logged
    }

    func deviceKey(_ key: InMemoryDeviceKey) -> ChangeKey {
        .device(tenant: key.tenant, id: key.id.rawValue)
    }

    func membershipKey(_ key: InMemoryDeviceKey, _ group: GroupID) -> ChangeKey {
        .membership(tenant: key.tenant, group: group.rawValue, device: key.id.rawValue)
    }
}
