internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension OperationStorageConformance {
    static func enqueuesToDevices(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        // A device named twice is addressed once.
        let plan = scene.plan(for: .devices([rows[0].id, rows[1].id, rows[0].id]))
        let receipt = try await scene.enqueue(plan)
        try scene.check.equal(receipt.activity, plan.operation.activity, "the activity's id")
        try scene.check.equal(receipt.addressed, 2, "devices addressed")
        try scene.check.equal(receipt.unknown, 0, "unknown devices")
        try scene.check.equal(receipt.wasRepeated, false, "repeated")
        try scene.check.equal(receipt.number, receipt.revision.number, "the operation's number")
        var expected = plan.operation
        expected.number = receipt.number
        for row in rows.prefix(2) {
            let work = try await scene.openWork(for: row)
            try scene.check.equal(
                work.items,
                [OpenItem(operation: expected, activityState: .open, row: nil)],
                "what is open for \(row.id)"
            )
            try scene.check.equal(work.device, row, "whose work it is")
            try scene.check.isTrue(
                work.revision.covers(receipt.revision),
                "the open work is true of \(receipt.revision) or later, not \(work.revision)"
            )
        }
        let idle = try await scene.openWork(for: rows[2])
        try scene.check.equal(idle.items, [], "what is open for a device not named")
        let activity = try await scene.activity(expected)
        try scene.check.equal(
            activity,
            Activity(
                tenant: scene.tenant,
                operation: expected,
                group: nil,
                initiator: "conformance",
                addressed: 2
            ),
            "the activity"
        )
        try scene.check.equal(activity.counts[.pending], 2, "pending executions")
        try await scene.change(.remove(rows[0].id))
        for id in [rows[0].id, DeviceID(rawValue: "nobody")] {
            try scene.check.isNil(
                try await scene.operations.openWork(for: id, tenant: scene.tenant),
                "open work of \(id), which is not enrolled"
            )
        }
    }

    static func enqueuesToGroup(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let members = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let outsider = try await scene.enrol("d-3")
        let plan = scene.plan(for: .group(fleet))
        let receipt = try await scene.enqueue(plan)
        try scene.check.equal(receipt.addressed, 2, "members addressed")
        for row in members {
            try scene.check.equal(
                try await scene.offered(to: row),
                ["lock"],
                "offered to \(row.id)"
            )
        }
        try scene.check.equal(try await scene.offered(to: outsider), [], "offered to no member")
        let activity = try await scene.activity(plan.operation)
        try scene.check.equal(activity.group, fleet, "the activity's group")
        try scene.check.equal(activity.addressed, 2, "addressed")
        let all = scene.plan(for: .group(.everyone), code: "ring")
        try scene.check.equal(try await scene.enqueue(all).addressed, 3, "everyone")
        try scene.check.equal(
            try await scene.offered(to: outsider),
            ["ring"],
            "offered to everyone"
        )
    }

    static func countsUnknown(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        try await scene.change(.remove(rows[1].id))
        let nobody = DeviceID(rawValue: "nobody")
        let mixed = scene.plan(for: .devices([rows[0].id, rows[1].id, nobody]))
        let receipt = try await scene.enqueue(mixed)
        try scene.check.equal(receipt.addressed, 1, "addressed")
        try scene.check.equal(receipt.unknown, 2, "unknown and removed")
        let none = scene.plan(for: .devices([nobody, rows[1].id]))
        try await scene.expect(.noTarget, from: "enqueue to unknown devices only") {
            _ = try await scene.enqueue(none)
        }
        let nowhere = scene.plan(for: .group(GroupID(rawValue: "nowhere")))
        try await scene.expect(.unknownGroup, from: "enqueue to an unknown group") {
            _ = try await scene.enqueue(nowhere)
        }
        for plan in [none, nowhere] {
            try scene.check.isNil(
                try await scene.operations.activity(plan.operation.activity, tenant: scene.tenant),
                "the activity of a refused request"
            )
        }
    }

    static func repeatsKey(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let plan = scene.plan(for: .devices([row.id]), key: "order-1")
        let first = try await scene.enqueue(plan)
        let repeated = scene.plan(for: .devices([row.id]), key: "order-1")
        let second = try await scene.enqueue(repeated)
        try scene.check.equal(second.wasRepeated, true, "repeated")
        try scene.check.equal(second.activity, first.activity, "the activity")
        try scene.check.equal(second.number, first.number, "the number")
        try scene.check.equal(second.addressed, 1, "addressed")
        try scene.check.isTrue(
            second.revision.covers(first.revision),
            "the repeated answer's revision contains the first"
        )
        try scene.check.equal(try await scene.offered(to: row), ["lock"], "offered")
        let neighbour = try await scene.enrol("d-1", tenant: scene.otherTenant)
        let theirs = scene.plan(for: .devices([neighbour.id]), code: "ring", key: "order-1")
        let third = try await scene.enqueue(theirs, tenant: scene.otherTenant)
        try scene.check.equal(third.wasRepeated, false, "the neighbour's use of the same key")
        // The same key, many times at once: one operation.
        let numbers = try await withThrowingTaskGroup(of: EnqueueReceipt.self) { group in
            for _ in 0..<8 {
                let plan = scene.plan(for: .devices([row.id]), code: "wipe", key: "order-2")
                group.addTask { try await scene.enqueue(plan) }
            }
            return try await group.reduce(into: [EnqueueReceipt]()) { $0.append($1) }
        }
        try scene.check.equal(Set(numbers.map(\.number)).count, 1, "numbers under one key at once")
        try scene.check.equal(numbers.filter { !$0.wasRepeated }.count, 1, "first uses of the key")
        try scene.check.equal(try await scene.offered(to: row), ["lock", "wipe"], "offered, later")
    }

    static func refusesKeyConflict(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(scene.plan(for: .devices([row.id]), key: "order-1"))
        let other = scene.plan(for: .devices([row.id]), code: "wipe", key: "order-1")
        try await scene.expect(.keyConflict, from: "the same key for another request") {
            _ = try await scene.enqueue(other)
        }
        try scene.check.equal(try await scene.offered(to: row), ["lock"], "offered")
    }

    static func bindsMembers(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let stays = try await scene.enrol("stays", groups: [fleet])
        let leaves = try await scene.enrol("leaves", groups: [fleet])
        let left = try await scene.enrol("left", groups: [fleet])
        let late = try await scene.enrol("late")
        let returns = try await scene.enrol("returns", groups: [fleet])
        try await scene.change(.leave(fleet, [left.id]))
        let operation = try await scene.enqueue(to: fleet)
        try await scene.change(.leave(fleet, [leaves.id, returns.id]))
        try await scene.change(.join(fleet, [late.id, left.id, returns.id]))
        for row in [stays, leaves, returns] {
            try scene.check.equal(
                try await scene.offered(to: row),
                ["lock"],
                "offered to \(row.id), a member at the operation's number"
            )
        }
        for row in [left, late] {
            try scene.check.equal(
                try await scene.offered(to: row),
                [],
                "offered to \(row.id), no member at the operation's number"
            )
        }
        try scene.check.equal(
            try await scene.executions(of: operation).map(\.id.device.rawValue),
            ["leaves", "returns", "stays"],
            "executions"
        )
        let next = try await scene.enqueue(to: fleet, code: "ring")
        try scene.check.equal(
            try await scene.executions(of: next).map(\.id.device.rawValue),
            ["late", "left", "returns", "stays"],
            "executions of the next operation"
        )
    }

    static func inheritsNothing(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let before = try await scene.enrol("d-1", groups: [fleet])
        let named = try await scene.enqueue(to: [before], code: "named")
        let grouped = try await scene.enqueue(to: fleet, code: "grouped")
        let after = try await scene.enrol("d-1", groups: [fleet])
        try scene.check.equal(try await scene.offered(to: after), [], "offered after re-enrolment")
        for operation in [named, grouped] {
            try scene.check.equal(
                try await scene.executions(of: operation).map(\.id.incarnation),
                [before.incarnation],
                "enrolments addressed by \(operation.code)"
            )
        }
        _ = try await scene.enqueue(to: fleet, code: "next")
        try scene.check.equal(try await scene.offered(to: after), ["next"], "offered, later")
    }

    static func keepsOrder(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        let first = try await scene.enqueue(to: [row], code: "first")
        let second = try await scene.enqueue(to: fleet, code: "second")
        let urgent = try await scene.enqueue(to: [row], code: "urgent", priority: 5)
        let idle = try await scene.enqueue(to: [row], code: "idle", priority: -1)
        let third = try await scene.enqueue(to: [row], code: "third")
        let numbers = [first, second, urgent, idle, third].map(\.number)
        try scene.check.equal(numbers, numbers.sorted(), "numbers in order of commit")
        try scene.check.equal(Set(numbers).count, 5, "different numbers")
        try scene.check.equal(
            try await scene.offered(to: row),
            ["urgent", "first", "second", "third", "idle"],
            "the order"
        )
    }

    static func enqueuesToManyAtOnce(_ scene: StoreScene) async throws {
        let rows = try await scene.enrolTogether((0..<200).map { "real-\($0)" })
        let strangers = (0..<9_800).map { DeviceID(rawValue: "stranger-\($0)") }
        let plan = scene.plan(for: .devices(strangers + rows.map(\.id)), wakeAt: scene.now)
        let receipt = try await scene.enqueue(plan)
        try scene.check.equal(receipt.addressed, 200, "addressed")
        try scene.check.equal(receipt.unknown, 9_800, "unknown")
        try scene.check.equal(
            try await scene.executions(of: plan.operation).map(\.id.device),
            rows.map(\.id),
            "executions"
        )
    }
}
