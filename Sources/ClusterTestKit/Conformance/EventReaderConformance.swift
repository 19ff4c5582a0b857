internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

/// The contract of `EventReader`, together with the `OperationStorage` whose transitions it reads.
public struct EventReaderConformance: Sendable {
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
        try await runStoreConformance(
            "EventReader",
            makeStore,
            timeLimit,
            Self.steps + Self.termSteps
        )
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("an enqueued operation is one event, whomever it addresses", opens),
        .init("each change of a row is an event, with its states and version", tellsRows),
        .init("the answer that finishes an activity is followed by the activity's event", finishes),
        .init("closing as a whole is one event, closing again none", closes),
        .init("what changes nothing is no event", isSilent),
        .init("the events of one commit share its revision, in order", numbersWithinARevision),
        .init("events of tenants never cross", keepsTenantsApart),
        .init("pages hold whole revisions and end at the newest", pages),
        .init("with many writers every commit is read once, in order", readsEveryCommitOnce),
        .init("a position that cannot be read from is refused, naming the floor", refuses),
        .init("a time leads to the revision before it", findsTimes),
        .init("events are there after a restart", survivesReopening),
    ]

    static func reader(_ scene: StoreScene) throws -> any EventReader {
        try scene.needs(\.events, "EventReader")
    }

    /// All events of the scene's tenant after a revision.
    static func events(
        _ scene: StoreScene,
        after start: Revision,
        limit: Int = 100,
        tenant: TenantID? = nil
    ) async throws -> [OperationEvent] {
        let reader = try reader(scene)
        var found: [OperationEvent] = []
        var position = start
        while true {
            let page = try await reader.events(
                after: position,
                limit: limit,
                tenant: tenant ?? scene.tenant
            )
            found += page.events
            if page.isLast { return found }
            try scene.check.isTrue(
                page.reached.number > position.number,
                "a page that is not the last goes on"
            )
            position = page.reached
        }
    }

    private static func opens(_ scene: StoreScene) async throws {
        let start = try await reader(scene).currentRevision()
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let plans = [
            scene.plan(for: .devices(rows.map(\.id)), code: "named"),
            scene.plan(for: .group("fleet"), code: "grouped"),
            scene.plan(for: .group(.everyone), code: "all"),
        ]
        var expected: [OperationEvent] = []
        for plan in plans {
            let receipt = try await scene.enqueue(plan)
            expected.append(
                OperationEvent(
                    position: EventPosition(receipt.revision, index: 0),
                    tenant: scene.tenant,
                    activity: receipt.activity,
                    number: receipt.number,
                    code: plan.operation.code,
                    at: scene.now,
                    change: .activity(from: nil, to: .open)
                )
            )
        }
        try scene.check.equal(try await events(scene, after: start), expected, "the events")
    }

    private static func tellsRows(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row, try await scene.enrol("d-2")])
        let start = try await reader(scene).currentRevision()
        let until = scene.now + .seconds(60)
        try await scene.apply(scene.claim(operation, by: row))
        let claimed = try await scene.execution(of: operation, on: row)
        let step = InboxEntry.Body.progress(
            operation.id,
            attempt: claimed.attempt,
            detail: [],
            stepEnd: until
        )
        try await scene.apply(scene.entry(row, step))
        try await scene.apply(scene.entry(row, step, at: until))
        try await scene.apply(scene.result(.completed, of: operation, by: row, at: until))
        try await scene.apply(scene.result(.failed, of: operation, by: row, detail: "late"))
        let found = try await events(scene, after: start)
        let changes = found.map(\.change)
        func change(
            _ from: ExecutionState?,
            _ to: ExecutionState,
            _ version: Int32
        ) -> OperationEvent.Change {
            .execution(device: row.id, from: from, to: to, version: version)
        }
        try scene.check.equal(
            changes,
            [
                change(nil, .delivered, 1), change(.delivered, .inProgress, 2),
                change(.inProgress, .inProgress, 3), change(.inProgress, .completed, 4),
                change(.completed, .completed, 5),
            ],
            "the changes"
        )
        try scene.check.equal(
            found.map(\.at),
            [scene.now, scene.now, until, until, scene.now],
            "the times at which they were received"
        )
        try scene.check.isTrue(
            found.allSatisfy {
                $0.activity == operation.activity && $0.number == operation.number
                    && $0.code == operation.code
            },
            "every event names its operation"
        )
        let version = try await scene.execution(of: operation, on: row).version
        try scene.check.equal(version, 5, "the row's version")
    }

    private static func finishes(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let start = try await reader(scene).currentRevision()
        try await scene.apply(scene.result(.completed, of: operation, by: row))
        let found = try await events(scene, after: start)
        try scene.check.equal(
            found.map(\.change),
            [
                .execution(device: row.id, from: nil, to: .completed, version: 1),
                .activity(from: .open, to: .finished),
            ],
            "the changes"
        )
        try scene.check.equal(found.map(\.position.index), [0, 1], "the indexes")
    }

    private static func closes(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(scene.claim(operation, by: rows[0]))
        let start = try await reader(scene).currentRevision()
        let later = scene.now + .seconds(5)
        for _ in 0..<2 {
            _ = try await scene.operations.close(
                operation.activity,
                as: .cancelled,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: later
            )
        }
        let found = try await events(scene, after: start)
        try scene.check.equal(
            found.map(\.change),
            [.activity(from: .open, to: .cancelled)],
            "the changes"
        )
        try scene.check.equal(found.map(\.at), [later], "when")
    }

    private static func isSilent(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let plan = scene.plan(for: .devices([row.id]), key: "once")
        _ = try await scene.enqueue(plan)
        let operation = try await scene.enqueue(to: [row])
        let result = scene.result(.completed, of: operation, by: row, detail: "x")
        try await scene.apply(result)
        let foreign = try await scene.enqueue(to: [try await scene.enrol("d-2")])
        let start = try await reader(scene).currentRevision()
        _ = try await scene.enqueue(plan)
        try await scene.apply(result)
        let receipt = try await scene.apply(
            scene.contact(row, answeredAt: start),
            scene.result(.completed, of: foreign, by: row)
        )
        try scene.check.equal(receipt.rejected, 1, "entries rejected")
        try await scene.enrol("d-3")
        try scene.check.equal(try await events(scene, after: start), [], "the events")
    }

    private static func numbersWithinARevision(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol((0..<20).map { "d-\($0 + 10)" })
        let operation = try await scene.enqueue(to: rows)
        let start = try await reader(scene).currentRevision()
        let entries = rows.flatMap {
            [
                scene.claim(operation, by: $0),
                scene.result(.completed, of: operation, by: $0),
            ]
        }
        let receipt = try await scene.drain(entries, from: 1, of: scene.newSpool())
        let found = try await events(scene, after: start)
        try scene.check.equal(
            found.map(\.position),
            (0..<41).map { EventPosition(receipt.revision, index: $0) },
            "the positions"
        )
        try scene.check.equal(
            found.compactMap(\.device),
            rows.flatMap { [$0.id, $0.id] },
            "the devices, in the order of the entries"
        )
        try scene.check.equal(found.last?.change, .activity(from: .open, to: .finished), "the last")
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let start = try await reader(scene).currentRevision()
        let mine = try await scene.enqueue(to: [try await scene.enrol("d-1")], code: "mine")
        let theirs = try await scene.enqueue(
            to: [try await scene.enrol("d-1", tenant: scene.otherTenant)],
            code: "theirs"
        )
        let own = try await events(scene, after: start)
        try scene.check.equal(own.map(\.activity), [mine.activity], "the tenant's own")
        let other = try await events(scene, after: start, tenant: scene.otherTenant)
        try scene.check.equal(other.map(\.activity), [theirs.activity], "the neighbour's")
    }

    private static func pages(_ scene: StoreScene) async throws {
        let reader = try reader(scene)
        let start = try await reader.currentRevision()
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        for index in 0..<5 {
            let operation = try await scene.enqueue(to: rows, code: "task-\(index)")
            try await scene.apply(
                scene.claim(operation, by: rows[0]),
                scene.claim(operation, by: rows[1]),
                scene.claim(operation, by: rows[2])
            )
        }
        let whole = try await events(scene, after: start)
        try scene.check.equal(whole.count, 20, "events")
        try scene.check.equal(
            try await events(scene, after: start, limit: 2),
            whole,
            "the same events in small pages"
        )
        let newest = try await reader.currentRevision()
        let last = try await reader.events(after: newest, limit: 10, tenant: scene.tenant)
        try scene.check.equal(
            last,
            EventPage(events: [], reached: newest, newest: newest),
            "the page behind the newest"
        )
    }
}
