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

    static let fleet = GroupID(rawValue: "fleet")
    static let kind = InformationKind(rawValue: "battery")

    static func task(
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

    static func storage(_ scene: StoreScene) throws -> any PeriodicTaskStorage {
        try scene.needs(\.tasks, "PeriodicTaskStorage")
    }

    static func put(
        _ task: PeriodicTask,
        _ scene: StoreScene,
        tenant: TenantID? = nil
    ) async throws {
        try await storage(scene).put(task, tenant: tenant ?? scene.tenant, epoch: scene.epoch)
    }

    static func spreadAll(_ scene: StoreScene, page: Int = 100) async throws {
        let storage = try storage(scene)
        var calls = 0
        while try await !storage.spread(limit: page, epoch: scene.epoch, at: scene.now) {
            calls += 1
            if calls > 1_000 { throw scene.check.failure("spreading never ends") }
        }
    }

    static func claim(
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

    static func dueTimes(
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

    static func lists(_ scene: StoreScene) async throws {
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

    static func keepsDueTimes(_ scene: StoreScene) async throws {
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

    static func spreadsAnew(_ scene: StoreScene) async throws {
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

    static func spreads(_ scene: StoreScene) async throws {
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

    static func forgetsLeavers(_ scene: StoreScene) async throws {
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

    static func isSatisfied(_ scene: StoreScene) async throws {
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
}
