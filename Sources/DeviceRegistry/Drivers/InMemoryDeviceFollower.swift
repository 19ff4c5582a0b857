package import ClusterRole
internal import Synchronization

/// An in-memory driver of another module that keeps something for each member of a group, or for each
/// report of a device.
///
/// It is told inside the guarded write, when the devices' own lock is free again: what it does is atomic
/// with the change, and it may read devices.
package struct InMemoryDeviceFollower: Sendable {
    /// Memberships that began (``Membership/left`` is `nil`) or ended.
    package var memberships: @Sendable ([MembershipChange], Timestamp) -> Void
    /// Information that was applied, whether or not something newer is stored.
    package var information: @Sendable (DeviceInformation, DeviceIdentity) -> Void

    package init(
        memberships: @escaping @Sendable ([MembershipChange], Timestamp) -> Void,
        information: @escaping @Sendable (DeviceInformation, DeviceIdentity) -> Void
    ) {
        self.memberships = memberships
        self.information = information
    }
}

extension InMemoryDeviceStorage {
    /// Adds a follower, for ever.
    package func follow(_ follower: InMemoryDeviceFollower) {
        followers.withLock { $0.append(follower) }
    }

    func tellFollowers(_ changes: [MembershipChange], at now: Timestamp) {
        guard !changes.isEmpty else { return }
        for follower in followers.withLock({ $0 }) { follower.memberships(changes, now) }
    }

    func tellFollowers(_ information: DeviceInformation, of device: DeviceID, tenant: TenantID) {
        guard let row = row(of: device, tenant: tenant) else { return }
        let identity = DeviceIdentity(
            tenant: tenant,
            device: device,
            incarnation: row.incarnation
        )
        for follower in followers.withLock({ $0 }) { follower.information(information, identity) }
    }

    /// When a device last reported information of a kind.
    package func received(
        _ kind: InformationKind,
        of device: DeviceID,
        tenant: TenantID
    ) -> Timestamp? {
        state.withLock {
            $0.entries[InMemoryDeviceKey(tenant, device)]?.information[kind]?.receivedAt
        }
    }
}
