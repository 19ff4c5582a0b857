#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `policy`: one version of a policy, with its counts.
struct PolicyRecord {
    var idx: Int64
    var tenant: TenantID
    var policy: CompliancePolicy
    var activity: ActivityID
    /// Without those that have not reported.
    var counts = ComplianceCounts()
    var isEnded = false

    static let columns = """
        idx, tenant, name, group_name, code, version, payload, monitoring, backoff, longest, tries, \
        activity, compliant, violating, given_up, ended, sum
        """

    init(idx: Int64, tenant: TenantID, policy: CompliancePolicy, activity: ActivityID) {
        self.idx = idx
        self.tenant = tenant
        self.policy = policy
        self.activity = activity
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("policy", sum: 16)
        idx = row.int64(0)
        tenant = TenantID(rawValue: row.text(1))
        policy = CompliancePolicy(
            id: PolicyID(rawValue: row.text(2)),
            group: GroupID(rawValue: row.text(3)),
            code: OperationCode(rawValue: row.text(4)),
            version: row.text(5),
            payload: row.blob(6),
            monitoring: .milliseconds(row.int64(7)),
            backoff: .milliseconds(row.int64(8)),
            longestBackoff: .milliseconds(row.int64(9)),
            maximumTries: Int32(truncatingIfNeeded: row.int64(10))
        )
        activity = ActivityID(bits: try row.uint128(11))
        counts.compliant = row.int(12)
        counts.violating = row.int(13)
        counts.givenUp = row.int(14)
        isEnded = row.int64(15) == 1
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "policy",
            """
            INSERT OR REPLACE INTO policy (\(Self.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            idx,
            tenant.rawValue,
            policy.id.rawValue,
            policy.group.rawValue,
            policy.code.rawValue,
            policy.version,
            policy.payload,
            policy.monitoring.milliseconds,
            policy.backoff.milliseconds,
            policy.longestBackoff.milliseconds,
            Int64(policy.maximumTries),
            activity.bits,
            counts.compliant,
            counts.violating,
            counts.givenUp,
            isEnded
        )
    }
}

/// A row of table `compliance`.
struct ComplianceRecord {
    var policy: Int64
    var deviceIdx: Int64
    var standing: DeviceCompliance

    static let columns = """
        policy, device_idx, device_id, state, since, reported, version, violations, tries, next, sum
        """

    init(policy: Int64, deviceIdx: Int64, standing: DeviceCompliance) {
        self.policy = policy
        self.deviceIdx = deviceIdx
        self.standing = standing
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("compliance", sum: 10)
        guard let state = ComplianceState(rawValue: UInt8(truncatingIfNeeded: row.int64(3))) else {
            throw SQLiteStorageError.corruptRow(in: "compliance")
        }
        var reader = ByteReader(row.blob(7))
        policy = row.int64(0)
        deviceIdx = row.int64(1)
        standing = DeviceCompliance(
            device: DeviceID(rawValue: row.text(2)),
            state: state,
            since: Timestamp(rawValue: row.int64(4)),
            reportedAt: Timestamp(rawValue: row.int64(5)),
            version: row.text(6),
            violations: try reader.readArray { reader throws(ClusterRoleError) in
                try reader.readString()
            },
            tries: Int32(truncatingIfNeeded: row.int64(8)),
            next: row.optionalInt64(9).map { Timestamp(rawValue: $0) }
        )
    }

    func store(_ connection: SQLConnection) throws {
        var writer = ByteWriter()
        writer.write(array: standing.violations) { $0.write($1) }
        try connection.run(
            sealedFor: "compliance",
            """
            INSERT OR REPLACE INTO compliance (\(Self.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            policy,
            deviceIdx,
            standing.device.rawValue,
            standing.state.rawValue,
            standing.since.rawValue,
            standing.reportedAt.rawValue,
            standing.version,
            writer.bytes,
            Int64(standing.tries),
            standing.next?.rawValue
        )
    }
}

extension SQLConnection {
    func policy(_ id: PolicyID, tenant: TenantID) throws -> PolicyRecord? {
        try row(
            "SELECT \(PolicyRecord.columns) FROM policy WHERE tenant = ? AND name = ? AND ended = 0",
            tenant.rawValue,
            id.rawValue
        ) { try PolicyRecord($0) }
    }

    func policy(at idx: Int64) throws -> PolicyRecord? {
        try row("SELECT \(PolicyRecord.columns) FROM policy WHERE idx = ?", idx) {
            try PolicyRecord($0)
        }
    }

    func policies(tenant: TenantID) throws -> [PolicyRecord] {
        try rows(
            """
            SELECT \(PolicyRecord.columns) FROM policy WHERE tenant = ? AND ended = 0 ORDER BY name
            """,
            tenant.rawValue
        ) { try PolicyRecord($0) }
    }

    func endedPolicy() throws -> PolicyRecord? {
        try row(
            "SELECT \(PolicyRecord.columns) FROM policy WHERE ended = 1 ORDER BY idx LIMIT 1"
        ) { try PolicyRecord($0) }
    }

    func compliance(policy: Int64, deviceIdx: Int64) throws -> ComplianceRecord? {
        try row(
            """
            SELECT \(ComplianceRecord.columns) FROM compliance WHERE policy = ? AND device_idx = ?
            """,
            policy,
            deviceIdx
        ) { try ComplianceRecord($0) }
    }

    // MARK: In the transactions of devices and their reports

    /// A device has said how it stands to policies.
    func noteCompliance(_ information: DeviceInformation, of device: DeviceRecord) throws {
        for report in information.complianceReports {
            try satisfyTasks(by: information.about(report.policy), of: device)
            guard var record = try policy(report.policy, tenant: device.row.tenant),
                let group = try group(record.policy.group, tenant: record.tenant),
                try openMembership(of: device, in: group) != nil
            else { continue }
            let known = try compliance(policy: record.idx, deviceIdx: device.idx)?.standing
            let standing = record.policy.standing(
                after: report,
                of: device.row.id,
                known: known,
                receivedAt: information.receivedAt
            )
            guard let standing else { continue }
            try move(deviceAt: device.idx, from: known, to: standing, of: &record)
        }
    }

    /// Stores how a device stands, and the policy's counts if they change by it.
    func move(
        deviceAt idx: Int64,
        from known: DeviceCompliance?,
        to standing: DeviceCompliance,
        of record: inout PolicyRecord
    ) throws {
        try ComplianceRecord(policy: record.idx, deviceIdx: idx, standing: standing).store(self)
        guard known?.state != standing.state else { return }
        if let known { record.counts[known.state] -= 1 }
        record.counts[standing.state] += 1
        try record.store(self)
    }

    /// A device has left a group: how it stands to the group's policies is forgotten.
    func forgetCompliance(ofDeviceAt idx: Int64, in group: GroupRecord) throws {
        let found = try rows(
            """
            SELECT \(PolicyRecord.columns) FROM policy
            WHERE tenant = ? AND group_name = ? AND ended = 0 ORDER BY idx
            """,
            group.tenant.rawValue,
            group.group.rawValue
        ) { try PolicyRecord($0) }
        for var record in found {
            guard let known = try compliance(policy: record.idx, deviceIdx: idx) else { continue }
            try run(
                "DELETE FROM compliance WHERE policy = ? AND device_idx = ?",
                record.idx,
                idx
            )
            record.counts[known.standing.state] -= 1
            try record.store(self)
        }
    }
}
#endif
