public import ClusterRole
public import DeviceRegistry

// The facts of devices, as a script says.
extension FailingDeviceStorage {
    public func profile(of device: DeviceID, tenant: TenantID) async throws -> DeviceProfile? {
        try await script.around(.profile) { try await base.profile(of: device, tenant: tenant) }
    }

    public func locations(
        of device: DeviceID,
        before: Timestamp?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceLocation] {
        try await script.around(.locations) {
            try await base.locations(of: device, before: before, limit: limit, tenant: tenant)
        }
    }

    public func history(
        of device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceHistoryEntry] {
        try await script.around(.history) {
            try await base.history(of: device, before: before, limit: limit, tenant: tenant)
        }
    }

    public func devices(
        matching query: DeviceQuery,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DevicePage {
        try await script.around(.devices) {
            try await base.devices(matching: query, after: after, limit: limit, tenant: tenant)
        }
    }

    public func livenessCounts(tenant: TenantID) async throws -> LivenessCounts {
        try await script.around(.livenessCounts) { try await base.livenessCounts(tenant: tenant) }
    }

    public func contacts(after: Int64?, limit: Int) async throws -> RecordedContactPage {
        try await script.around(.contacts) { try await base.contacts(after: after, limit: limit) }
    }

    public func unsettledGroups(
        limit: Int
    ) async throws -> [(tenant: TenantID, group: GroupID)] {
        try await script.around(.unsettledGroups) { try await base.unsettledGroups(limit: limit) }
    }
}
