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
        .init("a new definition keeps the due time", keepsDueTime),
        .init("due tasks come longest overdue first, up to the limit", ordersByDueTime),
        .init("a due time moves once, from where it was", advances),
        .init("a removed task is gone", removes),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("tasks and due times are there after a restart", survivesReopening),
    ]

    private static func task(_ name: String, _ scene: StoreScene, due seconds: Int) -> PeriodicTask
    {
        PeriodicTask(
            id: PeriodicTaskID(rawValue: name),
            group: GroupID(rawValue: "fleet"),
            code: OperationCode(rawValue: "ask-\(name)"),
            payload: [1, 2, 3],
            frequency: .seconds(60),
            due: scene.now + .seconds(seconds)
        )
    }

    private static func tasks(_ scene: StoreScene) throws -> any PeriodicTaskStorage {
        try scene.needs(\.tasks, "PeriodicTaskStorage")
    }

    private static func dueNames(
        _ scene: StoreScene,
        after seconds: Int,
        limit: Int = 10
    ) async throws -> [String] {
        try await tasks(scene).due(at: scene.now + .seconds(seconds), limit: limit)
            .map(\.task.id.rawValue)
    }

    private static func lists(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        let defined = [task("b", scene, due: 0), task("a", scene, due: 10)]
        for task in defined {
            try await storage.put(task, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.equal(
            try await storage.tasks(tenant: scene.tenant),
            [defined[1], defined[0]],
            "the tasks"
        )
    }

    private static func keepsDueTime(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        var one = task("a", scene, due: 30)
        try await storage.put(one, tenant: scene.tenant, epoch: scene.epoch)
        let due = one.due
        one.due = scene.now
        one.frequency = .seconds(600)
        one.payload = [9]
        one.group = .everyone
        try await storage.put(one, tenant: scene.tenant, epoch: scene.epoch)
        one.due = due
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [one], "the task")
    }

    private static func ordersByDueTime(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        for (name, seconds) in [("a", 30), ("b", 10), ("c", 20), ("d", 40)] {
            try await storage.put(
                task(name, scene, due: seconds),
                tenant: name == "c" ? scene.otherTenant : scene.tenant,
                epoch: scene.epoch
            )
        }
        try scene.check.equal(try await dueNames(scene, after: 9), [], "due too early")
        try scene.check.equal(try await dueNames(scene, after: 30), ["b", "c", "a"], "due")
        try scene.check.equal(try await dueNames(scene, after: 99, limit: 2), ["b", "c"], "two")
        try scene.check.equal(
            try await storage.due(at: scene.now + .seconds(30), limit: 10).map(\.tenant),
            [scene.tenant, scene.otherTenant, scene.tenant],
            "their tenants"
        )
    }

    private static func advances(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        let one = task("a", scene, due: 0)
        try await storage.put(one, tenant: scene.tenant, epoch: scene.epoch)
        func advance(from: Timestamp, to: Timestamp) async throws {
            try await storage.advance(
                one.id,
                from: from,
                to: to,
                tenant: scene.tenant,
                epoch: scene.epoch
            )
        }
        let next = one.due + .seconds(60)
        try await advance(from: one.due, to: next)
        // The loser of a race moves nothing.
        try await advance(from: one.due, to: one.due + .seconds(6_000))
        try scene.check.equal(
            try await storage.tasks(tenant: scene.tenant).map(\.due),
            [next],
            "the due time"
        )
        try scene.check.equal(try await dueNames(scene, after: 59), [], "due before")
        try scene.check.equal(try await dueNames(scene, after: 60), ["a"], "due again")
    }

    private static func removes(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        let one = task("a", scene, due: 0)
        try await storage.put(one, tenant: scene.tenant, epoch: scene.epoch)
        for _ in 0..<2 {
            try await storage.remove(one.id, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [], "the tasks")
        try scene.check.equal(try await dueNames(scene, after: 99), [], "due")
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        let mine = task("a", scene, due: 0)
        let theirs = task("a", scene, due: 10)
        try await storage.put(mine, tenant: scene.tenant, epoch: scene.epoch)
        try await storage.put(theirs, tenant: scene.otherTenant, epoch: scene.epoch)
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [mine], "mine")
        try await storage.remove(mine.id, tenant: scene.tenant, epoch: scene.epoch)
        try scene.check.equal(
            try await storage.tasks(tenant: scene.otherTenant),
            [theirs],
            "the neighbour's after I removed mine"
        )
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try tasks(scene)
        let one = task("a", scene, due: 0)
        let two = task("b", scene, due: 0)
        try await storage.put(one, tenant: scene.tenant, epoch: scene.epoch)
        try await scene.expectFenced("put") { epoch in
            try await storage.put(two, tenant: scene.tenant, epoch: epoch)
        }
        try await scene.expectFenced("advance") { epoch in
            try await storage.advance(
                one.id,
                from: one.due,
                to: one.due + .seconds(60),
                tenant: scene.tenant,
                epoch: epoch
            )
        }
        try await scene.expectFenced("remove") { epoch in
            try await storage.remove(one.id, tenant: scene.tenant, epoch: epoch)
        }
        try scene.check.equal(try await storage.tasks(tenant: scene.tenant), [one], "the tasks")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let one = task("a", scene, due: 5)
        try await tasks(scene).put(one, tenant: scene.tenant, epoch: scene.epoch)
        let store = try await reopen()
        let again = StoreScene(store: store, epoch: try await store.newEpoch(), check: scene.check)
        let reopened = try tasks(again)
        try again.check.equal(try await reopened.tasks(tenant: again.tenant), [one], "the tasks")
        try await store.close()
    }
}
