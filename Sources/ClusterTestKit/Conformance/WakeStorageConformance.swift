internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

/// The contract of `WakeStorage`, together with the `OperationStorage` that writes its rows.
public struct WakeStorageConformance: Sendable {
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
        try await runStoreConformance("WakeStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init(
            "an enqueued operation asks for one wake-up a device, when it falls due",
            asksForWakes
        ),
        .init("an operation without wake-ups asks for none", asksForNone),
        .init("wake-ups are given in order of due time, up to the limit", keepsDueOrder),
        .init("a second wish joins the wake-up under way", coalesces),
        .init("a wake-up carries the device's registration", carriesRegistration),
        .init("a sent wake-up goes", settlesSent),
        .init("a retry is due later and remembers why", settlesRetry),
        .init("an abandoned wake-up goes", settlesAbandoned),
        .init("a dead token goes with its wake-up; a newer one keeps it due", settlesDeadToken),
        .init("an outcome of an older generation leaves the wake-up due", ignoresOldGeneration),
        .init("an outcome for a wake-up that is gone is left alone", ignoresGoneRows),
        .init("a contact answered at the number clears the wake-up", isClearedByContact),
        .init("a contact answered earlier clears nothing", isNotClearedByOlderContact),
        .init("a group is expanded in pages, in order of device", expandsInPages),
        .init("expansion passes by who was contacted or removed, and joins who waits", passesBy),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("what waits is there after a restart", survivesReopening),
    ]
}

/// A scene with a wake outbox.
struct WakeScene: Sendable {
    let scene: StoreScene
    let wakes: any WakeStorage
    var check: ConformanceCheck { scene.check }

    init(_ scene: StoreScene) throws {
        self.scene = scene
        wakes = try scene.needs(\.wakes, "WakeStorage")
    }

    func due(after seconds: Int = 0, limit: Int = 100) async throws -> [DueWakeUp] {
        try await wakes.due(at: scene.now + .seconds(seconds), limit: limit)
    }

    func dueNames(after seconds: Int = 0, limit: Int = 100) async throws -> [String] {
        try await due(after: seconds, limit: limit).map(\.wake.device.rawValue)
    }

    func only(after seconds: Int = 0) async throws -> WakeUp {
        let rows = try await due(after: seconds)
        try check.equal(rows.count, 1, "wake-ups due")
        return try check.some(rows.first, "the wake-up due").wake
    }

    func settle(_ wake: WakeUp, _ verdict: WakeSettlement.Verdict) async throws {
        let settlement = WakeSettlement(
            tenant: wake.tenant,
            device: wake.device,
            generation: wake.generation,
            verdict: verdict
        )
        try await wakes.settle([settlement], epoch: scene.epoch, at: scene.now)
    }

    /// Expands in pages until done; returns the receipts.
    func expandAll(limit: Int = 100) async throws -> [WakeExpansionReceipt] {
        var receipts: [WakeExpansionReceipt] = []
        while receipts.count < 1_000 {
            let receipt = try await wakes.expand(limit: limit, epoch: scene.epoch, at: scene.now)
            receipts.append(receipt)
            if receipt.isFinished { return receipts }
        }
        throw check.failure("expansion is not finished after 1,000 pages")
    }

    func register(_ row: DeviceRow, at time: Timestamp) async throws {
        let push = PushRegistration(transport: "http", address: "to-\(row.id)", registeredAt: time)
        try await scene.apply(scene.entry(row, .registration(push), at: time))
    }
}

extension WakeStorageConformance {
    static func asksForWakes(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        try scene.check.isNil(
            try await outbox.wakes.nextDue(),
            "the next due time of an empty outbox"
        )
        let due = scene.now + .seconds(10)
        let operation = try await scene.enqueue(to: Array(rows.prefix(2)), wakeAt: due)
        try scene.check.equal(try await outbox.wakes.nextDue(), due, "the next due time")
        try scene.check.equal(try await outbox.dueNames(after: 9), [], "due too early")
        let wakes = try await outbox.due(after: 10)
        try scene.check.equal(Set(wakes.map(\.wake.device)), Set(rows.prefix(2).map(\.id)), "due")
        for wake in wakes.map(\.wake) {
            try scene.check.equal(wake.number, operation.number, "the number")
            try scene.check.equal(wake.due, due, "the due time")
            try scene.check.equal(wake.attempts, 0, "attempts")
            try scene.check.equal(wake.tenant, scene.tenant, "the tenant")
        }
    }

