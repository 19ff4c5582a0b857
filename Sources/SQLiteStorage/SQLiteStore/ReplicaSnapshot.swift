#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// Where a snapshot's next page begins: the revision it began at, the table, and the keys behind which
/// it goes on.
struct SnapshotPosition {
    enum Stage: Int64 { case devices, memberships, activities, targets, executions, groups, end }

    var began: Int64
    var stage = Stage.devices
    /// The keys of the last row given, as the stage uses them.
    var keys: (Int64, Int64, Int64) = (-1, -1, -1)

    init(began: Int64) { self.began = began }

    init?(_ cursor: ReplicaCursor) {
        let parts = cursor.token.split(separator: ".").compactMap { Int64($0) }
        guard parts.count == 5, let stage = Stage(rawValue: parts[1]) else { return nil }
        began = parts[0]
        self.stage = stage
        keys = (parts[2], parts[3], parts[4])
    }

    var cursor: ReplicaCursor {
        ReplicaCursor(token: "\(began).\(stage.rawValue).\(keys.0).\(keys.1).\(keys.2)")
    }

    mutating func begin(_ next: Stage) {
        stage = next
        keys = (-1, -1, -1)
    }
}

/// One page of a snapshot. Pages are read in order of keys that do not move, each in a database
/// snapshot of its own, so writes go on; the delta that follows makes the whole exact.
struct ReplicaSnapshot {
    private let connection: SQLConnection
    private var position: SnapshotPosition
    private let limit: Int
    var rows: [ReplicaRow] = []

    init(_ connection: SQLConnection, from position: SnapshotPosition, limit: Int) {
        self.connection = connection
        self.position = position
        self.limit = limit
    }

    private var room: Int { limit - rows.count }

    mutating func page(
        _ content: ReplicaPage.Content,
        history: HistoryID,
        epoch: Epoch
    ) throws -> ReplicaPage {
        while room > 0 && position.stage != .end {
            let before = position
            switch position.stage {
            case .devices: try addDevices()
            case .memberships: try addMemberships()
            case .activities: try addActivities()
            case .targets: try addTargets()
            case .executions: try addExecutions()
            case .groups: try addGroups()
            case .end: break
            }
            // Keys in a sound index only grow. In a damaged one they may lead back, and round for ever.
            guard position.stage != before.stage || position.keys > before.keys else {
                throw SQLiteStorageError.corruptRow(in: "replica snapshot")
            }
        }
        return ReplicaPage(
            content: content,
            rows: rows,
            revision: Revision(history: history, number: position.began),
            next: position.stage == .end ? nil : position.cursor,
            epoch: epoch
        )
    }

    private mutating func addDevices() throws {
        let wanted = room
        let devices = try connection.rows(
            """
            SELECT \(DeviceRecord.columns) FROM device
            WHERE idx > ? AND current = 1 AND state = 1 ORDER BY idx LIMIT ?
            """,
            position.keys.0,
            wanted
        ) { try DeviceRecord($0) }
        rows += devices.map { .device($0.row) }
        if let last = devices.last { position.keys.0 = last.idx }
        if devices.count < wanted { position.begin(.memberships) }
    }

    /// Open intervals, and ended ones that a live operation refers to: by its number, or, if it is for
    /// joiners, because who left has work of it to end. Of present enrolments.
    private mutating func addMemberships() throws {
        let wanted = room
        let found = try connection.rows(
            """
            SELECT \(DeviceRecord.columns), \(MembershipRecord.columns)
            FROM membership JOIN device ON device.idx = membership.device_idx
            WHERE (membership.device_idx, membership.group_idx, membership.joined) > (?, ?, ?)
                AND device.current = 1 AND device.state = 1
                AND (membership.ended IS NULL OR EXISTS (
                    SELECT 1 FROM activity WHERE live = 1 AND standing = 0
                        AND activity.group_idx = membership.group_idx
                        AND number >= membership.joined AND number < membership.ended)
                OR EXISTS (
                    SELECT 1 FROM activity CROSS JOIN execution
                        ON execution.number = activity.number
                        AND execution.device_idx = membership.device_idx
                    WHERE live = 1 AND standing > 0
                        AND activity.group_idx = membership.group_idx
                        AND execution.state IN (0, 1, 2, 3, 4, 5, 10)))
            ORDER BY membership.device_idx, membership.group_idx, membership.joined LIMIT ?
            """,
            position.keys.0,
            position.keys.1,
            position.keys.2,
            wanted
        ) { (device: try DeviceRecord($0), interval: try MembershipRecord($0, from: 12)) }
        var groups: [Int64: GroupRecord] = [:]
        for (device, interval) in found {
            if groups[interval.groupIdx] == nil {
                groups[interval.groupIdx] = try connection.group(at: interval.groupIdx)
            }
            guard let group = groups[interval.groupIdx] else {
                throw SQLiteStorageError.corruptRow(in: "membership")
            }
            rows.append(
                .membership(device.row.tenant, interval.membership(of: group.group, device.row))
            )
        }
        if let last = found.last?.interval {
            position.keys = (last.deviceIdx, last.groupIdx, last.joined)
        }
        if found.count < wanted { position.begin(.activities) }
    }

