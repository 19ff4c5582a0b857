#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: PeriodicTaskStorage {
    public func put(_ task: PeriodicTask, tenant: TenantID, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if let known = try connection.series(of: task.id, tenant: tenant) {
                if known.task.keepsTime(with: task) {
                    var series = known
                    series.task = task
                    series.task.begins = known.task.begins
                    try connection.store(series.task, tenant: tenant)
                    try series.store(connection)
                    return ([], ())
                }
                try connection.end(known)
            }
            try connection.begin(task, tenant: tenant)
            return ([], ())
        }
    }

    public func remove(_ task: PeriodicTaskID, tenant: TenantID, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if let known = try connection.series(of: task, tenant: tenant) {
                try connection.end(known)
            }
            try connection.run(
                "DELETE FROM task WHERE tenant = ? AND name = ?",
                tenant.rawValue,
                task.rawValue
            )
            return ([], ())
        }
    }

    public func tasks(tenant: TenantID) async throws -> [PeriodicTask] {
        try await file.read { try $0.tasks(tenant: tenant) }
    }

    public func dueTimes(of device: DeviceID, tenant: TenantID) async throws -> [TaskDueTime] {
        try await file.read { connection in
            guard let device = try connection.device(device, tenant: tenant) else { return [] }
            return try connection.liveSeries(tenant: tenant).compactMap { series in
                try connection.taskTime(series: series.idx, deviceIdx: device.idx)
                    .map { TaskDueTime(task: series.task.id, due: $0.due) }
            }
        }
    }

    public func spread(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> Bool {
        let limit = max(1, min(limit, maximumPageSize))
        // Most of the time there is nothing to do, and then nothing is written.
        let isSettled = try await file.read { connection in
            try connection.unsettledSeries() == nil && connection.tasksWithoutSeries().isEmpty
                && connection.epoch() == epoch
        }
        if isSettled { return true }
        return try await guarded(epoch: epoch) { connection, _ in
            for (tenant, task) in try connection.tasksWithoutSeries() {
                try connection.begin(task, tenant: tenant)
            }
            if let series = try connection.unsettledSeries() {
                switch series.state {
                case .ended: try connection.forget(series, limit: limit)
                case .spreading, .spread: try connection.spread(series, limit: limit, at: now)
                }
            }
            return ([], try connection.unsettledSeries() == nil)
        }.result
    }

    public func claim(
        limit: Int,
        in partition: TaskPartition,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> [TaskStep] {
        let slots = partition.slots
        let hasWork = try await file.read { connection in
            try connection.epoch() != epoch || !connection.taskSteps(slots: slots).isEmpty
                || !connection.dueTaskTimes(slots: slots, at: now, limit: 1).isEmpty
        }
        guard hasWork else { return [] }
        return try await guarded(epoch: epoch) { connection, _ in
            let claimed = try connection.taskSteps(slots: slots)
            guard claimed.isEmpty else { return ([], claimed) }
            return ([], try connection.claimTasks(slots: slots, limit: limit, at: now))
        }.result
    }

    public func finish(_ step: TaskStep, epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            try connection.run(
                "DELETE FROM task_step WHERE series = ? AND number = ?",
                step.series,
                step.number
            )
            return ([], ())
        }
    }
}

extension MetaName {
    /// Numbers series; none is used twice, because idempotency keys are made of them.
    fileprivate static let series = "task-series"
}

extension SQLConnection {
    fileprivate func begin(_ task: PeriodicTask, tenant: TenantID) throws {
        let idx = try metaNumber(MetaName.series) + 1
        try setMetaNumber(MetaName.series, idx)
        try store(task, tenant: tenant)
        try TaskSeriesRecord(idx: idx, tenant: tenant, task: task).store(self)
    }

    fileprivate func end(_ series: TaskSeriesRecord) throws {
        var series = series
        series.state = .ended
        try series.store(self)
        try run("DELETE FROM task_step WHERE series = ?", series.idx)
    }

    /// Claimed steps whose first device is in one of the slots.
    fileprivate func taskSteps(slots: Range<Int32>) throws -> [TaskStep] {
        let found = try rows(
            "SELECT series, number, slot, devices, sum FROM task_step ORDER BY series, number"
        ) { row -> (series: Int64, number: Int64, slot: Int64, devices: [UInt8]) in
            try row.verify("task_step", sum: 4)
            return (row.int64(0), row.int64(1), row.int64(2), row.blob(3))
        }
        return try found.compactMap { row in
            guard slots.contains(Int32(truncatingIfNeeded: row.slot)),
                let series = try series(at: row.series), series.state != .ended
            else { return nil }
            var reader = ByteReader(row.devices)
            return TaskStep(
                tenant: series.tenant,
                task: series.task,
                series: row.series,
                number: row.number,
                devices: try reader.readArray { reader throws(ClusterRoleError) in
                    DeviceID(rawValue: try reader.readString())
                }
            )
        }
    }

    fileprivate func claimTasks(
        slots: Range<Int32>,
        limit: Int,
        at now: Timestamp
    ) throws -> [TaskStep] {
        var known: [Int64: TaskSeriesRecord] = [:]
        var devices: [Int64: [DeviceID]] = [:]
        for var time in try dueTaskTimes(slots: slots, at: now, limit: limit) {
            if known[time.series] == nil { known[time.series] = try series(at: time.series) }
            guard let series = known[time.series], series.state != .ended,
                let device = try device(at: time.deviceIdx), device.isEnrolled
            else {
                try forgetTaskTime(series: time.series, deviceIdx: time.deviceIdx)
                continue
            }
            time.due = series.task.nextDue(after: time.due, at: now)
            try time.store(self)
            devices[time.series, default: []].append(device.row.id)
        }
        return try devices.keys.sorted().compactMap { idx in
            guard var series = known[idx], let named = devices[idx]?.sorted() else { return nil }
            series.steps += 1
            try series.store(self)
            let step = TaskStep(
                tenant: series.tenant,
                task: series.task,
                series: idx,
                number: series.steps,
                devices: named
            )
            try store(step)
            return step
        }
    }

    private func store(_ step: TaskStep) throws {
        var writer = ByteWriter(capacity: 32 * step.devices.count)
        writer.write(array: step.devices) { $0.write($1.rawValue) }
        try run(
            sealedFor: "task_step",
            "INSERT INTO task_step (series, number, slot, devices, sum) VALUES (?, ?, ?, ?, ?)",
            step.series,
            step.number,
            Int64(step.devices.first.map { TaskPartition.slot(of: $0, tenant: step.tenant) } ?? 0),
            writer.bytes
        )
    }
}
#endif
