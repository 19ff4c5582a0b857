internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// What devices told, what happened to them, and how fresh they are.
extension DeviceStorageConformance {
    static func keepsTypedForms(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let late = scene.now + .seconds(20)
        try await scene.apply(
            scene.information(row, .properties, #"{"os":{"version":"17.1"},"ok":true}"#),
            scene.information(row, .properties, #"{"os":{"version":"17.2"},"ram":8}"#, at: late),
            scene.information(row, .properties, #"{"os":{"version":"1"}}"#),
            scene.information(
                row,
                .applications,
                #"[{"identifier":"till","version":"2.0","name":"Till"},{"identifier":"a"}]"#
            )
        )
        let profile = try await scene.profile(row.id)
        try scene.check.equal(
            profile,
            DeviceProfile(
                properties: [
                    DeviceProperty(name: "os.version", value: .text("17.2")),
                    DeviceProperty(name: "ram", value: .number(8)),
                ],
                applications: [
                    InstalledApplication(identifier: "a"),
                    InstalledApplication(identifier: "till", version: "2.0", name: "Till"),
                ]
            ),
            "the typed form of what was received last"
        )
        try await scene.apply(
            scene.information(row, .properties, "[1]", at: late + .seconds(1)),
            scene.information(row, .applications, "{", at: late + .seconds(1))
        )
        try scene.check.equal(
            try await scene.profile(row.id),
            profile,
            "the typed form after documents of another shape"
        )
        let stored = try await scene.devices.information(of: row.id, tenant: scene.tenant)
        try scene.check.equal(
            stored.map(\.body),
            [Array("{".utf8), Array("[1]".utf8)],
            "the documents, as they came"
        )
        try scene.check.isNil(
            try await scene.devices.profile(of: row.id, tenant: scene.otherTenant),
            "the profile, asked for in another tenant's name"
        )
    }

    static func keepsLocations(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let limit = InformationLimits.locationHistory
        func location(_ second: Int) -> InboxEntry {
            scene.information(
                row,
                .location,
                #"{"latitude":\#(Double(second) / 10),"longitude":13.4,"accuracy":5,"recordedAt":7}"#,
                at: scene.now + .seconds(second)
            )
        }
        for second in [5, 3, 4] { try await scene.apply(location(second)) }
        let newest = try await scene.profile(row.id).location
        try scene.check.equal(
            newest,
            DeviceLocation(
                latitude: 0.5,
                longitude: 13.4,
                accuracy: 5,
                recordedAt: Timestamp(milliseconds: 7),
                receivedAt: scene.now + .seconds(5)
            ),
            "the newest location, though older ones came later"
        )
        let page = try await scene.locations(row.id, before: newest?.receivedAt, limit: 1)
        try scene.check.equal(page.map(\.latitude), [0.4], "the one before it")
        for second in 6..<(limit + 10) { try await scene.apply(location(second)) }
        let kept = try await scene.locations(row.id, before: nil, limit: maximumPageSize)
        try scene.check.equal(kept.count, limit, "locations kept")
        try scene.check.equal(
            kept.map(\.receivedAt),
            (0..<limit).map { scene.now + .seconds(limit + 9 - $0) },
            "the newest ones, newest first"
        )
    }

    static func keepsHistory(_ scene: StoreScene) async throws {
        let id = DeviceID(rawValue: "d-1")
        var record = scene.enrolment(of: id, key: "k")
        record.initiator = "alice"
        let first = record.incarnation.description
        try await scene.change(.enrol(record))
        record.initiator = "bob"
        try await scene.change(.enrol(record))
        let later = scene.now + .seconds(9)
        try await scene.change(.setPollingFrequency(id, .seconds(30), by: "carol"), at: later)
        try await scene.change(.remove(id, by: "dave"), at: later)
        let again = scene.enrolment(of: id)
        try await scene.change(.enrol(again), at: later)
        let history = try await scene.history(id)
        try scene.check.equal(
            history,
            [
                .init(
                    number: 5,
                    at: later,
                    what: .reEnrolled,
                    detail: again.incarnation.description
                ),
                .init(number: 4, at: later, who: "dave", what: .removed),
                .init(
                    number: 3,
                    at: later,
                    who: "carol",
                    what: .pollingChanged,
                    detail: "30000"
                ),
                .init(number: 2, at: scene.now, who: "bob", what: .credentialReplaced),
                .init(number: 1, at: scene.now, who: "alice", what: .enrolled, detail: first),
            ],
            "the history, newest first"
        )
        try scene.check.equal(
            try await scene.history(id, before: 3, limit: 1).map(\.number),
            [2],
            "a page of it"
        )
        try scene.check.equal(
            try await scene.devices.history(
                of: id,
                before: nil,
                limit: 9,
                tenant: scene.otherTenant
            ),
            [],
            "the history, asked for in another tenant's name"
        )
        for _ in 0..<InformationLimits.history {
            try await scene.change(.setPollingFrequency(id, nil))
        }
        let kept = try await scene.history(id)
        try scene.check.equal(kept.count, InformationLimits.history, "entries kept")
        try scene.check.equal(
            kept.first?.number,
            Int64(InformationLimits.history) + 5,
            "the newest"
        )
    }

    static func erases(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let time = scene.now + .seconds(5)
        for row in rows {
            let push = PushRegistration(transport: "http", address: "x", registeredAt: time)
            try await scene.apply(
                scene.contact(row, answeredAt: nil, at: time),
                scene.entry(row, .registration(push), at: time),
                scene.information(row, .properties, #"{"owner":"eve"}"#),
                scene.information(row, .location, #"{"latitude":1,"longitude":2}"#),
                scene.information(row, .applications, #"[{"identifier":"diary"}]"#),
                scene.information(row, InformationKind(rawValue: "other"), "{}")
            )
        }
        let id = rows[0].id
        try await scene.change(.remove(id, erase: .keepHistory, by: "admin"))
        try scene.check.isTrue(
            try await !scene.devices.information(of: id, tenant: scene.tenant).isEmpty,
            "a removed device keeps what it told, unless it is erased"
        )
        let receipt = try await scene.change(.remove(id, erase: .information, by: "admin"))
        try scene.check.equal(receipt.changed, 1, "devices changed by erasing a removed one")
        try await scene.change(.remove(rows[1].id, erase: .information, by: "admin"))
        for row in rows {
            let device = try await scene.device(row.id)
            try scene.check.equal(device.row.incarnation, row.incarnation, "the incarnation")
            try scene.check.isNil(device.lastSeen, "the last contact")
            try scene.check.isNil(device.push, "the push registration")
            try scene.check.equal(
                try await scene.devices.information(of: row.id, tenant: scene.tenant),
                [],
                "the information"
            )
            try scene.check.equal(
                try await scene.profile(row.id),
                DeviceProfile(),
                "the typed information"
            )
            try scene.check.equal(
                try await scene.locations(row.id, before: nil, limit: 10),
                [],
                "the locations"
            )
            try scene.check.equal(
                try await scene.history(row.id).map(\.what),
                [.erased, .removed, .enrolled],
                "the history"
            )
        }
        let again = try await scene.change(.remove(id, erase: .information))
        try scene.check.equal(again.changed, 0, "devices changed by erasing twice")
        let back = try await scene.enrol("d-2")
        try scene.check.equal(
            try await scene.profile(back.id),
            DeviceProfile(),
            "what a returning device has told"
        )
    }
}

extension StoreScene {
    func information(
        _ row: DeviceRow,
        _ kind: InformationKind,
        _ json: String,
        at time: Timestamp? = nil
    ) -> InboxEntry {
        entry(row, .information(kind, body: Array(json.utf8)), at: time)
    }

    func profile(_ id: DeviceID) async throws -> DeviceProfile {
        try check.some(try await devices.profile(of: id, tenant: tenant), "profile of \(id)")
    }

    func locations(
        _ id: DeviceID,
        before: Timestamp?,
        limit: Int
    ) async throws -> [DeviceLocation] {
        try await devices.locations(of: id, before: before, limit: limit, tenant: tenant)
    }

    func history(
        _ id: DeviceID,
        before: Int64? = nil,
        limit: Int = maximumPageSize
    ) async throws -> [DeviceHistoryEntry] {
        try await devices.history(of: id, before: before, limit: limit, tenant: tenant)
    }

    /// All contacts, in pages of two.
    func allContacts() async throws -> [RecordedContact] {
        var found: [RecordedContact] = []
        var after: Int64?
        repeat {
            let page = try await devices.contacts(after: after, limit: 2)
            found += page.contacts
            after = page.next
        } while after != nil
        return found
    }

    /// Ids of all devices a query asks for, in pages of two.
    func ids(matching query: DeviceQuery, tenant: TenantID? = nil) async throws -> [String] {
        var found: [String] = []
        var after: DeviceID?
        repeat {
            let page = try await devices.devices(
                matching: query,
                after: after,
                limit: 2,
                tenant: tenant ?? self.tenant
            )
            try check.isTrue(page.devices.count <= 2, "a page holds at most its limit")
            found += page.devices.map(\.id.rawValue)
            after = page.next
        } while after != nil
        return found
    }
}
