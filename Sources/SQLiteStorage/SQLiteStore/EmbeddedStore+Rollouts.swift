#if SQLite
public import ArtifactStore
public import ClusterRole
internal import SQLiteEngine

extension EmbeddedStore: RolloutStorage {
    public func write(
        _ change: ReleaseRolloutChange,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try await guarded(epoch: epoch) { connection, _ in
            let channel = change.channel
            let known = try change.rollout.flatMap {
                try connection.rollout($0.id, tenant: tenant)
            }
            let refusal = change.refusal(
                stored: known?.rollout.version,
                open: try connection.openRollout(of: channel, tenant: tenant)?.id,
                newest: try connection.newestRelease(of: channel, tenant: tenant)
            )
            if let refusal { throw refusal }
            if let rollout = change.rollout {
                try connection.store(rollout, idx: known?.idx)
            }
            for transition in change.transitions { try connection.store(transition) }
            for block in change.blocks { try connection.store(block, tenant: tenant) }
            for root in change.unblocked {
                try connection.run(
                    "DELETE FROM release_block WHERE tenant = ? AND channel = ? AND root = ?",
                    tenant.rawValue,
                    channel.rawValue,
                    root.digest.bytes
                )
            }
            return ([.channel(tenant: tenant, name: channel.rawValue)], ())
        }.revision
    }

    public func standing(of channel: ChannelName, tenant: TenantID) async throws -> ChannelStanding
    {
        try await file.read { try $0.standing(of: channel, tenant: tenant) }
    }

    public func rollouts(
        _ filter: ReleaseRolloutFilter,
        tenant: TenantID?,
        before: ReleaseRolloutID?,
        limit: Int
    ) async throws -> [ReleaseRollout] {
        try await file.read { connection in
            var end = Int64.max
            if let before {
                end =
                    try connection.row("SELECT idx FROM rollout WHERE id = ?", before.bits) {
                        $0.int64(0)
                    } ?? 0
            }
            let condition: String
            var id = UInt128.zero
            var channel = ""
            switch filter {
            case .all: condition = "?4 = ?4 AND ?5 = ?5"
            case .open: condition = "open = 1 AND ?4 = ?4 AND ?5 = ?5"
            case .channel(let name):
                condition = "channel = ?4 AND ?5 = ?5"
                channel = name.rawValue
            case .id(let wanted):
                condition = "?4 = ?4 AND id = ?5"
                id = wanted.bits
            }
            return try connection.rows(
                """
                SELECT \(RolloutRecord.columns) FROM rollout
                WHERE idx < ?1 AND (?2 IS NULL OR tenant = ?2) AND \(condition)
                ORDER BY idx DESC LIMIT ?3
                """,
                end,
                tenant?.rawValue,
                max(1, limit),
                channel,
                id
            ) { try RolloutRecord($0).rollout }
        }
    }

    public func transitions(
        of rollout: ReleaseRolloutID,
        tenant: TenantID
    ) async throws -> [ReleaseRolloutTransition] {
        try await file.read { connection in
            guard let record = try connection.rollout(rollout, tenant: tenant) else { return [] }
            return try connection.rows(
                """
                SELECT rollout_idx, number, encoded, sum FROM rollout_transition
                WHERE rollout_idx = ? ORDER BY number
                """,
                record.idx
            ) {
                try $0.verify("rollout_transition", sum: 3)
                return try ReleaseRolloutTransition(decoding: $0.blob(2))
            }
        }
    }

    public func record(
        _ health: ReleaseHealth,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try await guarded(epoch: epoch) { connection, _ in
            let earlier = try connection.row(
                """
                SELECT tenant, channel, node, encoded, sum FROM release_health
                WHERE tenant = ? AND channel = ? AND node = ?
                """,
                tenant.rawValue,
                health.channel.rawValue,
                health.node.rawValue
            ) { try ReleaseHealth(stored: $0) }
            if earlier.map(health.supersedes) ?? true {
                try connection.run(
                    sealedFor: "release_health",
                    """
                    INSERT OR REPLACE INTO release_health (tenant, channel, node, encoded, sum)
                    VALUES (?, ?, ?, ?, ?)
                    """,
                    tenant.rawValue,
                    health.channel.rawValue,
                    health.node.rawValue,
                    health.encoded
                )
            }
            return ([], ())
        }.revision
    }

