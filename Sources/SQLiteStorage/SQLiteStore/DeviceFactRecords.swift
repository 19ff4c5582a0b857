#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import SQLiteEngine

// What a device told of itself, in typed form.

extension PropertyValue {
    /// A byte for the type, then the value; equal values give equal bytes.
    var stored: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .text(let text):
            writer.write(UInt8(1))
            writer.writeRaw(text.utf8)
        case .number(let number):
            writer.write(UInt8(2))
            // Adding zero makes one zero of two.
            writer.write(Int64(bitPattern: (number + 0).bitPattern))
        case .flag(let flag):
            writer.write(UInt8(3))
            writer.write(flag)
        }
        return writer.bytes
    }

    init(stored bytes: [UInt8]) throws {
        var reader = ByteReader(bytes)
        switch try reader.readByte() {
        case 1: self = .text(String(decoding: bytes.dropFirst(), as: UTF8.self))
        case 2: self = .number(Double(bitPattern: UInt64(bitPattern: try reader.readInt64())))
        case 3: self = .flag(try reader.readBool())
        default: throw SQLiteStorageError.corruptRow(in: "property")
        }
    }
}

extension DeviceLocation {
    var stored: [UInt8] {
        var writer = ByteWriter(capacity: 48)
        writer.write(UInt8(1))
        writer.write(Int64(bitPattern: latitude.bitPattern))
        writer.write(Int64(bitPattern: longitude.bitPattern))
        for optional in [accuracy, altitude] {
            writer.write(optional: optional) { $0.write(Int64(bitPattern: $1.bitPattern)) }
        }
        writer.write(recordedAt.rawValue)
        return writer.bytes
    }

    init(stored bytes: [UInt8], receivedAt: Timestamp) throws {
        func readDouble(_ reader: inout ByteReader) throws(ClusterRoleError) -> Double {
            Double(bitPattern: UInt64(bitPattern: try reader.readInt64()))
        }
        var reader = ByteReader(bytes)
        try reader.expectVersion(1, of: "a stored location")
        self.init(
            latitude: try readDouble(&reader),
            longitude: try readDouble(&reader),
            accuracy: try reader.readOptional { reader throws(ClusterRoleError) in
                try readDouble(&reader)
            },
            altitude: try reader.readOptional { reader throws(ClusterRoleError) in
                try readDouble(&reader)
            },
            recordedAt: Timestamp(rawValue: try reader.readInt64()),
            receivedAt: receivedAt
        )
    }
}

extension SQLConnection {
    private static let propertyColumns = "device_idx, name, tenant, device_id, value, sum"
    private static let applicationColumns =
        "device_idx, identifier, tenant, device_id, version, name, sum"

    private func property(_ row: PreparedStatement) throws -> DeviceProperty {
        try row.verify("property", sum: 5)
        return DeviceProperty(name: row.text(1), value: try PropertyValue(stored: row.blob(4)))
    }

    private func application(_ row: PreparedStatement) throws -> InstalledApplication {
        try row.verify("application", sum: 6)
        return InstalledApplication(
            identifier: row.text(1),
            version: row.text(4),
            name: row.text(5)
        )
    }

    func properties(ofDeviceAt idx: Int64) throws -> [DeviceProperty] {
        try rows(
            "SELECT \(Self.propertyColumns) FROM property WHERE device_idx = ?",
            idx,
            read: property
        )
    }

    func property(_ name: String, ofDeviceAt idx: Int64) throws -> DeviceProperty? {
        try row(
            "SELECT \(Self.propertyColumns) FROM property WHERE device_idx = ? AND name = ?",
            idx,
            name,
            read: property
        )
    }

    func applications(ofDeviceAt idx: Int64) throws -> [InstalledApplication] {
        try rows(
            "SELECT \(Self.applicationColumns) FROM application WHERE device_idx = ?",
            idx,
            read: application
        )
    }

    func application(
        _ identifier: String,
        ofDeviceAt idx: Int64
    ) throws -> InstalledApplication? {
        try row(
            """
            SELECT \(Self.applicationColumns) FROM application
            WHERE device_idx = ? AND identifier = ?
            """,
            idx,
            identifier,
            read: application
        )
    }

    /// Newest first.
    func locations(
        ofDeviceAt idx: Int64,
        before: Timestamp?,
        limit: Int
    ) throws -> [DeviceLocation] {
        try rows(
            """
            SELECT device_idx, received, body, sum FROM location
            WHERE device_idx = ? AND received < ? ORDER BY received DESC LIMIT ?
            """,
            idx,
            before?.rawValue ?? .max,
            limit
        ) {
            try $0.verify("location", sum: 3)
            return try DeviceLocation(
                stored: $0.blob(2),
                receivedAt: Timestamp(rawValue: $0.int64(1))
            )
        }
    }

