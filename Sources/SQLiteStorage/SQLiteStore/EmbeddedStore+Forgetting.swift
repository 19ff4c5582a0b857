#if SQLite
public import ClusterRole
internal import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore {
    /// There is no index on removed devices, which every removal would have to pay for: the look reads
    /// enrolments in order beside the writer, and writes only where some are to go.
    public func forgetDevices(
        removedBefore time: Timestamp,
        after: Int64?,
        limit: Int,
        epoch: Epoch
    ) async throws -> ForgottenDevices {
        let limit = max(1, limit)
        let (ended, next) = try await file.read { connection -> ([Int64], Int64?) in
            let page = try connection.rows(
                "SELECT \(DeviceRecord.columns) FROM device WHERE idx > ? ORDER BY idx LIMIT ?",
                after ?? .min,
                limit
            ) { try DeviceRecord($0) }
            let ended = try page.filter { try connection.hasEnded($0, before: time) }
            return (ended.map(\.idx), page.count < limit ? nil : page.last?.idx)
        }
        guard !ended.isEmpty else { return ForgottenDevices(count: 0, next: next) }
        let count = try await guarded(epoch: epoch) { connection, _ in
            var count = 0
            for idx in ended where try connection.forgetDevice(at: idx, before: time) { count += 1 }
            return ([], count)
        }.result
        return ForgottenDevices(count: count, next: next)
    }
}

extension SQLConnection {
    /// The most activities looked at for one device; one that may appear in more is kept.
    private static let activitiesExamined = 100

    /// Whether an enrolment is over, and since before `time`: it was removed, or the device enrolled anew.
    fileprivate func hasEnded(_ device: DeviceRecord, before time: Timestamp) throws -> Bool {
        if device.isEnrolled { return false }
        if let removed = device.removedAt { return removed < time }
        guard let newest = try self.device(device.row.id, tenant: device.row.tenant) else {
            return true
        }
        return newest.idx > device.idx && newest.enrolledAt < time
    }

    /// - Returns: whether it went.
    fileprivate func forgetDevice(at idx: Int64, before time: Timestamp) throws -> Bool {
        // The newest place stays taken: a new enrolment must not get a number that was used.
        guard let device = try device(at: idx), try hasEnded(device, before: time),
            idx < (try row("SELECT max(idx) FROM device") { $0.int64(0) } ?? 0),
            try !appears(device)
        else { return false }
        forgetKnownDevice(at: idx)
        _ = try forgetInformation(of: device)
        for table in ["wake", "membership"] {
            try run("DELETE FROM \(table) WHERE device_idx = ?", idx)
        }
        if device.isCurrent {
            try run(
                "DELETE FROM device_history WHERE tenant = ? AND device_id = ?",
                device.row.tenant.rawValue,
                device.row.id.rawValue
            )
        }
        try run("DELETE FROM device WHERE idx = ?", idx)
        return true
    }

    /// Whether an enrolment appears in an activity that is kept, open or closed.
    private func appears(_ device: DeviceRecord) throws -> Bool {
        let stays = try memberships(ofDeviceAt: device.idx)
        guard let end = stays.map({ $0.ended ?? .max }).max() else { return false }
        let operations = try rows(
            """
            SELECT \(OperationRecord.columns) FROM operation
            WHERE tenant = ? AND number < ? ORDER BY number LIMIT ?
            """,
            device.row.tenant.rawValue,
            end,
            Self.activitiesExamined + 1
        ) { try OperationRecord($0) }
        if operations.count > Self.activitiesExamined { return true }
        return try operations.contains { record in
            let number = record.operation.number
            if try execution(number, deviceIdx: device.idx) != nil { return true }
            guard let group = record.groupIdx else {
                let page = try targetPage(number, holding: device.row.id)
                return page?.devices.contains(device.idx) ?? false
            }
            return stays.contains {
                $0.groupIdx == group
                    && record.operation.terms.scope.addresses(
                        number,
                        joined: $0.joined,
                        left: $0.ended
                    )
            }
        }
    }
}
#endif
