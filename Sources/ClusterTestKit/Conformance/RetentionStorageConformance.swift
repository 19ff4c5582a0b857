internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `RetentionStorage`.
public struct RetentionStorageConformance: Sendable {
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
        try await runStoreConformance("RetentionStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("closed activities come as they were closed, by page", lists),
        .init("live activities are no history and cannot be purged", keepsLive),
        .init("a purged activity answers like an unknown one", forgets),
        .init("its rows go in batches, and then nothing is left", sweeps),
        .init("an idempotency key goes with its activity", forgetsKeys),
        .init("the history of each tenant is counted", counts),
        .init("removed devices go when nothing that is kept names them", forgetsDevices),
        .init("a replica that lags behind hears of a forgotten device", tellsReplicas),
        .init("past enrolments and their device are held apart", forgetsEnrolments),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("no revision is taken", takesNoRevision),
    ]

    static func retention(_ scene: StoreScene) throws -> any RetentionStorage {
        try scene.needs(\.retention, "RetentionStorage")
    }

    /// An activity of one device that has answered it `seconds` after the scene's start.
    static func finished(
        _ scene: StoreScene,
        _ row: DeviceRow,
        after seconds: Int = 0
    ) async throws -> DeviceOperation {
        let operation = try await scene.enqueue(to: [row])
        let time = scene.now + .seconds(seconds)
        try await scene.apply(
            scene.result(.completed, of: operation, by: row, at: time),
            at: time
        )
        return operation
    }

    private static func lists(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let late = try await finished(scene, row, after: 20)
        let early = try await finished(scene, row, after: 10)
        let newest = try await finished(scene, row, after: 30)
        _ = try await scene.enqueue(to: [row])
        func page(_ seconds: Int, after: ClosedActivity?, limit: Int = 10) async throws
            -> [ClosedActivity]
        {
            try await storage.closedActivities(
                before: scene.now + .seconds(seconds),
                after: after,
                limit: limit
            )
        }
        let first = try await page(20, after: nil)
        try scene.check.equal(
            first.map(\.id),
            [early.activity, late.activity],
            "closed after 20 s at the latest"
        )
        try scene.check.equal(first.map(\.executions), [1, 1], "their rows")
        try scene.check.equal(
            try await page(60, after: first.last).map(\.id),
            [newest.activity],
            "the page behind"
        )
        try scene.check.equal(
            try await storage.closedActivities(of: scene.tenant, after: nil, limit: 2).map(\.id),
            [late.activity, early.activity],
            "the oldest by number"
        )
        try scene.check.equal(
            try await storage.closedActivities(of: scene.tenant, after: early.number, limit: 2)
                .map(\.id),
            [newest.activity],
            "by number, behind the first two"
        )
    }

