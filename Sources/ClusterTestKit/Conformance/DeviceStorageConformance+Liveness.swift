internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// How fresh devices are.
extension DeviceStorageConformance {
    static func recordsLiveness(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        let seen = scene.now + .seconds(10)
        try await scene.apply(scene.contact(rows[0], answeredAt: nil, at: seen))
        let contacts = try await scene.allContacts()
        try scene.check.equal(
            contacts,
            rows.enumerated().map { index, row in
                RecordedContact(
                    identity: row.identity,
                    lastSeen: index == 0 ? seen : scene.now,
                    liveness: .active
                )
            },
            "the contacts; a device that never came was last seen when it enrolled"
        )
        let stranger = DeviceIdentity(
            tenant: scene.tenant,
            device: rows[1].id,
            incarnation: rows[0].incarnation
        )
        let before = try await scene.revision()
        let receipt = try await scene.change(
            .recordLiveness([
                LivenessChange(
                    identity: rows[0].identity,
                    lastSeen: seen,
                    liveness: .unreachable
                ),
                LivenessChange(
                    identity: rows[1].identity,
                    lastSeen: scene.now,
                    liveness: .inactive
                ),
                // It made contact since it was judged; it is of another enrolment; it is so already.
                LivenessChange(
                    identity: rows[2].identity,
                    lastSeen: scene.now - .seconds(1),
                    liveness: .inactive
                ),
                LivenessChange(identity: stranger, lastSeen: scene.now, liveness: .unreachable),
                LivenessChange(
                    identity: rows[2].identity,
                    lastSeen: scene.now,
                    liveness: .active
                ),
            ])
        )
        try scene.check.equal(receipt.changed, 2, "changes recorded")
        try scene.check.equal(try await scene.revision(), before, "the revision")
        try scene.check.equal(
            try await scene.devices.livenessCounts(tenant: scene.tenant),
            LivenessCounts(active: 1, unreachable: 1, inactive: 1),
            "the counts"
        )
        for (liveness, expected) in [
            (Liveness.active, ["d-3"]), (.unreachable, ["d-1"]), (.inactive, ["d-2"]),
        ] {
            try scene.check.equal(
                try await scene.ids(matching: .liveness(liveness)),
                expected,
                "devices recorded as \(liveness)"
            )
        }
        // What an administrator does is no sign of life; an old contact is none either.
        try await scene.change(.setPollingFrequency(rows[0].id, .seconds(9)))
        try await scene.apply(scene.contact(rows[0], answeredAt: nil, at: seen))
        try scene.check.equal(
            try await scene.ids(matching: .liveness(.unreachable)),
            ["d-1"],
            "unreachable devices after an administrator changed one"
        )
        try await scene.apply(
            scene.contact(rows[0], answeredAt: nil, at: seen + .milliseconds(1))
        )
        try scene.check.equal(
            try await scene.history(rows[0].id).map(\.what),
            [.becameActive, .pollingChanged, .becameUnreachable, .enrolled],
            "the history of the device that came back"
        )
        try await scene.change(.remove(rows[1].id))
        try scene.check.equal(
            try await scene.devices.livenessCounts(tenant: scene.tenant),
            LivenessCounts(active: 2),
            "the counts when one came back and one was removed"
        )
        try scene.check.equal(
            try await scene.devices.livenessCounts(tenant: scene.otherTenant),
            LivenessCounts(),
            "the neighbour's counts"
        )
    }
}
