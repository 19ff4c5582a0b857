#if SQLite
extension Schema {
    /// When each periodic task is due for each device it asks.
    ///
    /// - `task` keeps what a task is; its `due` is the beginning of its first period. A `task_series` is
    ///   one definition of it that devices are asked by; those of state 2 are gone, and their rows of
    ///   `task_time` are deleted a page at a time.
    /// - `task_time_order` begins with the device's slot, so that a node finds what is due in its slots
    ///   without looking at those of others.
    /// - A row of `task_step` is a claim that is not finished. Its devices are kept by name: the
    ///   operation must be the same when it is enqueued again.
    static let taskTimes = """
        DROP INDEX task_due;
        CREATE TABLE task_series (
            idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            group_name TEXT NOT NULL,
            kind TEXT,
            freshness INTEGER,
            cursor TEXT,
            state INTEGER NOT NULL,
            steps INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX task_series_name ON task_series (tenant, name) WHERE state < 2;
        CREATE INDEX task_series_group ON task_series (tenant, group_name) WHERE state < 2;
        CREATE INDEX task_series_kind ON task_series (tenant, kind)
            WHERE state < 2 AND kind IS NOT NULL;
        CREATE INDEX task_series_unsettled ON task_series (idx) WHERE state <> 1;
        CREATE TABLE task_time (
            series INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            due INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (series, device_idx)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX task_time_order ON task_time (slot, due, series, device_idx);
        CREATE TABLE task_step (
            series INTEGER NOT NULL,
            number INTEGER NOT NULL,
            slot INTEGER NOT NULL,
            devices BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (series, number)
        ) STRICT, WITHOUT ROWID;
        """
}
#endif
