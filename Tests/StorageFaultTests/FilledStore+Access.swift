#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import SQLiteStore
import XCTest

extension FilledStore {
    static let tokenDigest = [UInt8](repeating: 0x5A, count: 32)

    /// Who did what, who may, who owns what.
    static func fillAccess(_ house: StoreHouse) async throws {
        let (store, epoch, now) = (house.store, house.epoch, house.time.now())
        let records = (0..<4).map { index in
            AuditRecord(
                at: now + .seconds(index),
                who: "alice",
                kind: .administrator,
                tenant: .standard,
                operation: "enqueueOperation",
                target: "/admin/v1/operations",
                peer: "10.0.0.1",
                outcome: .done,
                status: 202
            )
        }
        _ = try await store.append(records, epoch: epoch)
        let purged = try await store.purgeAudit(
            before: now + .seconds(1),
            keepingAtMost: 100,
            limit: 100,
            epoch: epoch
        )
        XCTAssertEqual(purged, 1)
        let identity = StoredIdentity(
            name: "night-shift",
            tenant: .standard,
            kind: .administrator,
            permissions: [.read, .operate],
            digest: tokenDigest,
            createdAt: now,
            createdBy: "alice"
        )
        try await store.add(identity, epoch: epoch)
        _ = try await store.commit(
            .setOwner("device-1", "ann"),
            tenant: .standard,
            epoch: epoch,
            at: now
        )
    }

    static func readAccess(_ store: EmbeddedStore, _ hasher: inout Hasher) async throws {
        hasher.combine(try await store.entries(after: 0, limit: 100))
        hasher.combine(
            try await store.entries(matching: .init(who: "alice"), before: nil, limit: 9)
        )
        hasher.combine(try await store.auditBounds())
        for identity in try await store.identities(tenant: .standard) {
            hasher.combine(identity.name)
            hasher.combine(identity.permissions.map(\.rawValue).sorted())
            hasher.combine(identity.digest)
        }
        hasher.combine(try await store.identity(digest: tokenDigest)?.name)
        let owned = try await store.devices(
            ownedBy: "ann",
            after: nil,
            limit: 9,
            tenant: .standard
        )
        hasher.combine(owned)
    }
}
#endif
