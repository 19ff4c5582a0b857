internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue

extension OperationStorageConformance {
    static func claims(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let first = try await scene.enqueue(to: [row], code: "first")
        _ = try await scene.enqueue(to: [row], code: "second")
        let claim = scene.claim(first, by: row)
        let receipt = try await scene.apply(claim)
        try scene.check.equal(receipt.applied, 1, "entries applied")
        let execution = try await scene.execution(of: first, on: row)
        try scene.check.equal(execution.state, .delivered, "the state")
        try scene.check.equal(execution.version, 1, "the version")
        try scene.check.equal(execution.until, scene.now + first.deliveryLease, "the lease's end")
        try scene.check.equal(try await scene.offered(to: row), [], "offered during the lease")
        try scene.check.equal(
            try await scene.offered(to: row, redelivery: .now),
            ["first", "second"],
            "offered to a device that lost its work"
        )
        let later = scene.now + first.deliveryLease
        try scene.check.equal(
            try await scene.offered(to: row, at: later),
            ["first", "second"],
            "offered once the lease has ended"
        )
        try await scene.apply(scene.claim(first, by: row, at: later), at: later)
        let again = try await scene.execution(of: first, on: row)
        try scene.check.equal(again.redeliveries, 1, "redeliveries")
        try scene.check.equal(again.version, 2, "the version after the second claim")
        try scene.check.isTrue(again.attempt != execution.attempt, "another attempt")
        try scene.check.equal(try await scene.activity(first).rowCounts[.delivered], 1, "delivered")
    }

