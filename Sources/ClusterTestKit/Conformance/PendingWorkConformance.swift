public import ClusterRole
internal import DeviceRegistry
public import OperationQueue

/// The worker's half over a store: a `PendingWorkReader` and the `DeviceInbox` beside it.
public struct WorkerUnderTest: Sendable {
    /// The manager's store the worker works for.
    public var store: StoreUnderTest
    public var reader: any PendingWorkReader
    public var inbox: any DeviceInbox
    /// Makes what the store holds known to the reader (a link reads its delta); must not hand the
    /// inbox's entries on. Nothing to do in process.
    public var refresh: @Sendable () async throws -> Void
    /// Hands everything the inbox has accepted to the store. Nothing to do in process.
    public var drain: @Sendable () async throws -> Void

    /// - Parameters:
    ///   - store: the manager's store, empty.
    ///   - reader: reads from it, directly or through a replica.
    ///   - inbox: accepts for it, directly or through a spool.
    ///   - refresh: see ``refresh``.
    ///   - drain: see ``drain``.
    public init(
        store: StoreUnderTest,
        reader: any PendingWorkReader,
        inbox: any DeviceInbox,
        refresh: @escaping @Sendable () async throws -> Void = {},
        drain: @escaping @Sendable () async throws -> Void = {}
    ) {
        self.store = store
        self.reader = reader
        self.inbox = inbox
        self.refresh = refresh
        self.drain = drain
    }
}

/// A scene with the worker's half.
struct WorkerScene: Sendable {
    let scene: StoreScene
    let worker: WorkerUnderTest
    var check: ConformanceCheck { scene.check }

    func work(_ row: DeviceRow) async throws -> OpenWork {
        try check.some(
            try await worker.reader.openWork(for: row.id, tenant: row.tenant),
            "the open work of \(row.id) at the worker"
        )
    }

    func offered(_ row: DeviceRow, after seconds: Int = 0) async throws -> [String] {
        try await work(row)
            .batch(
                limit: 100,
                redelivery: .now,
                at: scene.now + .seconds(seconds)
            )
            .map(\.operation.code.rawValue)
    }

    func accept(_ entries: InboxEntry...) async throws {
        try await worker.inbox.accept(entries)
    }

    /// Everything is handed on and everything is known.
    func settle() async throws {
        try await worker.drain()
        try await worker.refresh()
    }
}

/// The contract of `PendingWorkReader` and `DeviceInbox` as a pair: what was accepted is applied on the
/// next read, and never offered again, whenever it is handed on.
public struct PendingWorkConformance: Sendable {
    private let makeWorker: @Sendable (Epoch, StoreUnderTest) async throws -> WorkerUnderTest
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    ///   - makeWorker: makes the worker's half over it, writing (where it writes in process) with the
    ///     epoch given, which the store knows as its newest.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory,
        worker makeWorker:
            @escaping @Sendable (Epoch, StoreUnderTest) async throws ->
            WorkerUnderTest
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
        self.makeWorker = makeWorker
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        let (makeStore, makeWorker) = (makeStore, makeWorker)
        return try await runConformance(
            "PendingWork",
            [
                ConformanceStep("a device not enrolled has no work", Self.knowsTheEnrolled),
                ConformanceStep("open work is offered in order", Self.offersInOrder),
                ConformanceStep("a result is applied on the next read", Self.appliesResults),
                ConformanceStep("a claim is applied on the next read", Self.appliesClaims),
                ConformanceStep("NotNow is applied on the next read", Self.appliesNotNow),
                ConformanceStep("what was completed is never offered again", Self.neverOffersAgain),
                ConformanceStep(
                    "a group's polling frequency reaches its members",
                    Self.pollsAsGroups
                ),
                ConformanceStep("changes are signalled to whom they concern", Self.signals),
                ConformanceStep(
                    "a report for another enrolment changes nothing",
                    Self.ignoresForeign
                ),
                ConformanceStep("an entry that cannot be applied stops nobody", Self.passesUnknown),
                ConformanceStep("reads never go back", Self.neverGoesBack),
                ConformanceStep("accepted results reach the store once", Self.reachesTheStore),
                ConformanceStep("many devices at once lose nothing", Self.servesManyAtOnce),
            ],
            timeLimit: timeLimit,
            make: { check in
                let scene = try await StoreScene.open(makeStore, check)
                let worker = try await makeWorker(scene.epoch, scene.store)
                return WorkerScene(scene: scene, worker: worker)
            },
            close: { try await $0.worker.store.close() }
        )
    }
}