    static func asksForNone(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let fleet = GroupID(rawValue: "fleet")
        let row = try await scene.enrol("d-1", groups: [fleet])
        _ = try await scene.enqueue(to: [row])
        _ = try await scene.enqueue(to: fleet)
        _ = try await outbox.expandAll()
        try scene.check.isNil(try await outbox.wakes.nextDue(), "the next due time")
        try scene.check.equal(try await outbox.dueNames(after: 1_000_000), [], "due")
    }

    static func keepsDueOrder(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let rows = try await scene.enrol(["a", "b", "c", "d"])
        for (row, seconds) in zip(rows, [30, 10, 40, 20]) {
            _ = try await scene.enqueue(to: [row], wakeAt: scene.now + .seconds(seconds))
        }
        try scene.check.equal(try await outbox.dueNames(after: 50), ["b", "d", "a", "c"], "due")
        try scene.check.equal(try await outbox.dueNames(after: 50, limit: 2), ["b", "d"], "two")
        try scene.check.equal(try await outbox.dueNames(after: 20), ["b", "d"], "due so far")
        // A device that fails moves itself behind the others.
        let first = try scene.check.some(try await outbox.due(after: 50).first, "the first").wake
        try await outbox.settle(first, .retry(at: scene.now + .seconds(45), failure: "busy"))
        try scene.check.equal(
            try await outbox.dueNames(after: 50),
            ["d", "a", "c", "b"],
            "due after one was put off"
        )
        try scene.check.equal(
            try await outbox.wakes.nextDue(),
            scene.now + .seconds(20),
            "the next due time"
        )
    }

    static func coalesces(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        let first = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let before = try await outbox.only()
        let second = try await scene.enqueue(to: [row], wakeAt: scene.now + .seconds(5))
        let after = try await outbox.only()
        try scene.check.equal(before.number, first.number, "the number at first")
        try scene.check.equal(after.number, second.number, "the number, later")
        try scene.check.isTrue(after.generation > before.generation, "the generation grows")
        try scene.check.equal(after.due, before.due, "the due time")
        try scene.check.equal(try await outbox.wakes.counters().coalesced, 1, "coalesced")
    }

    static func carriesRegistration(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let rows = try await scene.enrol(["with", "without"])
        try await outbox.register(rows[0], at: scene.now)
        _ = try await scene.enqueue(to: rows, wakeAt: scene.now)
        let addresses = try await outbox.due().reduce(into: [String: String]()) {
            $0[$1.wake.device.rawValue] = $1.registration?.address ?? "none"
        }
        try scene.check.equal(addresses, ["with": "to-with", "without": "none"], "addresses")
    }

    static func settlesSent(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        let before = try await scene.revision()
        try await outbox.settle(try await outbox.only(), .sent)
        try scene.check.equal(try await outbox.dueNames(after: 1_000), [], "due")
        try scene.check.isNil(try await outbox.wakes.nextDue(), "the next due time")
        try scene.check.equal(try await outbox.wakes.counters().sent, 1, "sent")
        try scene.check.equal(try await scene.revision(), before, "the revision: wakes take none")
        try scene.check.equal(try await scene.offered(to: row), ["lock"], "the work stays open")
    }

    static func settlesRetry(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        for attempt in 1...2 {
            let wake = try await outbox.only(after: 60 * (attempt - 1))
            let next = scene.now + .seconds(60 * attempt)
            try await outbox.settle(wake, .retry(at: next, failure: "busy \(attempt)"))
            try scene.check.equal(
                try await outbox.dueNames(after: 60 * attempt - 1),
                [],
                "due before the retry"
            )
            let again = try await outbox.only(after: 60 * attempt)
            try scene.check.equal(again.attempts, Int32(attempt), "attempts")
            try scene.check.equal(again.lastFailure, "busy \(attempt)", "why")
            try scene.check.equal(again.due, next, "the due time")
        }
        try scene.check.equal(try await outbox.wakes.counters().retried, 2, "retried")
    }

    static func settlesAbandoned(_ scene: StoreScene) async throws {
        let outbox = try WakeScene(scene)
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(to: [row], wakeAt: scene.now)
        try await outbox.settle(try await outbox.only(), .abandon(failure: "too often"))
        try scene.check.equal(try await outbox.dueNames(after: 1_000), [], "due")
        try scene.check.equal(try await outbox.wakes.counters().abandoned, 1, "abandoned")
        _ = try await scene.enqueue(to: [row], code: "next", wakeAt: scene.now)
        try scene.check.equal(try await outbox.only().attempts, 0, "attempts of the next wake-up")
    }
}