    static func completes(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        let before = try await scene.openWork(for: rows[0]).revision
        try await scene.apply(scene.claim(operation, by: rows[0]))
        let done = scene.now + .seconds(3)
        let result = scene.result(
            .completed,
            of: operation,
            by: rows[0],
            detail: "{\"ok\":true}",
            at: done
        )
        let receipt = try await scene.apply(result, at: done)
        try scene.check.isTrue(
            receipt.revision.covers(before) && receipt.revision != before,
            "a result takes a revision"
        )
        let execution = try await scene.execution(of: operation, on: rows[0])
        try scene.check.equal(execution.state, .completed, "the state")
        try scene.check.equal(execution.detail, Array("{\"ok\":true}".utf8), "the detail")
        try scene.check.equal(execution.updatedAt, done, "the time")
        let late = scene.now + .seconds(86_400)
        for rule in [RedeliveryRule.afterLease, .now] {
            try scene.check.equal(
                try await scene.offered(to: rows[0], redelivery: rule, at: late),
                [],
                "offered after completion (\(rule))"
            )
        }
        try scene.check.equal(
            try await scene.offered(to: rows[1]),
            ["lock"],
            "offered to the other"
        )
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.state, .open, "the activity, half done")
        try scene.check.equal(activity.counts[.completed], 1, "completed")
        try scene.check.equal(activity.counts[.pending], 1, "pending")
    }

    static func finishes(_ scene: StoreScene) async throws {
        let fleet = GroupID(rawValue: "fleet")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: [fleet])
        let operation = try await scene.enqueue(to: fleet)
        try await scene.apply(scene.result(.completed, of: operation, by: rows[0]))
        let end = scene.now + .seconds(8)
        try await scene.apply(scene.result(.failed, of: operation, by: rows[1], at: end), at: end)
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.state, .finished, "the activity")
        try scene.check.isTrue(activity.closedAt != nil, "a finished activity has its closing time")
        try scene.check.equal(activity.rowCounts[.completed], 1, "completed")
        try scene.check.equal(activity.rowCounts[.failed], 1, "failed")
        for row in rows {
            try scene.check.isTrue(
                try await scene.openWork(for: row).isEmpty,
                "nothing is open for \(row.id)"
            )
        }
    }

    static func defers(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let first = try await scene.enqueue(to: [row], code: "first")
        _ = try await scene.enqueue(to: [row], code: "second")
        let until = scene.now + .seconds(600)
        try await scene.apply(
            scene.claim(first, by: row),
            scene.result(.notNow(until: until), of: first, by: row)
        )
        let execution = try await scene.execution(of: first, on: row)
        try scene.check.equal(execution.state, .deferred, "the state")
        try scene.check.equal(execution.until, until, "until when")
        try scene.check.equal(try await scene.offered(to: row), ["second"], "offered meanwhile")
        try scene.check.equal(
            try await scene.offered(to: row, at: until),
            ["first", "second"],
            "offered afterwards"
        )
        try scene.check.equal(try await scene.activity(first).counts[.deferred], 1, "deferred")
    }

    static func progresses(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let stepEnd = scene.now + .seconds(3_600)
        let progress = InboxEntry.Body.progress(
            operation.id,
            attempt: nil,
            detail: Array("40%".utf8),
            stepEnd: stepEnd
        )
        try await scene.apply(scene.claim(operation, by: row), scene.entry(row, progress))
        let execution = try await scene.execution(of: operation, on: row)
        try scene.check.equal(execution.state, .inProgress, "the state")
        try scene.check.equal(execution.until, stepEnd, "the step's end")
        try scene.check.equal(execution.detail, Array("40%".utf8), "the note")
        let afterLease = scene.now + operation.deliveryLease + .seconds(1)
        try scene.check.equal(
            try await scene.offered(to: row, at: afterLease),
            [],
            "offered after the lease, within the step"
        )
        try scene.check.equal(
            try await scene.activity(operation).rowCounts[.delivered],
            0,
            "executions still counted as delivered"
        )
    }

    static func keepsFirstResult(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(
            scene.result(.completed, of: operation, by: rows[0], detail: "first"),
            scene.result(.failed, of: operation, by: rows[0], detail: "second")
        )
        let execution = try await scene.execution(of: operation, on: rows[0])
        try scene.check.equal(execution.state, .completed, "the state")
        try scene.check.equal(execution.detail, Array("first".utf8), "the detail")
        try scene.check.equal(execution.lateAnswer, Array("second".utf8), "the evidence")
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.answeredLate, 1, "late answers")
        try scene.check.equal(activity.rowCounts[.completed], 1, "completed")
        try scene.check.equal(activity.rowCounts[.failed], 0, "failed")
    }

    static func ignoresRepeatedResult(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        let result = scene.result(.completed, of: operation, by: rows[0], detail: "done")
        try await scene.apply(result)
        let once = try await scene.execution(of: operation, on: rows[0])
        let activity = try await scene.activity(operation)
        try await scene.apply(result, at: scene.now + .seconds(4))
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[0]),
            once,
            "the execution after the repetition"
        )
        try scene.check.equal(
            try await scene.activity(operation),
            activity,
            "the activity after the repetition"
        )
    }

    static func appliesManyAtOnce(_ scene: StoreScene) async throws {
        let rows = try await scene.enrolTogether((0..<100).map { "real-\($0)" })
        var operations: [DeviceOperation] = []
        for index in 0..<50 {
            operations.append(try await scene.enqueue(to: rows, code: "task-\(index)"))
        }
        let entries = operations.flatMap { operation in
            rows.flatMap { row in
                [
                    scene.claim(operation, by: row),
                    scene.result(.completed, of: operation, by: row),
                ]
            }
        }
        let receipt = try await scene.drain(entries, from: 1, of: scene.newSpool())
        try scene.check.equal(receipt.applied, 10_000, "entries applied")
        try scene.check.equal(receipt.mark?.number, 10_000, "the mark")
        for operation in operations {
            let activity = try await scene.activity(operation)
            try scene.check.equal(activity.state, .finished, "\(operation.code)")
            try scene.check.equal(
                activity.rowCounts[.completed],
                100,
                "results of \(operation.code)"
            )
        }
    }

    // MARK: Closing

    static func close(
        _ operation: DeviceOperation,
        as state: ActivityState,
        in scene: StoreScene,
        epoch: Epoch? = nil,
        at time: Timestamp? = nil
    ) async throws -> Activity {
        try await scene.operations.close(
            operation.activity,
            as: state,
            tenant: scene.tenant,
            epoch: epoch ?? scene.epoch,
            at: time ?? scene.now
        ).activity
    }

    static func cancels(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["held", "idle", "quick"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(
            scene.claim(operation, by: rows[0]),
            scene.claim(operation, by: rows[2])
        )
        let end = scene.now + .seconds(5)
        let closed = try await close(operation, as: .cancelled, in: scene, at: end)
        try scene.check.equal(closed.state, .cancelled, "the activity")
        try scene.check.equal(closed.closedAt, end, "the time")
        try scene.check.equal(closed.counts[.cancelled], 1, "cancelled")
        try scene.check.equal(closed.counts[.cancelRequested], 2, "asked back")
        try scene.check.equal(try await scene.activity(operation), closed, "the activity read back")
        let late = scene.now + .seconds(600)
        for row in rows {
            for rule in [RedeliveryRule.afterLease, .now] {
                try scene.check.equal(
                    try await scene.offered(to: row, redelivery: rule, at: late),
                    [],
                    "offered to \(row.id) after cancelling"
                )
            }
        }
        let asked = try await scene.openWork(for: rows[0]).cancellations
        let id = ExecutionID(
            operation: operation.id,
            incarnation: rows[0].incarnation,
            device: rows[0].id
        )
        try scene.check.equal(asked, [id], "what the device is asked to end")
        try scene.check.equal(
            try await scene.openWork(for: rows[1]).cancellations,
            [],
            "what a device that held nothing is asked to end"
        )
        try await scene.apply(
            scene.result(.cancelled, of: operation, by: rows[0]),
            scene.result(.completed, of: operation, by: rows[2])
        )
        let counts = try await scene.activity(operation).counts
        try scene.check.equal(counts[.cancelled], 2, "cancelled, later")
        try scene.check.equal(counts[.completed], 1, "completed before it heard of it")
        try scene.check.equal(try await scene.activity(operation).answeredLate, 0, "late answers")
        try scene.check.isTrue(
            try await scene.openWork(for: rows[0]).isEmpty,
            "nothing is open once the device has answered"
        )
    }

    static func countsLateAnswers(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        _ = try await close(operation, as: .cancelled, in: scene)
        let answer = scene.result(.completed, of: operation, by: rows[0], detail: "too late")
        try await scene.apply(answer)
        let execution = try await scene.execution(of: operation, on: rows[0])
        try scene.check.equal(execution.state, .cancelled, "the state")
        try scene.check.equal(execution.lateAnswer, Array("too late".utf8), "the evidence")
        try await scene.apply(answer)
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.answeredLate, 1, "late answers, one of them sent twice")
        try scene.check.equal(activity.counts[.cancelled], 2, "cancelled")
        try scene.check.equal(activity.counts[.completed], 0, "completed")
    }

    static func closesOnce(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let first = try await close(operation, as: .cancelled, in: scene)
        let later = scene.now + .seconds(9)
        let second = try await close(operation, as: .expired, in: scene, at: later)
        try scene.check.equal(second, first, "the activity after closing it again")
        let finished = try await scene.enqueue(to: [row], code: "ring")
        try await scene.apply(scene.result(.completed, of: finished, by: row))
        try scene.check.equal(
            try await close(finished, as: .cancelled, in: scene).state,
            .finished,
            "a finished activity after closing it"
        )
        var unknown = operation
        unknown.activity = ActivityID(from: scene.random)
        let stranger = unknown
        try await scene.expect(.unknownActivity, from: "closing an unknown activity") {
            _ = try await close(stranger, as: .cancelled, in: scene)
        }
    }

    static func listsExpired(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        func enqueue(_ code: String, _ seconds: Int?) async throws -> DeviceOperation {
            let expiry = seconds.map { scene.now + .seconds($0) }
            let plan = scene.plan(for: .devices([row.id]), code: code, expiresAt: expiry)
            _ = try await scene.enqueue(plan)
            return plan.operation
        }
        let early = try await enqueue("early", 100)
        let late = try await enqueue("late", 300)
        _ = try await enqueue("never", nil)
        func expired(at seconds: Int, limit: Int = 10) async throws -> [ActivityID] {
            try await scene.operations.expired(at: scene.now + .seconds(seconds), limit: limit)
                .map { entry in
                    try scene.check.equal(entry.tenant, scene.tenant, "the tenant")
                    return entry.id
                }
        }
        try scene.check.equal(try await expired(at: 99), [], "expired before its time")
        try scene.check.equal(try await expired(at: 100), [early.activity], "expired at its time")
        try scene.check.equal(
            try await expired(at: 1_000),
            [early.activity, late.activity],
            "expired, oldest first"
        )
        try scene.check.equal(try await expired(at: 1_000, limit: 1), [early.activity], "one page")
        try scene.check.equal(
            try await scene.offered(to: row, at: scene.now + .seconds(200)),
            ["late", "never"],
            "offered past the expiry"
        )
        _ = try await close(early, as: .expired, in: scene)
        try scene.check.equal(try await expired(at: 1_000), [late.activity], "expired, one closed")
        try scene.check.equal(try await scene.activity(early).counts[.expired], 1, "counted")
    }

    static func letsClaimedWorkEnd(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["held", "idle"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(scene.claim(operation, by: rows[0]))
        let closed = try await close(operation, as: .expired, in: scene)
        try scene.check.equal(closed.counts[.expired], 1, "expired")
        try scene.check.equal(closed.counts[.delivered], 1, "delivered")
        try await scene.apply(scene.result(.completed, of: operation, by: rows[0]))
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.state, .expired, "the activity")
        try scene.check.equal(activity.counts[.completed], 1, "completed")
        try scene.check.equal(activity.answeredLate, 0, "late answers")
    }
}
