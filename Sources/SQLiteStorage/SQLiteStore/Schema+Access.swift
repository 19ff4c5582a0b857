#if SQLite
extension Schema {
    /// The audit log, its two ends, and identities.
    ///
    /// - `audit_end` holds the newest entry that was purged (`floor`) and the newest of all (`head`), so that
    ///   entries missing at either end are found.
    /// - `identity` is looked up by the digest of its token.
    static let auditAndIdentities = """
        CREATE TABLE audit (
            number INTEGER NOT NULL PRIMARY KEY,
            at INTEGER NOT NULL,
            who TEXT NOT NULL,
            kind INTEGER NOT NULL,
            tenant TEXT,
            operation TEXT NOT NULL,
            target TEXT NOT NULL,
            peer TEXT NOT NULL,
            client TEXT NOT NULL,
            outcome INTEGER NOT NULL,
            status INTEGER NOT NULL,
            code TEXT NOT NULL,
            revision TEXT NOT NULL,
            begun INTEGER,
            suppressed INTEGER NOT NULL,
            digest BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE audit_end (
            name TEXT NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            digest BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE identity (
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            kind INTEGER NOT NULL,
            permissions TEXT NOT NULL,
            digest BLOB NOT NULL,
            created INTEGER NOT NULL,
            creator TEXT NOT NULL,
            expires INTEGER,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, name)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX identity_digest ON identity (digest);
        """

    /// Who owns which device: one row an enrolment that has an owner. It names the tenant and the device
    /// again, so that one index lists an owner's devices in order.
    static let deviceOwners = """
        CREATE TABLE device_owner (
            device_idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            owner TEXT NOT NULL,
            device_id TEXT NOT NULL,
            since INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX device_owner_device ON device_owner (tenant, owner, device_id);
        """
}
#endif
