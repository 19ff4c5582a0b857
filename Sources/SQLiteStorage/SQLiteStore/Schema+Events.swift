#if SQLite
extension Schema {
    /// Webhooks and their dead letters, and what administrators' queries are answered from: one index a
    /// condition that selects well, each ending in the number by which pages go on.
    static let eventsAndQueries = """
        CREATE TABLE webhook (
            idx INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            tenant TEXT NOT NULL,
            url TEXT NOT NULL,
            secret BLOB NOT NULL,
            filter BLOB NOT NULL,
            state INTEGER NOT NULL,
            created INTEGER NOT NULL,
            cursor TEXT NOT NULL,
            batch_end TEXT,
            failures INTEGER NOT NULL,
            due INTEGER NOT NULL,
            failure TEXT NOT NULL,
            letters INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX webhook_id ON webhook (id);
        CREATE INDEX webhook_tenant ON webhook (tenant, idx);
        CREATE TABLE dead_letter (
            webhook_idx INTEGER NOT NULL,
            number INTEGER NOT NULL,
            message TEXT NOT NULL,
            body BLOB NOT NULL,
            events INTEGER NOT NULL,
            failure TEXT NOT NULL,
            at INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (webhook_idx, number)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX operation_code ON operation (tenant, code, number);
        CREATE INDEX operation_initiator ON operation (tenant, initiator, number);
        CREATE INDEX operation_group ON operation (tenant, group_name, number)
            WHERE group_name IS NOT NULL;
        """
}
#endif
