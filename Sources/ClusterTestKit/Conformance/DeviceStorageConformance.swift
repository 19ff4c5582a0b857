internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `DeviceStorage`, step by step.
public struct DeviceStorageConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("DeviceStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("a new device is stored as enrolled, with what was given", storesNewDevice),
        .init("a credential finds its enrolled device and nothing else does", findsByCredential),
        .init("an enrolled device is in everyone and in the groups it named", joinsAtEnrolment),
        .init("a repeated enrolment key only replaces the credential", repeatsEnrolment),
        .init("enrolling again without the key is a new incarnation", reEnrols),
        .init("a removed device is refused, keeps its history, leaves its groups", removes),
        .init("removing what is not there changes nothing", removesNothing),
        .init("joining adds enrolled devices once and counts the unknown", joins),
        .init("leaving takes out members and skips others", leaves),
        .init("a polling frequency is set and reset", setsFrequency),
        .init("a group's polling frequency is set and reset", setsGroupFrequency),
        .init("devices are paged in order of id", pages),
        .init("groups are listed by name with their present members", listsGroups),
        .init("one call takes ten thousand names", joinsManyAtOnce),
        .init("tenants never cross", keepsTenantsApart),
        .init("the newest contact, registration and information are kept", keepsNewestNews),
        .init("typed information is kept beside the documents, newest first", keepsTypedForms),
        .init("locations are kept up to their limit, in order of receipt", keepsLocations),
        .init("a device's history says who did what, up to its limit", keepsHistory),
        .init("an erased device keeps its name and its history", erases),
        .init("only a device's own contact makes it active", recordsLiveness),
        .init("a query finds enrolled devices, page by page", answersQueries),
        .init("a group's definition is compared with all devices, page by page", definesGroups),
        .init("a defined group follows every change in the same transaction", followsChanges),
        .init(
            "information that changes no membership takes no revision",
            takesNoRevisionForNothing
        ),
        .init("a settled group is what its query finds, whatever happened", keepsGroupsTrue),
        .init("definitions do not nest and are limited", refusesNesting),
        .init("a definition goes on after a restart", goesOnAfterReopening),
        .init("each change takes a revision and logs its keys", logsKeys),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("what was acknowledged is there after a restart", survivesReopening),
    ]
}

extension DeviceStorageConformance {
    static func storesNewDevice(_ scene: StoreScene) async throws {
        let record = EnrolmentRecord(
            device: DeviceID(rawValue: "d-1"),
            incarnation: IncarnationID(from: scene.random),
            credential: DeviceCredential(from: scene.random).digest,
            pollingFrequency: .seconds(90),
            key: "k"
        )
        let receipt = try await scene.change(.enrol(record))
        let expected = DeviceRow(
            tenant: scene.tenant,
            id: record.device,
            incarnation: record.incarnation,
            state: .enrolled,
            credential: record.credential,
            pollingFrequency: .seconds(90)
        )
        try scene.check.equal(receipt.row, expected, "the row in the receipt")
        try scene.check.equal(receipt.changed, 1, "devices changed")
        try scene.check.isTrue(receipt.revision.number > 0, "an enrolment takes a revision")
        let device = try await scene.device(record.device)
        try scene.check.equal(
            device,
            Device(row: expected, enrolledAt: scene.now),
            "the device read back"
        )
        let unknown = try await scene.devices.device(
            DeviceID(rawValue: "d-2"),
            tenant: scene.tenant
        )
        try scene.check.isNil(unknown, "a device never enrolled")
    }

    static func findsByCredential(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        for row in rows {
            let found = try await scene.devices.device(credential: row.credential)
            try scene.check.equal(found, row, "the device of the credential of \(row.id)")
        }
        let stranger = DeviceCredential(from: scene.random).digest
        try scene.check.isNil(
            try await scene.devices.device(credential: stranger),
            "the device of a credential never given out"
        )
    }

