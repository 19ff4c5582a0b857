#if SQLite
public import ClusterRole
internal import SQLiteEngine

extension EmbeddedStore: AuditLog {
    public func append(_ records: [AuditRecord], epoch: Epoch) async throws -> [AuditEntry] {
        try await guarded(epoch: epoch) { connection, _ in
            var chain = AuditChain(after: try connection.auditEnd(.head))
            let entries = records.map { chain.onRecord($0) }
            for entry in entries { try connection.store(entry) }
            try connection.store(chain.mark, as: .head)
            return ([], entries)
        }.result
    }

    public func purgeAudit(
        before time: Timestamp,
        keepingAtMost count: Int,
        limit: Int,
        epoch: Epoch
    ) async throws -> Int {
        try await guarded(epoch: epoch) { connection, _ in
            let floor = try connection.auditEnd(.floor)
            let head = try connection.auditEnd(.head)
            let excess = head.number - floor.number - Int64(max(0, count))
            let oldest = try connection.auditEntries(after: floor.number, limit: max(0, limit))
            let going = oldest.enumerated().prefix {
                Int64($0.offset) < excess || $0.element.record.at < time
            }
            guard let last = going.last?.element else { return ([], 0) }
            try connection.run("DELETE FROM audit WHERE number <= ?", last.number)
            try connection.store(last.mark, as: .floor)
            return ([], going.count)
        }.result
    }

    public func entries(
        matching filter: AuditFilter,
        before: Int64?,
        limit: Int
    ) async throws -> AuditPage {
        try await file.read { connection in
            let head = try connection.auditEnd(.head).number
            let first = try connection.auditEnd(.floor).number + 1
            let below = min(before ?? .max, head + 1)
            let lowest = max(first, below - maximumAuditScan)
            let found = try connection.rows(
                """
                SELECT \(AuditEntry.columns) FROM audit
                WHERE number < ?1 AND number >= ?2 AND (?3 IS NULL OR who = ?3)
                    AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR outcome = ?5)
                    AND (?6 IS NULL OR operation = ?6) AND (?7 IS NULL OR tenant = ?7)
                ORDER BY number DESC LIMIT ?8
                """,
                below,
                lowest,
                filter.who,
                filter.since?.rawValue,
                (filter.outcome?.rawValue).map { Int64($0) },
                filter.operation,
                filter.tenant?.rawValue,
                max(1, limit)
            ) { try AuditEntry($0) }
            if found.count >= max(1, limit) {
                return AuditPage(entries: found, next: found.last?.number)
            }
            return AuditPage(entries: found, next: lowest <= first ? nil : lowest)
        }
    }

    public func entries(after number: Int64, limit: Int) async throws -> [AuditEntry] {
        try await file.read { try $0.auditEntries(after: number, limit: max(0, limit)) }
    }

    public func auditBounds() async throws -> AuditBounds {
        try await file.read { connection in
            AuditBounds(
                floor: try connection.auditEnd(.floor),
                head: try connection.auditEnd(.head)
            )
        }
    }
}

/// The two rows of table `audit_end`.
private enum AuditEnd: String {
    case floor, head
}

extension AuditEntry {
    fileprivate static let columns = """
        number, at, who, kind, tenant, operation, target, peer, client, outcome, status, code, \
        revision, begun, suppressed, digest, sum
        """

    fileprivate init(_ row: PreparedStatement) throws {
        try row.verify("audit", sum: 16)
        guard let kind = IdentityKind(rawValue: UInt8(truncatingIfNeeded: row.int64(3))),
            let outcome = AuditOutcome(rawValue: UInt8(truncatingIfNeeded: row.int64(9)))
        else { throw SQLiteStorageError.corruptRow(in: "audit") }
        self.init(
            number: row.int64(0),
            record: AuditRecord(
                at: Timestamp(rawValue: row.int64(1)),
                who: row.text(2),
                kind: kind,
                tenant: row.optionalText(4).map { TenantID(rawValue: $0) },
                operation: row.text(5),
                target: row.text(6),
                peer: row.text(7),
                client: row.text(8),
                outcome: outcome,
                status: row.int(10),
                code: row.text(11),
                revision: row.text(12),
                begun: row.optionalInt64(13),
                suppressed: row.int64(14)
            ),
            digest: row.blob(15)
        )
    }
}

