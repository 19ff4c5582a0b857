internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// Queries, and the groups they define.
extension DeviceStorageConformance {
    static func answersQueries(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        // Enrolled out of order; order of id is order of UTF-8 bytes.
        let rows = try await scene.enrol(["d-2", "d-10", "Z", "é", "d-3"])
        try await scene.change(.join(fleet, [rows[0].id, rows[2].id]))
        for (index, row) in rows.enumerated() {
            try await scene.apply(
                scene.information(
                    row,
                    .properties,
                    #"{"os":"\#(index % 2 == 0 ? "ios" : "android")","v":"\#(index + 8).1","n":\#(index)}"#
                ),
                scene.information(
                    row,
                    .applications,
                    index < 3 ? #"[{"identifier":"till","version":"1.\#(index)"}]"# : "[]"
                )
            )
        }
        try await scene.change(.setPollingFrequency(rows[1].id, .seconds(90)))
        let twin = try await scene.enrol("d-2", tenant: scene.otherTenant)
        try await scene.apply(scene.information(twin, .properties, #"{"os":"ios"}"#))
        let cases: [(String, [String])] = [
            (#"os = "ios""#, ["Z", "d-2", "d-3"]),
            (#"os != "ios""#, ["d-10", "é"]),
            (#"v >= "10""#, ["Z", "d-3", "é"]),
            (#"v prefix "1""#, ["Z", "d-3", "é"]),
            ("n < 2", ["d-10", "d-2"]),
            ("n = 1", ["d-10"]),
            (#"n = "1""#, []),
            ("exists n", ["Z", "d-10", "d-2", "d-3", "é"]),
            ("exists m", []),
            (#"installed "till""#, ["Z", "d-10", "d-2"]),
            (#"installed "till" >= "1.1""#, ["Z", "d-10"]),
            (#"not installed "till""#, ["d-3", "é"]),
            (#"member "fleet""#, ["Z", "d-2"]),
            (#"member "nobody""#, []),
            ("polling > 60", ["d-10"]),
            (#"os = "ios" and member "fleet" and n > 0"#, ["Z"]),
            (#"os = "android" or n = 0"#, ["d-10", "d-2", "é"]),
        ]
        for (text, expected) in cases {
            try scene.check.equal(
                try await scene.ids(matching: DeviceQuery(parsing: text)),
                expected,
                text
            )
        }
        try await scene.change(.remove(rows[0].id))
        try scene.check.equal(
            try await scene.ids(matching: DeviceQuery(parsing: #"os = "ios""#)),
            ["Z", "d-3"],
            "enrolled devices only"
        )
    }

    static func definesGroups(_ scene: StoreScene) async throws {
        let group = GroupID(rawValue: "modern")
        let rows = try await scene.enrol(["d-1", "d-2", "d-3", "d-4", "d-5"])
        for row in rows.dropFirst(2) {
            try await scene.apply(scene.information(row, .properties, #"{"v":"17"}"#))
        }
        // It was a list before: who does not match leaves.
        try await scene.change(.join(group, [rows[0].id]))
        let query = try DeviceQuery(parsing: #"v >= "17""#)
        let defined = try await scene.change(.define(group, as: query))
        try scene.check.equal(defined.isSettled, false, "settled at once")
        try scene.check.equal(
            try await scene.summary(of: group),
            GroupSummary(group: group, members: 1, query: query, isSettled: false),
            "the group before the walk"
        )
        let unsettled = try await scene.devices.unsettledGroups(limit: 10)
        try scene.check.isTrue(
            unsettled.contains { $0.tenant == scene.tenant && $0.group == group },
            "the unfinished group is found"
        )
        var evaluated: [Int] = []
        var receipt = defined
        while !receipt.isSettled && evaluated.count < 10 {
            receipt = try await scene.change(.evaluate(group, limit: 2))
            evaluated.append(receipt.evaluated)
        }
        try scene.check.equal(evaluated, [2, 2, 1], "devices compared, page by page")
        try scene.check.equal(try await scene.ids(in: group), ["d-3", "d-4", "d-5"], "members")
        try scene.check.equal(
            try await scene.summary(of: group),
            GroupSummary(group: group, members: 3, query: query),
            "the group after the walk"
        )
        let idle = try await scene.change(.evaluate(group, limit: 2))
        try scene.check.equal(idle.evaluated, 0, "devices compared once it is settled")
        for change: DeviceChange in [
            .join(group, [rows[0].id]), .leave(group, [rows[2].id]),
            .enrol(scene.enrolment(of: DeviceID(rawValue: "d-9"), groups: [group])),
        ] {
            try await scene.expectRefused(.dynamicGroup, from: "\(change)") {
                try await scene.change(change)
            }
        }
        try scene.check.equal(
            try await scene.ids(in: nil),
            rows.map(\.id.rawValue),
            "devices after a refused enrolment"
        )
        let other = try await scene.change(.define(group, as: DeviceQuery(parsing: "exists w")))
        try scene.check.equal(other.isSettled, false, "settled after another definition")
        let walked = try await scene.change(.evaluate(group, limit: 10))
        try scene.check.equal(walked.changed, 3, "members that left")
        try await scene.change(.define(group, as: nil))
        try await scene.change(.join(group, [rows[0].id]))
        try scene.check.equal(try await scene.ids(in: group), ["d-1"], "a list again")
        try await scene.apply(scene.information(rows[1], .properties, #"{"w":1}"#))
        try scene.check.equal(try await scene.ids(in: group), ["d-1"], "still a list")
    }

    static func followsChanges(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let fleet = GroupID(rawValue: "fleet")
        func steps(_ entries: InboxEntry...) -> @Sendable () async throws -> Void {
            { for entry in entries { try await scene.apply(entry) } }
        }
        func steps(_ change: DeviceChange) -> @Sendable () async throws -> Void {
            { try await scene.change(change) }
        }
        let cases:
            [(
                String, in: @Sendable () async throws -> Void,
                out: @Sendable () async throws -> Void
            )] =
                [
                    (
                        #"os.version >= "17""#,
                        steps(scene.information(row, .properties, #"{"os":{"version":"17.0"}}"#)),
                        steps(scene.information(row, .properties, #"{"os":{"version":"9.3"}}"#))
                    ),
                    (
                        "exists serial",
                        steps(scene.information(row, .properties, #"{"serial":1}"#)),
                        steps(scene.information(row, .properties, "{}"))
                    ),
                    (
                        #"installed "till" >= "2""#,
                        steps(
                            scene.information(
                                row,
                                .applications,
                                #"[{"identifier":"till","version":"2"}]"#
                            )
                        ),
                        steps(
                            scene.information(
                                row,
                                .applications,
                                #"[{"identifier":"till","version":"1"}]"#
                            )
                        )
                    ),
                    (
                        "polling < 60",
                        steps(.setPollingFrequency(row.id, .seconds(5))),
                        steps(.setPollingFrequency(row.id, nil))
                    ),
                    (
                        #"member "fleet""#, steps(.join(fleet, [row.id])),
                        steps(.leave(fleet, [row.id]))
                    ),
                ]
        for (index, entry) in cases.enumerated() {
            let group = GroupID(rawValue: "g-\(index)")
            try await scene.change(.define(group, as: DeviceQuery(parsing: entry.0)))
            try await scene.change(.evaluate(group, limit: 100))
            for round in 1...2 {
                let before = try await scene.revision()
                try await entry.in()
                try scene.check.equal(
                    try await scene.ids(in: group),
                    ["d-1"],
                    "\(entry.0), in, round \(round)"
                )
                try await scene.expectLogged(group, row.id, after: before)
                let between = try await scene.revision()
                try await entry.out()
                try scene.check.equal(
                    try await scene.ids(in: group),
                    [],
                    "\(entry.0), out, round \(round)"
                )
                try await scene.expectLogged(group, row.id, after: between)
            }
        }
        let absent = GroupID(rawValue: "without-till")
        try await scene.change(
            .define(absent, as: DeviceQuery(parsing: #"not installed "till""#))
        )
        try await scene.change(.evaluate(absent, limit: 100))
        try await scene.enrol("d-2")
        try scene.check.equal(
            try await scene.ids(in: absent),
            ["d-2"],
            "a device that enrolled after the group was defined"
        )
        try await scene.enrol("d-1")
        try scene.check.equal(
            try await scene.ids(in: absent),
            ["d-1", "d-2"],
            "an enrolment inherits no application"
        )
        try await scene.change(.remove(DeviceID(rawValue: "d-2")))
        try scene.check.equal(try await scene.ids(in: absent), ["d-1"], "after a removal")
    }

    static func takesNoRevisionForNothing(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let group = GroupID(rawValue: "modern")
        try await scene.change(.define(group, as: DeviceQuery(parsing: "v > 1")))
        try await scene.change(.evaluate(group, limit: 100))
        let before = try await scene.revision()
        try await scene.apply(
            scene.information(row, .properties, #"{"v":1,"other":7}"#),
            scene.information(row, .applications, #"[{"identifier":"till"}]"#),
            scene.information(row, .location, #"{"latitude":1,"longitude":2}"#)
        )
        try scene.check.equal(
            try await scene.revision(),
            before,
            "the revision when no membership changed"
        )
        // In, out and in again in one transaction: one interval lasts.
        try await scene.apply(
            scene.information(row, .properties, #"{"v":2}"#),
            scene.information(row, .properties, #"{"v":1}"#),
            scene.information(row, .properties, #"{"v":3}"#)
        )
        try scene.check.equal(try await scene.ids(in: group), ["d-1"], "the members")
        try scene.check.equal(try await scene.summary(of: group)?.members, 1, "their number")
    }

    static func refusesNesting(_ scene: StoreScene) async throws {
        let (a, b, list) = (
            GroupID(rawValue: "a"), GroupID(rawValue: "b"), GroupID(rawValue: "list")
        )
        try await scene.change(.define(a, as: .member(of: list)))
        let refused: [(GroupID, DeviceQuery)] = [
            (b, .member(of: a)), (b, .not(.member(of: b))), (list, .exists("x")),
        ]
        for (group, query) in refused {
            try await scene.expectRefused(.dynamicGroup, from: "\(group) as \(query)") {
                try await scene.change(.define(group, as: query))
            }
        }
        for index in 1..<maximumDynamicGroups {
            let group = GroupID(rawValue: "g-\(index)")
            try await scene.change(.define(group, as: .exists("x")))
        }
        try await scene.expectRefused(.tooLarge, from: "one definition too many") {
            try await scene.change(.define(b, as: .exists("x")))
        }
        try await scene.change(.define(a, as: .exists("y")))
        try await scene.change(
            .define(b, as: .exists("x")),
            tenant: scene.otherTenant
        )
    }

    static func goesOnAfterReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let group = GroupID(rawValue: "modern")
        for row in try await scene.enrol(["d-1", "d-2", "d-3"]) {
            try await scene.apply(scene.information(row, .properties, #"{"v":1}"#))
        }
        try await scene.change(.define(group, as: .exists("v")))
        try await scene.change(.evaluate(group, limit: 1))
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        try again.check.equal(try await again.ids(in: group), ["d-1"], "members half way")
        let receipt = try await again.change(.evaluate(group, limit: 10))
        try again.check.equal(receipt.evaluated, 2, "devices left to compare")
        try again.check.equal(receipt.isSettled, true, "settled")
        try again.check.equal(try await again.ids(in: group), ["d-1", "d-2", "d-3"], "members")
        try await store.close()
    }
}

extension StoreScene {
    func summary(of group: GroupID) async throws -> GroupSummary? {
        try await devices.groups(tenant: tenant).first { $0.group == group }
    }

    /// Expects that the membership was logged after a revision.
    func expectLogged(_ group: GroupID, _ device: DeviceID, after: Revision?) async throws {
        guard let log = store.log, let after else { return }
        let key = ChangeKey.membership(
            tenant: tenant,
            group: group.rawValue,
            device: device.rawValue
        )
        let logged = try await log.changes(after: after, limit: 10).flatMap(\.keys)
        try check.isTrue(
            logged.contains(key),
            "a membership that began or ended is logged; \(logged)"
        )
    }

    /// Expects a refusal with a code of DeviceRegistry that changes no revision.
    func expectRefused(
        _ code: DeviceRegistryError.Code,
        from what: String,
        _ call: () async throws -> Void
    ) async throws {
        let before = try await revision()
        do {
            try await call()
        } catch let error as DeviceRegistryError where error.code == code {
            try check.equal(try await revision(), before, "the revision after a refused \(what)")
            return
        } catch {
            throw check.failure("\(what): expected \(code.rawValue), thrown: \(error)")
        }
        throw check.failure("\(what): expected \(code.rawValue), but it was accepted")
    }
}
