import ClusterRole
import ClusterTestKit
import DeviceRegistry
import XCTest

/// Rows of the table for identities and owners.
extension TenantCrossingTests.Scene {
    static let owner = OwnerID(rawValue: "ann")
    static let identity = IdentityName(rawValue: "night-shift")

    func populateAccess() async throws {
        _ = try await store.devices.commit(
            .setOwner(device, Self.owner, by: "tester"),
            tenant: victim,
            epoch: epoch,
            at: now
        )
        try await store.identities?.add(
            StoredIdentity(
                name: Self.identity,
                tenant: victim,
                kind: .administrator,
                permissions: [.read],
                digest: Array(repeating: 7, count: 32),
                createdAt: now
            ),
            epoch: epoch
        )
    }

    func accessPicture() async throws -> [String] {
        [
            "\(try await store.identities?.identities(tenant: victim) ?? [])",
            "\(try await owned(in: victim))",
        ]
    }

    fileprivate func owned(in tenant: TenantID) async throws -> [Device] {
        try await store.owners?.devices(
            ownedBy: Self.owner,
            after: nil,
            limit: 9,
            tenant: tenant
        ) ?? []
    }
}

extension TenantCrossingTests {
    static let accessAttempts: [String: Attempt] = [
        "IdentityStorage.identities": { scene in
            let found = try await scene.store.identities?.identities(tenant: scene.thief) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "IdentityStorage.removeIdentity": { scene in
            let isGone = try await scene.store.identities?.removeIdentity(
                Scene.identity,
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return isGone == true ? "removed" : nil
        },
        "OwnedDeviceReader.devices": { scene in
            let found = try await scene.owned(in: scene.thief)
            return found.isEmpty ? nil : "\(found)"
        },
    ]
}