    private static func keepsLive(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let open = try await scene.enqueue(to: [row])
        let held = try await scene.enqueue(to: [row])
        try await scene.apply(scene.claim(held, by: row))
        _ = try await scene.operations.close(
            held.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        try scene.check.equal(
            try await storage.closedActivities(before: .distantFuture, after: nil, limit: 10)
                .count,
            0,
            "history while a device has it in hand"
        )
        try scene.check.equal(
            try await storage.purge(
                [open.activity, held.activity],
                tenant: scene.tenant,
                epoch: scene.epoch
            ),
            0,
            "live activities purged"
        )
        _ = try await scene.activity(open)
        _ = try await scene.activity(held)
    }

    private static func forgets(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let operation = try await finished(scene, row)
        try scene.check.equal(
            try await storage.purge(
                [operation.activity],
                tenant: scene.tenant,
                epoch: scene.epoch
            ),
            1,
            "purged"
        )
        let found = try await scene.operations.activity(operation.activity, tenant: scene.tenant)
        try scene.check.equal(found, nil, "the purged activity")
        try scene.check.equal(try await scene.executions(of: operation), [], "its executions")
        try scene.check.equal(
            try await scene.operations.activities(before: nil, limit: 10, tenant: scene.tenant),
            [],
            "the list of activities"
        )
        let receipt = try await scene.apply(scene.result(.failed, of: operation, by: row))
        try scene.check.equal(receipt.rejected, 1, "an answer that comes after the purge")
        try scene.check.equal(
            try await storage.purge(
                [operation.activity],
                tenant: scene.tenant,
                epoch: scene.epoch
            ),
            0,
            "purged once more"
        )
    }

    private static func sweeps(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let rows = try await scene.enrolTogether((0..<40).map { "device-\($0)" })
        let operation = try await scene.enqueue(to: rows)
        for row in rows { try await scene.apply(scene.result(.completed, of: operation, by: row)) }
        let kept = try await finished(scene, rows[0])
        _ = try await storage.purge(
            [operation.activity],
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        var steps = 0
        while true {
            let count = try await storage.sweep(rows: 7, epoch: scene.epoch)
            try scene.check.isTrue(count <= 7, "a batch of \(count) rows, 7 at most")
            steps += 1
            if count < 7 { break }
            try scene.check.isTrue(steps < 20, "it ends")
        }
        try scene.check.equal(
            try await storage.sweep(rows: 7, epoch: scene.epoch),
            0,
            "rows left after the last batch"
        )
        try scene.check.equal(
            try await scene.executions(of: kept).map(\.state),
            [.completed],
            "executions of an activity that was not purged"
        )
    }

    private static func forgetsKeys(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let plan = scene.plan(for: .devices([row.id]), key: "once")
        let receipt = try await scene.enqueue(plan)
        var operation = plan.operation
        operation.number = receipt.number
        try await scene.apply(scene.result(.completed, of: operation, by: row))
        let closed = try await storage.closedActivities(
            before: .distantFuture,
            after: nil,
            limit: 10
        )
        try scene.check.equal(closed.map(\.hasKey), [true], "whether it has a key")
        _ = try await storage.purge([receipt.activity], tenant: scene.tenant, epoch: scene.epoch)
        var again = scene.plan(for: .devices([row.id]), code: "other", key: "once")
        again.requestDigest = [1]
        let second = try await scene.enqueue(again)
        try scene.check.equal(second.wasRepeated, false, "the key used again")
    }

    private static func counts(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let rows = try await scene.enrol(["a", "b"])
        let other = try await scene.enrol("x", tenant: scene.otherTenant)
        let both = try await scene.enqueue(to: rows)
        try await scene.apply(
            scene.result(.completed, of: both, by: rows[0]),
            scene.result(.failed, of: both, by: rows[1])
        )
        _ = try await finished(scene, rows[0])
        _ = try await finished(scene, other)
        // One that ends by the server has no row until a late answer materialises it.
        let cancelled = try await scene.enqueue(to: [rows[0]])
        _ = try await scene.operations.close(
            cancelled.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        try await scene.apply(scene.result(.completed, of: cancelled, by: rows[0]))
        _ = try await scene.enqueue(to: rows)
        try scene.check.equal(
            try await storage.history(),
            [
                HistoryCount(tenant: scene.tenant, activities: 3, executions: 4),
                HistoryCount(tenant: scene.otherTenant, activities: 1, executions: 1),
            ],
            "the history"
        )
        _ = try await storage.purge([both.activity], tenant: scene.tenant, epoch: scene.epoch)
        try scene.check.equal(
            try await storage.history().first,
            HistoryCount(tenant: scene.tenant, activities: 2, executions: 2),
            "the history after a purge"
        )
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let operation = try await finished(scene, row)
        try scene.check.equal(
            try await storage.purge(
                [operation.activity],
                tenant: scene.otherTenant,
                epoch: scene.epoch
            ),
            0,
            "purged for another tenant"
        )
        try scene.check.equal(
            try await storage.closedActivities(of: scene.otherTenant, after: nil, limit: 10).count,
            0,
            "history of another tenant"
        )
        _ = try await scene.activity(operation)
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let operation = try await finished(scene, row)
        try await scene.expectFenced("purge") {
            _ = try await storage.purge([operation.activity], tenant: scene.tenant, epoch: $0)
        }
        _ = try await scene.activity(operation)
    }

    private static func takesNoRevision(_ scene: StoreScene) async throws {
        let storage = try retention(scene)
        let row = try await scene.enrol("a")
        let operation = try await finished(scene, row)
        let before = try await scene.revision()
        _ = try await storage.purge([operation.activity], tenant: scene.tenant, epoch: scene.epoch)
        _ = try await storage.sweep(rows: 100, epoch: scene.epoch)
        _ = try await storage.forgetEvidence(
            before: scene.now,
            rows: 100,
            epoch: scene.epoch
        )
        try scene.check.equal(try await scene.revision(), before, "the revision")
    }
}
