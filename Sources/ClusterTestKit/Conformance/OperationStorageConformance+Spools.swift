internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension OperationStorageConformance {
    static func appliesOnce(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        let spool = scene.newSpool()
        // A claim applied twice would count a redelivery: the mark must keep it from that.
        let entries = [scene.claim(operation, by: rows[0])]
        let first = try await scene.drain(entries, from: 1, of: spool)
        try scene.check.equal(first.applied, 1, "applied")
        let execution = try await scene.execution(of: operation, on: rows[0])
        let second = try await scene.drain(entries, from: 1, of: spool)
        try scene.check.equal(second.applied, 0, "applied again")
        try scene.check.equal(second.skipped, 1, "skipped")
        try scene.check.equal(second.mark?.number, 1, "the mark")
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[0]),
            execution,
            "the execution after the repetition"
        )
        try scene.check.equal(
            try await scene.activity(operation).rowCounts[.delivered],
            1,
            "delivered"
        )
    }

    static func keepsMark(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        var operations: [DeviceOperation] = []
        for index in 1...6 {
            operations.append(try await scene.enqueue(to: [row], code: "task-\(index)"))
        }
        let results = operations.map { scene.result(.completed, of: $0, by: row) }
        let spool = scene.newSpool()
        let first = try await scene.drain(Array(results[0..<3]), from: 1, of: spool)
        try scene.check.equal(first.mark?.number, 3, "the mark after 1 to 3")
        try scene.check.equal(first.mark?.incarnation, spool.incarnation, "the mark's spool")
        let overlapping = try await scene.drain(Array(results[1..<5]), from: 2, of: spool)
        try scene.check.equal(overlapping.skipped, 2, "skipped of 2 to 5")
        try scene.check.equal(overlapping.applied, 2, "applied of 2 to 5")
        try scene.check.equal(overlapping.mark?.number, 5, "the mark after 2 to 5")
        let late = try await scene.drain(Array(results[0..<2]), from: 1, of: spool)
        try scene.check.equal(late.applied, 0, "applied of 1 to 2, late")
        try scene.check.equal(late.mark?.number, 5, "the mark after a late batch")
        // A spool may drop contacts when it is full: numbers may have gaps.
        let afterGap = try await scene.drain([results[5]], from: 40, of: spool)
        try scene.check.equal(afterGap.applied, 1, "applied after a gap")
        try scene.check.equal(afterGap.mark?.number, 40, "the mark after a gap")
        for operation in operations {
            try scene.check.equal(
                try await scene.activity(operation).rowCounts[.completed],
                1,
                "results of \(operation.code)"
            )
        }
    }

    static func knowsSpoolIncarnations(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let first = try await scene.enqueue(to: [row], code: "first")
        let second = try await scene.enqueue(to: [row], code: "second")
        let third = try await scene.enqueue(to: [row], code: "third")
        let old = scene.newSpool()
        let new = scene.newSpool()
        let other = scene.newSpool(of: "worker-2")
        let contacts = (0..<4).map { _ in scene.contact(row, answeredAt: nil) }
        try await scene.drain(
            contacts + [scene.result(.completed, of: first, by: row)],
            from: 1,
            of: old
        )
        let receipt = try await scene.drain(
            [scene.result(.completed, of: second, by: row)],
            from: 1,
            of: new
        )
        try scene.check.equal(receipt.applied, 1, "applied from the new spool of the same node")
        try scene.check.equal(receipt.mark?.number, 1, "its mark")
        try scene.check.equal(receipt.mark?.incarnation, new.incarnation, "its incarnation")
        let elsewhere = try await scene.drain(
            [scene.result(.completed, of: third, by: row)],
            from: 1,
            of: other
        )
        try scene.check.equal(elsewhere.applied, 1, "applied from another node")
        for operation in [first, second, third] {
            try scene.check.equal(
                try await scene.activity(operation).rowCounts[.completed],
                1,
                "results of \(operation.code)"
            )
        }
    }

    static func passesRejected(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: [rows[0]])
        var unknown = operation
        unknown.id = OperationID(from: scene.random)
        let entries = [
            scene.result(.completed, of: unknown, by: rows[0]),
            scene.result(.completed, of: operation, by: rows[1]),
            scene.result(.confirmed, of: operation, by: rows[0]),
            scene.result(.completed, of: operation, by: rows[0]),
        ]
        let receipt = try await scene.drain(entries, from: 1, of: scene.newSpool())
        try scene.check.equal(
            receipt.rejected,
            3,
            "rejected: an unknown operation, a device not addressed, a confirmation nobody asked for"
        )
        try scene.check.equal(receipt.applied, 1, "applied")
        try scene.check.equal(receipt.mark?.number, 4, "the mark")
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.rowCounts.total, 1, "rows")
        try scene.check.equal(activity.rowCounts[.completed], 1, "completed")
        try scene.check.equal(
            try await scene.executions(of: operation).map(\.id.device),
            [rows[0].id],
            "executions"
        )
    }

    static func refusesForeignEnrolment(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        var stranger = row
        stranger.incarnation = IncarnationID(from: scene.random)
        let later = scene.now + .seconds(30)
        let push = PushRegistration(transport: "http", address: "elsewhere", registeredAt: later)
        let receipt = try await scene.drain(
            [
                scene.result(.completed, of: operation, by: stranger, at: later),
                scene.contact(stranger, answeredAt: nil, at: later),
                scene.entry(stranger, .registration(push), at: later),
                scene.entry(stranger, .information(.location, body: [123, 125]), at: later),
            ],
            from: 1,
            of: scene.newSpool()
        )
        try scene.check.equal(receipt.mark?.number, 4, "the mark")
        try scene.check.isTrue(receipt.rejected >= 1, "the result is rejected")
        try scene.check.equal(try await scene.offered(to: row), ["lock"], "offered")
        let device = try await scene.device(row.id)
        try scene.check.isNil(device.lastSeen, "last seen")
        try scene.check.isNil(device.push, "the push registration")
        try scene.check.equal(
            try await scene.devices.information(of: row.id, tenant: scene.tenant),
            [],
            "the information"
        )
    }

    // MARK: Queries

    static func unitesExecutions(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let names = ["d-1", "d-2", "d-3", "d-4", "d-5"]
        let rows = try await scene.enrol(names, groups: [fleet])
        let named = try await scene.enqueue(to: rows, code: "named")
        let grouped = try await scene.enqueue(to: fleet, code: "grouped")
        for operation in [named, grouped] {
            try await scene.apply(
                scene.claim(operation, by: rows[1]),
                scene.result(.failed, of: operation, by: rows[3])
            )
            var seen: [Execution] = []
            while seen.count <= names.count {
                let page = try await scene.executions(
                    of: operation,
                    after: seen.last?.id.device,
                    limit: 2
                )
                try scene.check.isTrue(page.count <= 2, "a page holds at most its limit")
                if page.isEmpty { break }
                seen += page
            }
            try scene.check.equal(
                seen.map(\.id.device.rawValue),
                names,
                "devices of \(operation.code) over all pages"
            )
            try scene.check.equal(
                seen.map(\.state),
                [.pending, .delivered, .pending, .failed, .pending],
                "states of \(operation.code)"
            )
            try scene.check.equal(seen.map(\.version), [0, 1, 0, 1, 0], "versions: 0 is virtual")
            try scene.check.equal(
                seen.map(\.id),
                rows.map {
                    ExecutionID(operation: operation.id, incarnation: $0.incarnation, device: $0.id)
                },
                "ids, with and without a row"
            )
        }
        _ = try await close(grouped, as: .cancelled, in: scene)
        try scene.check.equal(
            try await scene.executions(of: grouped).filter { $0.version == 0 }.map(\.state),
            [.cancelled, .cancelled, .cancelled],
            "virtual states of a cancelled activity"
        )
    }

    static func listsActivities(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        var numbers: [Int64] = []
        for index in 0..<5 {
            numbers.append(try await scene.enqueue(to: [row], code: "task-\(index)").number)
        }
        var seen: [Int64] = []
        while seen.count <= numbers.count {
            let page = try await scene.operations.activities(
                before: seen.last,
                limit: 2,
                tenant: scene.tenant
            )
            try scene.check.isTrue(page.count <= 2, "a page holds at most its limit")
            if page.isEmpty { break }
            seen += page.map(\.operation.number)
        }
        try scene.check.equal(seen, numbers.reversed(), "numbers over all pages")
    }

    static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let mine = try await scene.enrol("d-1", groups: [fleet])
        let theirs = try await scene.enrol("d-1", groups: [fleet], tenant: scene.otherTenant)
        let toMine = try await scene.enqueue(to: [mine], code: "mine")
        let toGroup = try await scene.enqueue(to: fleet, code: "group")
        try scene.check.equal(try await scene.offered(to: theirs), [], "offered to the neighbour")
        try scene.check.equal(
            try await scene.offered(to: mine),
            ["mine", "group"],
            "offered to me"
        )
        let other = scene.otherTenant
        try scene.check.isNil(
            try await scene.operations.activity(toMine.activity, tenant: other),
            "my activity, asked for in the neighbour's name"
        )
        try scene.check.equal(
            try await scene.operations.activities(before: nil, limit: 10, tenant: other),
            [],
            "the neighbour's activities"
        )
        let foreign =
            (try? await scene.operations.executions(
                of: toGroup.activity,
                after: nil,
                limit: 10,
                tenant: other
            )) ?? []
        try scene.check.equal(foreign, [], "my executions, asked for in the neighbour's name")
        try await scene.expect(.unknownActivity, from: "closing a neighbour's activity") {
            _ = try await scene.operations.close(
                toMine.activity,
                as: .cancelled,
                tenant: other,
                epoch: scene.epoch,
                at: scene.now
            )
        }
        let receipt = try await scene.apply(
            scene.result(.completed, of: toMine, by: theirs),
            scene.result(.completed, of: toGroup, by: theirs)
        )
        try scene.check.equal(receipt.rejected, 2, "the neighbour's answers to my operations")
        try scene.check.equal(
            try await scene.offered(to: mine),
            ["mine", "group"],
            "offered to me, after the neighbour's answers"
        )
    }

    // MARK: Guards

    static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let plan = scene.plan(for: .devices([row.id]), code: "wipe")
        let spool = scene.newSpool()
        let result = scene.result(.completed, of: operation, by: row)
        try await scene.expectFenced("enqueue") { epoch in
            _ = try await scene.enqueue(plan, epoch: epoch)
        }
        try await scene.expectFenced("close") { epoch in
            _ = try await close(operation, as: .cancelled, in: scene, epoch: epoch)
        }
        try await scene.expectFenced("apply") { epoch in
            _ = try await scene.drain([result], from: 1, of: spool, epoch: epoch)
        }
        try scene.check.isNil(
            try await scene.operations.activity(plan.operation.activity, tenant: scene.tenant),
            "the activity of a fenced enqueue"
        )
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.state, .open, "the activity after a fenced close")
        try scene.check.equal(activity.rowCounts.total, 0, "rows after a fenced apply")
        try scene.check.equal(try await scene.offered(to: row), ["lock"], "offered")
        // The mark has not moved either: the same entry is applied under the new epoch.
        let current = try await scene.store.newEpoch()
        let receipt = try await scene.drain([result], from: 1, of: spool, epoch: current)
        try scene.check.equal(receipt.applied, 1, "applied under the new epoch")
    }

    static func numbersConcurrentCalls(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let receipts = try await withThrowingTaskGroup(of: EnqueueReceipt.self) { group in
            for index in 0..<64 {
                let plan = scene.plan(for: .devices([row.id]), code: "task-\(index)")
                group.addTask { try await scene.enqueue(plan) }
            }
            return try await group.reduce(into: [EnqueueReceipt]()) { $0.append($1) }
        }
        try scene.check.equal(Set(receipts.map(\.number)).count, 64, "different numbers")
        try scene.check.equal(Set(receipts.map(\.revision)).count, 64, "different revisions")
        let items = try await scene.openWork(for: row).items
        try scene.check.equal(
            items.map(\.operation.number),
            receipts.map(\.number).sorted(),
            "open numbers"
        )
    }

    static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let named = try await scene.enqueue(to: rows, code: "named")
        let plan = scene.plan(for: .group(fleet), code: "grouped", key: "order-1")
        let grouped = try await scene.enqueue(plan)
        let spool = scene.newSpool()
        let entries = [
            scene.claim(named, by: rows[0]),
            scene.result(.completed, of: named, by: rows[0], detail: "done"),
        ]
        try await scene.drain(entries, from: 1, of: spool)
        let activity = try await scene.activity(named)
        let executions = try await scene.executions(of: named)
        let offered = try await scene.offered(to: rows[1])
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        try again.check.equal(try await again.activity(named), activity, "the activity")
        try again.check.equal(try await again.executions(of: named), executions, "the executions")
        try again.check.equal(try await again.offered(to: rows[1]), offered, "offered")
        try again.check.equal(try await again.offered(to: rows[0]), ["grouped"], "offered to d-1")
        let repeated = try await again.drain(entries, from: 1, of: spool)
        try again.check.equal(repeated.skipped, 2, "entries skipped by the kept mark")
        let second = try await again.enqueue(plan)
        try again.check.equal(second.wasRepeated, true, "the kept idempotency key")
        try again.check.equal(second.number, grouped.number, "the number under the kept key")
        try await store.close()
    }
}
