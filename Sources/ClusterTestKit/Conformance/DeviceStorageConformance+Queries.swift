internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension DeviceStorageConformance {
    static func pages(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        // Enrolled out of order; order of id is order of UTF-8 bytes.
        let names = ["d-5", "d-10", "d-1", "d-3", "é", "Z", "d-2"]
        let rows = try await scene.enrol(names)
        try await scene.change(.join(fleet, rows.filter { $0.id.rawValue != "d-3" }.map(\.id)))
        for (group, expected) in [(nil, names), (fleet, names.filter { $0 != "d-3" })] {
            var seen: [String] = []
            var after: DeviceID?
            while seen.count <= names.count {
                let page = try await scene.devices.devices(
                    in: group,
                    after: after,
                    limit: 2,
                    tenant: scene.tenant
                )
                try scene.check.isTrue(page.count <= 2, "a page holds at most its limit")
                seen += page.map(\.id.rawValue)
                after = page.last?.id
                if page.isEmpty { break }
            }
            let sorted = expected.sorted {
                Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8))
            }
            try scene.check.equal(seen, sorted, "ids over all pages")
        }
        let none = try await scene.ids(in: GroupID(rawValue: "nowhere"))
        try scene.check.equal(none, [], "members of a group that does not exist")
    }

    static func listsGroups(_ scene: StoreScene) async throws {
        let north = GroupID(rawValue: "north")
        let empty = GroupID(rawValue: "empty")
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [north])
        try await scene.change(.join(empty, [rows[0].id]))
        try await scene.change(.leave(empty, [rows[0].id]))
        try await scene.change(.leave(north, [rows[1].id]))
        try scene.check.equal(
            try await scene.devices.groups(tenant: scene.tenant),
            [
                GroupSummary(group: empty, members: 0),
                GroupSummary(group: .everyone, members: 3),
                GroupSummary(group: north, members: 2),
            ],
            "the groups"
        )
    }

    static func joinsManyAtOnce(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrolTogether((0..<50).map { "real-\($0)" })
        let strangers = (0..<9_950).map { DeviceID(rawValue: "stranger-\($0)") }
        let receipt = try await scene.change(.join(fleet, strangers + rows.map(\.id)))
        try scene.check.equal(receipt.changed, 50, "devices joined")
        try scene.check.equal(receipt.unknown, 9_950, "unknown devices")
        try scene.check.equal(try await scene.ids(in: fleet).count, 50, "members")
    }

    static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let mine = try await scene.enrol("d-1", groups: [fleet])
        let other = try await scene.enrol("d-1", groups: [fleet], tenant: scene.otherTenant)
        try await scene.enrol("d-2", groups: [fleet], tenant: scene.otherTenant)
        try scene.check.equal(try await scene.device(mine.id).row, mine, "my device")
        try scene.check.equal(
            try await scene.device(other.id, tenant: scene.otherTenant).row,
            other,
            "the neighbour's device of the same name"
        )
        try scene.check.isNil(
            try await scene.devices.device(DeviceID(rawValue: "d-2"), tenant: scene.tenant),
            "the neighbour's device, asked for in my name"
        )
        try scene.check.equal(try await scene.ids(in: fleet), ["d-1"], "my group")
        try scene.check.equal(try await scene.ids(in: nil), ["d-1"], "my devices")
        try scene.check.equal(
            try await scene.devices.groups(tenant: scene.tenant).map(\.members),
            [1, 1],
            "members of my groups"
        )
        let owner = try await scene.devices.device(credential: other.credential)
        try scene.check.equal(
            owner?.tenant,
            scene.otherTenant,
            "tenant of the neighbour's credential"
        )
        try await scene.change(.leave(fleet, [mine.id]))
        try await scene.change(.remove(mine.id))
        try scene.check.equal(
            try await scene.ids(in: fleet, tenant: scene.otherTenant),
            ["d-1", "d-2"],
            "the neighbour's group after I changed mine"
        )
        try scene.check.equal(
            try await scene.device(other.id, tenant: scene.otherTenant).row,
            other,
            "the neighbour's device after I removed mine"
        )
    }

    static func keepsNewestNews(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let early = scene.now + .seconds(10)
        let late = scene.now + .seconds(20)
        func registration(_ address: String, _ time: Timestamp) -> InboxEntry {
            let push = PushRegistration(transport: "http", address: address, registeredAt: time)
            return scene.entry(row, .registration(push), at: time)
        }
        func information(_ body: String, _ time: Timestamp) -> InboxEntry {
            scene.entry(row, .information(.location, body: Array(body.utf8)), at: time)
        }
        // The newer news first: what comes late must not replace it.
        for time in [late, early] {
            try await scene.apply(
                scene.contact(row, answeredAt: nil, at: time),
                registration("address at \(time)", time),
                information("location at \(time)", time),
                at: time
            )
        }
        let applications = scene.entry(row, .information(.applications, body: [91, 93]), at: late)
        try await scene.apply(applications)
        let device = try await scene.device(row.id)
        try scene.check.equal(device.lastSeen, late, "last seen")
        try scene.check.equal(device.push?.address, "address at \(late)", "the push address")
        let location = Array("location at \(late)".utf8)
        try scene.check.equal(
            try await scene.devices.information(of: row.id, tenant: scene.tenant),
            [
                DeviceInformation(kind: .applications, body: [91, 93], receivedAt: late),
                DeviceInformation(kind: .location, body: location, receivedAt: late),
            ],
            "the information, by kind"
        )
        try scene.check.equal(
            try await scene.devices.information(of: row.id, tenant: scene.otherTenant),
            [],
            "the information, asked for in another tenant's name"
        )
        try await scene.apply(scene.entry(row, .registration(nil), at: late + .seconds(1)))
        try scene.check.isNil(try await scene.device(row.id).push, "the registration given up")
    }

    static func logsKeys(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let fleet = GroupID(rawValue: "fleet")
        let id = DeviceID(rawValue: "d-1")
        let deviceKey = ChangeKey.device(tenant: scene.tenant, id: "d-1")
        let memberKey = ChangeKey.membership(tenant: scene.tenant, group: "fleet", device: "d-1")
        let everyoneKey = ChangeKey.membership(
            tenant: scene.tenant,
            group: GroupID.everyone.rawValue,
            device: "d-1"
        )
        let changes: [(DeviceChange, Set<ChangeKey>)] = [
            (.enrol(scene.enrolment(of: id)), [deviceKey, everyoneKey]),
            (.join(fleet, [id]), [memberKey]),
            (.leave(fleet, [id]), [memberKey]),
            (.setPollingFrequency(id, .seconds(7)), [deviceKey]),
            (
                .setGroupPollingFrequency(fleet, .seconds(7)),
                [.group(tenant: scene.tenant, name: "fleet")]
            ),
            (.remove(id), [deviceKey, everyoneKey]),
        ]
        for (change, keys) in changes {
            let before = try await log.current()
            let receipt = try await scene.change(change)
            try scene.check.isTrue(
                receipt.revision.number > before.number,
                "\(change) takes a revision"
            )
            let logged = try await log.changes(after: before, limit: 10)
            try scene.check.equal(
                logged.map(\.number),
                [receipt.revision.number],
                "the revisions of \(change)"
            )
            let found = Set(logged.flatMap(\.keys))
            try scene.check.isTrue(
                found.isSuperset(of: keys),
                "\(change) logs \(keys); it logged \(found)"
            )
        }
    }

    static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1")
        let changes: [DeviceChange] = [
            .enrol(scene.enrolment(of: DeviceID(rawValue: "d-2"))),
            .enrol(scene.enrolment(of: row.id)),
            .join(fleet, [row.id]),
            .leave(.everyone, [row.id]),
            .setPollingFrequency(row.id, .seconds(3)),
            .setGroupPollingFrequency(.everyone, .seconds(3)),
            .remove(row.id),
        ]
        for change in changes {
            try await scene.expectFenced("\(change)") { epoch in
                try await scene.change(change, epoch: epoch)
            }
        }
        try scene.check.equal(try await scene.device(row.id).row, row, "the device")
        try scene.check.equal(try await scene.ids(in: nil), ["d-1"], "all devices")
        try scene.check.equal(try await scene.ids(in: .everyone), ["d-1"], "everyone")
        try scene.check.equal(try await scene.ids(in: fleet), [], "the group")
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let last = try await scene.change(.leave(fleet, [rows[0].id])).revision
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        try again.check.isTrue(again.epoch > scene.epoch, "a higher epoch after the restart")
        try again.check.equal(try await again.device(rows[0].id).row, rows[0], "the device")
        try again.check.equal(try await again.ids(in: fleet), ["d-2"], "the group")
        let next = try await again.change(.join(fleet, [rows[0].id])).revision
        try again.check.isTrue(
            next.covers(last) && next != last,
            "revisions go on where they stood (\(last), then \(next))"
        )
        try await store.close()
    }
}
