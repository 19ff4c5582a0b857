#if SQLite
public import ArtifactStore
public import ClusterRole
internal import SQLiteEngine

extension EmbeddedStore: ReleaseStorage {
    public func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision {
        let record = release.release
        return try await guarded(epoch: epoch) { connection, number in
            let newest = try connection.newestRelease(of: record.channel, tenant: record.tenant)
            guard newest == previous, record.number == previous?.next ?? .first else {
                throw ArtifactStoreError.conflict(
                    channel: record.channel,
                    expected: previous,
                    actual: newest
                )
            }
            let standing = try connection.standing(of: record.channel, tenant: record.tenant)
            if let refusal = standing.refusal(ofAppending: record) { throw refusal }
            try connection.run(
                sealedFor: "release",
                """
                INSERT INTO release (tenant, channel, number, revision, encoded, sum)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
                record.tenant.rawValue,
                record.channel.rawValue,
                record.number.rawValue,
                number,
                release.encoded
            )
            return ([.channel(tenant: record.tenant, name: record.channel.rawValue)], ())
        }.revision
    }

    public func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease? {
        try await releases(of: channel, tenant: tenant, before: nil, limit: 1).first
    }

    public func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] {
        let history = history
        return try await file.read { connection in
            try connection.rows(
                """
                SELECT tenant, channel, number, revision, encoded, sum FROM release
                WHERE tenant = ? AND channel = ? AND number < ? ORDER BY number DESC LIMIT ?
                """,
                tenant.rawValue,
                channel.rawValue,
                before?.rawValue ?? .max,
                max(1, limit)
            ) {
                try $0.verify("release", sum: 5)
                return StoredRelease(
                    published: try PublishedRelease(decoding: $0.blob(4)),
                    revision: Revision(history: history, number: $0.int64(3))
                )
            }
        }
    }

    public func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT channel FROM release WHERE tenant = ? AND number = ? AND channel > ?
                ORDER BY channel LIMIT ?
                """,
                tenant.rawValue,
                ReleaseNumber.first.rawValue,
                after?.rawValue ?? "",
                max(1, limit)
            ) { ChannelName(rawValue: $0.text(0)) }
        }
    }

    public func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try await guarded(epoch: epoch) { connection, _ in
            let earlier = try connection.row(
                """
                SELECT \(AppliedRelease.columns) FROM acknowledgement
                WHERE tenant = ? AND channel = ? AND node = ?
                """,
                tenant.rawValue,
                acknowledgement.channel.rawValue,
                acknowledgement.node.rawValue
            ) { try AppliedRelease(stored: $0) }
            if earlier.map(acknowledgement.supersedes) ?? true {
                try connection.store(acknowledgement, tenant: tenant)
            }
            return ([], ())
        }.revision
    }

    public func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(AppliedRelease.columns) FROM acknowledgement
                WHERE tenant = ? AND channel = ? ORDER BY node
                """,
                tenant.rawValue,
                channel.rawValue
            ) { try AppliedRelease(stored: $0) }
        }
    }
}

extension AppliedRelease {
    fileprivate static let columns = """
        tenant, channel, node, number, root, state, error_code, error_message, at, floor_record,
        incarnation, attempt, sum
        """

    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("acknowledgement", sum: 12)
        guard let state = State(rawValue: row.text(5)) else {
            throw SQLiteStorageError.corruptRow(in: "acknowledgement")
        }
        self.init(
            node: NodeID(rawValue: row.text(2)),
            channel: ChannelName(rawValue: row.text(1)),
            number: ReleaseNumber(row.int64(3)),
            root: TreeID(try ContentDigest(bytes: row.blob(4))),
            state: state,
            errorCode: row.optionalText(6),
            errorMessage: row.optionalText(7),
            at: Timestamp(rawValue: row.int64(8)),
            floorRecord: row.optionalBlob(9),
            incarnation: row.int64(10),
            attempt: row.int64(11)
        )
    }
}

extension SQLConnection {
    fileprivate func store(_ acknowledgement: AppliedRelease, tenant: TenantID) throws {
        try run(
            sealedFor: "acknowledgement",
            """
            INSERT OR REPLACE INTO acknowledgement (\(AppliedRelease.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            tenant.rawValue,
            acknowledgement.channel.rawValue,
            acknowledgement.node.rawValue,
            acknowledgement.number.rawValue,
            acknowledgement.root.digest.bytes,
            acknowledgement.state.rawValue,
            acknowledgement.errorCode,
            acknowledgement.errorMessage,
            acknowledgement.at.rawValue,
            acknowledgement.floorRecord,
            acknowledgement.incarnation,
            acknowledgement.attempt
        )
    }
}
#endif
