internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

// What an operation's terms ask of a store.

extension StoreScene {
    /// Enqueues one operation under terms and returns it with its number.
    func enqueue(
        to target: OperationTarget,
        code: String = "lock",
        expiresAt: Timestamp? = nil,
        wakeAt: Timestamp? = nil,
        _ terms: (inout OperationTerms) -> Void
    ) async throws -> DeviceOperation {
        var plan = plan(for: target, code: code, expiresAt: expiresAt, wakeAt: wakeAt)
        terms(&plan.operation.terms)
        let receipt = try await enqueue(plan)
        var operation = plan.operation
        operation.number = receipt.number
        return operation
    }

    @discardableResult
    func change(
        _ operation: DeviceOperation,
        _ change: ActivityChange,
        at time: Timestamp? = nil
    ) async throws -> Activity {
        try await operations.change(
            operation.activity,
            change,
            tenant: tenant,
            epoch: epoch,
            at: time ?? now
        ).activity
    }

    @discardableResult
    func fire(at time: Timestamp, limit: Int = 100) async throws -> Int {
        try await operations.fireTimers(at: time, limit: limit, epoch: epoch)
    }

    func id(of operation: DeviceOperation, on row: DeviceRow) -> ExecutionID {
        ExecutionID(operation: operation.id, incarnation: row.incarnation, device: row.id)
    }
}

extension OperationStorageConformance {
    static let termSteps: [ConformanceStep<StoreScene>] = [
        .init("terms come back as they were enqueued", keepsTerms),
        .init("an operation that needs approval is offered after it", awaitsApproval),
        .init("a paused activity is offered to nobody until it is resumed", pauses),
        .init("a rollout is offered to the ranks below its ceiling", releasesByRank),
        .init("what waits for another activity is offered when that has completed", waitsFor),
        .init("a failed step stops what is behind it on that device only", stopsBehindFailure),
        .init("a closed activity that others wait for stays until they end", keepsDependency),
        .init("what can't be waited for is refused", refusesDependencies),
        .init("a failure is repeated as its policy says", retries),
        .init("an execution that takes too long times out", timesOut),
        .init("a cancellation nobody answers ends by itself", endsCancellation),
        .init("a newer operation under the same key closes the older as a whole", supersedes),
        .init("an operation ended on read is counted as superseded", takesSupersession),
        .init("joiners get a standing operation, and who leaves does not", followsJoiners),
        .init("joiners only are asked by an operation for joiners", asksJoinersOnly),
        .init("commands on an execution compare its version", comparesVersions),
        .init("all that is open for a device is cancelled at once", cancelsAllOfADevice),
        .init("one execution is found by its id", findsExecution),
        .init("a deferred device is woken when its wait ends", wakesAfterDeferral),
        .init("devices are woken when the operation's time has come", wakesAtStart),
        .init("releasing further wakes those who are new", wakesReleased),
    ]