extension PendingWorkConformance {
    private static func knowsTheEnrolled(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        try await scene.settle()
        try scene.check.equal(try await scene.work(row).device, row, "the device's row")
        let stranger = DeviceID(rawValue: "nobody")
        try scene.check.isNil(
            try await scene.worker.reader.openWork(for: stranger, tenant: row.tenant),
            "work of an unknown device"
        )
        try scene.check.isNil(
            try await scene.worker.reader.openWork(for: row.id, tenant: scene.scene.otherTenant),
            "work of another tenant's device of the same name"
        )
        try await scene.scene.change(.remove(row.id))
        try await scene.settle()
        try scene.check.isNil(
            try await scene.worker.reader.openWork(for: row.id, tenant: row.tenant),
            "work of a removed device"
        )
    }

    private static func offersInOrder(_ scene: WorkerScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.scene.enrol("d-1", groups: [fleet])
        _ = try await scene.scene.enqueue(to: [row], code: "first")
        _ = try await scene.scene.enqueue(to: fleet, code: "second")
        _ = try await scene.scene.enqueue(to: [row], code: "urgent", priority: 1)
        try await scene.settle()
        try scene.check.equal(
            try await scene.offered(row),
            ["urgent", "first", "second"],
            "offered"
        )
    }

    private static func appliesResults(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        let first = try await scene.scene.enqueue(to: [row], code: "first")
        _ = try await scene.scene.enqueue(to: [row], code: "second")
        try await scene.settle()
        // The drain stands still: only the overlay can know.
        try await scene.accept(scene.scene.result(.completed, of: first, by: row))
        try scene.check.equal(try await scene.offered(row), ["second"], "offered at once")
        try await scene.worker.refresh()
        try scene.check.equal(try await scene.offered(row), ["second"], "offered after a refresh")
        try await scene.worker.drain()
        try scene.check.equal(try await scene.offered(row), ["second"], "offered after the drain")
        try await scene.worker.refresh()
        try scene.check.equal(try await scene.offered(row), ["second"], "offered at last")
    }

    private static func appliesClaims(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        let operation = try await scene.scene.enqueue(to: [row])
        try await scene.settle()
        try await scene.accept(scene.scene.claim(operation, by: row))
        for _ in 0..<2 {
            let work = try await scene.work(row)
            let plain = work.batch(limit: 9, redelivery: .afterLease, at: scene.scene.now)
            try scene.check.equal(plain, [], "offered during the lease")
            let after = scene.scene.now + operation.deliveryLease
            try scene.check.equal(
                work.batch(limit: 9, redelivery: .afterLease, at: after).count,
                1,
                "offered after the lease"
            )
            try await scene.settle()
        }
    }

    private static func appliesNotNow(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        let first = try await scene.scene.enqueue(to: [row], code: "first")
        _ = try await scene.scene.enqueue(to: [row], code: "second")
        try await scene.settle()
        let until = scene.scene.now + .seconds(600)
        try await scene.accept(scene.scene.result(.notNow(until: until), of: first, by: row))
        for _ in 0..<2 {
            try scene.check.equal(try await scene.offered(row), ["second"], "offered meanwhile")
            try scene.check.equal(
                try await scene.offered(row, after: 600),
                ["first", "second"],
                "offered afterwards"
            )
            try await scene.settle()
        }
    }

    private static func neverOffersAgain(_ scene: WorkerScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.scene.enrol("d-1", groups: [fleet])
        var done: Set<String> = []
        for index in 0..<12 {
            let code = "task-\(index)"
            let operation =
                index.isMultiple(of: 2)
                ? try await scene.scene.enqueue(to: [row], code: code)
                : try await scene.scene.enqueue(to: fleet, code: code)
            try await scene.worker.refresh()
            try scene.check.equal(try await scene.offered(row), [code], "offered in round \(index)")
            try await scene.accept(
                scene.scene.claim(operation, by: row),
                scene.scene.result(.completed, of: operation, by: row)
            )
            done.insert(code)
            for _ in 0..<3 {
                let again = try await scene.offered(row, after: 100_000).filter(done.contains)
                try scene.check.equal(again, [], "offered again in round \(index)")
                // Draining and refreshing interleave differently from round to round.
                if index % 3 == 1 { try await scene.worker.drain() }
                if index % 4 == 2 { try await scene.worker.refresh() }
            }
        }
    }

