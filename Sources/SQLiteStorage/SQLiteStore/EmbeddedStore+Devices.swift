#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import SQLiteEngine
internal import Synchronization

extension EmbeddedStore: DeviceStorage {
    public func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> DeviceChangeReceipt {
        let (receipt, revision) = try await guarded(epoch: epoch) {
            [self]
            connection,
            number,
            draft in
            var changes = DeviceChanges(
                connection: connection,
                tenant: tenant,
                number: number,
                now: now
            )
            if case .enrol = change, hasQuotas.load(ordering: .acquiring) {
                changes.maximumDevices = try connection.quota(of: tenant).devices
            }
            try changes.apply(change)
            draft = changes.draft
            return changes.receipt
        }
        var result = receipt
        result.revision = revision
        return result
    }

    public func device(_ id: DeviceID, tenant: TenantID) async throws -> Device? {
        let secrets = secrets
        return try await file.readBriefly { connection in
            try connection.device(id, tenant: tenant).map {
                try connection.complete($0, secrets: secrets)
            }
        }
    }

    public func device(credential: CredentialDigest) async throws -> DeviceRow? {
        try await file.readBriefly { connection in
            try connection.rows(
                """
                SELECT \(DeviceRecord.columns) FROM device
                WHERE credential = ? AND current = 1 AND state = 1
                """,
                credential.stored
            ) { try DeviceRecord($0) }
            .first { $0.row.credential == credential && $0.isEnrolled }?.row
        }
    }

    public func devices(
        in group: GroupID?,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        let limit = max(0, min(limit, maximumPageSize))
        let secrets = secrets
        return try await file.read { connection in
            let records: [DeviceRecord]
            if let group {
                guard let known = try connection.group(group, tenant: tenant) else { return [] }
                records = try connection.rows(
                    """
                    SELECT \(DeviceRecord.columns), \(MembershipRecord.columns)
                    FROM membership JOIN device ON device.idx = membership.device_idx
                    WHERE membership.group_idx = ? AND membership.device_id > ?
                        AND membership.ended IS NULL
                    ORDER BY membership.device_id LIMIT ?
                    """,
                    known.idx,
                    after?.rawValue ?? "",
                    limit
                ) {
                    _ = try MembershipRecord($0, from: 12)
                    return try DeviceRecord($0)
                }
            } else {
                records = try connection.rows(
                    """
                    SELECT \(DeviceRecord.columns) FROM device
                    WHERE tenant = ? AND current = 1 AND id > ? ORDER BY id LIMIT ?
                    """,
                    tenant.rawValue,
                    after?.rawValue ?? "",
                    limit
                ) { try DeviceRecord($0) }
            }
            return try records.map { try connection.complete($0, secrets: secrets) }
        }
    }

