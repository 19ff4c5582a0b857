#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import SQLiteEngine

extension DeviceChanges {
    mutating func give(_ id: DeviceID, to owner: OwnerID?, by initiator: String) throws {
        guard let device = try connection.device(id, tenant: tenant), device.isEnrolled else {
            receipt.unknown = 1
            return
        }
        if try connection.owner(of: device)?.owner != owner {
            try connection.store(owner: owner, of: device, at: now)
            try note(.ownerChanged, of: id, by: initiator, detail: owner?.rawValue ?? "none")
        }
        receipt.row = device.row
        receipt.changed = 1
    }
}

/// A row of table `device_owner`.
struct OwnerRecord {
    var deviceIdx: Int64
    var owner: OwnerID
    var since: Timestamp

    static let columns = "device_idx, tenant, owner, device_id, since, sum"

    init(_ row: PreparedStatement) throws {
        try row.verify("device_owner", sum: 5)
        since = Timestamp(rawValue: row.int64(4))
        deviceIdx = row.int64(0)
        owner = OwnerID(rawValue: row.text(2))
    }
}

extension SQLConnection {
    func owner(of device: DeviceRecord) throws -> OwnerRecord? {
        try row(
            "SELECT \(OwnerRecord.columns) FROM device_owner WHERE device_idx = ?",
            device.idx
        ) { try OwnerRecord($0) }
    }

    /// The one place where an owner changes; `nil` ends it.
    func store(owner: OwnerID?, of device: DeviceRecord, at now: Timestamp) throws {
        guard let owner else {
            return try run("DELETE FROM device_owner WHERE device_idx = ?", device.idx)
        }
        try run(
            sealedFor: "device_owner",
            """
            INSERT OR REPLACE INTO device_owner (\(OwnerRecord.columns)) VALUES (?, ?, ?, ?, ?, ?)
            """,
            device.idx,
            device.row.tenant.rawValue,
            owner.rawValue,
            device.row.id.rawValue,
            now.rawValue
        )
    }
}

extension EmbeddedStore: OwnedDeviceReader {
    public func devices(
        ownedBy owner: OwnerID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        let limit = max(0, min(limit, maximumPageSize))
        let secrets = secrets
        return try await file.read { connection in
            let found = try connection.rows(
                """
                SELECT \(OwnerRecord.columns) FROM device_owner
                WHERE tenant = ? AND owner = ? AND device_id > ? ORDER BY device_id LIMIT ?
                """,
                tenant.rawValue,
                owner.rawValue,
                after?.rawValue ?? "",
                limit
            ) { try OwnerRecord($0) }
            return try found.map { record in
                // The row of the device says whose it is: an index that leads elsewhere is damaged.
                guard let device = try connection.device(at: record.deviceIdx), device.isEnrolled,
                    device.row.tenant == tenant, record.owner == owner
                else { throw SQLiteStorageError.corruptRow(in: "device_owner") }
                return try connection.complete(device, secrets: secrets)
            }
        }
    }
}
#endif
