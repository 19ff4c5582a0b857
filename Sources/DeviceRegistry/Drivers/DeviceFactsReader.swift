public import ClusterRole

/// Reads what devices told of themselves, what happened to them, and which of them a query asks for.
public protocol DeviceFactsReader: Sendable {
    /// What a device last told, in typed form; `nil` for a device the tenant never had.
    func profile(of device: DeviceID, tenant: TenantID) async throws -> DeviceProfile?

    /// Where the present enrolment was, newest first, received before `before`.
    ///
    /// - Parameters:
    ///   - device: whose locations.
    ///   - before: only those received earlier; `nil` begins at the newest.
    ///   - limit: at most ``maximumPageSize``.
    ///   - tenant: the tenant the device belongs to.
    func locations(
        of device: DeviceID,
        before: Timestamp?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceLocation]

    /// What happened to a device, across its enrolments, newest first.
    ///
    /// - Parameters:
    ///   - device: whose history.
    ///   - before: only entries with a lower number; `nil` begins at the newest.
    ///   - limit: at most ``maximumPageSize``.
    ///   - tenant: the tenant the device belongs to.
    func history(
        of device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceHistoryEntry]

    /// Enrolled devices a query asks for, in order of id, after `after`.
    ///
    /// A page looks at no more than ``maximumCandidatesPerPage`` devices, so it may hold fewer than
    /// `limit` and still not be the last: its `next` decides.
    ///
    /// - Parameters:
    ///   - query: a valid one (``DeviceQuery/validate()``).
    ///   - after: only ids behind it; `nil` begins at the first.
    ///   - limit: at most ``maximumPageSize``.
    ///   - tenant: the tenant whose devices are asked for.
    func devices(
        matching query: DeviceQuery,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DevicePage

    /// How many enrolled devices are how fresh, as last recorded. Kept, not counted.
    func livenessCounts(tenant: TenantID) async throws -> LivenessCounts

    /// Contacts of enrolled devices of all tenants, in the store's own order.
    ///
    /// - Parameters:
    ///   - after: `next` of the page before; `nil` begins at the first.
    ///   - limit: how many devices are looked at, enrolled or not; at most ``maximumPageSize``.
    func contacts(after: Int64?, limit: Int) async throws -> RecordedContactPage

    /// Groups whose definition has not been compared with every device yet, of all tenants.
    func unsettledGroups(limit: Int) async throws -> [(tenant: TenantID, group: GroupID)]
}

/// The most devices one page of a query looks at, so that a rare match does not make a page read the
/// whole fleet.
public let maximumCandidatesPerPage = 10_000

/// The most groups of a tenant that are defined by queries: an enrolment compares a device with each.
public let maximumDynamicGroups = 256
