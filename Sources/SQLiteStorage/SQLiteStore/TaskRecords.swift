#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `task_series` with its task: one definition that devices are asked by.
struct TaskSeriesRecord {
    enum State: Int64 {
        /// Members that were there before the task are given due times, page by page.
        case spreading = 0
        case spread = 1
        /// The task is gone, or has another definition.
        case ended = 2
    }

    var idx: Int64
    var tenant: TenantID
    var task: PeriodicTask
    var cursor: DeviceID?
    var state = State.spreading
    var steps: Int64 = 0

    init(idx: Int64, tenant: TenantID, task: PeriodicTask) {
        self.idx = idx
        self.tenant = tenant
        self.task = task
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "task_series",
            """
            INSERT OR REPLACE INTO task_series (\(Self.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            idx,
            tenant.rawValue,
            task.id.rawValue,
            task.group.rawValue,
            task.satisfiedBy?.rawValue,
            task.freshness?.milliseconds,
            cursor?.rawValue,
            state.rawValue,
            steps
        )
    }

    fileprivate static let columns =
        "idx, tenant, name, group_name, kind, freshness, cursor, state, steps, sum"

    /// Without its task's definition, which table `task` has.
    fileprivate init(_ row: PreparedStatement) throws {
        try row.verify("task_series", sum: 9)
        guard let state = State(rawValue: row.int64(7)) else {
            throw SQLiteStorageError.corruptRow(in: "task_series")
        }
        idx = row.int64(0)
        tenant = TenantID(rawValue: row.text(1))
        task = PeriodicTask(
            id: PeriodicTaskID(rawValue: row.text(2)),
            group: GroupID(rawValue: row.text(3)),
            frequency: PeriodicTask.minimumFrequency,
            satisfiedBy: row.optionalText(4).map { InformationKind(rawValue: $0) },
            freshness: row.optionalInt64(5).map { .milliseconds($0) },
            begins: .distantPast
        )
        cursor = row.optionalText(6).map { DeviceID(rawValue: $0) }
        self.state = state
        steps = row.int64(8)
    }
}

extension SQLConnection {
    // MARK: Definitions

    private static let taskColumns = "tenant, name, group_name, code, payload, frequency, due, sum"

    /// Definitions as table `task` has them: without what satisfies them.
    private func definition(_ row: PreparedStatement) throws -> PeriodicTask {
        try row.verify("task", sum: 7)
        return PeriodicTask(
            id: PeriodicTaskID(rawValue: row.text(1)),
            group: GroupID(rawValue: row.text(2)),
            code: OperationCode(rawValue: row.text(3)),
            payload: row.blob(4),
            frequency: .milliseconds(row.int64(5)),
            begins: Timestamp(rawValue: row.int64(6))
        )
    }

    func store(_ task: PeriodicTask, tenant: TenantID) throws {
        try run(
            sealedFor: "task",
            "INSERT OR REPLACE INTO task (\(Self.taskColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            tenant.rawValue,
            task.id.rawValue,
            task.group.rawValue,
            task.code.rawValue,
            task.payload,
            task.frequency.milliseconds,
            task.begins.rawValue
        )
    }

    /// All of a tenant, by name. One that a file of an earlier build has and no series yet is as that
    /// build knew it.
    func tasks(tenant: TenantID) throws -> [PeriodicTask] {
        let series = try liveSeries(tenant: tenant)
        let known = Dictionary(series.map { ($0.task.id, $0.task) }) { $1 }
        return try rows(
            "SELECT \(Self.taskColumns) FROM task WHERE tenant = ? ORDER BY name",
            tenant.rawValue
        ) { try definition($0) }
        .map { known[$0.id] ?? $0 }
    }

    /// Tasks of files of earlier builds, which have no series.
    func tasksWithoutSeries() throws -> [(tenant: TenantID, task: PeriodicTask)] {
        try rows(
            """
            SELECT \(Self.taskColumns) FROM task WHERE NOT EXISTS (
                SELECT 1 FROM task_series WHERE task_series.tenant = task.tenant
                    AND task_series.name = task.name AND task_series.state < 2)
            ORDER BY tenant, name
            """
        ) { (TenantID(rawValue: $0.text(0)), try definition($0)) }
    }

    // MARK: Series

    /// With the definitions of their tasks.
    private func complete(_ found: [TaskSeriesRecord]) throws -> [TaskSeriesRecord] {
        try found.map { record in
            guard record.state != .ended else { return record }
            let stored = try row(
                "SELECT \(Self.taskColumns) FROM task WHERE tenant = ? AND name = ?",
                record.tenant.rawValue,
                record.task.id.rawValue
            ) { try definition($0) }
            guard var task = stored else { throw SQLiteStorageError.corruptRow(in: "task_series") }
            task.satisfiedBy = record.task.satisfiedBy
            task.freshness = record.task.freshness
            var record = record
            record.task = task
            return record
        }
    }

    func series(at idx: Int64) throws -> TaskSeriesRecord? {
        let found = try rows(
            "SELECT \(TaskSeriesRecord.columns) FROM task_series WHERE idx = ?",
            idx
        ) { try TaskSeriesRecord($0) }
        return try complete(found).first
    }

    func series(of task: PeriodicTaskID, tenant: TenantID) throws -> TaskSeriesRecord? {
        let found = try rows(
            """
            SELECT \(TaskSeriesRecord.columns) FROM task_series
            WHERE tenant = ? AND name = ? AND state < 2
            """,
            tenant.rawValue,
            task.rawValue
        ) { try TaskSeriesRecord($0) }
        return try complete(found).first
    }

    func liveSeries(tenant: TenantID) throws -> [TaskSeriesRecord] {
        try complete(
            rows(
                """
                SELECT \(TaskSeriesRecord.columns) FROM task_series
                WHERE tenant = ? AND state < 2 ORDER BY name
                """,
                tenant.rawValue
            ) { try TaskSeriesRecord($0) }
        )
    }

    func series(asking group: GroupID, tenant: TenantID) throws -> [TaskSeriesRecord] {
        try complete(
            rows(
                """
                SELECT \(TaskSeriesRecord.columns) FROM task_series
                WHERE tenant = ? AND group_name = ? AND state < 2 ORDER BY idx
                """,
                tenant.rawValue,
                group.rawValue
            ) { try TaskSeriesRecord($0) }
        )
    }

    func series(satisfiedBy kind: InformationKind, tenant: TenantID) throws -> [TaskSeriesRecord] {
        try complete(
            rows(
                """
                SELECT \(TaskSeriesRecord.columns) FROM task_series
                WHERE tenant = ? AND kind = ? AND state < 2 AND kind IS NOT NULL ORDER BY idx
                """,
                tenant.rawValue,
                kind.rawValue
            ) { try TaskSeriesRecord($0) }
        )
    }

    /// The oldest series that has work for ``EmbeddedStore/spread(limit:epoch:at:)``.
    func unsettledSeries() throws -> TaskSeriesRecord? {
        let found = try rows(
            """
            SELECT \(TaskSeriesRecord.columns) FROM task_series WHERE state <> 1
            ORDER BY idx LIMIT 1
            """
        ) { try TaskSeriesRecord($0) }
        return try complete(found).first
    }

    // MARK: Due times

    func taskTime(series: Int64, deviceIdx: Int64) throws -> TaskTimeRecord? {
        try row(
            """
            SELECT \(TaskTimeRecord.columns) FROM task_time WHERE series = ? AND device_idx = ?
            """,
            series,
            deviceIdx
        ) { try TaskTimeRecord($0) }
    }

    func forgetTaskTime(series: Int64, deviceIdx: Int64) throws {
        try run(
            "DELETE FROM task_time WHERE series = ? AND device_idx = ?",
            series,
            deviceIdx
        )
    }

    /// A page of what is due in one slot, in due order, behind `after`.
    func taskTimes(
        inSlot slot: Int32,
        dueAt now: Timestamp,
        after: TaskTimeRecord?,
        limit: Int
    ) throws -> [TaskTimeRecord] {
        try rows(
            TaskTimeRecord.dueQuery,
            Int64(slot),
            now.rawValue,
            after?.due.rawValue ?? -1,
            after?.series ?? -1,
            after?.deviceIdx ?? -1,
            limit
        ) { try TaskTimeRecord($0) }
    }
}

/// A row of table `task_time`.
struct TaskTimeRecord {
    var series: Int64
    var deviceIdx: Int64
    var slot: Int32
    var due: Timestamp

    fileprivate static let columns = "series, device_idx, slot, due, sum"

    /// A page of what is due in one slot: a part of the index `task_time_order`, nothing else.
    static let dueQuery = """
        SELECT \(columns) FROM task_time
        WHERE slot = ? AND due <= ? AND (due, series, device_idx) > (?, ?, ?)
        ORDER BY due, series, device_idx LIMIT ?
        """

    init(series: Int64, device: DeviceRecord, due: Timestamp) {
        self.series = series
        self.due = due
        deviceIdx = device.idx
        slot = TaskPartition.slot(of: device.row.id, tenant: device.row.tenant)
    }

    fileprivate init(_ row: PreparedStatement) throws {
        try row.verify("task_time", sum: 4)
        series = row.int64(0)
        deviceIdx = row.int64(1)
        slot = Int32(truncatingIfNeeded: row.int64(2))
        due = Timestamp(rawValue: row.int64(3))
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "task_time",
            "INSERT OR REPLACE INTO task_time (\(Self.columns)) VALUES (?, ?, ?, ?, ?)",
            series,
            deviceIdx,
            Int64(slot),
            due.rawValue
        )
    }

    /// Whether it is claimed before `other`.
    func precedes(_ other: TaskTimeRecord) -> Bool {
        (due, series, deviceIdx) < (other.due, other.series, other.deviceIdx)
    }
}
#endif
