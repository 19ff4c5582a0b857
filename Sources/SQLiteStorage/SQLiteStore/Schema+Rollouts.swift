#if SQLite
extension Schema {
    /// Rollouts of releases.
    ///
    /// - `rollout` has at most one row of a channel with `open` = 1, held by an index. `idx` is the order of
    ///   their beginning.
    /// - `release_block` names trees that are neither offered nor published in their channel.
    /// - `release_health` has what each node last said.
    static let rollouts = """
        CREATE TABLE rollout (
            idx INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            tenant TEXT NOT NULL,
            channel TEXT NOT NULL,
            open INTEGER NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX rollout_id ON rollout (id);
        CREATE INDEX rollout_channel ON rollout (tenant, channel, idx);
        CREATE UNIQUE INDEX rollout_open ON rollout (tenant, channel) WHERE open = 1;
        CREATE TABLE rollout_transition (
            rollout_idx INTEGER NOT NULL,
            number INTEGER NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (rollout_idx, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE release_block (
            tenant TEXT NOT NULL,
            channel TEXT NOT NULL,
            root BLOB NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, channel, root)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE release_health (
            tenant TEXT NOT NULL,
            channel TEXT NOT NULL,
            node TEXT NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, channel, node)
        ) STRICT, WITHOUT ROWID;
        """

    /// Which life of the node a word is from, and its number there: an older one replaces nothing.
    static let livesOfAcknowledgements = """
        CREATE TABLE acknowledgement_next (
            tenant TEXT NOT NULL,
            channel TEXT NOT NULL,
            node TEXT NOT NULL,
            number INTEGER NOT NULL,
            root BLOB NOT NULL,
            state TEXT NOT NULL,
            error_code TEXT,
            error_message TEXT,
            at INTEGER NOT NULL,
            floor_record BLOB,
            incarnation INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, channel, node)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO acknowledgement_next (tenant, channel, node, number, root, state, error_code,
            error_message, at, floor_record, incarnation, attempt, sum)
        SELECT tenant, channel, node, number, root, state, error_code, error_message, at,
            floor_record, 0, 0,
            reeve_sum('acknowledgement', tenant, channel, node, number, root, state, error_code,
                error_message, at, floor_record, 0, 0)
        FROM acknowledgement
        WHERE reeve_verify('acknowledgement', sum, tenant, channel, node, number, root, state,
            error_code, error_message, at, floor_record);
        DROP TABLE acknowledgement;
        ALTER TABLE acknowledgement_next RENAME TO acknowledgement;
        """
}
#endif
