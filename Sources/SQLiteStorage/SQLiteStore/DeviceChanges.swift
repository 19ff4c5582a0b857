#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// One ``DeviceChange`` being applied, inside its transaction.
struct DeviceChanges {
    let connection: SQLConnection
    let tenant: TenantID
    let now: Timestamp
    /// The most devices the tenant may have enrolled; `nil` for no bound.
    var maximumDevices: Int?
    private var deviceKeys: [ChangeKey] = []
    var memberships: GroupMemberships
    private var operations: ChangeDraft
    /// What it did; the revision is not known yet.
    var receipt = DeviceChangeReceipt(
        revision: Revision(history: HistoryID(bits: 0), number: 0),
        changed: 0
    )

    init(connection: SQLConnection, tenant: TenantID, number: Int64, now: Timestamp) {
        self.connection = connection
        self.tenant = tenant
        self.now = now
        memberships = GroupMemberships(connection: connection, number: number, now: now)
        operations = ChangeDraft(at: now)
    }

    /// What it logs.
    var draft: ChangeDraft {
        var draft = operations
        for key in deviceKeys + memberships.keys { draft.log(key) }
        return draft
    }

    mutating func apply(_ change: DeviceChange) throws {
        switch change {
        case .enrol(let record): try enrol(record)
        case .remove(let id, let erasure, let initiator):
            try remove(id, erasure, by: initiator)
        case .join(let group, let devices): try join(group, devices)
        case .leave(let group, let devices): try leave(group, devices)
        case .setPollingFrequency(let id, let frequency, let initiator):
            try poll(id, every: frequency, by: initiator)
        case .setOwner(let id, let owner, let initiator): try give(id, to: owner, by: initiator)
        case .setGroupPollingFrequency(let group, let frequency):
            try poll(membersOf: group, every: frequency)
        case .define(let group, let query): try define(group, as: query)
        case .evaluate(let group, let limit): try evaluate(group, limit: limit)
        case .recordLiveness(let changes): try record(changes)
        }
        try memberships.storeGroups()
        var writer = ExecutionWriter(connection, revision: memberships.number, now: now)
        try writer.note(memberships.takeStays())
        try writer.finish()
        operations = writer.draft
    }

    // MARK: One device

