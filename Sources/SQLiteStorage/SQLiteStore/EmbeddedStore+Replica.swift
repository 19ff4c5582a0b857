#if SQLite
internal import ClusterMembership
public import ClusterRole
internal import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: ReplicaSource {
    public func currentRevision() async throws -> Revision {
        let history = history
        return try await file.readBriefly {
            Revision(history: history, number: try $0.revisionNumber())
        }
    }

    /// One page, read in one snapshot of the database: a delta is exact as of its revision.
    public func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        for node: NodeID
    ) async throws -> ReplicaPage {
        let limit = max(1, limit)
        let history = history
        return try await file.read { connection in
            let newest = try connection.revisionNumber()
            let epoch = try connection.epoch()
            if let cursor, let position = SnapshotPosition(cursor) {
                var snapshot = ReplicaSnapshot(connection, from: position, limit: limit)
                return try snapshot.page(.snapshotContinues, history: history, epoch: epoch)
            }
            if let after, cursor == nil, after.history == history, after.number <= newest,
                after.number >= (try connection.metaNumber(MetaName.floor))
            {
                var delta = ReplicaDelta(
                    connection: connection,
                    after: after.number,
                    node: node,
                    limit: limit
                )
                if let reached = try delta.read(newest: newest) {
                    return ReplicaPage(
                        content: .delta,
                        rows: delta.rows,
                        revision: Revision(history: history, number: reached),
                        next: nil,
                        epoch: epoch
                    )
                }
            }
            let position = SnapshotPosition(began: newest)
            var snapshot = ReplicaSnapshot(connection, from: position, limit: limit)
            // As of the beginning: an overlay may be dropped only for what the rows contain.
            if let mark = try connection.mark(of: node)?.mark { snapshot.rows.append(.mark(mark)) }
            return try snapshot.page(.snapshotBegins, history: history, epoch: epoch)
        }
    }
}

/// The current rows of the keys logged after a revision.
struct ReplicaDelta {
    let connection: SQLConnection
    let after: Int64
    let node: NodeID
    let limit: Int
    private(set) var rows: [ReplicaRow] = []
    private var seen: Set<ChangeKey> = []

    init(connection: SQLConnection, after: Int64, node: NodeID, limit: Int) {
        self.connection = connection
        self.after = after
        self.node = node
        self.limit = limit
    }

    /// Takes whole revisions as long as they fit.
    ///
    /// - Returns: the revision number reached; `nil` if the first revision alone is larger than a page,
    ///   so that only a snapshot, which can be cut anywhere, will do.
    mutating func read(newest: Int64) throws -> Int64? {
        var reached = after
        while reached < newest {
            let changes = try connection.changes(after: reached, limit: 256)
            if changes.isEmpty { break }
            for change in changes {
                var added: [ReplicaRow] = []
                for key in change.keys where isDue(key) {
                    guard let more = try rows(of: key, upTo: change.number) else {
                        return stop(at: reached)
                    }
                    added += more
                    if rows.count + added.count > limit { return stop(at: reached) }
                }
                rows += added
                reached = change.number
            }
        }
        return newest
    }

    /// A key is answered once, with its current rows; a mark when its own revision is reached.
    private mutating func isDue(_ key: ChangeKey) -> Bool {
        if case .spoolMark = key { return true }
        return seen.insert(key).inserted
    }

    private func stop(at reached: Int64) -> Int64? { reached > after ? reached : nil }

    /// - Returns: none for keys that replicas do not hold; `nil` for more than a page.
    private func rows(of key: ChangeKey, upTo number: Int64) throws -> [ReplicaRow]? {
        switch key {
        case .device(let tenant, let id):
            let id = DeviceID(rawValue: id)
            let known = try connection.device(id, tenant: tenant)?.row
            return [.device(known ?? .forgotten(id, tenant: tenant))]
        case .membership(let tenant, let group, let device):
            return try memberships(GroupID(rawValue: group), DeviceID(rawValue: device), tenant)
        case .group(let tenant, let name):
            let group = GroupID(rawValue: name)
            guard let known = try connection.group(group, tenant: tenant) else { return [] }
            let frequency = try connection.pollingFrequency(ofGroupAt: known.idx)
            return [.group(tenant, group, pollingFrequency: frequency)]
        case .activity(let tenant, let number): return try activity(number, tenant)
        case .execution(let tenant, let number, let device):
            return try execution(number, DeviceID(rawValue: device), tenant)
        case .spoolMark(let marked):
            // A mark of a later revision travels with that one: what it acknowledges is not all here.
            guard marked == node, let record = try connection.mark(of: node),
                record.revision <= number
            else { return [] }
            return [.mark(record.mark)]
        case .channel, .member, .sharedState: return []
        }
    }

    private func memberships(
        _ group: GroupID,
        _ device: DeviceID,
        _ tenant: TenantID
    ) throws -> [ReplicaRow] {
        guard let known = try connection.group(group, tenant: tenant) else { return [] }
        let intervals = try connection.rows(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id = ? ORDER BY joined
            """,
            known.idx,
            device.rawValue
        ) { try MembershipRecord($0) }
        return try intervals.compactMap { interval in
            try connection.device(at: interval.deviceIdx).map {
                .membership(tenant, interval.membership(of: group, $0.row))
            }
        }
    }

    private func activity(_ number: Int64, _ tenant: TenantID) throws -> [ReplicaRow]? {
        guard let record = try connection.activity(number), record.isLive,
            let row = try connection.replicaActivity(record, tenant: tenant)
        else { return [.activityGone(tenant, number: number)] }
        // Targets never change: whoever has the activity has them.
        guard number > after, record.groupIdx == nil else { return [row] }
        guard record.addressed < limit else { return nil }
        var result = [row]
        for page in try connection.targetPages(number, from: 0, limit: .max) {
            for idx in page.devices {
                guard let device = try connection.device(at: idx) else { continue }
                result.append(
                    .target(
                        tenant,
                        number: number,
                        device: device.row.id,
                        incarnation: device.row.incarnation
                    )
                )
            }
        }
        return result
    }

    private func execution(
        _ number: Int64,
        _ device: DeviceID,
        _ tenant: TenantID
    ) throws -> [ReplicaRow] {
        guard let activity = try connection.activity(number), activity.isLive,
            let operation = try connection.operation(number)?.operation,
            let device = try connection.device(device, tenant: tenant),
            let row = try connection.execution(number, deviceIdx: device.idx)
        else { return [] }
        let execution = row.execution(of: operation.id, on: device.row)
        return [.execution(tenant, number: number, execution)]
    }
}

extension MembershipRecord {
    func membership(of group: GroupID, _ device: DeviceRow) -> Membership {
        Membership(
            group: group,
            device: device.id,
            incarnation: device.incarnation,
            joined: joined,
            left: ended
        )
    }
}

extension SQLConnection {
    /// What a replica holds of an activity; `nil` for one of another tenant.
    func replicaActivity(_ record: ActivityRecord, tenant: TenantID? = nil) throws -> ReplicaRow? {
        guard var operation = try operation(record.number) else {
            throw SQLiteStorageError.corruptRow(in: "operation")
        }
        if let tenant, operation.tenant != tenant { return nil }
        operation.operation.payload = try payload(record.number)
        return .activity(
            operation.tenant,
            ReplicaActivity(
                operation: operation.operation,
                group: operation.group,
                state: record.state,
                gate: record.gate.gate
            )
        )
    }
}
#endif
