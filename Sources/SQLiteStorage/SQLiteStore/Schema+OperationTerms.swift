#if SQLite
// Step 5: what operations carry beside their payload, and what follows from it.
//
// Tables with new columns are made anew, because a row's checksum covers all columns. Each old row
// is verified; a damaged one stops the migration with the file unchanged.
extension Schema {
    static let operationTerms = [operations5, activities5, executions5, expansions5, timers5]
        .joined(separator: "\n")

    /// The terms of each operation; empty for standard ones.
    private static let operations5 = """
        CREATE TABLE operation_next (
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
            terms BLOB NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        INSERT INTO operation_next (number, id, activity, tenant, group_idx, group_name, code,
            type, priority,
            strictness, expires, lease, created, initiator, request_key, request_digest,
            unknown, terms, sum)
        SELECT number, id, activity, tenant, group_idx, group_name, code, type, priority,
            strictness, expires, lease, created, initiator, request_key, request_digest,
            unknown, x'',
            reeve_sum('operation', number, id, activity, tenant, group_idx, group_name, code, type,
                priority, strictness, expires, lease, created, initiator, request_key,
                request_digest, unknown, x'')
        FROM operation
        WHERE reeve_verify('operation', sum, number, id, activity, tenant, group_idx, group_name,
            code, type,
                priority, strictness, expires, lease, created, initiator, request_key,
                request_digest, unknown);
        DROP TABLE operation;
        ALTER TABLE operation_next RENAME TO operation;
        CREATE UNIQUE INDEX operation_id ON operation (id);
        CREATE UNIQUE INDEX operation_activity ON operation (activity);
        CREATE INDEX operation_tenant ON operation (tenant, number);
        CREATE UNIQUE INDEX operation_request ON operation (tenant, request_key)
            WHERE request_key IS NOT NULL;
        """

    /// `gate` is empty for what is handed out to everybody and never was decided on; `standing` is the
    /// group scope; `rolling` says that it is open and follows a plan; `control_key` names tenant,
    /// key and target of what a newer operation replaces. The index of live activities no longer begins
    /// with `live`: the planner took that for selective, and polls read all live activities of a time
    /// instead of their group's.
    private static let activities5 = """
        CREATE TABLE activity_next (
            number INTEGER NOT NULL PRIMARY KEY,
            group_idx INTEGER,
            expires INTEGER,
            state INTEGER NOT NULL,
            closed INTEGER,
            addressed INTEGER NOT NULL,
            late INTEGER NOT NULL,
            counts BLOB NOT NULL,
            live INTEGER NOT NULL,
            gate BLOB NOT NULL,
            standing INTEGER NOT NULL,
            rolling INTEGER NOT NULL,
            control_key TEXT,
            dependents INTEGER NOT NULL,
            sum INTEGER NOT NULL
        ) STRICT;
        INSERT INTO activity_next (number, group_idx, expires, state, closed, addressed, late,
            counts, live,
            gate, standing, rolling, control_key, dependents, sum)
        SELECT number, group_idx, expires, state, closed, addressed, late, counts, live,
            x'', 0, 0, NULL, 0,
            reeve_sum('activity', number, group_idx, expires, state, closed, addressed, late,
                counts,
                live, x'', 0, 0, NULL, 0)
        FROM activity
        WHERE reeve_verify('activity', sum, number, group_idx, expires, state, closed, addressed,
            late, counts, live);
        DROP TABLE activity;
        ALTER TABLE activity_next RENAME TO activity;
        CREATE INDEX activity_group ON activity (group_idx, number)
            WHERE live = 1 AND standing = 0 AND group_idx IS NOT NULL;
        CREATE INDEX activity_standing ON activity (group_idx, number, standing)
            WHERE live = 1 AND standing > 0;
        CREATE INDEX activity_live ON activity (number) WHERE live = 1;
        CREATE INDEX activity_expiry ON activity (expires) WHERE state = 0 AND expires IS NOT NULL;
        CREATE INDEX activity_control ON activity (control_key)
            WHERE live = 1 AND control_key IS NOT NULL;
        CREATE INDEX activity_rolling ON activity (rolling, number)
            WHERE live = 1 AND rolling = 1;
        """

    private static let executions5 = """
        CREATE TABLE execution_next (
            number INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            state INTEGER NOT NULL,
            version INTEGER NOT NULL,
            attempt BLOB,
            until INTEGER,
            redeliveries INTEGER NOT NULL,
            retries INTEGER NOT NULL,
            deferrals INTEGER NOT NULL,
            started INTEGER,
            confirmed INTEGER,
            updated INTEGER NOT NULL,
            detail BLOB NOT NULL,
            late_answer BLOB,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, device_idx)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO execution_next (number, device_idx, state, version, attempt, until,
            redeliveries, retries,
            deferrals, started, confirmed, updated, detail, late_answer, sum)
        SELECT number, device_idx, state, version, attempt, until, redeliveries, 0, 0,
            NULL, NULL, updated, detail, late_answer,
            reeve_sum('execution', number, device_idx, state, version, attempt, until,
                redeliveries, 0, 0,
                NULL, NULL, updated, detail, late_answer)
        FROM execution
        WHERE reeve_verify('execution', sum, number, device_idx, state, version, attempt, until,
            redeliveries,
                updated, detail, late_answer);
        DROP TABLE execution;
        ALTER TABLE execution_next RENAME TO execution;
        """

    /// Named by the revision that asks for the wakes and the operation they are for.
    private static let expansions5 = """
        CREATE TABLE expansion_next (
            number INTEGER NOT NULL,
            operation INTEGER NOT NULL,
            low INTEGER NOT NULL,
            high INTEGER NOT NULL,
            group_idx INTEGER NOT NULL,
            after TEXT,
            due INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, operation)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO expansion_next (number, operation, low, high, group_idx, after, due, sum)
        SELECT number, number, 0, 10000, group_idx, after, due,
            reeve_sum('expansion', number, number, 0, 10000, group_idx, after, due)
        FROM expansion
        WHERE reeve_verify('expansion', sum, number, group_idx, after, due);
        DROP TABLE expansion;
        ALTER TABLE expansion_next RENAME TO expansion;
        """

    /// `timer`: when the server must look at an execution, or, under device 0, at an activity, by
    /// itself.
    /// `dependency`: open activities that wait for another. What was put off or cancelled before
    /// gets
    /// its timer here.
    private static let timers5 = """
        CREATE TABLE timer (
            number INTEGER NOT NULL,
            device_idx INTEGER NOT NULL,
            due INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (number, device_idx)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX timer_due ON timer (due, number, device_idx);
        CREATE TABLE dependency (
            on_number INTEGER NOT NULL,
            number INTEGER NOT NULL,
            sum INTEGER NOT NULL,
            PRIMARY KEY (on_number, number)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO timer (number, device_idx, due, sum)
        SELECT number, 0, closed + 86400000, reeve_sum('timer', number, 0, closed + 86400000)
        FROM activity WHERE live = 1 AND state = 2 AND closed IS NOT NULL;
        INSERT INTO timer (number, device_idx, due, sum)
        SELECT execution.number, device_idx, until,
            reeve_sum('timer', execution.number, device_idx, until)
        FROM activity CROSS JOIN execution ON execution.number = activity.number
        WHERE activity.live = 1 AND activity.state = 0 AND execution.state = 3
            AND until IS NOT NULL;
        """
}
#endif