    static func keepsTerms(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: .devices([row.id])) { terms in
            terms.notBefore = scene.now + .seconds(60)
            terms.timeouts = ExecutionTimeouts(whole: .seconds(10), step: .seconds(5))
            terms.retry = RetryPolicy(count: 3, matching: .errors(["net.*", "busy"]))
            terms.control = .supersede("profile/wifi")
            terms.confirmation = .required
            terms.wake = .none
        }
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.operation.terms, operation.terms, "the terms")
        try scene.check.equal(try await scene.offered(to: row), [], "offered before its time")
        try scene.check.equal(
            try await scene.offered(to: row, at: scene.now + .seconds(60)),
            ["lock"],
            "offered at its time"
        )
    }

    static func awaitsApproval(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        for target in [OperationTarget.devices([row.id]), .group("fleet")] {
            let operation = try await scene.enqueue(to: target) { $0.approval = .required }
            try scene.check.equal(try await scene.offered(to: row), [], "offered before approval")
            let activity = try await scene.change(operation, .approve(by: "ann"))
            try scene.check.equal(activity.gate, OfferGate(), "the gate")
            try scene.check.equal(
                try await scene.activity(operation).decidedBy,
                "ann",
                "who approved"
            )
            try scene.check.equal(try await scene.offered(to: row), ["lock"], "offered afterwards")
            let other = try await scene.enqueue(to: target) { $0.approval = .required }
            try await scene.change(other, .reject(by: "ann"))
            try scene.check.equal(try await scene.activity(other).state, .cancelled, "rejected")
            try await scene.change(operation, .close(.cancelled))
        }
    }

    static func pauses(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(scene.claim(operation, by: rows[0]))
        try await scene.change(operation, .pause(by: "ann"))
        try scene.check.equal(try await scene.offered(to: rows[1]), [], "offered while paused")
        try await scene.apply(scene.result(.completed, of: operation, by: rows[0]))
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[0]).state,
            .completed,
            "work in hand goes on"
        )
        let before = try await scene.revision()
        try await scene.change(operation, .pause(by: "bob"))
        try scene.check.equal(try await scene.revision(), before, "the revision of pausing twice")
        try await scene.change(operation, .resume(by: "ann"))
        try scene.check.equal(try await scene.offered(to: rows[1]), ["lock"], "offered again")
        try await scene.change(operation, .close(.cancelled))
        try await scene.expect(.invalidRequest, from: "pausing a closed activity") {
            try await scene.change(operation, .pause(by: "ann"))
        }
    }

    static func releasesByRank(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol((1...40).map { "d-\($0)" }, groups: ["fleet"])
        let plan = RolloutPlan(.waves([RolloutWave(share: 3_000)]))
        for target in [OperationTarget.group("fleet"), .devices(rows.map(\.id))] {
            let operation = try await scene.enqueue(to: target) { $0.rollout = plan }
            let open = try await scene.operations.rollouts(after: nil, limit: 10)
            try scene.check.equal(open.map(\.id), [operation.activity], "rollouts under way")
            try scene.check.equal(try await scene.offered(to: rows[0]), [], "before the first wave")
            let chosen = rows.filter { operation.activity.rank(of: $0.id) < 3_000 }
            let count = try await scene.operations.addressedCount(
                of: operation.activity,
                below: 3_000,
                tenant: scene.tenant
            )
            try scene.check.equal(count, chosen.count, "devices below the ceiling")
            try await scene.change(operation, .release(ceiling: 3_000, released: count, wave: 0))
            for row in rows {
                let expected = chosen.contains(row) ? ["lock"] : []
                try scene.check.equal(try await scene.offered(to: row), expected, "\(row.id)")
            }
            let activity = try await scene.change(
                operation,
                .release(ceiling: RolloutPlan.everyone, released: rows.count, wave: 1)
            )
            try scene.check.equal(activity.rollout.released, rows.count, "released")
            try scene.check.equal(try await scene.activity(operation), activity, "the activity")
            for row in rows {
                try scene.check.equal(try await scene.offered(to: row), ["lock"], "all")
            }
            try await scene.change(operation, .close(.cancelled))
        }
    }

    static func waitsFor(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"], groups: ["fleet"])
        let first = try await scene.enqueue(to: [rows[0], rows[1]], code: "first")
        let second = try await scene.enqueue(to: .group("fleet"), code: "second") {
            $0.after = [OperationDependency(first.activity)]
        }
        try scene.check.equal(try await scene.offered(to: rows[0]), ["first"], "before")
        try scene.check.equal(
            try await scene.offered(to: rows[2]),
            ["second"],
            "a device the first does not address"
        )
        try await scene.apply(scene.result(.completed, of: first, by: rows[0]))
        try scene.check.equal(try await scene.offered(to: rows[0]), ["second"], "after")
        try scene.check.equal(try await scene.offered(to: rows[1]), ["first"], "the other device")
        try await scene.apply(scene.result(.completed, of: second, by: rows[0]))
        try scene.check.equal(try await scene.offered(to: rows[0]), [], "when both are done")
    }

    static func stopsBehindFailure(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let first = try await scene.enqueue(to: rows, code: "first")
        let target = OperationTarget.devices(rows.map(\.id))
        let second = try await scene.enqueue(to: target, code: "second") {
            $0.after = [OperationDependency(first.activity)]
        }
        let third = try await scene.enqueue(to: target, code: "third") {
            $0.after = [OperationDependency(second.activity)]
        }
        let paused = try await scene.enqueue(to: target, code: "paused") {
            $0.after = [OperationDependency(first.activity, onFailure: .pause)]
        }
        try await scene.apply(scene.result(.failed, of: first, by: rows[0]))
        for operation in [second, third] {
            try scene.check.equal(
                try await scene.execution(of: operation, on: rows[0]).state,
                .cancelled,
                "\(operation.code) behind the failure"
            )
            try scene.check.equal(
                try await scene.execution(of: operation, on: rows[1]).state,
                .pending,
                "\(operation.code) on the other device"
            )
            let counts = try await scene.activity(operation).counts
            try scene.check.equal(counts[.cancelled], 1, "counted")
        }
        try scene.check.equal(
            try await scene.execution(of: paused, on: rows[0]).state,
            .pending,
            "what only pauses"
        )
        try scene.check.equal(try await scene.offered(to: rows[0]), [], "offered behind a failure")
        try await scene.apply(scene.result(.completed, of: first, by: rows[1]))
        try scene.check.equal(
            try await scene.offered(to: rows[1]),
            ["second", "paused"],
            "offered to the other device"
        )
    }

    static func keepsDependency(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let first = try await scene.enqueue(to: [row], code: "first")
        let second = try await scene.enqueue(to: .devices([row.id]), code: "second") {
            $0.after = [OperationDependency(first.activity)]
        }
        try await scene.apply(scene.result(.completed, of: first, by: row))
        let finished = try await scene.activity(first)
        try scene.check.equal(finished.state, .finished, "the first")
        try scene.check.equal(finished.dependents, 1, "activities that wait for it")
        try scene.check.isTrue(finished.isLive, "it is kept for them")
        try scene.check.equal(try await scene.offered(to: row), ["second"], "offered")
        try await scene.apply(scene.result(.completed, of: second, by: row))
        let released = try await scene.activity(first)
        try scene.check.equal(released.dependents, 0, "activities that wait for it afterwards")
        try scene.check.isTrue(!released.isLive, "it is let go")
    }

    static func refusesDependencies(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let unknown = ActivityID(from: scene.random)
        try await scene.expect(.unknownActivity, from: "an unknown dependency") {
            _ = try await scene.enqueue(to: .devices([rows[0].id])) {
                $0.after = [OperationDependency(unknown)]
            }
        }
        let failed = try await scene.enqueue(to: [rows[0]])
        try await scene.apply(scene.result(.failed, of: failed, by: rows[0]))
        try await scene.expect(.invalidRequest, from: "a dependency that has failed") {
            _ = try await scene.enqueue(to: .devices([rows[0].id])) {
                $0.after = [OperationDependency(failed.activity)]
            }
        }
        let done = try await scene.enqueue(to: [rows[0]])
        try await scene.apply(scene.result(.completed, of: done, by: rows[0]))
        let next = try await scene.enqueue(to: .devices([rows[0].id]), code: "next") {
            $0.after = [OperationDependency(done.activity)]
        }
        try scene.check.equal(
            try await scene.activity(next).operation.terms.after,
            [],
            "what is done already is not waited for"
        )
        try scene.check.equal(try await scene.offered(to: rows[0]), ["next"], "offered")
        let expiring = try await scene.enqueue(
            to: .devices([rows[1].id]),
            expiresAt: scene.now + .seconds(60)
        ) { _ in }
        try await scene.expect(.invalidRequest, from: "waiting for ever for what expires") {
            _ = try await scene.enqueue(to: .devices([rows[1].id])) {
                $0.after = [OperationDependency(expiring.activity)]
            }
        }
    }
}
