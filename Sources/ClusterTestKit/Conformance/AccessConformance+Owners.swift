internal import ClusterRole
internal import DeviceRegistry

// Who owns which device.
extension AccessConformance {
    private static func owned(
        by owner: OwnerID,
        _ scene: StoreScene,
        after: DeviceID? = nil,
        limit: Int = 100,
        tenant: TenantID? = nil
    ) async throws -> [String] {
        try await scene.needs(\.owners, "OwnedDeviceReader").devices(
            ownedBy: owner,
            after: after,
            limit: limit,
            tenant: tenant ?? scene.tenant
        ).map(\.id.rawValue)
    }

    static func listsOwned(_ scene: StoreScene) async throws {
        _ = try await scene.enrol(["d-3", "d-1", "d-2", "d-4"])
        try await scene.enrol("d-1", tenant: scene.otherTenant)
        try await scene.change(.setOwner("d-1", "ann"), tenant: scene.otherTenant)
        let before = try await scene.revision()
        for device in ["d-3", "d-1", "d-2"] as [DeviceID] {
            let receipt = try await scene.change(.setOwner(device, "ann", by: "alice"))
            try scene.check.equal(receipt.changed, 1, "changed devices")
        }
        try await scene.change(.setOwner("d-4", "bob"))
        try scene.check.equal(try await scene.revision(), before, "the revision: none is taken")
        try scene.check.equal(try await owned(by: "ann", scene), ["d-1", "d-2", "d-3"], "hers")
        try scene.check.equal(try await owned(by: "bob", scene), ["d-4"], "his")
        try scene.check.equal(
            try await owned(by: "ann", scene, limit: 2),
            ["d-1", "d-2"],
            "a page"
        )
        try scene.check.equal(
            try await owned(by: "ann", scene, after: "d-2"),
            ["d-3"],
            "the next page"
        )
        try scene.check.equal(
            try await owned(by: "ann", scene, tenant: scene.otherTenant),
            ["d-1"],
            "her namesake's"
        )
        let device = try await scene.device("d-1")
        try scene.check.equal(device.owner, "ann", "the owner")
        try scene.check.equal(device.ownedSince, scene.now, "since")
        try await scene.change(.setOwner("d-1", "ann"), at: scene.now + .seconds(9))
        try scene.check.equal(
            try await scene.device("d-1").ownedSince,
            scene.now,
            "since, after it was given to her again"
        )
        try await scene.change(.setOwner("d-1", "bob"), at: scene.now + .seconds(9))
        try await scene.change(.setOwner("d-2", nil))
        try scene.check.equal(try await owned(by: "ann", scene), ["d-3"], "what is left hers")
        try scene.check.equal(try await owned(by: "bob", scene), ["d-1", "d-4"], "what became his")
        let unknown = try await scene.change(.setOwner("d-9", "ann"))
        try scene.check.equal(unknown.unknown, 1, "unknown devices")
    }

    static func endsOwnership(_ scene: StoreScene) async throws {
        var record = scene.enrolment(of: "d-1", key: "k")
        record.owner = "ann"
        try await scene.change(.enrol(record))
        try await scene.enrol("d-2")
        try await scene.change(.setOwner("d-2", "ann"))
        try scene.check.equal(try await owned(by: "ann", scene), ["d-1", "d-2"], "at first")
        // The same enrolment again: only the credential is new.
        var repeated = scene.enrolment(of: "d-1", key: "k")
        repeated.owner = "bob"
        try await scene.change(.enrol(repeated))
        try scene.check.equal(try await owned(by: "ann", scene), ["d-1", "d-2"], "after a repeat")
        try await scene.enrol("d-1")
        try await scene.change(.remove("d-2"))
        try scene.check.equal(try await owned(by: "ann", scene), [], "afterwards")
        try scene.check.equal(try await scene.device("d-1").owner, nil, "the new enrolment's owner")
        try scene.check.equal(try await scene.device("d-2").owner, nil, "the removed one's owner")
    }
}
