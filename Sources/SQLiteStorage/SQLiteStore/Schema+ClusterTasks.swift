#if SQLite
extension Schema {
    /// Slots of cluster tasks. `next` is null until the first holder wrote it; of a run that was begun and
    /// has not ended `run_due` is the due time. Times and frequency are milliseconds.
    static let clusterTasks = """
        CREATE TABLE cluster_task_slot (
            task TEXT NOT NULL,
            number INTEGER NOT NULL,
            holder TEXT,
            epoch INTEGER NOT NULL,
            next INTEGER,
            frequency INTEGER NOT NULL,
            run_due INTEGER,
            run_attempt INTEGER NOT NULL,
            run_skipped INTEGER NOT NULL,
            last INTEGER,
            sum INTEGER NOT NULL,
            PRIMARY KEY (task, number)
        ) STRICT, WITHOUT ROWID;
        """
}
#endif
