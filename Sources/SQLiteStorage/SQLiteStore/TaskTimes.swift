#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

// What happens to due times of periodic tasks in the transactions of devices and their reports.
extension SQLConnection {
    /// A device has joined a group: each task of the group will ask it.
    func beginTasks(of device: DeviceRecord, in group: GroupRecord, at now: Timestamp) throws {
        for series in try series(asking: group.group, tenant: group.tenant) {
            try beginTask(series, of: device, at: now)
        }
    }

    /// Gives a device its first due time, unless it has one.
    func beginTask(_ series: TaskSeriesRecord, of device: DeviceRecord, at now: Timestamp) throws {
        guard try taskTime(series: series.idx, deviceIdx: device.idx) == nil else { return }
        let report = try series.task.satisfiedBy.flatMap {
            try informationTime(of: $0, ofDeviceAt: device.idx)
        }
        let due = series.task.firstDue(of: device.row.id, at: now, lastReport: report)
        try TaskTimeRecord(series: series.idx, device: device, due: due).store(self)
    }

    /// A device has left a group: its tasks do not ask it any more.
    func endTasks(ofDeviceAt idx: Int64, in group: GroupRecord) throws {
        for series in try series(asking: group.group, tenant: group.tenant) {
            try forgetTaskTime(series: series.idx, deviceIdx: idx)
        }
    }

    /// A device has reported: tasks that this satisfies ask it later.
    func satisfyTasks(by information: DeviceInformation, of device: DeviceRecord) throws {
        for series in try series(satisfiedBy: information.kind, tenant: device.row.tenant) {
            guard var time = try taskTime(series: series.idx, deviceIdx: device.idx) else {
                continue
            }
            let later = series.task.due(time.due, afterReportAt: information.receivedAt)
            if later == time.due { continue }
            time.due = later
            try time.store(self)
        }
    }

    private func informationTime(
        of kind: InformationKind,
        ofDeviceAt idx: Int64
    ) throws -> Timestamp? {
        try row(
            """
            SELECT device_idx, kind, received, body, sum FROM information
            WHERE device_idx = ? AND kind = ?
            """,
            idx,
            kind.rawValue
        ) {
            try $0.verify("information", sum: 4)
            return Timestamp(rawValue: $0.int64(2))
        }
    }

    // MARK: Spreading

    /// Gives due times to a page of the members a series has not come to yet.
    func spread(_ series: TaskSeriesRecord, limit: Int, at now: Timestamp) throws {
        var series = series
        var page: [DeviceRecord] = []
        if let group = try group(series.task.group, tenant: series.tenant) {
            page = try rows(
                """
                SELECT \(DeviceRecord.columns), \(MembershipRecord.columns)
                FROM membership JOIN device ON device.idx = membership.device_idx
                WHERE membership.group_idx = ? AND membership.device_id > ?
                    AND membership.ended IS NULL
                ORDER BY membership.device_id LIMIT ?
                """,
                group.idx,
                series.cursor?.rawValue ?? "",
                limit
            ) {
                _ = try MembershipRecord($0, from: 12)
                return try DeviceRecord($0)
            }
        }
        for device in page { try beginTask(series, of: device, at: now) }
        if let last = page.last { series.cursor = last.row.id }
        if page.count < limit { series.state = .spread }
        try series.store(self)
    }

    /// Deletes a page of what an ended series has left, and at last the series.
    func forget(_ series: TaskSeriesRecord, limit: Int) throws {
        try run(
            """
            DELETE FROM task_time WHERE series = ?1 AND device_idx IN (
                SELECT device_idx FROM task_time WHERE series = ?1 LIMIT ?2)
            """,
            series.idx,
            limit
        )
        if changes < limit {
            try run("DELETE FROM task_series WHERE idx = ?", series.idx)
        }
    }

    // MARK: Claiming

    /// What is due in some slots, longest overdue first: the heads of the slots are merged, so that no
    /// more is read than `limit` and one page a slot.
    func dueTaskTimes(
        slots: Range<Int32>,
        at now: Timestamp,
        limit: Int
    ) throws -> [TaskTimeRecord] {
        guard limit > 0, !slots.isEmpty else { return [] }
        let pageSize = max(4, 2 * limit / slots.count)
        var pages: [(slot: Int32, rows: ArraySlice<TaskTimeRecord>, isLast: Bool)] = []
        for slot in slots {
            let page = try taskTimes(inSlot: slot, dueAt: now, after: nil, limit: pageSize)
            if !page.isEmpty { pages.append((slot, page[...], page.count < pageSize)) }
        }
        var found: [TaskTimeRecord] = []
        while found.count < limit, !pages.isEmpty {
            var first = 0
            for index in pages.indices.dropFirst() {
                let (row, least) = (pages[index].rows.first, pages[first].rows.first)
                if let row, let least, row.precedes(least) { first = index }
            }
            guard let row = pages[first].rows.popFirst() else { break }
            found.append(row)
            guard pages[first].rows.isEmpty else { continue }
            if !pages[first].isLast {
                let page = try taskTimes(
                    inSlot: pages[first].slot,
                    dueAt: now,
                    after: row,
                    limit: pageSize
                )
                pages[first].rows = page[...]
                pages[first].isLast = page.count < pageSize
            }
            if pages[first].rows.isEmpty { pages.remove(at: first) }
        }
        return found
    }
}
#endif