    public func groups(tenant: TenantID) async throws -> [GroupSummary] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(GroupRecord.columns) FROM device_group WHERE tenant = ? ORDER BY name
                """,
                tenant.rawValue
            ) { try GroupRecord($0) }
            .map { record in
                let definition = try connection.definition(ofGroupAt: record.idx)
                return GroupSummary(
                    group: record.group,
                    members: record.members,
                    query: definition?.query,
                    isSettled: definition?.isSettled ?? true,
                    pollingFrequency: try connection.pollingFrequency(ofGroupAt: record.idx)
                )
            }
        }
    }

    public func information(
        of device: DeviceID,
        tenant: TenantID
    ) async throws -> [DeviceInformation] {
        try await file.read { connection in
            guard let record = try connection.device(device, tenant: tenant) else { return [] }
            return try connection.rows(
                """
                SELECT device_idx, kind, received, body, sum FROM information
                WHERE device_idx = ? ORDER BY kind
                """,
                record.idx
            ) {
                try $0.verify("information", sum: 4)
                return DeviceInformation(
                    kind: InformationKind(rawValue: $0.text(1)),
                    body: $0.blob(3),
                    receivedAt: Timestamp(rawValue: $0.int64(2))
                )
            }
        }
    }
}

// MARK: - What devices report about themselves: no revision, no replica holds it

/// A row of table `contact`.
struct ContactRecord {
    var seen: Timestamp
    /// The newest revision number an answer to the device was true of.
    var answered: Int64
}

/// A row of table `registration`: the newest push registration or its end.
struct RegistrationRecord {
    var registeredAt: Timestamp
    var sealed: [UInt8]?
}

extension SQLConnection {
    private static let contactOfDevice = StatementText(
        "SELECT device_idx, seen, answered, sum FROM contact WHERE device_idx = ?"
    )
    private static let contactInsertion = StatementText(
        "INSERT OR REPLACE INTO contact (device_idx, seen, answered, sum) VALUES (?, ?, ?, ?)"
    )

    func contact(ofDeviceAt idx: Int64) throws -> ContactRecord? {
        let known = knownDevice(at: idx)
        if let contact = known?.contact { return contact }
        let contact = try row(Self.contactOfDevice, idx) {
            try $0.verify("contact", sum: 3)
            return ContactRecord(
                seen: Timestamp(rawValue: $0.int64(1)),
                answered: $0.int64(2)
            )
        }
        known?.contact = contact
        return contact
    }

    func store(_ contact: ContactRecord, ofDeviceAt idx: Int64) throws {
        knownDevice(at: idx)?.contact = contact
        try store(Self.contactInsertion, sealedFor: "contact") { row in
            try row.add(idx)
            try row.add(contact.seen.rawValue)
            try row.add(contact.answered)
        }
    }

    func registration(ofDeviceAt idx: Int64) throws -> RegistrationRecord? {
        try row(
            """
            SELECT device_idx, registered, sealed, sum FROM registration WHERE device_idx = ?
            """,
            idx
        ) {
            try $0.verify("registration", sum: 3)
            return RegistrationRecord(
                registeredAt: Timestamp(rawValue: $0.int64(1)),
                sealed: $0.optionalBlob(2)
            )
        }
    }

    func store(_ registration: RegistrationRecord, ofDeviceAt idx: Int64) throws {
        try run(
            sealedFor: "registration",
            """
            INSERT OR REPLACE INTO registration (device_idx, registered, sealed, sum)
            VALUES (?, ?, ?, ?)
            """,
            idx,
            registration.registeredAt.rawValue,
            registration.sealed
        )
    }

    /// The push registration, opened.
    func push(
        of device: DeviceRecord,
        secrets: SecretBox
    ) throws -> PushRegistration? {
        guard let record = try registration(ofDeviceAt: device.idx), let sealed = record.sealed
        else {
            return nil
        }
        let plain: [UInt8]
        do {
            plain = try secrets.open(sealed, context: device.secretContext)
        } catch {
            throw SQLiteStorageError(
                .secrets,
                "A push registration cannot be opened. Start with the key it was stored with.",
                cause: error
            )
        }
        var reader = ByteReader(plain)
        try reader.expectVersion(1, of: "a stored push registration")
        return PushRegistration(
            transport: try reader.readString(),
            address: try reader.readString(),
            registeredAt: record.registeredAt
        )
    }

    /// The device as managers see it.
    func complete(_ record: DeviceRecord, secrets: SecretBox) throws -> Device {
        let ownership = try owner(of: record)
        return Device(
            row: record.row,
            enrolledAt: record.enrolledAt,
            removedAt: record.removedAt,
            lastSeen: try contact(ofDeviceAt: record.idx)?.seen,
            push: try push(of: record, secrets: secrets),
            owner: ownership?.owner,
            ownedSince: ownership?.since
        )
    }

    /// Stores a registration, or with `nil` its end, unless a newer one is stored already.
    func note(
        registration: PushRegistration?,
        of device: DeviceRecord,
        receivedAt: Timestamp,
        secrets: SecretBox
    ) throws {
        let time = registration?.registeredAt ?? receivedAt
        if let known = try self.registration(ofDeviceAt: device.idx), known.registeredAt > time {
            return
        }
        let sealed = try registration.map { registration in
            var writer = ByteWriter(capacity: registration.address.utf8.count + 16)
            writer.write(UInt8(1))
            writer.write(registration.transport)
            writer.write(registration.address)
            return try secrets.seal(writer.bytes, context: device.secretContext)
        }
        try store(RegistrationRecord(registeredAt: time, sealed: sealed), ofDeviceAt: device.idx)
    }

    /// Stores what a device said of itself, unless something received later is stored already.
    ///
    /// - Returns: what changed of all that a query may look at.
    func note(
        _ information: DeviceInformation,
        of device: DeviceRecord
    ) throws -> [DeviceQuery.Subject] {
        let idx = device.idx
        let known = try row(
            """
            SELECT device_idx, kind, received, body, sum FROM information
            WHERE device_idx = ? AND kind = ?
            """,
            idx,
            information.kind.rawValue
        ) {
            try $0.verify("information", sum: 4)
            return Timestamp(rawValue: $0.int64(2))
        }
        if let known, known > information.receivedAt {
            return try noteTyped(information, of: device, isNewest: false)
        }
        try run(
            sealedFor: "information",
            """
            INSERT OR REPLACE INTO information (device_idx, kind, received, body, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            idx,
            information.kind.rawValue,
            information.receivedAt.rawValue,
            information.body
        )
        return try noteTyped(information, of: device, isNewest: true)
    }
}

extension DeviceRecord {
    /// Whose registration it is: it cannot be moved to another enrolment.
    fileprivate var secretContext: [UInt8] {
        var writer = ByteWriter()
        writer.write(row.tenant.rawValue)
        writer.write(row.id.rawValue)
        writer.write(row.incarnation.bits)
        return writer.bytes
    }
}
#endif
