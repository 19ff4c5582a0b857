public import ClusterRole

/// Looks devices and groups up: the reader's façade, for managers and workers alike.
public struct DeviceDirectory: Sendable {
    let reader: any DeviceReader

    public init(reader: any DeviceReader) { self.reader = reader }

    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` if the tenant never had it.
    public func device(
        _ id: DeviceID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> Device {
        let found = try await wrapped { try await self.reader.device(id, tenant: tenant) }
        guard let found else { throw DeviceRegistryError.unknown(id) }
        return found
    }

    /// A page of devices in order of id.
    ///
    /// - Parameters:
    ///   - group: present members of this group only; `nil` for all, removed ones included.
    ///   - after: where the page before ended (``DevicePage/next``).
    ///   - limit: at most ``maximumPageSize``; more is cut down to it.
    ///   - tenant: the tenant whose devices are listed.
    public func devices(
        in group: GroupID? = nil,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DevicePage {
        let limit = max(1, min(limit, maximumPageSize))
        let found = try await wrapped {
            try await self.reader.devices(in: group, after: after, limit: limit, tenant: tenant)
        }
        return DevicePage(devices: found, next: found.count == limit ? found.last?.id : nil)
    }

    /// Groups with the number of their present members, in order of name.
    public func groups(
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> [GroupSummary] {
        try await wrapped { try await self.reader.groups(tenant: tenant) }
    }

    /// What a device last said of itself, in order of kind.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` if the tenant never had it.
    public func information(
        of device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> [DeviceInformation] {
        _ = try await self.device(device, tenant: tenant)
        return try await wrapped {
            try await self.reader.information(of: device, tenant: tenant)
        }
    }
}

extension DeviceRegistryError {
    /// The tenant never had it, or the caller may not know that it has.
    static func unknown(_ id: DeviceID) -> DeviceRegistryError {
        DeviceRegistryError(.unknownDevice, "There is no device \(id) in this tenant.")
    }
}

/// A page of devices.
public struct DevicePage: Hashable, Sendable {
    public var devices: [Device]
    /// Pass it as `after` for the next page; `nil` on the last one.
    public var next: DeviceID?

    public init(devices: [Device], next: DeviceID?) {
        self.devices = devices
        self.next = next
    }
}

/// Runs a driver's call and wraps what it throws.
func wrapped<Value>(
    _ body: () async throws -> Value
) async throws(DeviceRegistryError) -> Value {
    do {
        return try await body()
    } catch let error as DeviceRegistryError {
        throw error
    } catch {
        let cause = error as? any CodedError
        throw DeviceRegistryError(
            .storage,
            cause?.message ?? "The devices' store failed. Look at the node's log.",
            retryAfter: cause?.retryAfter,
            cause: error
        )
    }
}