    /// Stores the typed form of what a device said, if it has one: rows that differ, no others.
    ///
    /// - Parameter isNewest: whether nothing received later is stored; only the location's history
    ///   takes what is not.
    /// - Returns: what changed of all that a query may look at.
    func noteTyped(
        _ information: DeviceInformation,
        of device: DeviceRecord,
        isNewest: Bool
    ) throws -> [DeviceQuery.Subject] {
        switch TypedInformationRules.stored(information) {
        case .location(let location):
            try store(location, ofDeviceAt: device.idx)
            return []
        case .properties(let properties) where isNewest:
            return try replaceProperties(of: device, by: properties)
        case .applications(let applications) where isNewest:
            return try replaceApplications(of: device, by: applications)
        case .properties, .applications, nil: return []
        }
    }

    private func store(_ location: DeviceLocation, ofDeviceAt idx: Int64) throws {
        try run(
            sealedFor: "location",
            "INSERT OR REPLACE INTO location (device_idx, received, body, sum) VALUES (?, ?, ?, ?)",
            idx,
            location.receivedAt.rawValue,
            location.stored
        )
        try run(
            """
            DELETE FROM location WHERE device_idx = ?1 AND received <= (
                SELECT received FROM location WHERE device_idx = ?1
                ORDER BY received DESC LIMIT 1 OFFSET ?2)
            """,
            idx,
            InformationLimits.locationHistory
        )
    }

    private func replaceProperties(
        of device: DeviceRecord,
        by properties: [DeviceProperty]
    ) throws -> [DeviceQuery.Subject] {
        var gone: [String: PropertyValue] = [:]
        for known in try self.properties(ofDeviceAt: device.idx) { gone[known.name] = known.value }
        var changed: [DeviceQuery.Subject] = []
        for property in properties {
            let known = gone.removeValue(forKey: property.name)
            if known == property.value { continue }
            changed.append(.property(property.name))
            try run(
                sealedFor: "property",
                """
                INSERT OR REPLACE INTO property (device_idx, name, tenant, device_id, value, sum)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
                device.idx,
                property.name,
                device.row.tenant.rawValue,
                device.row.id.rawValue,
                property.value.stored
            )
        }
        for name in gone.keys.sorted() {
            changed.append(.property(name))
            try run("DELETE FROM property WHERE device_idx = ? AND name = ?", device.idx, name)
        }
        return changed
    }

    private func replaceApplications(
        of device: DeviceRecord,
        by applications: [InstalledApplication]
    ) throws -> [DeviceQuery.Subject] {
        var gone: [String: InstalledApplication] = [:]
        for known in try self.applications(ofDeviceAt: device.idx) {
            gone[known.identifier] = known
        }
        var changed: [DeviceQuery.Subject] = []
        for application in applications {
            let known = gone.removeValue(forKey: application.identifier)
            if known == application { continue }
            changed.append(.application(application.identifier))
            try run(
                sealedFor: "application",
                """
                INSERT OR REPLACE INTO application (device_idx, identifier, tenant, device_id,
                    version, name, sum)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                device.idx,
                application.identifier,
                device.row.tenant.rawValue,
                device.row.id.rawValue,
                application.version,
                application.name
            )
        }
        for identifier in gone.keys.sorted() {
            changed.append(.application(identifier))
            try run(
                "DELETE FROM application WHERE device_idx = ? AND identifier = ?",
                device.idx,
                identifier
            )
        }
        return changed
    }

    /// Deletes what an enrolment told of itself.
    ///
    /// - Returns: how many rows there were.
    func forgetInformation(of device: DeviceRecord) throws -> Int {
        var deleted = 0
        for table in [
            "information", "property", "application", "location", "registration", "contact",
        ] {
            try run("DELETE FROM \(table) WHERE device_idx = ?", device.idx)
            deleted += changes
        }
        try forgetSilence(of: device)
        return deleted
    }

    /// What `subjects` name of a device.
    func facts(
        of device: DeviceRecord,
        for subjects: Set<DeviceQuery.Subject>
    ) throws -> DeviceFacts {
        var facts = DeviceFacts(pollingFrequency: device.row.pollingFrequency)
        for subject in subjects {
            switch subject {
            case .property(let name):
                facts.properties[name] = try property(name, ofDeviceAt: device.idx)?.value
            case .application(let identifier):
                let found = try application(identifier, ofDeviceAt: device.idx)
                facts.applications[identifier] = found?.version
            case .group(let group):
                guard let record = try self.group(group, tenant: device.row.tenant),
                    try openMembership(of: device, in: record) != nil
                else { continue }
                facts.groups.insert(group)
            case .liveness:
                facts.liveness = try silence(ofDeviceAt: device.idx)?.liveness ?? .active
            case .polling: continue
            }
        }
        return facts
    }
}
#endif
