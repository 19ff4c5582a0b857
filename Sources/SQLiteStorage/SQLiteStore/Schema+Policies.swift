#if SQLite
extension Schema {
    /// Policies and how each device stands to them.
    ///
    /// - A policy of another group or version is a new row; the old one is `ended`, and its rows of
    ///   `compliance` are deleted a page at a time. Counts are kept in the policy's row.
    /// - `compliance_next` holds violating devices only: most devices are not in it.
    static let policies = """
        CREATE TABLE policy (
            idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            group_name TEXT NOT NULL,
            code TEXT NOT NULL,
            version TEXT NOT NULL,
            payload BLOB NOT NULL,
            monitoring INTEGER NOT NULL,
            backoff INTEGER NOT NULL,
            longest INTEGER NOT NULL,
            tries INTEGER NOT NULL,
            activity BLOB NOT NULL,
            compliant INTEGER NOT NULL,
            violating INTEGER NOT NULL,
            given_up INTEGER NOT NULL,
            ended INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX policy_name ON policy (tenant, name) WHERE ended = 0;
        CREATE INDEX policy_group ON policy (tenant, group_name) WHERE ended = 0;
        CREATE INDEX policy_ended ON policy (idx) WHERE ended = 1;
        CREATE TABLE compliance (
            policy INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            device_id TEXT NOT NULL,
            state INTEGER NOT NULL,
            since INTEGER NOT NULL,
            reported INTEGER NOT NULL,
            version TEXT NOT NULL,
            violations BLOB NOT NULL,
            tries INTEGER NOT NULL,
            next INTEGER,
            sum INTEGER NOT NULL,
            PRIMARY KEY (policy, device_idx)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX compliance_state ON compliance (policy, state, device_id);
        CREATE INDEX compliance_next ON compliance (next, policy, device_idx)
            WHERE next IS NOT NULL;
        """
}
#endif
