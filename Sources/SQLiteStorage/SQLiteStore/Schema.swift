#if SQLite
internal import SQLiteEngine

/// The store's tables. Forward only: a step that has landed is never edited (a test holds the digest
/// of each), a change is a new step.
///
/// - Devices are numbered by enrolment: `device.idx` stands for (tenant, device, incarnation), so all
///   that belongs to an enrolment ends with it, and no other table repeats names.
/// - Open work is kept apart from history: `target` holds rows of live activities only, and groups
///   find theirs by a partial index. No query scans executions.
/// - `sum` is the checksum over the columns before it.
enum Schema {
    static let migrations = [
        Migration(1, "devices", devices),
        Migration(2, "operations", operations),
        Migration(3, "wakes-and-tasks", wakesAndTasks),
        Migration(4, "cluster", cluster),
        Migration(5, "operation-terms", operationTerms),
        Migration(6, "device-facts", deviceFacts),
        Migration(7, "task-times-and-policies", taskTimes + policies),
        Migration(8, "events-and-queries", eventsAndQueries),
        Migration(9, "keeping", keeping),
        Migration(10, "large-results", largeResults),
        Migration(11, "quotas-without-result-bytes", quotasWithoutResultBytes),
        Migration(12, "release-rollouts", rollouts),
        Migration(13, "messages-and-state", messages),
        Migration(14, "lives-of-acknowledgements", livesOfAcknowledgements),
        Migration(15, "cluster-tasks", clusterTasks),
        Migration(16, "audit-and-identities", auditAndIdentities),
        Migration(17, "device-owners", deviceOwners),
    ]

    /// Tables whose checksum is not over the columns before `sum` in the order of the table (a column
    /// was added later): the columns in the order of the checksum, `sum` last.
    static let sealedColumns: [String: [String]] = [
        // The key is SQLite's own.
        "rejection": [
            "at", "node", "number", "tenant", "device", "received", "entry", "reason", "sum",
        ]
    ]

    private static let devices = """
        CREATE TABLE device (
            idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            id TEXT NOT NULL,
            incarnation BLOB NOT NULL,
            state INTEGER NOT NULL,
            credential BLOB NOT NULL,
            polling INTEGER,
            enrolled INTEGER NOT NULL,
            removed INTEGER,
            enrolment_key TEXT,
            current INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX device_name ON device (tenant, id) WHERE current = 1;
        CREATE INDEX device_credential ON device (credential) WHERE current = 1 AND state = 1;
        CREATE TABLE contact (
            device_idx INTEGER NOT NULL PRIMARY KEY,
            seen INTEGER NOT NULL,
            answered INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE registration (
            device_idx INTEGER NOT NULL PRIMARY KEY,
            registered INTEGER NOT NULL,
            sealed BLOB,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE information (
            device_idx INTEGER NOT NULL,
            kind TEXT NOT NULL,
            received INTEGER NOT NULL,
            body BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (device_idx, kind)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE device_group (
            idx INTEGER NOT NULL PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            members INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX device_group_name ON device_group (tenant, name);
        CREATE TABLE membership (
            group_idx INTEGER NOT NULL,
            device_id TEXT NOT NULL,
            joined INTEGER NOT NULL,
            ended INTEGER,
            device_idx INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (group_idx, device_id, joined)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX membership_device ON membership (device_idx, group_idx, joined);
        """