extension SQLConnection {
    fileprivate func auditEntries(after number: Int64, limit: Int) throws -> [AuditEntry] {
        try rows(
            "SELECT \(AuditEntry.columns) FROM audit WHERE number > ? ORDER BY number LIMIT ?",
            number,
            limit
        ) { try AuditEntry($0) }
    }

    fileprivate func store(_ entry: AuditEntry) throws {
        let record = entry.record
        try run(
            sealedFor: "audit",
            """
            INSERT INTO audit (\(AuditEntry.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            entry.number,
            record.at.rawValue,
            record.who,
            record.kind.rawValue,
            record.tenant?.rawValue,
            record.operation,
            record.target,
            record.peer,
            record.client,
            record.outcome.rawValue,
            record.status,
            record.code,
            record.revision,
            record.begun,
            record.suppressed,
            entry.digest
        )
    }

    fileprivate func auditEnd(_ end: AuditEnd) throws -> AuditMark {
        try row(
            "SELECT name, number, digest, sum FROM audit_end WHERE name = ?",
            end.rawValue
        ) {
            try $0.verify("audit_end", sum: 3)
            return AuditMark(number: $0.int64(1), digest: $0.blob(2))
        } ?? .origin
    }

    fileprivate func store(_ mark: AuditMark, as end: AuditEnd) throws {
        try run(
            sealedFor: "audit_end",
            "INSERT OR REPLACE INTO audit_end (name, number, digest, sum) VALUES (?, ?, ?, ?)",
            end.rawValue,
            mark.number,
            mark.digest
        )
    }
}

extension EmbeddedStore: IdentityStorage {
    public func identities(tenant: TenantID) async throws -> [StoredIdentity] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(StoredIdentity.columns) FROM identity WHERE tenant = ? ORDER BY name LIMIT ?
                """,
                tenant.rawValue,
                maximumIdentities
            ) { try StoredIdentity($0) }
        }
    }

    public func identity(digest: [UInt8]) async throws -> StoredIdentity? {
        try await file.readBriefly { connection in
            try connection.row(
                "SELECT \(StoredIdentity.columns) FROM identity WHERE digest = ?",
                digest
            ) { try StoredIdentity($0) }
        }
    }

    public func add(_ identity: StoredIdentity, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            let known = try connection.rows(
                "SELECT \(StoredIdentity.columns) FROM identity WHERE tenant = ?",
                identity.tenant.rawValue
            ) { try StoredIdentity($0).name }
            if known.contains(identity.name) {
                throw ClusterRoleError.identityExists(identity.name)
            }
            guard known.count < maximumIdentities else { throw ClusterRoleError.tooManyIdentities }
            try connection.store(identity)
            return ([], ())
        }
    }

    public func removeIdentity(
        _ name: IdentityName,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Bool {
        try await guarded(epoch: epoch) { connection, _ in
            try connection.run(
                "DELETE FROM identity WHERE tenant = ? AND name = ?",
                tenant.rawValue,
                name.rawValue
            )
            return ([], connection.changes > 0)
        }.result
    }
}

extension StoredIdentity {
    fileprivate static let columns =
        "tenant, name, kind, permissions, digest, created, creator, expires, sum"

    fileprivate init(_ row: PreparedStatement) throws {
        try row.verify("identity", sum: 8)
        guard let kind = IdentityKind(rawValue: UInt8(truncatingIfNeeded: row.int64(2))) else {
            throw SQLiteStorageError.corruptRow(in: "identity")
        }
        let permissions = row.text(3).split(separator: " ").map { Permission(rawValue: String($0)) }
        self.init(
            name: IdentityName(rawValue: row.text(1)),
            tenant: TenantID(rawValue: row.text(0)),
            kind: kind,
            permissions: Set(permissions),
            digest: row.blob(4),
            createdAt: Timestamp(rawValue: row.int64(5)),
            createdBy: row.text(6),
            expiresAt: row.optionalInt64(7).map { Timestamp(rawValue: $0) }
        )
    }
}

extension SQLConnection {
    fileprivate func store(_ identity: StoredIdentity) throws {
        try run(
            sealedFor: "identity",
            "INSERT INTO identity (\(StoredIdentity.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            identity.tenant.rawValue,
            identity.name.rawValue,
            identity.kind.rawValue,
            identity.permissions.map(\.rawValue).sorted().joined(separator: " "),
            identity.digest,
            identity.createdAt.rawValue,
            identity.createdBy,
            identity.expiresAt?.rawValue
        )
    }
}
#endif
