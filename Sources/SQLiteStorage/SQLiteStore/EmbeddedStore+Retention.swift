#if SQLite
public import ClusterRole
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: RetentionStorage {
    public func closedActivities(
        before: Timestamp,
        after: ClosedActivity?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        try await file.read { connection in
            let records = try connection.rows(
                """
                SELECT \(ActivityRecord.columns) FROM activity
                WHERE live = 0 AND closed <= ? AND (closed, number) > (?, ?)
                ORDER BY closed, number LIMIT ?
                """,
                before.rawValue,
                after?.closedAt.rawValue ?? .min,
                after?.number ?? .min,
                max(0, limit)
            ) { try ActivityRecord($0) }
            return try records.compactMap { try connection.closed($0) }
        }
    }

    public func closedActivities(
        of tenant: TenantID,
        after: Int64?,
        limit: Int
    ) async throws -> [ClosedActivity] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT operation.number FROM operation
                JOIN activity ON activity.number = operation.number
                WHERE operation.tenant = ? AND operation.number > ? AND activity.live = 0
                ORDER BY operation.number LIMIT ?
                """,
                tenant.rawValue,
                after ?? .min,
                max(0, limit)
            ) { $0.int64(0) }
            .compactMap { number in
                try connection.activity(number).flatMap { try connection.closed($0) }
            }
        }
    }

    public func history() async throws -> [HistoryCount] {
        try await file.read { try $0.historyCounts().filter { $0.activities > 0 } }
    }

    public func purge(
        _ activities: [ActivityID],
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Int {
        try await guarded(epoch: epoch) { connection, _ in
            var count = 0
            for id in activities where try connection.purge(id, of: tenant) { count += 1 }
            return ([], count)
        }.result
    }

    public func sweep(rows: Int, epoch: Epoch) async throws -> Int {
        try await guarded(epoch: epoch) { connection, _ in
            ([], try connection.sweep(rows: max(1, rows)))
        }.result
    }

    public func forgetEvidence(
        before time: Timestamp,
        rows: Int,
        epoch: Epoch
    ) async throws -> Int {
        let keptRevisions = keptRevisions
        return try await guarded(epoch: epoch) { connection, _ in
            ([], try connection.forgetEvidence(before: time, rows: rows, keeping: keptRevisions))
        }.result
    }
}

extension SQLConnection {
    fileprivate func closed(_ record: ActivityRecord) throws -> ClosedActivity? {
        guard let operation = try operation(record.number) else {
            throw SQLiteStorageError.corruptRow(in: "operation")
        }
        guard let closedAt = record.closedAt, !record.isLive else { return nil }
        return ClosedActivity(
            tenant: operation.tenant,
            id: operation.operation.activity,
            number: record.number,
            createdAt: operation.operation.createdAt,
            closedAt: closedAt,
            hasKey: operation.requestKey != nil,
            executions: record.counts.total
        )
    }

    /// Makes one activity unknown; its executions and target pages are left to ``sweep(rows:)``, which
    /// nobody finds without it.
    fileprivate func purge(_ id: ActivityID, of tenant: TenantID) throws -> Bool {
        guard let operation = try operation(of: id, tenant: tenant),
            let record = try activity(operation.operation.number), !record.isLive
        else { return false }
        remembered.activities[record.number] = nil
        for table in ["operation", "payload", "activity", "dependency"] {
            try run("DELETE FROM \(table) WHERE number = ?", record.number)
        }
        try run("DELETE FROM expansion WHERE operation = ?", record.number)
        try run(
            sealedFor: "purge",
            "INSERT INTO purge (number, sum) VALUES (?, ?)",
            record.number
        )
        try addHistory(of: tenant, activities: -1, executions: -record.counts.total)
        return true
    }

    /// - Returns: how many rows went; fewer than `rows` when nothing is left.
    fileprivate func sweep(rows: Int) throws -> Int {
        var left = rows
        while left > 0 {
            let first = try row("SELECT number, sum FROM purge ORDER BY number LIMIT 1") {
                try $0.verify("purge", sum: 1)
                return $0.int64(0)
            }
            guard let number = first else { break }
            for (table, key) in [
                ("execution", "device_idx"), ("target_page", "page"), ("timer", "device_idx"),
                ("large_result_chunk", "idx"), ("large_result", "idx"),
            ] where left > 0 {
                try run(
                    """
                    DELETE FROM \(table) WHERE number = ? AND \(key) IN
                        (SELECT \(key) FROM \(table) WHERE number = ? LIMIT ?)
                    """,
                    number,
                    number,
                    left
                )
                left -= changes
            }
            if left > 0 { try run("DELETE FROM purge WHERE number = ?", number) }
        }
        return rows - left
    }

    fileprivate func forgetEvidence(
        before time: Timestamp,
        rows: Int,
        keeping kept: Int64
    ) throws -> Int {
        try run(
            """
            DELETE FROM rejection WHERE idx IN
                (SELECT idx FROM rejection WHERE at < ? ORDER BY idx LIMIT ?)
            """,
            time.rawValue,
            max(0, rows)
        )
        let rejections = changes
        guard rejections < rows else { return rejections }
        // A node that never was a member may still be at work: its mark goes only when the log no longer
        // reaches back to it.
        try run(
            """
            DELETE FROM spool_mark WHERE node IN (
                SELECT spool_mark.node FROM spool_mark LEFT JOIN member USING (node)
                WHERE (member.heard IS NOT NULL AND member.heard < ?)
                    OR (member.heard IS NULL AND spool_mark.revision < ?)
                LIMIT ?)
            """,
            time.rawValue,
            try revisionNumber() - kept,
            rows - rejections
        )
        return rejections + changes
    }
}
#endif