    private static let operations = """
        CREATE TABLE operation (
            number INTEGER NOT NULL PRIMARY KEY,
            id BLOB NOT NULL,
            activity BLOB NOT NULL,
            tenant TEXT NOT NULL,
            group_idx INTEGER,
            group_name TEXT,
            code TEXT NOT NULL,
            type TEXT NOT NULL,
            priority INTEGER NOT NULL,
            strictness INTEGER NOT NULL,
            expires INTEGER,
            lease INTEGER NOT NULL,
            created INTEGER NOT NULL,
            initiator TEXT NOT NULL,
            request_key TEXT,
            request_digest BLOB NOT NULL,
            unknown INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX operation_id ON operation (id);
        CREATE UNIQUE INDEX operation_activity ON operation (activity);
        CREATE INDEX operation_tenant ON operation (tenant, number);
        CREATE UNIQUE INDEX operation_request ON operation (tenant, request_key)
            WHERE request_key IS NOT NULL;
        CREATE TABLE payload (
            number INTEGER NOT NULL PRIMARY KEY,
            bytes BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE activity (
            number INTEGER NOT NULL PRIMARY KEY,
            group_idx INTEGER,
            expires INTEGER,
            state INTEGER NOT NULL,
            closed INTEGER,
            addressed INTEGER NOT NULL,
            late INTEGER NOT NULL,
            counts BLOB NOT NULL,
            live INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX activity_group ON activity (group_idx, number)
            WHERE live = 1 AND group_idx IS NOT NULL;
        CREATE INDEX activity_live ON activity (live) WHERE live = 1;
        CREATE INDEX activity_expiry ON activity (expires) WHERE state = 0 AND expires IS NOT NULL;
        CREATE TABLE target (
            device_idx INTEGER NOT NULL,
            number INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (device_idx, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE target_page (
            number INTEGER NOT NULL,
            page INTEGER NOT NULL,
            first TEXT NOT NULL,
            devices BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, page)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE execution (
            number INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            state INTEGER NOT NULL,
            version INTEGER NOT NULL,
            attempt BLOB,
            until INTEGER,
            redeliveries INTEGER NOT NULL,
            updated INTEGER NOT NULL,
            detail BLOB NOT NULL,
            late_answer BLOB,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, device_idx)
        ) STRICT, WITHOUT ROWID;
        """

    private static let wakesAndTasks = """
        CREATE TABLE wake (
            device_idx INTEGER NOT NULL PRIMARY KEY,
            generation INTEGER NOT NULL,
            number INTEGER NOT NULL,
            due INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            failure TEXT NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX wake_due ON wake (due, generation);
        CREATE TABLE expansion (
            number INTEGER NOT NULL PRIMARY KEY,
            group_idx INTEGER NOT NULL,
            after TEXT,
            due INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE task (
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            group_name TEXT NOT NULL,
            code TEXT NOT NULL,
            payload BLOB NOT NULL,
            frequency INTEGER NOT NULL,
            due INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, name)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX task_due ON task (due, tenant, name);
        CREATE TABLE spool_mark (
            node TEXT NOT NULL PRIMARY KEY,
            incarnation BLOB NOT NULL,
            number INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE rejection (
            idx INTEGER NOT NULL PRIMARY KEY,
            at INTEGER NOT NULL,
            node TEXT,
            number INTEGER NOT NULL,
            tenant TEXT NOT NULL,
            device TEXT NOT NULL,
            received INTEGER NOT NULL,
            entry BLOB NOT NULL,
            reason TEXT NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        """

    private static let cluster = """
        CREATE TABLE revision_log (
            number INTEGER NOT NULL PRIMARY KEY,
            keys BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE member (
            node TEXT NOT NULL PRIMARY KEY,
            role TEXT NOT NULL,
            domain TEXT NOT NULL,
            address TEXT NOT NULL,
            version TEXT NOT NULL,
            state TEXT NOT NULL,
            properties BLOB NOT NULL,
            applied TEXT,
            joined INTEGER NOT NULL,
            heard INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE release (
            tenant TEXT NOT NULL,
            channel TEXT NOT NULL,
            number INTEGER NOT NULL,
            revision INTEGER NOT NULL,
            encoded BLOB NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, channel, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE acknowledgement (
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
            sum INTEGER NOT NULL,
            PRIMARY KEY (tenant, channel, node)
        ) STRICT, WITHOUT ROWID;
        """
}
#endif
