#if SQLite
extension Schema {
    /// What devices told, in typed form; what happened to them; groups defined by queries.
    ///
    /// - `property` and `application` name the tenant and the device again, so that one index answers
    ///   "who has this value" in order of device id.
    /// - `silence` holds the enrolled devices that are not active: most have no row, and a contact
    ///   writes none.
    /// - `group_subject` finds the groups whose queries look at what changed.
    static let deviceFacts = """
        CREATE TABLE property (
            device_idx INTEGER NOT NULL,
            name TEXT NOT NULL,
            tenant TEXT NOT NULL,
            device_id TEXT NOT NULL,
            value BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (device_idx, name)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX property_value ON property (tenant, name, value, device_id);
        CREATE TABLE application (
            device_idx INTEGER NOT NULL,
            identifier TEXT NOT NULL,
            tenant TEXT NOT NULL,
            device_id TEXT NOT NULL,
            version TEXT NOT NULL,
            name TEXT NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (device_idx, identifier)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX application_installed ON application (tenant, identifier, device_id);
        CREATE TABLE location (
            device_idx INTEGER NOT NULL,
            received INTEGER NOT NULL,
            body BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (device_idx, received)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE device_history (
            tenant TEXT NOT NULL,
            device_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            at INTEGER NOT NULL,
            who TEXT NOT NULL,
            what TEXT NOT NULL,
            detail TEXT NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, device_id, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE silence (
            device_idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            device_id TEXT NOT NULL,
            state TEXT NOT NULL,
            seen INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX silence_state ON silence (tenant, state, device_id);
        CREATE TABLE silence_count (
            tenant TEXT NOT NULL PRIMARY KEY,
            unreachable INTEGER NOT NULL,
            inactive INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE group_query (
            group_idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            query TEXT NOT NULL,
            cursor TEXT,
            settled INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX group_query_tenant ON group_query (tenant);
        CREATE INDEX group_query_unsettled ON group_query (group_idx) WHERE settled = 0;
        CREATE TABLE group_subject (
            tenant TEXT NOT NULL,
            subject TEXT NOT NULL,
            group_idx INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, subject, group_idx)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX group_subject_group ON group_subject (group_idx);
        """
}
#endif
