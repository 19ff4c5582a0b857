public import ClusterRole

/// Looks up the devices of one owner: the reader's façade for end users.
///
/// A device that is another's, nobody's, removed or unknown is answered alike, so that nobody learns what
/// others have.
public struct OwnedDevices: Sendable {
    private let directory: DeviceDirectory
    private let owners: any OwnedDeviceReader

    public init(reader: any DeviceReader, owners: any OwnedDeviceReader) {
        directory = DeviceDirectory(reader: reader)
        self.owners = owners
    }

    /// A page of an owner's enrolled devices in order of id.
    ///
    /// - Parameters:
    ///   - owner: whose devices are listed.
    ///   - after: where the page before ended (``DevicePage/next``).
    ///   - limit: at most ``maximumPageSize``; more is cut down to it.
    ///   - tenant: the owner's tenant.
    public func devices(
        of owner: OwnerID,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DevicePage {
        let limit = max(1, min(limit, maximumPageSize))
        let found = try await wrapped {
            try await self.owners.devices(
                ownedBy: owner,
                after: after,
                limit: limit,
                tenant: tenant
            )
        }
        return DevicePage(devices: found, next: found.count == limit ? found.last?.id : nil)
    }

    /// One enrolled device of an owner.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` unless it is enrolled and his.
    public func device(
        _ id: DeviceID,
        of owner: OwnerID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> Device {
        let found = try await directory.device(id, tenant: tenant)
        guard found.owner == owner, found.row.state == .enrolled else {
            throw DeviceRegistryError.unknown(id)
        }
        return found
    }

    /// What an owner's device last said of itself, in order of kind.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` unless it is enrolled and his.
    public func information(
        of id: DeviceID,
        of owner: OwnerID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> [DeviceInformation] {
        _ = try await device(id, of: owner, tenant: tenant)
        return try await directory.information(of: id, tenant: tenant)
    }
}
