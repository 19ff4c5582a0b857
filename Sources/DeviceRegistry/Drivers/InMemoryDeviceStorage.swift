public import ClusterRole
internal import Synchronization

/// Devices and groups in memory: complete, atomic with the other in-memory drivers of its ledger, and
/// gone with the process.
///
/// The first driver to reach for: in a test, in an example, in a product that keeps its devices
/// elsewhere and fills this at start.
public final class InMemoryDeviceStorage: DeviceStorage {
    let ledger: InMemoryLedger
    /// Taken inside the ledger's lock by writes, alone by reads.
    let state = Mutex(InMemoryDeviceState())
    private let observer = Mutex<Observer?>(nil)
    let followers = Mutex<[InMemoryDeviceFollower]>([])
    /// The standard quota has no tenant.
    let quotas = Mutex<[TenantID?: TenantQuota]>([:])

    /// - Parameter ledger: the ledger that all in-memory drivers of one store share.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func commit(
        _ change: DeviceChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> DeviceChangeReceipt {
        let (outcome, revision) = try ledger.guardedNoting(epoch: epoch) { number in
            let limit = effectiveQuota(of: tenant).devices
            let outcome = try state.withLock {
                if let limit, case .enrol(let record) = change {
                    try $0.requireRoom(for: record.device, tenant: tenant, limit: limit)
                }
                return try $0.commit(change, tenant: tenant, number: number, at: now)
            }
            let changes = drainMembershipChanges(at: now)
            guard !changes.isEmpty, let observer = observer.withLock({ $0 })?.notify else {
                return (outcome.keys, nil, outcome)
            }
            let (more, note) = observer(changes, number, now)
            return (outcome.keys + more, note, outcome)
        }
        return DeviceChangeReceipt(
            revision: revision,
            row: outcome.row,
            changed: outcome.changed,
            unknown: outcome.unknown,
            evaluated: outcome.evaluated,
            isSettled: outcome.isSettled
        )
    }

    public func device(_ id: DeviceID, tenant: TenantID) async throws -> Device? {
        state.withLock { $0.entries[InMemoryDeviceKey(tenant, id)]?.device }
    }

    public func device(credential: CredentialDigest) async throws -> DeviceRow? {
        state.withLock { state in
            guard let key = state.credentials[credential], let entry = state.entries[key],
                entry.device.row.credential == credential, entry.device.row.state == .enrolled
            else { return nil }
            return entry.device.row
        }
    }

    public func devices(
        in group: GroupID?,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        let limit = max(0, min(limit, maximumPageSize))
        return state.withLock { state in
            var result: [Device] = []
            var position = after
            while result.count < limit {
                let ids = state.deviceIDs(
                    in: group,
                    tenant: tenant,
                    after: position,
                    limit: limit
                )
                for id in ids where result.count < limit {
                    let key = InMemoryDeviceKey(tenant, id)
                    guard let entry = state.entries[key] else { continue }
                    if let group, !entry.isPresent(in: group) { continue }
                    result.append(entry.device)
                }
                guard ids.count == limit else { break }
                position = ids.last
            }
            return result
        }
    }

    public func groups(tenant: TenantID) async throws -> [GroupSummary] {
        state.withLock { state in
            state.groups.filter { $0.key.tenant == tenant }
                .map { key, group in
                    let definition = state.definitions[key]
                    return GroupSummary(
                        group: key.group,
                        members: group.present,
                        query: definition?.query,
                        isSettled: definition?.isSettled ?? true,
                        pollingFrequency: group.pollingFrequency
                    )
                }
                .sorted { $0.group < $1.group }
        }
    }

    public func information(
        of device: DeviceID,
        tenant: TenantID
    ) async throws -> [DeviceInformation] {
        state.withLock { state in
            let information = state.entries[InMemoryDeviceKey(tenant, device)]?.information
            return information?.values.sorted { $0.kind < $1.kind } ?? []
        }
    }
}

// What the in-memory drivers of other modules read, and write inside a guarded write of the ledger.
extension InMemoryDeviceStorage {
    /// Told of memberships that a write has changed, inside it; returns what it logs beside.
    package typealias MembershipObserver =
        @Sendable (_ changes: [MembershipChange], _ number: Int64, _ now: Timestamp) -> (
            keys: [ChangeKey], note: ChangeNote?
        )

    /// A closure that a lock holds bare is wrapped once more each time it is read: calls grow slower.
    private struct Observer: Sendable {
        var notify: MembershipObserver
    }

    package func observeMemberships(_ observer: @escaping MembershipObserver) {
        self.observer.withLock { $0 = Observer(notify: observer) }
    }

    /// Memberships that began and ended in the guarded write that is going on, each told once, here and
    /// to followers.
    package func drainMembershipChanges(at now: Timestamp) -> [MembershipChange] {
        let changes = state.withLock { state in
            defer { state.membershipChanges = [] }
            return state.membershipChanges
        }
        tellFollowers(changes, at: now)
        return changes
    }

    /// The row of a device, enrolled or removed.
    package func row(of device: DeviceID, tenant: TenantID) -> DeviceRow? {
        state.withLock { $0.entries[InMemoryDeviceKey(tenant, device)]?.device.row }
    }

    /// The push registration of an enrolled device.
    package func registration(of device: DeviceID, tenant: TenantID) -> PushRegistration? {
        state.withLock { $0.entries[InMemoryDeviceKey(tenant, device)]?.device.push }
    }

