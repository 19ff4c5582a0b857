import ClusterRole
import DeviceRegistry

// These are handed through as they are.
extension BrokenDevices {
    func profile(of device: DeviceID, tenant: TenantID) async throws -> DeviceProfile? {
        try await base.profile(of: device, tenant: tenant)
    }

    func locations(
        of device: DeviceID,
        before: Timestamp?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceLocation] {
        try await base.locations(of: device, before: before, limit: limit, tenant: tenant)
    }

    func history(
        of device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceHistoryEntry] {
        try await base.history(of: device, before: before, limit: limit, tenant: tenant)
    }

    func devices(
        matching query: DeviceQuery,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DevicePage {
        try await base.devices(matching: query, after: after, limit: limit, tenant: tenant)
    }

    func livenessCounts(tenant: TenantID) async throws -> LivenessCounts {
        try await base.livenessCounts(tenant: tenant)
    }

    func contacts(after: Int64?, limit: Int) async throws -> RecordedContactPage {
        try await base.contacts(after: after, limit: limit)
    }

    func unsettledGroups(
        limit: Int
    ) async throws -> [(tenant: TenantID, group: GroupID)] {
        try await base.unsettledGroups(limit: limit)
    }
}