    static func joinsAtEnrolment(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        try await scene.enrol("d-1", groups: [fleet])
        try await scene.enrol("d-2")
        try scene.check.equal(try await scene.ids(in: .everyone), ["d-1", "d-2"], "everyone")
        try scene.check.equal(try await scene.ids(in: fleet), ["d-1"], "the group named")
    }

    static func repeatsEnrolment(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let id = DeviceID(rawValue: "d-1")
        let first = scene.enrolment(of: id, groups: [fleet], key: "attempt-1")
        try await scene.change(.enrol(first))
        let second = scene.enrolment(of: id, groups: [fleet], key: "attempt-1")
        let receipt = try await scene.change(.enrol(second), at: scene.now + .seconds(5))
        let row = try scene.check.some(receipt.row, "the row in the second receipt")
        try scene.check.equal(row.incarnation, first.incarnation, "the incarnation")
        try scene.check.equal(row.credential, second.credential, "the credential")
        try scene.check.isNil(
            try await scene.devices.device(credential: first.credential),
            "the device of the replaced credential"
        )
        try scene.check.equal(
            try await scene.devices.device(credential: second.credential),
            row,
            "the device of the new credential"
        )
        try scene.check.equal(
            try await scene.ids(in: fleet),
            ["d-1"],
            "the group after the repetition"
        )
        try scene.check.equal(
            try await scene.device(id).enrolledAt,
            scene.now,
            "the time of enrolment"
        )
    }

    static func reEnrols(_ scene: StoreScene) async throws {
        let id = DeviceID(rawValue: "d-1")
        let fleet = GroupID(rawValue: "fleet")
        let first = scene.enrolment(of: id, groups: [fleet], key: "attempt-1")
        try await scene.change(.enrol(first))
        for key in [nil, "attempt-2"] {
            let again = scene.enrolment(of: id, key: key)
            let receipt = try await scene.change(.enrol(again))
            try scene.check.equal(
                receipt.row?.incarnation,
                again.incarnation,
                "the incarnation with key \(key ?? "none")"
            )
        }
        try scene.check.isNil(
            try await scene.devices.device(credential: first.credential),
            "the device of the first enrolment's credential"
        )
        try scene.check.equal(try await scene.ids(in: .everyone), ["d-1"], "everyone")
        try scene.check.equal(try await scene.ids(in: nil), ["d-1"], "all devices")
        try scene.check.equal(
            try await scene.ids(in: fleet),
            [],
            "the group of the first enrolment, which the later ones did not name"
        )
    }

    static func removes(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        try await scene.enrol("d-2", groups: [fleet])
        let removal = scene.now + .seconds(60)
        let receipt = try await scene.change(.remove(row.id), at: removal)
        try scene.check.equal(receipt.changed, 1, "devices changed")
        let device = try await scene.device(row.id)
        try scene.check.equal(device.row.state, .removed, "the state")
        try scene.check.equal(device.removedAt, removal, "the time of removal")
        try scene.check.equal(device.enrolledAt, scene.now, "the time of enrolment")
        try scene.check.isNil(
            try await scene.devices.device(credential: row.credential),
            "the device of a removed device's credential"
        )
        try scene.check.equal(try await scene.ids(in: fleet), ["d-2"], "its group")
        try scene.check.equal(try await scene.ids(in: .everyone), ["d-2"], "everyone")
        let back = try await scene.enrol("d-1")
        try scene.check.isTrue(back.incarnation != row.incarnation, "a new incarnation on return")
        try scene.check.equal(
            try await scene.ids(in: .everyone),
            ["d-1", "d-2"],
            "everyone, later"
        )
        try scene.check.isNil(
            try await scene.device(row.id).removedAt,
            "the time of removal, later"
        )
    }

    static func removesNothing(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let unknown = try await scene.change(.remove(DeviceID(rawValue: "nobody")))
        try scene.check.equal(unknown.changed, 0, "devices changed by removing an unknown one")
        try await scene.change(.remove(row.id))
        let again = try await scene.change(.remove(row.id), at: scene.now + .seconds(9))
        try scene.check.equal(again.changed, 0, "devices changed by removing twice")
        try scene.check.equal(
            try await scene.device(row.id).removedAt,
            scene.now,
            "the time of removal"
        )
    }

