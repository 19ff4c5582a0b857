internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// What the server itself does to executions is told like what devices answer.
extension EventReaderConformance {
    static let termSteps: [ConformanceStep<StoreScene>] = [
        .init("timeouts and what follows from them are events", tellsTimeouts),
        .init("supersedes, commands and stops behind a failure are events", tellsServerChanges),
        .init("who leaves a standing group is an event of the device's own commit", tellsLeaving),
    ]

    private static func found(
        _ scene: StoreScene,
        after start: Revision
    ) async throws -> [OperationEvent] {
        let reader = try scene.needs(\.events, "EventReader")
        let page = try await reader.events(after: start, limit: 1_000, tenant: scene.tenant)
        try scene.check.isTrue(page.isLast, "one page holds the events of a step")
        return page.events
    }

    private static func newest(_ scene: StoreScene) async throws -> Revision {
        try await scene.needs(\.events, "EventReader").currentRevision()
    }

    /// The versions that events tell of an execution are 1, 2, … up to that of its row, and their states
    /// lead from one to the next.
    private static func checkChain(
        of operation: DeviceOperation,
        on row: DeviceRow,
        in events: [OperationEvent],
        _ scene: StoreScene
    ) async throws {
        var version: Int32 = 0
        var state: ExecutionState?
        for event in events where event.number == operation.number && event.device == row.id {
            guard case .execution(_, let from, let to, let told) = event.change else { continue }
            version += 1
            try scene.check.equal(told, version, "the next version of \(operation.code)")
            try scene.check.equal(from, state, "the state before version \(version)")
            state = to
        }
        let execution = try await scene.execution(of: operation, on: row)
        try scene.check.equal(version, execution.version, "the last version told")
    }

    private static func tellsTimeouts(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let start = try await newest(scene)
        let operation = try await scene.enqueue(to: .devices(rows.map(\.id))) {
            $0.timeouts.whole = .seconds(100)
        }
        try await scene.apply(
            scene.claim(operation, by: rows[0]),
            scene.result(.completed, of: operation, by: rows[1])
        )
        let end = scene.now + .seconds(100)
        try await scene.fire(at: end)
        let events = try await found(scene, after: start)
        try scene.check.equal(
            events.suffix(2).map(\.change),
            [
                .execution(device: rows[0].id, from: .delivered, to: .timedOut, version: 2),
                .activity(from: .open, to: .finished),
            ],
            "the last events"
        )
        try scene.check.equal(events.suffix(2).map(\.at), [end, end], "when")
        for row in rows { try await checkChain(of: operation, on: row, in: events, scene) }

        let again = try await scene.enqueue(to: .devices([rows[0].id])) {
            $0.timeouts.whole = .seconds(100)
            $0.retry = RetryPolicy(count: 1, matching: .timeouts)
        }
        try await scene.apply(scene.claim(again, by: rows[0]))
        try await scene.fire(at: scene.now + .seconds(100))
        try await checkChain(
            of: again,
            on: rows[0],
            in: try await found(scene, after: start),
            scene
        )
    }

    private static func tellsServerChanges(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let start = try await newest(scene)
        var operations: [DeviceOperation] = []
        for code in ["old", "new"] {
            operations.append(
                try await scene.enqueue(to: .group("fleet"), code: code) {
                    $0.control = .supersede("policy")
                }
            )
        }
        let first = try await scene.enqueue(to: .devices(rows.map(\.id)), code: "first") { _ in }
        let second = try await scene.enqueue(to: .devices(rows.map(\.id)), code: "second") {
            $0.after = [OperationDependency(first.activity, onFailure: .stop)]
        }
        operations += [first, second]
        try await scene.apply(
            scene.claim(first, by: rows[0]),
            scene.result(.failed, of: first, by: rows[0])
        )
        _ = try await scene.operations.cancelAll(
            of: rows[1].id,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        let events = try await found(scene, after: start)
        let activities = events.filter { $0.device == nil }.map { "\($0.code) \($0.change)" }
        let superseded = OperationEvent.Change.activity(from: .open, to: .superseded)
        try scene.check.isTrue(
            activities.contains("old \(superseded)"),
            "the older activity's end is told, of \(activities)"
        )
        let stopped = events.contains {
            guard case .execution(let device, _, let to, _) = $0.change else { return false }
            return $0.number == second.number && device == rows[0].id && to == .cancelled
        }
        try scene.check.isTrue(stopped, "what is stopped behind a failure is told")
        for operation in operations {
            for row in rows { try await checkChain(of: operation, on: row, in: events, scene) }
        }
    }

    private static func tellsLeaving(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        let start = try await newest(scene)
        let operation = try await scene.enqueue(to: .group(fleet)) { $0.scope = .membersAndJoiners }
        try await scene.apply(scene.claim(operation, by: row))
        let left = try await scene.change(.leave(fleet, [row.id]))
        let events = try await found(scene, after: start)
        try scene.check.equal(
            events.last?.change,
            .execution(device: row.id, from: .delivered, to: .cancelRequested, version: 2),
            "the last event"
        )
        try scene.check.equal(events.last?.position.revision, left.revision, "its revision")
        let execution = try await scene.operations.execution(
            scene.id(of: operation, on: row),
            tenant: scene.tenant
        )
        try scene.check.equal(execution?.version, 2, "the row's version")
    }
}
