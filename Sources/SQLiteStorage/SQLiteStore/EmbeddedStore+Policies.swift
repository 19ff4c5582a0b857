#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: ComplianceStorage {
    public func put(
        _ policy: CompliancePolicy,
        activity: ActivityID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if var known = try connection.policy(policy.id, tenant: tenant) {
                if policy.keepsReports(of: known.policy) {
                    known.policy = policy
                    known.activity = activity
                    try known.store(connection)
                    return ([], ())
                }
                known.isEnded = true
                try known.store(connection)
            }
            let newest = try connection.row("SELECT max(idx) FROM policy") { $0.int64(0) } ?? 0
            try PolicyRecord(
                idx: newest + 1,
                tenant: tenant,
                policy: policy,
                activity: activity
            ).store(connection)
            return ([], ())
        }
    }

    public func remove(_ policy: PolicyID, tenant: TenantID, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if var known = try connection.policy(policy, tenant: tenant) {
                known.isEnded = true
                try known.store(connection)
            }
            return ([], ())
        }
    }

    public func policies(tenant: TenantID) async throws -> [PolicyStanding] {
        try await file.read { connection in
            try connection.policies(tenant: tenant).map { record in
                let members = try connection.group(record.policy.group, tenant: tenant)?.members
                var counts = record.counts
                counts.unknown = max(0, (members ?? 0) - counts.known)
                return PolicyStanding(
                    policy: record.policy,
                    activity: record.activity,
                    counts: counts
                )
            }
        }
    }

    public func devices(
        of policy: PolicyID,
        in state: ComplianceState,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceCompliance] {
        let limit = max(0, min(limit, maximumPageSize))
        return try await file.read { connection in
            guard let record = try connection.policy(policy, tenant: tenant) else { return [] }
            return try connection.rows(
                """
                SELECT \(ComplianceRecord.columns) FROM compliance
                WHERE policy = ? AND state = ? AND device_id > ? ORDER BY device_id LIMIT ?
                """,
                record.idx,
                state.rawValue,
                after?.rawValue ?? "",
                limit
            ) { try ComplianceRecord($0).standing }
        }
    }

    public func violators(
        at now: Timestamp,
        limit: Int,
        in partition: TaskPartition
    ) async throws -> [ReapplicationStep] {
        try await file.read { connection in
            try connection.violators(at: now, limit: max(0, limit), slots: partition.slots)
        }
    }

    public func advance(_ step: ReapplicationStep, epoch: Epoch, at now: Timestamp) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            guard var record = try connection.policy(step.policy.id, tenant: step.tenant),
                record.policy.keepsReports(of: step.policy)
            else { return ([], ()) }
            for violator in step.violators {
                guard let device = try connection.device(violator.device, tenant: step.tenant),
                    let known = try connection.compliance(
                        policy: record.idx,
                        deviceIdx: device.idx
                    )?.standing,
                    known.state == .violating, known.tries == violator.tries
                else { continue }
                try connection.move(
                    deviceAt: device.idx,
                    from: known,
                    to: record.policy.standing(afterReapplying: known, at: now),
                    of: &record
                )
            }
            return ([], ())
        }
    }

    public func sweep(limit: Int, epoch: Epoch) async throws -> Bool {
        let limit = max(1, min(limit, maximumPageSize))
        let isClean = try await file.read { connection in
            try connection.endedPolicy() == nil && connection.epoch() == epoch
        }
        if isClean { return true }
        return try await guarded(epoch: epoch) { connection, _ in
            if let ended = try connection.endedPolicy() {
                try connection.run(
                    """
                    DELETE FROM compliance WHERE policy = ?1 AND device_idx IN (
                        SELECT device_idx FROM compliance WHERE policy = ?1 LIMIT ?2)
                    """,
                    ended.idx,
                    limit
                )
                if connection.changes < limit {
                    try connection.run("DELETE FROM policy WHERE idx = ?", ended.idx)
                }
            }
            return ([], try connection.endedPolicy() == nil)
        }.result
    }
}

extension SQLConnection {
    /// Reads violating devices in the order in which they are due, until `limit` of them are in the
    /// slots and of policies that are not gone.
    fileprivate func violators(
        at now: Timestamp,
        limit: Int,
        slots: Range<Int32>
    ) throws -> [ReapplicationStep] {
        var policies: [Int64: PolicyRecord] = [:]
        var found: [Int64: [ReapplicationStep.Violator]] = [:]
        var left = limit
        var after: ComplianceRecord?
        while left > 0 {
            let page = try rows(
                """
                SELECT \(ComplianceRecord.columns) FROM compliance
                WHERE next IS NOT NULL AND next <= ? AND (next, policy, device_idx) > (?, ?, ?)
                ORDER BY next, policy, device_idx LIMIT ?
                """,
                now.rawValue,
                after?.standing.next?.rawValue ?? -1,
                after?.policy ?? -1,
                after?.deviceIdx ?? -1,
                limit
            ) { try ComplianceRecord($0) }
            for row in page where left > 0 {
                if policies[row.policy] == nil { policies[row.policy] = try policy(at: row.policy) }
                guard let record = policies[row.policy], !record.isEnded else { continue }
                let device = row.standing.device
                guard slots.contains(TaskPartition.slot(of: device, tenant: record.tenant)) else {
                    continue
                }
                found[row.policy, default: []].append(
                    .init(device: device, tries: row.standing.tries)
                )
                left -= 1
            }
            if page.count < limit { break }
            after = page.last
        }
        return found.keys.compactMap { policies[$0] }
            .sorted { ($0.tenant, $0.policy.id) < ($1.tenant, $1.policy.id) }
            .map { record in
                ReapplicationStep(
                    tenant: record.tenant,
                    policy: record.policy,
                    violators: (found[record.idx] ?? []).sorted { $0.device < $1.device }
                )
            }
    }
}
#endif
