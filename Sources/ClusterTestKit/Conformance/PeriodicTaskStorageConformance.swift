internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `PeriodicTaskStorage`.
public struct PeriodicTaskStorageConformance: Sendable {
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
        try await runStoreConformance("PeriodicTaskStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("tasks are listed by name, as defined", lists),
        .init("a new definition that keeps time keeps the due times", keepsDueTimes),
        .init("a new definition of other times spreads the devices anew", spreadsAnew),
        .init("members present and members to come get due times, in pages", spreads),
        .init("a device that leaves is not asked", forgetsLeavers),
        .init("information of the kind moves the due time away", isSatisfied),
        .init("due devices are claimed in due order, up to the limit", claimsInOrder),
        .init("a claimed step is given out until it is finished", repeatsUnfinishedSteps),
        .init("a partition claims the devices of its slots", claimsItsSlots),
        .init("a removed task is gone, with its steps", removes),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("tasks, due times and steps are there after a restart", survivesReopening),
    ]

    private static let fleet = GroupID(rawValue: "fleet")
    private static let kind = InformationKind(rawValue: "battery")

    private static func task(
        _ name: String,
        _ scene: StoreScene,
        frequency seconds: Int = 600,
        satisfiedBy kind: InformationKind? = nil
    ) -> PeriodicTask {
        PeriodicTask(
            id: PeriodicTaskID(rawValue: name),
            group: fleet,
            code: OperationCode(rawValue: "ask-\(name)"),
            payload: [1, 2, 3],
            frequency: .seconds(seconds),
            satisfiedBy: kind,
            begins: scene.now
        )
    }

    private static func storage(_ scene: StoreScene) throws -> any PeriodicTaskStorage {
        try scene.needs(\.tasks, "PeriodicTaskStorage")
    }

    private static func put(
        _ task: PeriodicTask,
        _ scene: StoreScene,
        tenant: TenantID? = nil
    ) async throws {
        try await storage(scene).put(task, tenant: tenant ?? scene.tenant, epoch: scene.epoch)
    }

    private static func spreadAll(_ scene: StoreScene, page: Int = 100) async throws {
        let storage = try storage(scene)
        var calls = 0
        while try await !storage.spread(limit: page, epoch: scene.epoch, at: scene.now) {
            calls += 1
            if calls > 1_000 { throw scene.check.failure("spreading never ends") }
        }
    }

    private static func claim(
        _ scene: StoreScene,
        after seconds: Int,
        limit: Int = 100,
        in partition: TaskPartition = .all
    ) async throws -> [TaskStep] {
        try await storage(scene).claim(
            limit: limit,
            in: partition,
            epoch: scene.epoch,
            at: scene.now + .seconds(seconds)
        )
    }

    private static func dueTimes(
        _ names: [String],
        _ scene: StoreScene
    ) async throws -> [String: Timestamp] {
        var found: [String: Timestamp] = [:]
        for name in names {
            let times = try await storage(scene).dueTimes(
                of: DeviceID(rawValue: name),
                tenant: scene.tenant
            )
            found[name] = times.first?.due
        }
        return found
    }

    private static func lists(_ scene: StoreScene) async throws {
        var two = task("a", scene, satisfiedBy: kind)
        two.freshness = .seconds(30)
        let defined = [task("b", scene), two]
        for task in defined { try await put(task, scene) }
        try scene.check.equal(
            try await storage(scene).tasks(tenant: scene.tenant),
            [defined[1], defined[0]],
            "the tasks"
        )
    }

    private static func keepsDueTimes(_ scene: StoreScene) async throws {
        _ = try await scene.enrol("d-1", groups: [fleet])
        var one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let before = try await dueTimes(["d-1"], scene)
        try scene.check.equal(before.count, 1, "due times")
        one.begins = scene.now + .seconds(77)
        one.payload = [9]
        one.code = OperationCode(rawValue: "other")
        try await put(one, scene)
        one.begins = scene.now
        try scene.check.equal(try await storage(scene).tasks(tenant: scene.tenant), [one], "tasks")
        try scene.check.equal(try await dueTimes(["d-1"], scene), before, "the due times")
    }

    private static func spreadsAnew(_ scene: StoreScene) async throws {
        _ = try await scene.enrol("d-1", groups: [fleet])
        try await put(task("a", scene), scene)
        try await spreadAll(scene)
        let slower = task("a", scene, frequency: 60_000)
        try await put(slower, scene)
        try await spreadAll(scene)
        let expected = slower.firstDue(
            of: DeviceID(rawValue: "d-1"),
            at: scene.now,
            lastReport: nil
        )
        try scene.check.equal(try await dueTimes(["d-1"], scene), ["d-1": expected], "due times")
        let claimed = try await claim(scene, after: 60_000)
        try scene.check.equal(claimed.flatMap(\.devices).count, 1, "the old definition is gone")
    }

