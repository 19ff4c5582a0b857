public import ClusterRole

// What devices told, what happened to them, and which of them a query asks for.
extension DeviceDirectory {
    /// What a device last told, in typed form.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` if the tenant never had it.
    public func profile(
        of device: DeviceID,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DeviceProfile {
        let found = try await wrapped {
            try await self.reader.profile(of: device, tenant: tenant)
        }
        guard let found else {
            throw DeviceRegistryError(
                .unknownDevice,
                "There is no device \(device) in this tenant."
            )
        }
        return found
    }

    /// Where the present enrolment was, newest first; at most ``InformationLimits/locationHistory`` are
    /// kept.
    ///
    /// - Parameters:
    ///   - device: whose locations.
    ///   - before: received before this; `nil` begins at the newest.
    ///   - limit: at most ``maximumPageSize``; more is cut down to it.
    ///   - tenant: the tenant the device belongs to.
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` if the tenant never had it.
    public func locations(
        of device: DeviceID,
        before: Timestamp? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> [DeviceLocation] {
        _ = try await self.device(device, tenant: tenant)
        return try await wrapped {
            try await self.reader.locations(
                of: device,
                before: before,
                limit: max(1, min(limit, maximumPageSize)),
                tenant: tenant
            )
        }
    }

    /// What happened to a device, newest first; at most ``InformationLimits/history`` entries are kept.
    ///
    /// - Parameters:
    ///   - device: whose history.
    ///   - before: entries with a lower number; `nil` begins at the newest.
    ///   - limit: at most ``maximumPageSize``; more is cut down to it.
    ///   - tenant: the tenant the device belongs to.
    /// - Throws: ``DeviceRegistryError`` with code `unknownDevice` if the tenant never had it.
    public func history(
        of device: DeviceID,
        before: Int64? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> [DeviceHistoryEntry] {
        _ = try await self.device(device, tenant: tenant)
        return try await wrapped {
            try await self.reader.history(
                of: device,
                before: before,
                limit: max(1, min(limit, maximumPageSize)),
                tenant: tenant
            )
        }
    }

    /// A page of enrolled devices a query asks for, in order of id. It may hold fewer than `limit`, even
    /// none, and still not be the last: go on while ``DevicePage/next`` is there.
    ///
    /// - Parameters:
    ///   - query: what is asked for.
    ///   - after: where the page before ended.
    ///   - limit: at most ``maximumPageSize``; more is cut down to it.
    ///   - tenant: the tenant whose devices are asked for.
    /// - Throws: ``DeviceRegistryError`` with code `invalidQuery` or `tooLarge`.
    public func devices(
        matching query: DeviceQuery,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> DevicePage {
        try query.validate()
        return try await wrapped {
            try await self.reader.devices(
                matching: query,
                after: after,
                limit: max(1, min(limit, maximumPageSize)),
                tenant: tenant
            )
        }
    }

    /// How many enrolled devices are how fresh, as ``LivenessTask`` last recorded.
    public func livenessCounts(
        tenant: TenantID = .standard
    ) async throws(DeviceRegistryError) -> LivenessCounts {
        try await wrapped { try await self.reader.livenessCounts(tenant: tenant) }
    }
}
