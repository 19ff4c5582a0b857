#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

/// A row of table `silence`: what a device that is not active was recorded as.
struct SilenceRecord {
    var liveness: Liveness
    /// The contact that was judged by.
    var seen: Timestamp
}

extension SQLConnection {
    // MARK: History

    /// Adds an entry and drops the one beyond the limit.
    func note(
        _ event: DeviceEvent,
        of device: DeviceID,
        tenant: TenantID,
        by initiator: String = "",
        detail: String = "",
        at time: Timestamp
    ) throws {
        let newest = try history(of: device, tenant: tenant, before: nil, limit: 1).first
        let number = (newest?.number ?? 0) + 1
        try run(
            sealedFor: "device_history",
            """
            INSERT INTO device_history (tenant, device_id, number, at, who, what, detail, sum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            tenant.rawValue,
            device.rawValue,
            number,
            time.rawValue,
            initiator,
            event.rawValue,
            detail
        )
        guard number > InformationLimits.history else { return }
        try run(
            "DELETE FROM device_history WHERE tenant = ? AND device_id = ? AND number <= ?",
            tenant.rawValue,
            device.rawValue,
            number - Int64(InformationLimits.history)
        )
    }

    /// Newest first.
    func history(
        of device: DeviceID,
        tenant: TenantID,
        before: Int64?,
        limit: Int
    ) throws -> [DeviceHistoryEntry] {
        try rows(
            """
            SELECT tenant, device_id, number, at, who, what, detail, sum FROM device_history
            WHERE tenant = ? AND device_id = ? AND number < ? ORDER BY number DESC LIMIT ?
            """,
            tenant.rawValue,
            device.rawValue,
            before ?? .max,
            limit
        ) {
            try $0.verify("device_history", sum: 7)
            return DeviceHistoryEntry(
                number: $0.int64(2),
                at: Timestamp(rawValue: $0.int64(3)),
                who: $0.text(4),
                what: DeviceEvent(rawValue: $0.text(5)),
                detail: $0.text(6)
            )
        }
    }

    // MARK: Liveness

    private static let silenceOfDevice = StatementText(
        """
        SELECT device_idx, tenant, device_id, state, seen, sum FROM silence
        WHERE device_idx = ?
        """
    )

    func silence(ofDeviceAt idx: Int64) throws -> SilenceRecord? {
        try row(Self.silenceOfDevice, idx) {
            try $0.verify("silence", sum: 5)
            guard let liveness = Liveness(rawValue: $0.text(3)) else {
                throw SQLiteStorageError.corruptRow(in: "silence")
            }
            return SilenceRecord(liveness: liveness, seen: Timestamp(rawValue: $0.int64(4)))
        }
    }

    func store(_ silence: SilenceRecord, of device: DeviceRecord) throws {
        try run(
            sealedFor: "silence",
            """
            INSERT INTO silence (device_idx, tenant, device_id, state, seen, sum)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            device.idx,
            device.row.tenant.rawValue,
            device.row.id.rawValue,
            silence.liveness.rawValue,
            silence.seen.rawValue
        )
        try addSilent(1, silence.liveness, tenant: device.row.tenant)
    }

    /// - Returns: whether there was a silence.
    @discardableResult
    func forgetSilence(of device: DeviceRecord) throws -> Bool {
        guard let silence = try silence(ofDeviceAt: device.idx) else { return false }
        try run("DELETE FROM silence WHERE device_idx = ?", device.idx)
        try addSilent(-1, silence.liveness, tenant: device.row.tenant)
        return true
    }

    /// The device was heard. A contact newer than the one it was judged by makes it active again.
    func endSilence(of device: DeviceRecord, at time: Timestamp) throws {
        guard let silence = try silence(ofDeviceAt: device.idx), time > silence.seen else { return }
        try forgetSilence(of: device)
        try note(.becameActive, of: device.row.id, tenant: device.row.tenant, at: time)
    }

    /// Unreachable and inactive devices; active ones are not counted here.
    func silent(tenant: TenantID) throws -> LivenessCounts {
        try row(
            "SELECT tenant, unreachable, inactive, sum FROM silence_count WHERE tenant = ?",
            tenant.rawValue
        ) {
            try $0.verify("silence_count", sum: 3)
            return LivenessCounts(unreachable: $0.int(1), inactive: $0.int(2))
        } ?? LivenessCounts()
    }

    private func addSilent(_ difference: Int, _ liveness: Liveness, tenant: TenantID) throws {
        var counts = try silent(tenant: tenant)
        counts[liveness] += difference
        try run(
            sealedFor: "silence_count",
            """
            INSERT OR REPLACE INTO silence_count (tenant, unreachable, inactive, sum)
            VALUES (?, ?, ?, ?)
            """,
            tenant.rawValue,
            counts.unreachable,
            counts.inactive
        )
    }
}
#endif