    static func joins(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        try await scene.change(.remove(rows[2].id))
        let first = try await scene.change(.join(fleet, [rows[0].id]))
        try scene.check.equal(first.changed, 1, "devices joined")
        let named = rows.map(\.id) + [DeviceID(rawValue: "nobody")]
        let second = try await scene.change(.join(fleet, named))
        try scene.check.equal(second.changed, 1, "devices joined by the second call")
        try scene.check.equal(second.unknown, 2, "unknown and removed devices")
        try scene.check.equal(try await scene.ids(in: fleet), ["d-1", "d-2"], "the group")
        let third = try await scene.change(.join(fleet, named))
        try scene.check.equal(third.changed, 0, "devices joined by repeating the call")
    }

    static func leaves(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [])
        try await scene.change(.join(fleet, [rows[0].id, rows[1].id]))
        let receipt = try await scene.change(.leave(fleet, [rows[0].id, rows[2].id]))
        try scene.check.equal(receipt.changed, 1, "devices that left")
        try scene.check.equal(try await scene.ids(in: fleet), ["d-2"], "the group")
        try await scene.change(.join(fleet, [rows[0].id]))
        try scene.check.equal(try await scene.ids(in: fleet), ["d-1", "d-2"], "after coming back")
    }

    static func setsGroupFrequency(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        func frequencies() async throws -> [Duration?] {
            try await scene.devices.groups(tenant: scene.tenant).map(\.pollingFrequency)
        }
        func open() async throws -> Duration? {
            try await scene.openWork(for: row).pollingFrequency
        }
        for (group, frequency) in [(GroupID.everyone, 90), (fleet, 30)] {
            let receipt = try await scene.change(
                .setGroupPollingFrequency(group, .seconds(frequency))
            )
            try scene.check.equal(receipt.changed, 1, "groups changed")
        }
        try scene.check.equal(
            try await frequencies(),
            [.seconds(90), .seconds(30)],
            "of everyone and fleet"
        )
        try scene.check.equal(try await open(), .seconds(30), "the shortest of its groups")
        try scene.check.equal(
            try await scene.device(row.id).row,
            row,
            "the device's own row"
        )
        try await scene.change(.setPollingFrequency(row.id, .seconds(600)))
        try scene.check.equal(try await open(), .seconds(600), "its own wins")
        try await scene.change(.setPollingFrequency(row.id, nil))
        try await scene.change(.leave(fleet, [row.id]))
        try scene.check.equal(try await open(), .seconds(90), "after leaving the shorter one")
        try await scene.change(.setGroupPollingFrequency(.everyone, nil))
        try scene.check.equal(try await open(), nil, "after the reset")
        try scene.check.equal(try await frequencies(), [nil, .seconds(30)], "of the groups, then")
        let none = try await scene.change(
            .setGroupPollingFrequency(GroupID(rawValue: "nobody"), .seconds(1))
        )
        try scene.check.equal(none.changed, 0, "groups changed for an unknown one")
        let other = try await scene.devices.groups(tenant: scene.otherTenant)
        try scene.check.isTrue(
            other.allSatisfy { $0.pollingFrequency == nil },
            "no frequency in another tenant"
        )
    }

    static func setsFrequency(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let receipt = try await scene.change(.setPollingFrequency(row.id, .seconds(30)))
        try scene.check.equal(receipt.row?.pollingFrequency, .seconds(30), "in the receipt")
        let stored = try await scene.device(row.id).row
        try scene.check.equal(stored.pollingFrequency, .seconds(30), "the stored frequency")
        try scene.check.equal(stored.credential, row.credential, "the credential")
        try await scene.change(.setPollingFrequency(row.id, nil))
        try scene.check.equal(try await scene.device(row.id).row, row, "the row after the reset")
        let unknown = DeviceID(rawValue: "nobody")
        let none = try await scene.change(.setPollingFrequency(unknown, .seconds(1)))
        try scene.check.equal(none.changed, 0, "devices changed for an unknown one")
    }
}