    private mutating func enrol(_ record: EnrolmentRecord) throws {
        receipt.changed = 1
        let known = try connection.device(record.device, tenant: tenant)
        for group in record.groups { try requireList(group) }
        if var device = known, device.isEnrolled, let key = record.key, device.key == key {
            device.row.credential = record.credential
            try device.store(connection)
            receipt.row = device.row
            log(device.row.id)
            try note(.credentialReplaced, of: device.row.id, by: record.initiator)
            return
        }
        if known?.isEnrolled != true, let limit = maximumDevices,
            try connection.group(.everyone, tenant: tenant)?.members ?? 0 >= limit
        {
            throw DeviceRegistryError.quotaExceeded(devices: limit)
        }
        log(record.device)
        if var device = known {
            try memberships.endAll(of: device)
            device.isCurrent = false
            try device.store(connection)
            try forgetReachability(of: device.idx)
            try connection.store(owner: nil, of: device, at: now)
            _ = try connection.forgetInformation(of: device)
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
        if let owner = record.owner { try connection.store(owner: owner, of: device, at: now) }
        try note(
            known == nil ? .enrolled : .reEnrolled,
            of: record.device,
            by: record.initiator,
            detail: record.incarnation.description
        )
        receipt.row = device.row
        for group in [.everyone] + record.groups {
            try memberships.begin(
                of: device,
                in: try memberships.record(of: group, tenant: tenant)
            )
        }
        try memberships.reconsider(device)
    }

    private mutating func remove(
        _ id: DeviceID,
        _ erasure: Erasure,
        by initiator: String
    ) throws {
        guard var device = try connection.device(id, tenant: tenant) else {
            receipt.unknown = 1
            return
        }
        guard device.isEnrolled else {
            let erased = try erasure == .information && erase(device, by: initiator)
            receipt.changed = erased ? 1 : 0
            receipt.unknown = erased ? 0 : 1
            return
        }
        log(id)
        try memberships.endAll(of: device)
        device.row.state = .removed
        device.removedAt = now
        try device.store(connection)
        try connection.forgetSilence(of: device)
        try connection.store(owner: nil, of: device, at: now)
        try note(.removed, of: id, by: initiator)
        if erasure == .information { _ = try erase(device, by: initiator) }
        try forgetReachability(of: device.idx)
        receipt.changed = 1
    }

    /// - Returns: whether there was anything to erase.
    private func erase(_ device: DeviceRecord, by initiator: String) throws -> Bool {
        let id = device.row.id
        let deleted = try connection.forgetInformation(of: device)
        let newest = try connection.history(of: id, tenant: tenant, before: nil, limit: 1).first
        guard deleted > 0 || newest?.what != .erased else { return false }
        try note(.erased, of: id, by: initiator)
        return true
    }

    private mutating func poll(
        _ id: DeviceID,
        every frequency: Duration?,
        by initiator: String
    ) throws {
        guard var device = try connection.device(id, tenant: tenant), device.isEnrolled else {
            receipt.unknown = 1
            return
        }
        device.row.pollingFrequency = frequency
        try device.store(connection)
        receipt.row = device.row
        receipt.changed = 1
        log(id)
        try note(
            .pollingChanged,
            of: id,
            by: initiator,
            detail: frequency.map { "\($0.milliseconds)" } ?? "default"
        )
        try memberships.reconsider(device, touching: [.polling])
    }

    /// Nobody can be woken at an ended enrolment.
    private func forgetReachability(of idx: Int64) throws {
        try connection.run("DELETE FROM wake WHERE device_idx = ?", idx)
        try connection.run("DELETE FROM registration WHERE device_idx = ?", idx)
    }

    func note(
        _ event: DeviceEvent,
        of device: DeviceID,
        by initiator: String,
        detail: String = ""
    ) throws {
        try connection.note(
            event,
            of: device,
            tenant: tenant,
            by: initiator,
            detail: detail,
            at: now
        )
    }

    private mutating func record(_ changes: [LivenessChange]) throws {
        for change in changes {
            guard let device = try connection.device(change.identity.device, tenant: tenant),
                device.isEnrolled, device.row.identity == change.identity
            else {
                receipt.unknown += 1
                continue
            }
            let seen = try connection.contact(ofDeviceAt: device.idx)?.seen ?? device.enrolledAt
            let known = try connection.silence(ofDeviceAt: device.idx)?.liveness ?? .active
            guard seen == change.lastSeen, known != change.liveness else {
                receipt.unknown += 1
                continue
            }
            try connection.forgetSilence(of: device)
            if change.liveness != .active {
                let silence = SilenceRecord(liveness: change.liveness, seen: seen)
                try connection.store(silence, of: device)
            }
            try note(.became(change.liveness), of: device.row.id, by: "")
            receipt.changed += 1
        }
    }

    // MARK: Groups by list

    private mutating func requireList(_ group: GroupID) throws {
        guard let known = try memberships.known(group, tenant: tenant) else { return }
        if try memberships.definition(ofGroupAt: known.idx) != nil {
            throw DeviceRegistryError.membersByQuery(group)
        }
    }

    private mutating func join(_ group: GroupID, _ devices: [DeviceID]) throws {
        try requireList(group)
        // Joining makes the group, even if nobody joins.
        let record = try memberships.record(of: group, tenant: tenant)
        for id in devices {
            guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
                receipt.unknown += 1
                continue
            }
            guard try memberships.begin(of: device, in: record) else { continue }
            receipt.changed += 1
            try memberships.reconsider(device, touching: [.group(group)])
        }
    }

    private mutating func leave(_ group: GroupID, _ devices: [DeviceID]) throws {
        try requireList(group)
        let record = try memberships.known(group, tenant: tenant)
        for id in devices {
            guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
                receipt.unknown += 1
                continue
            }
            guard let record, try memberships.end(of: device, in: record) else { continue }
            receipt.changed += 1
            try memberships.reconsider(device, touching: [.group(group)])
        }
    }

    private mutating func poll(membersOf group: GroupID, every frequency: Duration?) throws {
        let known =
            group == .everyone
            ? try memberships.record(of: group, tenant: tenant)
            : try connection.group(group, tenant: tenant)
        guard let known else {
            receipt.unknown = 1
            return
        }
        try connection.setPollingFrequency(frequency, ofGroupAt: known.idx)
        receipt.changed = 1
        deviceKeys.append(.group(tenant: tenant, name: group.rawValue))
    }

    private mutating func log(_ device: DeviceID) {
        deviceKeys.append(.device(tenant: tenant, id: device.rawValue))
    }
}
#endif