    private static func spreads(_ scene: StoreScene) async throws {
        let early = (0..<25).map { "early-\($0)" }
        _ = try await scene.enrol(early, groups: [fleet])
        _ = try await scene.enrol("elsewhere")
        let one = task("a", scene)
        try await put(one, scene)
        let storage = try storage(scene)
        let isDone = try await storage.spread(limit: 10, epoch: scene.epoch, at: scene.now)
        try scene.check.equal(isDone, false, "after ten of twenty-five")
        try scene.check.equal(try await dueTimes(early, scene).count, 10, "due times by then")
        _ = try await scene.enrol("late", groups: [fleet])
        try await spreadAll(scene, page: 10)
        let all = early + ["late"]
        let times = try await dueTimes(all + ["elsewhere"], scene)
        let expected = all.map { name in
            let due = one.firstDue(of: DeviceID(rawValue: name), at: scene.now, lastReport: nil)
            return (name, due)
        }
        try scene.check.equal(
            times,
            Dictionary(uniqueKeysWithValues: expected),
            "each member's place in the period"
        )
    }

    private static func forgetsLeavers(_ scene: StoreScene) async throws {
        let names = ["d-1", "d-2", "d-3"]
        _ = try await scene.enrol(names, groups: [fleet])
        try await put(task("a", scene), scene)
        try await spreadAll(scene)
        try await scene.change(.leave(fleet, [DeviceID(rawValue: "d-1")]))
        try await scene.change(.remove(DeviceID(rawValue: "d-2")))
        try scene.check.equal(Array(try await dueTimes(names, scene).keys), ["d-3"], "who is due")
        try scene.check.equal(
            try await claim(scene, after: 600).flatMap(\.devices),
            [DeviceID(rawValue: "d-3")],
            "who is asked"
        )
        try await scene.change(.join(fleet, [DeviceID(rawValue: "d-1")]))
        try scene.check.equal(
            try await dueTimes(["d-1"], scene)["d-1"],
            task("a", scene).firstDue(
                of: DeviceID(rawValue: "d-1"),
                at: scene.now,
                lastReport: nil
            ),
            "who came back"
        )
    }

    private static func isSatisfied(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1", groups: [fleet])
        func report(_ kind: InformationKind, at time: Timestamp) async throws {
            let entry = InboxEntry(
                identity: row.identity,
                receivedAt: time,
                body: .information(kind, body: Array("{}".utf8))
            )
            _ = try await scene.operations.apply(
                [SpooledEntry(number: 0, entry: entry)],
                from: nil,
                epoch: scene.epoch,
                at: time
            )
        }
        try await report(kind, at: scene.now - .seconds(10))
        var one = task("a", scene, satisfiedBy: kind)
        one.freshness = .seconds(5_000)
        try await put(one, scene)
        try await spreadAll(scene)
        try scene.check.equal(
            try await dueTimes(["d-1"], scene)["d-1"],
            scene.now + .seconds(4_990),
            "due after a report before the task"
        )
        try await report(InformationKind(rawValue: "other"), at: scene.now + .seconds(100))
        try await report(kind, at: scene.now + .seconds(70))
        try await report(kind, at: scene.now + .seconds(20))
        try scene.check.equal(
            try await dueTimes(["d-1"], scene)["d-1"],
            scene.now + .seconds(5_070),
            "due after the newest report"
        )
        try scene.check.equal(try await claim(scene, after: 5_069), [], "asked too early")
        try scene.check.equal(try await claim(scene, after: 5_070).count, 1, "asked when it is due")
    }

