public import ClusterRole
internal import Synchronization

/// Finds devices by their owner.
public protocol OwnedDeviceReader: Sendable {
    /// Enrolled devices of one owner in order of id, behind `after`. Its cost grows with what is returned,
    /// not with the fleet.
    ///
    /// - Parameters:
    ///   - owner: whose devices are listed.
    ///   - after: only ids behind it; `nil` begins at the first.
    ///   - limit: at most ``maximumPageSize``.
    ///   - tenant: the tenant of the owner and the devices.
    func devices(
        ownedBy owner: OwnerID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device]
}

extension InMemoryDeviceState {
    struct OwnerKey: Hashable, Sendable {
        var tenant: TenantID
        var owner: OwnerID
    }

    /// The one place where an owner changes.
    mutating func setOwner(_ owner: OwnerID?, of key: InMemoryDeviceKey, at now: Timestamp) {
        if let known = entries[key]?.device.owner {
            owned[OwnerKey(tenant: key.tenant, owner: known)]?.remove(key.id)
        }
        entries[key]?.device.owner = owner
        entries[key]?.device.ownedSince = owner == nil ? nil : now
        if let owner {
            owned[OwnerKey(tenant: key.tenant, owner: owner), default: []].insert(key.id)
        }
    }

    mutating func setOwner(
        _ owner: OwnerID?,
        of key: InMemoryDeviceKey,
        by initiator: String,
        at now: Timestamp
    ) -> Outcome {
        guard let entry = entries[key], entry.device.row.state == .enrolled else {
            return Outcome(unknown: 1)
        }
        if entry.device.owner != owner {
            setOwner(owner, of: key, at: now)
            note(
                .ownerChanged,
                of: key,
                by: initiator,
                detail: owner?.rawValue ?? "none",
                at: now
            )
        }
        // No replica holds owners: nothing is logged.
        return Outcome(row: entry.device.row, changed: 1)
    }
}

extension InMemoryDeviceStorage: OwnedDeviceReader {
    public func devices(
        ownedBy owner: OwnerID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Device] {
        let limit = max(0, min(limit, maximumPageSize))
        return state.withLock { state in
            let key = InMemoryDeviceState.OwnerKey(tenant: tenant, owner: owner)
            let ids = (state.owned[key] ?? []).sorted().drop { id in after.map { id <= $0 } ?? false
            }
            return ids.prefix(limit).compactMap {
                state.entries[InMemoryDeviceKey(tenant, $0)]?.device
            }
        }
    }
}
