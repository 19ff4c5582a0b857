internal import ClusterMembership
internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

/// What the protocols of one store promise together: a guarded write appears whole or not at all.
public struct AtomicityConformance: Sendable {
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
        try await runStoreConformance("Atomicity", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("operation, wake-up and log key appear together", writesTogether),
        .init("an enqueue with an old epoch leaves nothing anywhere", leavesNothingWhenFenced),
        .init("a refused enqueue leaves nothing anywhere", leavesNothingWhenRefused),
        .init(
            "state, counters, mark, wake-up and log key of an entry move together",
            appliesTogether
        ),
        .init("entries applied with an old epoch leave nothing anywhere", appliesNothingWhenFenced),
        .init("an enrolment and its memberships appear together", enrolsTogether),
        .init("a dead token and its wake-up stay together when fenced", settlesNothingWhenFenced),
        .init("writers that lose their epoch leave whole writes only", survivesLosingTheEpoch),
        .init("revisions of writers at once are different and all logged", logsConcurrentWrites),
    ]

    private static func writesTogether(_ scene: StoreScene) async throws {
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let log = try scene.needs(\.log, "RevisionLog")
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        for target in [OperationTarget.devices([row.id]), .group(fleet)] {
            let before = try await log.current()
            let plan = scene.plan(for: target, wakeAt: scene.now)
            let receipt = try await scene.enqueue(plan)
            let logged = try await log.changes(after: before, limit: 10)
            try scene.check.equal(
                logged.map(\.number),
                [receipt.revision.number],
                "the revisions logged by an enqueue to \(target)"
            )
            try scene.check.isTrue(
                logged.flatMap(\.keys)
                    .contains(.activity(tenant: scene.tenant, number: receipt.number)),
                "the activity's key is logged; logged: \(logged)"
            )
            _ = try await scene.activity(plan.operation)
            try scene.check.equal(try await wakes.nextDue(), scene.now, "the wake-up's due time")
            _ = try await wakes.expand(limit: 10, epoch: scene.epoch, at: scene.now)
            let due = try await wakes.due(at: scene.now, limit: 10)
            try scene.check.equal(due.map(\.wake.number), [receipt.number], "wake-ups due")
            try await scene.apply(scene.contact(row, answeredAt: receipt.revision))
        }
    }

    /// What an observer sees of a store; equal before and after a write that did not happen.
    private struct Sight: Equatable {
        var revision: Revision?
        var logged: Int
        var nextDue: Timestamp?
        var due: [WakeUp]
        var activities: [Activity]
        var device: Device
        var members: [String]
    }

    private static func look(_ scene: StoreScene, at row: DeviceRow) async throws -> Sight {
        let log = try scene.needs(\.log, "RevisionLog")
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let current = try await log.current()
        let beginning = Revision(history: current.history, number: 0)
        return Sight(
            revision: current,
            logged: try await log.changes(after: beginning, limit: 1_000).count,
            nextDue: try await wakes.nextDue(),
            due: try await wakes.due(at: .distantFuture, limit: 1_000).map(\.wake),
            activities: try await scene.operations.activities(
                before: nil,
                limit: 100,
                tenant: scene.tenant
            ),
            device: try await scene.device(row.id),
            members: try await scene.ids(in: .everyone)
        )
    }

    private static func leavesNothingWhenFenced(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let before = try await look(scene, at: row)
        for target in [OperationTarget.devices([row.id]), .group(.everyone)] {
            let plan = scene.plan(for: target, key: "order-1", wakeAt: scene.now)
            try await scene.expectFenced("enqueue to \(target)") { epoch in
                _ = try await scene.enqueue(plan, epoch: epoch)
            }
            try scene.check.equal(try await look(scene, at: row), before, "the store")
            try scene.check.isNil(
                try await scene.operations.activity(plan.operation.activity, tenant: scene.tenant),
                "the activity"
            )
        }
        // The idempotency key is free as well.
        let current = try await scene.store.newEpoch()
        let plan = scene.plan(for: .devices([row.id]), code: "ring", key: "order-1")
        let receipt = try await scene.enqueue(plan, epoch: current)
        try scene.check.equal(receipt.wasRepeated, false, "the key of the fenced request was used")
    }