    private static func claimsInOrder(_ scene: StoreScene) async throws {
        let names = (0..<20).map { "d-\($0)" }
        _ = try await scene.enrol(names, groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let storage = try storage(scene)
        var left = try await dueTimes(names, scene).sorted { ($0.value, $0.key) < ($1.value, $1.key) }
        try scene.check.equal(left.count, 20, "devices with a due time")
        let now = 1_500
        while !left.isEmpty {
            let steps = try await claim(scene, after: now, limit: 7)
            let expected = left.prefix(7).map { DeviceID(rawValue: $0.key) }.sorted()
            try scene.check.equal(steps.map(\.devices), [expected], "the longest overdue")
            try scene.check.equal(steps.map(\.task), [one], "the task of the step")
            try scene.check.equal(steps.map(\.tenant), [scene.tenant], "its tenant")
            for (name, due) in left.prefix(7) {
                try scene.check.equal(
                    try await dueTimes([name], scene)[name],
                    one.nextDue(after: due, at: scene.now + .seconds(now)),
                    "the next due time: missed periods are made up by one"
                )
            }
            left.removeFirst(min(7, left.count))
            for step in steps { try await storage.finish(step, epoch: scene.epoch) }
        }
        try scene.check.equal(try await claim(scene, after: now), [], "nobody twice")
    }

    private static func repeatsUnfinishedSteps(_ scene: StoreScene) async throws {
        _ = try await scene.enrol(["d-1", "d-2", "d-3"], groups: [fleet])
        try await put(task("a", scene), scene)
        try await put(task("b", scene), scene)
        try await spreadAll(scene)
        let storage = try storage(scene)
        let first = try await claim(scene, after: 600)
        try scene.check.equal(first.map(\.task.id.rawValue), ["a", "b"], "a step for each task")
        try scene.check.equal(first.map(\.devices.count), [3, 3], "their devices")
        try await scene.change(.leave(fleet, [DeviceID(rawValue: "d-1")]))
        try scene.check.equal(try await claim(scene, after: 9_000), first, "until they are finished")
        try await storage.finish(first[0], epoch: scene.epoch)
        try scene.check.equal(try await claim(scene, after: 9_000), [first[1]], "what is left")
        try await storage.finish(first[1], epoch: scene.epoch)
        try await storage.finish(first[1], epoch: scene.epoch)
        let second = try await claim(scene, after: 9_000)
        try scene.check.equal(second.map(\.devices.count), [2, 2], "then those due again")
        let keys = Set((first + second).map(\.idempotencyKey))
        try scene.check.equal(keys.count, 4, "no two steps of one key")
    }

    private static func claimsItsSlots(_ scene: StoreScene) async throws {
        let names = (0..<40).map { "d-\($0)" }
        _ = try await scene.enrol(names, groups: [fleet])
        try await put(task("a", scene), scene)
        try await spreadAll(scene)
        var seen: [DeviceID] = []
        for slots in [0..<20, 20..<64] as [Range<Int32>] {
            let steps = try await claim(scene, after: 600, in: TaskPartition(slots: slots))
            for device in steps.flatMap(\.devices) {
                let slot = TaskPartition.slot(of: device, tenant: scene.tenant)
                try scene.check.isTrue(slots.contains(slot), "slot \(slot) is in \(slots)")
                seen.append(device)
            }
        }
        try scene.check.equal(
            seen.sorted().map(\.rawValue),
            names.sorted(),
            "every device, by one of the partitions"
        )
    }

    private static func removes(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let step = try scene.check.some(try await claim(scene, after: 600).first, "a step")
        for _ in 0..<2 {
            try await storage.remove(one.id, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [], "the tasks")
        try scene.check.equal(try await dueTimes(["d-1"], scene), [:], "due times")
        try scene.check.equal(try await claim(scene, after: 9_000), [], "what is claimed")
        try await spreadAll(scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let again = try scene.check.some(try await claim(scene, after: 600).first, "a new step")
        try scene.check.isTrue(
            again.idempotencyKey != step.idempotencyKey,
            "a task of the same name has other keys"
        )
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        _ = try await scene.enrol("d-2", groups: [fleet], tenant: scene.otherTenant)
        let mine = task("a", scene)
        let theirs = task("a", scene, frequency: 700)
        try await put(mine, scene)
        try await put(theirs, scene, tenant: scene.otherTenant)
        try await spreadAll(scene)
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [mine], "mine")
        let steps = try await claim(scene, after: 700)
        try scene.check.equal(
            steps.map { [$0.tenant.rawValue] + $0.devices.map(\.rawValue) }.sorted { $0[0] < $1[0] },
            [[scene.tenant.rawValue, "d-1"], [scene.otherTenant.rawValue, "d-2"]],
            "each tenant's devices"
        )
        try await storage.remove(mine.id, tenant: scene.tenant, epoch: scene.epoch)
        try scene.check.equal(
            try await storage.tasks(tenant: scene.otherTenant),
            [theirs],
            "the neighbour's after I removed mine"
        )
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        _ = try await scene.enrol("d-1", groups: [fleet])
        let one = task("a", scene)
        try await put(one, scene)
        try await spreadAll(scene)
        let step = try scene.check.some(try await claim(scene, after: 600).first, "a step")
        try await scene.expectFenced("put") { epoch in
            try await storage.put(task("b", scene), tenant: scene.tenant, epoch: epoch)
        }
        try await scene.expectFenced("spread") { epoch in
            _ = try await storage.spread(limit: 1, epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("claim") { epoch in
            _ = try await storage.claim(limit: 1, in: .all, epoch: epoch, at: scene.now)
        }
        try await scene.expectFenced("finish") { epoch in
            try await storage.finish(step, epoch: epoch)
        }
        try await scene.expectFenced("remove") { epoch in
            try await storage.remove(one.id, tenant: scene.tenant, epoch: epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [one], "the tasks")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let names = ["d-1", "d-2"]
        _ = try await scene.enrol(names, groups: [fleet])
        let one = task("a", scene, satisfiedBy: kind)
        try await put(one, scene)
        try await spreadAll(scene)
        let steps = try await claim(scene, after: 600)
        let times = try await dueTimes(names, scene)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let reopened = try storage(again)
        try again.check.equal(try await reopened.tasks(tenant: again.tenant), [one], "the tasks")
        try again.check.equal(try await dueTimes(names, again), times, "the due times")
        try again.check.equal(try await claim(again, after: 600), steps, "the unfinished step")
        try await store.close()
    }
}
