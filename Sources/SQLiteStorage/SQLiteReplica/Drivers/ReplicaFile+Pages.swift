#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

/// Pages and the entries their marks end.
extension ReplicaFile {
    /// What to write of one page, in one transaction.
    struct PageWrite: Sendable {
        var rows: [ReplicaRow]
        /// The generation the rows belong to.
        var generation: Int64
        /// Whether the page begins a snapshot: what the generation may hold goes first.
        var clearsGeneration = false
        /// Whether the page ends a snapshot: the generation served before goes.
        var finishesSnapshot = false
        /// The position the file has afterwards; `nil` inside a snapshot.
        var position: Position?
        var mark: MarkMove = .stays
        var retention = Retention()
    }

    /// What becomes of the mark.
    enum MarkMove: Hashable, Sendable {
        case stays
        /// The manager has applied more: entries from behind the first up to the second.
        case advances(from: Int64, to: Int64)
        /// A snapshot says where it stands: a restored manager's mark may be lower.
        case isReplaced(by: Int64)
    }

    /// Which applied entries are kept.
    struct Retention: Hashable, Sendable {
        /// Entries received before it go.
        var cutoff = Timestamp.distantPast
        /// How many bytes there are now, and at most.
        var retainedBytes = 0
        var maximumBytes = Int.max
        /// Entries deleted in one transaction.
        static let maximumDeletions = 512
    }

    /// What writing a page did to the spool.
    struct PageReceipt: Sendable {
        /// Entries the mark has passed, and their bytes.
        var applied = (count: 0, bytes: 0)
        /// Everything behind the mark, if it was replaced.
        var pending: PendingSummary?
        var retainedBytes = 0
    }

    /// Writes a page.
    ///
    /// - Parameter replaced: called before the commit if the mark was replaced, with the newest number:
    ///   entries up to it are in ``PageReceipt/pending``, later ones are not.
    func write(
        _ page: PageWrite,
        replaced: @escaping @Sendable (Int64) -> Void
    ) async throws -> PageReceipt {
        try await database.write { connection in
            if page.clearsGeneration {
                try connection.run("DELETE FROM replica WHERE generation = ?", page.generation)
            }
            for row in page.rows { try Self.put(row, page.generation, connection) }
            var receipt = PageReceipt()
            receipt.retainedBytes = page.retention.retainedBytes
            if let position = page.position {
                try Self.write(position, connection)
                if page.finishesSnapshot {
                    try Self.deleteRows(except: position.generation, connection)
                }
                try move(page.mark, &receipt, connection)
                try Self.prune(page, &receipt, connection)
            }
            if let pending = receipt.pending { replaced(pending.lastNumber) }
            return receipt
        }
    }

    /// Deletes the rows of all other generations. Two ranges, because `<>` would read every row.
    static func deleteRows(except generation: Int64, _ connection: SQLConnection) throws {
        try connection.run("DELETE FROM replica WHERE generation < ?", generation)
        try connection.run("DELETE FROM replica WHERE generation > ?", generation)
    }

    /// How many rows of all other generations do not match their checksums.
    static func damagedRows(
        except generation: Int64,
        _ connection: SQLConnection
    ) throws -> Int {
        var count = 0
        for order in ["<", ">"] {
            let sql = """
                SELECT generation, kind, key, body, sum FROM replica WHERE generation \(order) ?
                """
            try connection.withStatement(sql) { statement in
                try statement.bind(generation)
                while try statement.step() {
                    do { try statement.verify("replica", sum: 4) } catch { count += 1 }
                }
            }
        }
        return count
    }

    private static func put(
        _ row: ReplicaRow,
        _ generation: Int64,
        _ connection: SQLConnection
    ) throws {
        if case .activityGone(let tenant, let number) = row {
            let prefix = ReplicaKey.prefix(tenant, number)
            for kind in ReplicaKey.Kind.ofActivity {
                try connection.run(
                    "DELETE FROM replica WHERE generation = ? AND kind = ? AND key >= ? AND key < ?",
                    generation,
                    kind.rawValue,
                    prefix,
                    ReplicaKey.end(of: prefix)
                )
            }
            return
        }
        guard let key = ReplicaKey(row) else { return }
        try connection.run(
            sealedFor: "replica",
            """
            INSERT OR REPLACE INTO replica (generation, kind, key, body, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            generation,
            key.kind.rawValue,
            key.bytes,
            row.encoded()
        )
    }

    private func move(
        _ move: MarkMove,
        _ receipt: inout PageReceipt,
        _ connection: SQLConnection
    ) throws {
        switch move {
        case .stays: break
        case .advances(let old, let new):
            try connection.setMetaNumber(Meta.mark, new)
            receipt.applied =
                try connection.row(
                    """
                    SELECT count(*), coalesce(sum(length(entry)), 0) FROM spool
                    WHERE number > ? AND number <= ?
                    """,
                    old,
                    new
                ) { ($0.int(0), $0.int(1)) } ?? (0, 0)
            receipt.retainedBytes += receipt.applied.bytes
        case .isReplaced(let new):
            try connection.setMetaNumber(Meta.mark, new)
            receipt.pending = try pending(after: new, connection)
            receipt.retainedBytes =
                try connection.row(
                    "SELECT coalesce(sum(length(entry)), 0) FROM spool WHERE number <= ?",
                    new
                ) { $0.int(0) } ?? 0
        }
    }

    /// Deletes the oldest applied entries while they are too old or too many.
    private static func prune(
        _ page: PageWrite,
        _ receipt: inout PageReceipt,
        _ connection: SQLConnection
    ) throws {
        let mark = try connection.metaNumber(Meta.mark)
        for _ in 0..<Retention.maximumDeletions {
            let oldest = try connection.row(
                "SELECT number, received, length(entry) FROM spool ORDER BY number LIMIT 1"
            ) { (number: $0.int64(0), received: $0.int64(1), bytes: $0.int(2)) }
            guard let oldest, oldest.number <= mark else { return }
            let isOld = oldest.received < page.retention.cutoff.rawValue
            guard isOld || receipt.retainedBytes > page.retention.maximumBytes else { return }
            try connection.run("DELETE FROM spool WHERE number = ?", oldest.number)
            receipt.retainedBytes -= oldest.bytes
        }
    }

    /// Keeps the highest epoch seen.
    func write(_ epoch: Epoch) async throws {
        try await database.write { try $0.setMetaNumber(Meta.epoch, epoch.rawValue) }
    }
}
#endif