    private static func ignoresForeign(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        let operation = try await scene.scene.enqueue(to: [row])
        try await scene.settle()
        var stranger = row
        stranger.incarnation = IncarnationID(from: scene.scene.random)
        try await scene.accept(scene.scene.result(.completed, of: operation, by: stranger))
        try scene.check.equal(try await scene.offered(row), ["lock"], "offered at once")
        try await scene.settle()
        try scene.check.equal(try await scene.offered(row), ["lock"], "offered at last")
    }

    private static func passesUnknown(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        let operation = try await scene.scene.enqueue(to: [row])
        try await scene.settle()
        var unknown = operation
        unknown.id = OperationID(from: scene.scene.random)
        try await scene.accept(
            scene.scene.result(.completed, of: unknown, by: row),
            scene.scene.result(.completed, of: operation, by: row)
        )
        try scene.check.equal(try await scene.offered(row), [], "offered at once")
        try await scene.settle()
        try scene.check.equal(
            try await scene.scene.activity(operation).rowCounts[.completed],
            1,
            "completed at the store"
        )
    }

    private static func neverGoesBack(_ scene: WorkerScene) async throws {
        let row = try await scene.scene.enrol("d-1")
        try await scene.settle()
        var last = try await scene.work(row).revision
        for index in 0..<6 {
            let operation = try await scene.scene.enqueue(to: [row], code: "task-\(index)")
            try await scene.worker.refresh()
            let next = try await scene.work(row).revision
            try scene.check.isTrue(
                next.covers(last) && next.number >= operation.number,
                "a read after a refresh is true of \(operation.number) or later, not \(next)"
            )
            try await scene.accept(scene.scene.result(.completed, of: operation, by: row))
            let reported = try await scene.work(row).revision
            try scene.check.isTrue(reported.covers(next), "\(reported) is not before \(next)")
            try await scene.worker.drain()
            last = try await scene.work(row).revision
            try scene.check.isTrue(last.covers(reported), "\(last) is not before \(reported)")
        }
    }

    private static func reachesTheStore(_ scene: WorkerScene) async throws {
        let rows = try await scene.scene.enrol(["d-1", "d-2"])
        let operation = try await scene.scene.enqueue(to: rows)
        try await scene.settle()
        let until = scene.scene.now + .seconds(60)
        try await scene.accept(
            scene.scene.claim(operation, by: rows[0]),
            scene.scene.result(.notNow(until: until), of: operation, by: rows[0])
        )
        try await scene.accept(scene.scene.result(.failed, of: operation, by: rows[1]))
        try await scene.accept(
            scene.scene.result(.completed, of: operation, by: rows[0], detail: "done")
        )
        for _ in 0..<2 { try await scene.settle() }
        let activity = try await scene.scene.activity(operation)
        try scene.check.equal(activity.state, .finished, "the activity")
        try scene.check.equal(activity.rowCounts[.completed], 1, "completed")
        try scene.check.equal(activity.rowCounts[.failed], 1, "failed")
        try scene.check.equal(activity.answeredLate, 0, "late answers")
        let execution = try await scene.scene.execution(of: operation, on: rows[0])
        try scene.check.equal(execution.detail, Array("done".utf8), "the detail")
        try scene.check.equal(execution.version, 3, "one version an entry")
    }

    private static func servesManyAtOnce(_ scene: WorkerScene) async throws {
        let rows = try await scene.scene.enrolTogether((0..<60).map { "d-\($0)" })
        let operation = try await scene.scene.enqueue(to: .everyone)
        try await scene.settle()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for row in rows {
                group.addTask {
                    let offered = try await scene.offered(row)
                    try scene.check.equal(offered, ["lock"], "offered to \(row.id)")
                    try await scene.accept(scene.scene.claim(operation, by: row))
                    try await scene.accept(scene.scene.result(.completed, of: operation, by: row))
                    let again = try await scene.offered(row, after: 100_000)
                    try scene.check.equal(again, [], "offered again to \(row.id)")
                }
            }
            try await group.waitForAll()
        }
        try await scene.settle()
        let activity = try await scene.scene.activity(operation)
        try scene.check.equal(activity.rowCounts[.completed], 60, "completed")
        try scene.check.equal(activity.state, .finished, "the activity")
    }
}