    private func live(from number: Int64, limit: Int) throws -> [ActivityRecord] {
        try connection.rows(
            """
            SELECT \(ActivityRecord.columns) FROM activity
            WHERE live = 1 AND number >= ? ORDER BY number LIMIT ?
            """,
            number,
            limit
        ) { try ActivityRecord($0) }
    }

    private mutating func addActivities() throws {
        let wanted = room
        let found = try live(from: position.keys.0 + 1, limit: wanted)
        for record in found {
            if let row = try connection.replicaActivity(record) { rows.append(row) }
        }
        if let last = found.last { position.keys.0 = last.number }
        if found.count < wanted { position.begin(.targets) }
    }

    /// Keys: the activity, the page, and how many of the page's devices were given.
    private mutating func addTargets() throws {
        let number = max(0, position.keys.0)
        guard let activity = try live(from: number, limit: 1).first else {
            return position.begin(.executions)
        }
        if activity.number != position.keys.0 { position.keys = (activity.number, 0, 0) }
        guard
            let page = try connection.targetPages(
                activity.number,
                from: Int(position.keys.1),
                limit: 1
            ).first, let operation = try connection.operation(activity.number)
        else {
            position.keys = (activity.number + 1, 0, 0)
            return
        }
        let given = Int(position.keys.2)
        for idx in page.devices.dropFirst(given).prefix(room) {
            position.keys.2 += 1
            guard let device = try connection.device(at: idx) else { continue }
            rows.append(
                .target(
                    operation.tenant,
                    number: activity.number,
                    device: device.row.id,
                    incarnation: device.row.incarnation
                )
            )
        }
        if position.keys.2 >= page.devices.count {
            position.keys = (activity.number, Int64(page.page) + 1, 0)
        }
    }

    /// Keys: the activity and the last device given.
    private mutating func addExecutions() throws {
        let number = max(0, position.keys.0)
        guard let activity = try live(from: number, limit: 1).first else {
            return position.begin(.groups)
        }
        if activity.number != position.keys.0 { position.keys = (activity.number, -1, 0) }
        guard let operation = try connection.operation(activity.number) else {
            throw SQLiteStorageError.corruptRow(in: "operation")
        }
        let wanted = room
        let found = try connection.rows(
            """
            SELECT \(ExecutionRecord.columns) FROM execution WHERE number = ? AND device_idx > ?
            ORDER BY device_idx LIMIT ?
            """,
            activity.number,
            position.keys.1,
            wanted
        ) { try ExecutionRecord($0) }
        for record in found {
            guard let device = try connection.device(at: record.deviceIdx), device.isEnrolled else {
                continue
            }
            rows.append(
                .execution(
                    operation.tenant,
                    number: activity.number,
                    record.execution(of: operation.operation.id, on: device.row)
                )
            )
        }
        if let last = found.last { position.keys.1 = last.deviceIdx }
        if found.count < wanted { position.keys = (activity.number + 1, -1, 0) }
    }

    /// Groups that have a polling frequency. Keys: the last group given.
    private mutating func addGroups() throws {
        let wanted = room
        let found = try connection.rows(
            """
            SELECT \(GroupRecord.columns), \(GroupPollingRecord.columns)
            FROM group_polling JOIN device_group ON device_group.idx = group_polling.group_idx
            WHERE group_polling.group_idx > ? ORDER BY group_polling.group_idx LIMIT ?
            """,
            position.keys.0,
            wanted
        ) { (group: try GroupRecord($0), polling: try GroupPollingRecord($0, from: 5)) }
        for (group, polling) in found {
            rows.append(.group(group.tenant, group.group, pollingFrequency: polling.frequency))
        }
        if let last = found.last { position.keys.0 = last.group.idx }
        if found.count < wanted { position.begin(.end) }
    }
}
#endif