    private static func leavesNothingWhenRefused(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let first = scene.plan(for: .devices([row.id]), key: "order-1", wakeAt: scene.now)
        _ = try await scene.enqueue(first)
        let before = try await look(scene, at: row)
        let nobody = DeviceID(rawValue: "nobody")
        let refused: [(OperationQueueError.Code, EnqueuePlan)] = [
            (.noTarget, scene.plan(for: .devices([nobody]), key: "order-2", wakeAt: scene.now)),
            (
                .unknownGroup,
                scene.plan(for: .group(GroupID(rawValue: "nowhere")), wakeAt: scene.now)
            ),
            (
                .keyConflict,
                scene.plan(for: .devices([row.id]), code: "ring", key: "order-1", wakeAt: scene.now)
            ),
        ]
        for (code, plan) in refused {
            try await scene.expect(code, from: "enqueue to \(plan.target)") {
                _ = try await scene.enqueue(plan)
            }
            try scene.check.equal(try await look(scene, at: row), before, "the store")
        }
        let repeated = scene.plan(for: .devices([row.id]), key: "order-1", wakeAt: scene.now)
        _ = try await scene.enqueue(repeated)
        try scene.check.equal(
            try await look(scene, at: row),
            before,
            "the store after a repetition"
        )
    }

    private static func appliesTogether(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let answer = try await scene.openWork(for: row).revision
        let before = try await log.current()
        let spool = scene.newSpool()
        let receipt = try await scene.drain(
            [
                scene.contact(row, answeredAt: answer),
                scene.claim(operation, by: row),
                scene.result(.completed, of: operation, by: row),
            ],
            from: 1,
            of: spool
        )
        let logged = try await log.changes(after: before, limit: 10)
        let keys = Set(logged.flatMap(\.keys))
        let execution = ChangeKey.execution(
            tenant: scene.tenant,
            number: operation.number,
            device: row.id.rawValue
        )
        try scene.check.isTrue(keys.contains(execution), "\(execution) is logged; logged: \(keys)")
        try scene.check.isTrue(
            keys.contains(.spoolMark(node: spool.node)),
            "the spool's mark is logged; logged: \(keys)"
        )
        try scene.check.equal(
            logged.last?.number,
            receipt.revision.number,
            "the revision in the receipt is the one logged"
        )
        try scene.check.equal(try await scene.activity(operation).state, .finished, "the activity")
        try scene.check.isNil(try await wakes.nextDue(), "the wake-up of a device that came")
        try scene.check.equal(try await scene.device(row.id).lastSeen, scene.now, "last seen")
    }

    private static func appliesNothingWhenFenced(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let answer = try await scene.openWork(for: row).revision
        let spool = scene.newSpool()
        let push = PushRegistration(transport: "http", address: "a", registeredAt: scene.now)
        let entries = [
            scene.contact(row, answeredAt: answer),
            scene.entry(row, .registration(push)),
            scene.entry(row, .information(.location, body: [123, 125])),
            scene.claim(operation, by: row),
            scene.result(.completed, of: operation, by: row),
        ]
        let before = try await look(scene, at: row)
        try await scene.expectFenced("apply") { epoch in
            _ = try await scene.drain(entries, from: 1, of: spool, epoch: epoch)
        }
        try scene.check.equal(try await look(scene, at: row), before, "the store")
        try scene.check.equal(
            try await scene.devices.information(of: row.id, tenant: scene.tenant),
            [],
            "the information"
        )
        let current = try await scene.store.newEpoch()
        let receipt = try await scene.drain(entries, from: 1, of: spool, epoch: current)
        try scene.check.equal(receipt.skipped, 0, "entries skipped by a mark that was not stored")
    }

