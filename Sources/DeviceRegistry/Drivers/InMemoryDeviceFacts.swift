public import ClusterRole
internal import Synchronization

extension InMemoryDeviceStorage {
    public func profile(of device: DeviceID, tenant: TenantID) async throws -> DeviceProfile? {
        state.withLock { state in
            state.entries[InMemoryDeviceKey(tenant, device)].map { entry in
                DeviceProfile(
                    properties: entry.properties
                        .map { DeviceProperty(name: $0.key, value: $0.value) }
                        .sorted { $0.name < $1.name },
                    location: entry.locations.last,
                    applications: entry.applications.values
                        .sorted { $0.identifier < $1.identifier }
                )
            }
        }
    }

    public func locations(
        of device: DeviceID,
        before: Timestamp?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceLocation] {
        state.withLock { state in
            let all = state.entries[InMemoryDeviceKey(tenant, device)]?.locations ?? []
            let end = before ?? Timestamp(rawValue: .max)
            let older = all.reversed().drop { location in location.receivedAt >= end }
            return Array(older.prefix(pageSize(limit)))
        }
    }

    public func history(
        of device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [DeviceHistoryEntry] {
        state.withLock { state in
            let all = state.history[InMemoryDeviceKey(tenant, device)] ?? []
            let older = all.reversed().drop { entry in entry.number >= before ?? .max }
            return Array(older.prefix(pageSize(limit)))
        }
    }

    public func devices(
        matching query: DeviceQuery,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DevicePage {
        let limit = pageSize(limit)
        return state.withLock { state in
            var found: [Device] = []
            let ids = state.deviceIDs(
                in: nil,
                tenant: tenant,
                after: after,
                limit: maximumCandidatesPerPage
            )
            for id in ids {
                guard let entry = state.entries[InMemoryDeviceKey(tenant, id)],
                    entry.device.row.state == .enrolled, query.matches(entry.facts)
                else { continue }
                found.append(entry.device)
                if found.count == limit { return DevicePage(devices: found, next: id) }
            }
            return DevicePage(
                devices: found,
                next: ids.count == maximumCandidatesPerPage ? ids.last : nil
            )
        }
    }

    public func livenessCounts(tenant: TenantID) async throws -> LivenessCounts {
        state.withLock { state in
            var counts = state.silent[tenant] ?? LivenessCounts()
            let enrolled = state.groups[InMemoryGroupKey(tenant, .everyone)]?.present ?? 0
            counts.active = enrolled - counts.unreachable - counts.inactive
            return counts
        }
    }

    public func contacts(after: Int64?, limit: Int) async throws -> RecordedContactPage {
        state.withLock { state in
            let first = Int(after ?? 0)
            let last = min(state.order.count, first + max(1, pageSize(limit)))
            guard first >= 0, first < last else {
                return RecordedContactPage(contacts: [], next: nil)
            }
            let contacts = state.order[first..<last].compactMap { key -> RecordedContact? in
                guard let entry = state.entries[key], entry.device.row.state == .enrolled else {
                    return nil
                }
                return RecordedContact(
                    identity: entry.device.row.identity,
                    lastSeen: entry.device.lastSeen ?? entry.device.enrolledAt,
                    liveness: entry.silence?.liveness ?? .active
                )
            }
            return RecordedContactPage(
                contacts: contacts,
                next: last < state.order.count ? Int64(last) : nil
            )
        }
    }

    public func unsettledGroups(
        limit: Int
    ) async throws -> [(tenant: TenantID, group: GroupID)] {
        state.withLock { state in
            let found = state.definitions.filter { !$0.value.isSettled }.keys
                .sorted { ($0.tenant, $0.group) < ($1.tenant, $1.group) }
            return found.prefix(max(0, limit)).map { (tenant: $0.tenant, group: $0.group) }
        }
    }

    private func pageSize(_ limit: Int) -> Int { max(0, min(limit, maximumPageSize)) }
}

// What the in-memory drivers of other modules write inside a guarded write of the ledger.
extension InMemoryDeviceStorage {
    /// Moves a device's last contact forward.
    package func note(contact time: Timestamp, of device: DeviceID, tenant: TenantID) {
        state.withLock { $0.note(contact: time, of: InMemoryDeviceKey(tenant, device)) }
    }

    /// Stores what a device said of itself, unless something received later is stored already.
    ///
    /// - Returns: memberships that began or ended by it, to be logged.
    package func note(
        information: DeviceInformation,
        of device: DeviceID,
        tenant: TenantID,
        number: Int64
    ) -> [ChangeKey] {
        let keys = state.withLock {
            $0.note(information, of: InMemoryDeviceKey(tenant, device), number: number)
        }
        tellFollowers(information, of: device, tenant: tenant)
        return keys
    }
}