    /// All intervals of a device, past and present incarnations, oldest first.
    package func memberships(of device: DeviceID, tenant: TenantID) -> [Membership] {
        state.withLock { $0.entries[InMemoryDeviceKey(tenant, device)]?.memberships ?? [] }
    }

    /// All intervals of a group, ordered by device id, then by when they began.
    package func memberships(of group: GroupID, tenant: TenantID) -> [Membership] {
        memberships(of: group, tenant: tenant, after: nil, limit: .max)
    }

    /// The intervals of at most `limit` devices of a group behind `after`, in order of device id.
    package func memberships(
        of group: GroupID,
        tenant: TenantID,
        after: DeviceID?,
        limit: Int
    ) -> [Membership] {
        state.withLock { state in
            state.deviceIDs(in: group, tenant: tenant, after: after, limit: limit).flatMap { id in
                state.entries[InMemoryDeviceKey(tenant, id)]?.memberships
                    .filter { $0.group == group } ?? []
            }
        }
    }

    /// How many devices are in a group now; `nil` for a group nobody ever made.
    /// ``GroupID/everyone`` always exists.
    package func memberCount(of group: GroupID, tenant: TenantID) -> Int? {
        state.withLock { state in
            state.groups[InMemoryGroupKey(tenant, group)]?.present ?? (group == .everyone ? 0 : nil)
        }
    }

    /// The shortest polling frequency of the groups a device is in now.
    package func groupPollingFrequency(of device: DeviceID, tenant: TenantID) -> Duration? {
        state.withLock { state in
            guard let entry = state.entries[InMemoryDeviceKey(tenant, device)] else { return nil }
            return entry.memberships.filter { $0.left == nil }
                .compactMap { state.groups[InMemoryGroupKey(tenant, $0.group)]?.pollingFrequency }
                .min()
        }
    }

    /// The polling frequency of a group; `nil` for a group nobody ever made.
    package func pollingFrequency(of group: GroupID, tenant: TenantID) -> Duration?? {
        state.withLock { state in
            state.groups[InMemoryGroupKey(tenant, group)].map(\.pollingFrequency)
        }
    }

    /// All groups that have a polling frequency, in order of tenant and name.
    package func groupPollingFrequencies() -> [(tenant: TenantID, GroupID, Duration)] {
        state.withLock { state in
            state.groups.compactMap { key, group in
                group.pollingFrequency.map { (key.tenant, key.group, $0) }
            }.sorted { ($0.0, $0.1) < ($1.0, $1.1) }
        }
    }

    /// The device that was enrolled as the `index`th of the store, with all its intervals. Devices
    /// keep their index, so that a scan may go on while devices enrol.
    package func device(at index: Int) -> (row: DeviceRow, memberships: [Membership])? {
        state.withLock { state in
            guard state.order.indices.contains(index) else { return nil }
            let key = state.order[index]
            guard let entry = state.entries[key], entry.place == index else {
                return (.forgotten(key.id, tenant: key.tenant), [])
            }
            return (entry.device.row, entry.memberships)
        }
    }

    /// Removed devices in the order of enrolment, among `limit` places from `start`.
    package func devices(
        from start: Int,
        limit: Int,
        removedBefore time: Timestamp
    ) -> (rows: [DeviceRow], next: Int?) {
        state.withLock { state in
            let end = min(state.order.count, start + max(1, limit))
            guard start < end else { return ([], nil) }
            let rows = (start..<end).compactMap { index -> DeviceRow? in
                guard let entry = state.entries[state.order[index]], entry.place == index,
                    let removed = entry.device.removedAt, removed < time
                else { return nil }
                return entry.device.row
            }
            return (rows, end < state.order.count ? end : nil)
        }
    }

    /// Removes all that is kept of a removed device, inside a guarded write of the ledger.
    package func forget(_ device: DeviceID, tenant: TenantID) {
        state.withLock { $0.forget(InMemoryDeviceKey(tenant, device)) }
    }

    /// How many devices were ever enrolled.
    package var deviceCount: Int { state.withLock { $0.order.count } }

    /// Stores a push registration, or with `nil` its end, unless a newer one is stored already.
    package func note(
        registration: PushRegistration?,
        of device: DeviceID,
        tenant: TenantID,
        receivedAt: Timestamp
    ) {
        state.withLock { state in
            let key = InMemoryDeviceKey(tenant, device)
            guard let entry = state.entries[key], entry.device.row.state == .enrolled else {
                return
            }
            let time = registration?.registeredAt ?? receivedAt
            if let known = entry.registrationTime, known > time { return }
            state.entries[key]?.device.push = registration
            state.entries[key]?.registrationTime = time
        }
    }

    /// Drops a dead push registration if it is no newer than `time`.
    ///
    /// - Returns: whether the device has no registration afterwards.
    @discardableResult
    package func dropRegistration(
        of device: DeviceID,
        tenant: TenantID,
        ifNoNewerThan time: Timestamp
    ) -> Bool {
        state.withLock { state in
            let key = InMemoryDeviceKey(tenant, device)
            guard let push = state.entries[key]?.device.push else { return true }
            if push.registeredAt > time { return false }
            state.entries[key]?.device.push = nil
            return true
        }
    }
}