    public func health(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [ReleaseHealth] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT tenant, channel, node, encoded, sum FROM release_health
                WHERE tenant = ? AND channel = ? ORDER BY node
                """,
                tenant.rawValue,
                channel.rawValue
            ) { try ReleaseHealth(stored: $0) }
        }
    }
}

extension SQLConnection {
    /// The open rollout of a channel and its blocks.
    func standing(of channel: ChannelName, tenant: TenantID) throws -> ChannelStanding {
        ChannelStanding(
            rollout: try openRollout(of: channel, tenant: tenant),
            blocks: try rows(
                """
                SELECT tenant, channel, root, encoded, sum FROM release_block
                WHERE tenant = ? AND channel = ? ORDER BY root
                """,
                tenant.rawValue,
                channel.rawValue
            ) {
                try $0.verify("release_block", sum: 4)
                return try ReleaseBlock(decoding: $0.blob(3))
            }
        )
    }

    /// The newest number of a channel.
    func newestRelease(of channel: ChannelName, tenant: TenantID) throws -> ReleaseNumber? {
        try row(
            """
            SELECT number FROM release WHERE tenant = ? AND channel = ?
            ORDER BY number DESC LIMIT 1
            """,
            tenant.rawValue,
            channel.rawValue
        ) { ReleaseNumber($0.int64(0)) }
    }

    fileprivate func openRollout(
        of channel: ChannelName,
        tenant: TenantID
    ) throws -> ReleaseRollout? {
        try row(
            """
            SELECT \(RolloutRecord.columns) FROM rollout
            WHERE tenant = ? AND channel = ? AND open = 1
            """,
            tenant.rawValue,
            channel.rawValue
        ) { try RolloutRecord($0).rollout }
    }

    fileprivate func rollout(_ id: ReleaseRolloutID, tenant: TenantID) throws -> RolloutRecord? {
        try row(
            "SELECT \(RolloutRecord.columns) FROM rollout WHERE id = ? AND tenant = ?",
            id.bits,
            tenant.rawValue
        ) { try RolloutRecord($0) }
    }

    fileprivate func store(_ rollout: ReleaseRollout, idx: Int64?) throws {
        let last = try row("SELECT ifnull(max(idx), 0) FROM rollout") { $0.int64(0) }
        try run(
            sealedFor: "rollout",
            "INSERT OR REPLACE INTO rollout (\(RolloutRecord.columns)) VALUES (?, ?, ?, ?, ?, ?, ?)",
            idx ?? (last ?? 0) + 1,
            rollout.id.bits,
            rollout.tenant.rawValue,
            rollout.channel.rawValue,
            Int64(rollout.state.isClosed ? 0 : 1),
            rollout.encoded
        )
    }

    fileprivate func store(_ transition: ReleaseRolloutTransition) throws {
        let idx = try row("SELECT idx FROM rollout WHERE id = ?", transition.rollout.bits) {
            $0.int64(0)
        }
        try run(
            sealedFor: "rollout_transition",
            """
            INSERT INTO rollout_transition (rollout_idx, number, encoded, sum) VALUES (?, ?, ?, ?)
            """,
            idx ?? 0,
            transition.number,
            transition.encoded
        )
    }

    fileprivate func store(_ block: ReleaseBlock, tenant: TenantID) throws {
        try run(
            sealedFor: "release_block",
            """
            INSERT OR REPLACE INTO release_block (tenant, channel, root, encoded, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            tenant.rawValue,
            block.channel.rawValue,
            block.root.digest.bytes,
            block.encoded
        )
    }
}

/// A row of table `rollout`.
private struct RolloutRecord {
    let idx: Int64
    let rollout: ReleaseRollout

    static let columns = "idx, id, tenant, channel, open, encoded, sum"

    init(_ row: PreparedStatement) throws {
        try row.verify("rollout", sum: 6)
        idx = row.int64(0)
        rollout = try ReleaseRollout(decoding: row.blob(5))
    }
}

extension ReleaseHealth {
    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("release_health", sum: 4)
        try self.init(decoding: row.blob(3))
    }
}
#endif
