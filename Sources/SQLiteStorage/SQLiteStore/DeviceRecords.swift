#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

/// A row of table `device`: one enrolment.
struct DeviceRecord {
    var idx: Int64
    var row: DeviceRow
    var enrolledAt: Timestamp
    var removedAt: Timestamp?
    var key: String?
    /// Whether it is the device's newest enrolment.
    var isCurrent: Bool

    static let columns = """
        device.idx, device.tenant, device.id, device.incarnation, device.state, device.credential, \
        device.polling, device.enrolled, device.removed, device.enrolment_key, device.current, \
        device.sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("device", sum: 11)
        guard let state = EnrolmentState(rawValue: UInt8(truncatingIfNeeded: row.int64(4))) else {
            throw SQLiteStorageError.corruptRow(in: "device")
        }
        idx = row.int64(0)
        self.row = DeviceRow(
            tenant: TenantID(rawValue: row.text(1)),
            id: DeviceID(rawValue: row.text(2)),
            incarnation: IncarnationID(bits: try row.uint128(3)),
            state: state,
            credential: try CredentialDigest(stored: row.blob(5)),
            pollingFrequency: row.optionalInt64(6).map { .milliseconds($0) }
        )
        enrolledAt = Timestamp(rawValue: row.int64(7))
        removedAt = row.optionalInt64(8).map { Timestamp(rawValue: $0) }
        key = row.optionalText(9)
        isCurrent = row.int64(10) == 1
    }

    init(idx: Int64, row: DeviceRow, enrolledAt: Timestamp, key: String?) {
        self.idx = idx
        self.row = row
        self.enrolledAt = enrolledAt
        self.key = key
        isCurrent = true
    }

    var isEnrolled: Bool { isCurrent && row.state == .enrolled }

    func store(_ connection: SQLConnection) throws {
        connection.forgetKnownDevice(at: idx)
        try connection.run(
            sealedFor: "device",
            """
            INSERT OR REPLACE INTO device (idx, tenant, id, incarnation, state, credential, polling,
                enrolled, removed, enrolment_key, current, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            idx,
            row.tenant.rawValue,
            row.id.rawValue,
            row.incarnation.bits,
            row.state.rawValue,
            row.credential.stored,
            row.pollingFrequency?.milliseconds,
            enrolledAt.rawValue,
            removedAt?.rawValue,
            key,
            isCurrent
        )
    }
}

extension CredentialDigest {
    /// 32 bytes, big-endian.
    var stored: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        withUnsafeBytes(of: high.bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: low.bigEndian) { bytes.append(contentsOf: $0) }
        return bytes
    }

    init(stored bytes: [UInt8]) throws {
        guard bytes.count == 32 else { throw SQLiteStorageError.corruptRow(in: "device") }
        self = bytes.withUnsafeBytes { bytes in
            CredentialDigest(
                high: UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self)),
                low: UInt128(
                    bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt128.self)
                )
            )
        }
    }
}

/// A row of table `device_group`.
struct GroupRecord {
    var idx: Int64
    var tenant: TenantID
    var group: GroupID
    /// Present members.
    var members: Int

    static let columns = """
        device_group.idx, device_group.tenant, device_group.name, device_group.members, \
        device_group.sum
        """

    init(_ row: PreparedStatement) throws {
        try row.verify("device_group", sum: 4)
        idx = row.int64(0)
        tenant = TenantID(rawValue: row.text(1))
        group = GroupID(rawValue: row.text(2))
        members = row.int(3)
    }

    init(idx: Int64, tenant: TenantID, group: GroupID) {
        self.idx = idx
        self.tenant = tenant
        self.group = group
        members = 0
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "device_group",
            """
            INSERT OR REPLACE INTO device_group (idx, tenant, name, members, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            idx,
            tenant.rawValue,
            group.rawValue,
            members
        )
    }
}

/// A row of table `membership`.
struct MembershipRecord {
    var groupIdx: Int64
    var device: DeviceID
    var joined: Int64
    var ended: Int64?
    var deviceIdx: Int64

    static let columns = """
        membership.group_idx, membership.device_id, membership.joined, membership.ended, \
        membership.device_idx, membership.sum
        """

    init(_ row: PreparedStatement, from first: Int32 = 0) throws {
        try row.verify("membership", from: first, sum: first + 5)
        groupIdx = row.int64(first)
        device = DeviceID(rawValue: row.text(first + 1))
        joined = row.int64(first + 2)
        ended = row.optionalInt64(first + 3)
        deviceIdx = row.int64(first + 4)
    }

    init(groupIdx: Int64, device: DeviceID, joined: Int64, deviceIdx: Int64) {
        self.groupIdx = groupIdx
        self.device = device
        self.joined = joined
        self.deviceIdx = deviceIdx
    }

    func contains(_ number: Int64) -> Bool { joined <= number && ended.map { number < $0 } ?? true }

    func store(_ connection: SQLConnection) throws {
        connection.forgetKnownDevice(at: deviceIdx)
        try connection.run(
            sealedFor: "membership",
            """
            INSERT INTO membership (group_idx, device_id, joined, ended, device_idx, sum)
            VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT (group_idx, device_id, joined)
            DO UPDATE SET ended = excluded.ended, sum = excluded.sum
            """,
            groupIdx,
            device.rawValue,
            joined,
            ended,
            deviceIdx
        )
    }
}

extension SQLConnection {
    private static let deviceByName = StatementText(
        "SELECT \(DeviceRecord.columns) FROM device WHERE tenant = ? AND id = ? AND current = 1"
    )
    private static let membershipsOfDevice = StatementText(
        """
        SELECT \(MembershipRecord.columns) FROM membership WHERE device_idx = ?
        ORDER BY group_idx, joined
        """
    )

    /// The newest enrolment of a device, whether it lasts or has ended.
    func device(_ id: DeviceID, tenant: TenantID) throws -> DeviceRecord? {
        let found = try row(Self.deviceByName, tenant.rawValue, id.rawValue) {
            try DeviceRecord($0)
        }
        if let found, found.row.id != id || found.row.tenant != tenant {
            throw SQLiteStorageError.corruptRow(in: "device_name")
        }
        return found
    }

    func device(at idx: Int64) throws -> DeviceRecord? {
        try row("SELECT \(DeviceRecord.columns) FROM device WHERE idx = ?", idx) {
            try DeviceRecord($0)
        }
    }

    func group(_ group: GroupID, tenant: TenantID) throws -> GroupRecord? {
        let found = try row(
            "SELECT \(GroupRecord.columns) FROM device_group WHERE tenant = ? AND name = ?",
            tenant.rawValue,
            group.rawValue
        ) { try GroupRecord($0) }
        if let found, found.group != group || found.tenant != tenant {
            throw SQLiteStorageError.corruptRow(in: "device_group_name")
        }
        return found
    }

    func group(at idx: Int64) throws -> GroupRecord? {
        try row("SELECT \(GroupRecord.columns) FROM device_group WHERE idx = ?", idx) {
            try GroupRecord($0)
        }
    }

    /// All intervals of one enrolment.
    func memberships(ofDeviceAt idx: Int64) throws -> [MembershipRecord] {
        let known = knownDevice(at: idx)
        if let memberships = known?.memberships { return memberships }
        var found: [MembershipRecord] = []
        try forEach(Self.membershipsOfDevice, idx) { found.append(try MembershipRecord($0)) }
        if found.count <= KnownDevices.maximumRows { known?.memberships = found }
        return found
    }
}
#endif
