#if SQLite
internal import ClusterRole
internal import OperationQueue
internal import SQLiteEngine

// Counters of a tenant, kept in the transaction of what they count.
extension SQLConnection {
    /// Notes that an activity has been stored for the first time.
    func noteStored(_ record: ActivityRecord, of tenant: TenantID) throws {
        if record.isLive {
            try addOpenActivities(1, of: tenant)
        } else {
            try addHistory(of: tenant, activities: 1, executions: 0)
        }
    }

    /// Notes that an activity has been stored again.
    ///
    /// - Parameters:
    ///   - record: as stored now.
    ///   - before: as it was.
    ///   - tenant: whose it is.
    func noteChanged(
        _ record: ActivityRecord,
        from before: ActivityRecord,
        of tenant: TenantID
    ) throws {
        if record.isLive { return }
        if before.isLive {
            try addOpenActivities(-1, of: tenant)
            try addHistory(of: tenant, activities: 1, executions: record.counts.total)
        } else if record.counts.total != before.counts.total {
            try addHistory(
                of: tenant,
                activities: 0,
                executions: record.counts.total - before.counts.total
            )
        }
    }

    // MARK: History

    func historyCounts() throws -> [HistoryCount] {
        try rows("SELECT tenant, activities, executions, sum FROM history_count ORDER BY tenant") {
            try HistoryCount(stored: $0)
        }
    }

    /// Adds to a tenant's history. Without a row (a file of before this table) everything is counted
    /// once; what is added is stored already and so is counted with the rest.
    func addHistory(of tenant: TenantID, activities: Int, executions: Int) throws {
        let known = try row(
            "SELECT tenant, activities, executions, sum FROM history_count WHERE tenant = ?",
            tenant.rawValue
        ) { try HistoryCount(stored: $0) }
        var count = HistoryCount(tenant: tenant, activities: 0, executions: 0)
        if let known {
            count.activities = max(0, known.activities + activities)
            count.executions = max(0, known.executions + executions)
        } else {
            let closed = try rows(
                """
                SELECT \(ActivityRecord.columns) FROM activity
                WHERE live = 0 AND number IN (SELECT number FROM operation WHERE tenant = ?)
                """,
                tenant.rawValue
            ) { try ActivityRecord($0).counts.total }
            count.activities = closed.count
            count.executions = closed.reduce(0, +)
        }
        try run(
            sealedFor: "history_count",
            """
            INSERT OR REPLACE INTO history_count (tenant, activities, executions, sum)
            VALUES (?, ?, ?, ?)
            """,
            tenant.rawValue,
            count.activities,
            count.executions
        )
    }

    // MARK: Open activities

    /// `nil` while they are not counted.
    func openActivities(of tenant: TenantID) throws -> Int? {
        try row(
            "SELECT tenant, open_activities, sum FROM quota_usage WHERE tenant = ?",
            tenant.rawValue
        ) {
            try $0.verify("quota_usage", sum: 2)
            return $0.int(1)
        }
    }

    private func addOpenActivities(_ count: Int, of tenant: TenantID) throws {
        guard let known = try openActivities(of: tenant) else { return }
        try setOpenActivities(max(0, known + count), of: tenant)
    }

    func setOpenActivities(_ count: Int, of tenant: TenantID) throws {
        try run(
            sealedFor: "quota_usage",
            "INSERT OR REPLACE INTO quota_usage (tenant, open_activities, sum) VALUES (?, ?, ?)",
            tenant.rawValue,
            count
        )
    }

    /// Counts a tenant's live activities and keeps the number from now on.
    func beginCountingOpenActivities(of tenant: TenantID) throws -> Int {
        let count =
            try row(
                """
                SELECT count(*) FROM activity JOIN operation ON operation.number = activity.number
                WHERE activity.live = 1 AND operation.tenant = ?
                """,
                tenant.rawValue
            ) { $0.int(0) } ?? 0
        try setOpenActivities(count, of: tenant)
        return count
    }
}

extension HistoryCount {
    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("history_count", sum: 3)
        self.init(
            tenant: TenantID(rawValue: row.text(0)),
            activities: row.int(1),
            executions: row.int(2)
        )
    }
}
#endif