    private static func enrolsTogether(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let fleet = GroupID(rawValue: "fleet")
        let before = try await log.current()
        let record = scene.enrolment(of: DeviceID(rawValue: "d-1"), groups: [fleet])
        let receipt = try await scene.change(.enrol(record))
        let logged = try await log.changes(after: before, limit: 10)
        try scene.check.equal(logged.map(\.number), [receipt.revision.number], "revisions logged")
        let groups: [GroupID] = [.everyone, fleet]
        for group in groups {
            let key = ChangeKey.membership(
                tenant: scene.tenant,
                group: group.rawValue,
                device: "d-1"
            )
            try scene.check.isTrue(logged.flatMap(\.keys).contains(key), "\(key) is logged")
            try scene.check.equal(try await scene.ids(in: group), ["d-1"], "members of \(group)")
        }
    }

    private static func settlesNothingWhenFenced(_ scene: StoreScene) async throws {
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let row = try await scene.enrol("d-1")
        let push = PushRegistration(transport: "http", address: "a", registeredAt: scene.now)
        try await scene.apply(scene.entry(row, .registration(push)))
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let before = try await look(scene, at: row)
        let wake = try scene.check.some(before.due.first, "the wake-up")
        let settlement = WakeSettlement(
            tenant: wake.tenant,
            device: wake.device,
            generation: wake.generation,
            verdict: .deadToken(since: scene.now)
        )
        try await scene.expectFenced("settle") { epoch in
            try await wakes.settle([settlement], epoch: epoch, at: scene.now)
        }
        try scene.check.equal(try await look(scene, at: row), before, "the store")
    }

    private static func survivesLosingTheEpoch(_ scene: StoreScene) async throws {
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let rows = try await scene.enrolTogether((0..<60).map { "d-\($0)" })
        let plans = rows.map { scene.plan(for: .devices([$0.id]), wakeAt: scene.now) }
        let outcomes = try await withThrowingTaskGroup(of: (Int, EnqueueReceipt?).self) { group in
            for (index, plan) in plans.enumerated() {
                if index == plans.count / 2 {
                    group.addTask {
                        _ = try await scene.store.newEpoch()
                        return (-1, nil)
                    }
                }
                group.addTask {
                    do {
                        return (index, try await scene.enqueue(plan))
                    } catch let error as ClusterRoleError where error.code == .fenced {
                        return (index, nil)
                    }
                }
            }
            return try await group.reduce(into: [Int: EnqueueReceipt]()) { $0[$1.0] = $1.1 }
        }
        let woken = Set(try await wakes.due(at: scene.now, limit: 1_000).map(\.wake.device))
        for (index, plan) in plans.enumerated() {
            let isWritten = outcomes[index] != nil
            let activity = try await scene.operations.activity(
                plan.operation.activity,
                tenant: scene.tenant
            )
            let id = rows[index].id
            try scene.check.equal(activity != nil, isWritten, "the activity of call \(index)")
            try scene.check.equal(woken.contains(id), isWritten, "the wake-up of call \(index)")
        }
    }

    private static func logsConcurrentWrites(_ scene: StoreScene) async throws {
        let log = try scene.needs(\.log, "RevisionLog")
        let row = try await scene.enrol("d-1")
        let before = try await log.current()
        let revisions = try await withThrowingTaskGroup(of: Revision.self) { group in
            for index in 0..<30 {
                group.addTask {
                    try await scene.enqueue(scene.plan(for: .devices([row.id]))).revision
                }
                group.addTask {
                    let id = DeviceID(rawValue: "n-\(index)")
                    return try await scene.change(.enrol(scene.enrolment(of: id))).revision
                }
            }
            return try await group.reduce(into: [Revision]()) { $0.append($1) }
        }
        let numbers = revisions.map(\.number).sorted()
        try scene.check.equal(Set(numbers).count, 60, "different revisions")
        let logged = try await log.changes(after: before, limit: 1_000).map(\.number)
        try scene.check.equal(logged, numbers, "revisions logged, in order")
        try scene.check.equal(try await log.current().number, numbers.last, "the newest revision")
    }
}
