#if SQLite
extension Schema {
    /// What purging and quotas need.
    ///
    /// - `purge` names activities that are unknown already and whose rows are still to be swept.
    /// - `history_count` has a row a tenant with closed activities, so that nothing is ever counted.
    /// - `quota` with the empty tenant is the standard one. `quota_usage` has rows of tenants with a
    ///   bound on open activities only.
    static let keeping = """
        CREATE INDEX activity_closed ON activity (closed, number) WHERE live = 0;
        CREATE TABLE purge (
            number INTEGER NOT NULL PRIMARY KEY,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE history_count (
            tenant TEXT NOT NULL PRIMARY KEY,
            activities INTEGER NOT NULL,
            executions INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE quota (
            tenant TEXT NOT NULL PRIMARY KEY,
            devices INTEGER,
            open_activities INTEGER,
            enqueues INTEGER,
            named INTEGER,
            result_bytes INTEGER,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE quota_usage (
            tenant TEXT NOT NULL PRIMARY KEY,
            open_activities INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """

    /// Step 11: a bound nothing ever enforced goes.
    static let quotasWithoutResultBytes = """
        CREATE TABLE quota_next (
            tenant TEXT NOT NULL PRIMARY KEY,
            devices INTEGER,
            open_activities INTEGER,
            enqueues INTEGER,
            named INTEGER,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO quota_next (tenant, devices, open_activities, enqueues, named, sum)
        SELECT tenant, devices, open_activities, enqueues, named,
            reeve_sum('quota', tenant, devices, open_activities, enqueues, named)
        FROM quota
        WHERE reeve_verify('quota', sum, tenant, devices, open_activities, enqueues, named,
            result_bytes);
        DROP TABLE quota;
        ALTER TABLE quota_next RENAME TO quota;
        """
}
#endif
