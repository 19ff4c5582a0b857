#if SQLite
extension Schema {
    /// Messages between members, and the replicated state.
    ///
    /// - `message` holds reliable messages until they expire or are settled. `recipients` is null for one
    ///   that is replayed. The newest number ever is `message-number` of `meta`: numbers are not used
    ///   again.
    /// - `message_answer` has one row a member that answered.
    /// - `shared_state` has a null `value` where something was removed; `shared-state-floor` of `meta` is the
    ///   version up to which removals are forgotten.
    static let messages = """
        CREATE TABLE message (
            number INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            encoded BLOB NOT NULL,
            recipients BLOB,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX message_id ON message (id);
        CREATE TABLE message_answer (
            number INTEGER NOT NULL,
            node TEXT NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, node)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE shared_state (
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            value BLOB,
            sum INTEGER NOT NULL,
            PRIMARY KEY (namespace, name)
        ) STRICT, WITHOUT ROWID;
        """
}
#endif
