#if SQLite
public import ClusterRole
internal import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: PeriodicTaskStorage {
    public func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            var task = task
            if let known = try connection.task(task.id, tenant: tenant) { task.due = known.due }
            try connection.store(task, tenant: tenant)
            return ([], ())
        }
    }

    public func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            try connection.run(
                "DELETE FROM task WHERE tenant = ? AND name = ?",
                tenant.rawValue,
                task.rawValue
            )
            return ([], ())
        }
    }

    public func due(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, task: PeriodicTask)] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(PeriodicTask.columns) FROM task WHERE due <= ?
                ORDER BY due, tenant, name LIMIT ?
                """,
                now.rawValue,
                max(0, limit)
            ) { (TenantID(rawValue: $0.text(0)), try PeriodicTask(stored: $0)) }
        }
    }

    public func advance(
        _ task: PeriodicTaskID,
        from due: Timestamp,
        to next: Timestamp,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if var known = try connection.task(task, tenant: tenant), known.due == due {
                known.due = next
                try connection.store(known, tenant: tenant)
            }
            return ([], ())
        }
    }

    public func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        try await file.read { connection in
            try connection.rows(
                "SELECT \(PeriodicTask.columns) FROM task WHERE tenant = ? ORDER BY name",
                tenant.rawValue
            ) { try PeriodicTask(stored: $0) }
        }
    }
}

extension PeriodicTask {
    fileprivate static let columns =
        "tenant, name, group_name, code, payload, frequency, due, sum"

    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("task", sum: 7)
        self.init(
            id: PeriodicTaskID(rawValue: row.text(1)),
            group: GroupID(rawValue: row.text(2)),
            code: OperationCode(rawValue: row.text(3)),
            payload: row.blob(4),
            frequency: .milliseconds(row.int64(5)),
            due: Timestamp(rawValue: row.int64(6))
        )
    }
}

extension SQLConnection {
    fileprivate func task(_ id: PeriodicTaskID, tenant: TenantID) throws -> PeriodicTask? {
        try row(
            "SELECT \(PeriodicTask.columns) FROM task WHERE tenant = ? AND name = ?",
            tenant.rawValue,
            id.rawValue
        ) { try PeriodicTask(stored: $0) }
    }

    fileprivate func store(_ task: PeriodicTask, tenant: TenantID) throws {
        try run(
            sealedFor: "task",
            "INSERT OR REPLACE INTO task (\(PeriodicTask.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            tenant.rawValue,
            task.id.rawValue,
            task.group.rawValue,
            task.code.rawValue,
            task.payload,
            task.frequency.milliseconds,
            task.due.rawValue
        )
    }
}
#endif
