internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

// What time, keys, joiners and commands do to executions.

extension OperationStorageConformance {
    static func retries(_ scene: StoreScene) async throws {
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: .devices([row.id])) {
            $0.retry = RetryPolicy(count: 1, backoff: .seconds(60), matching: .errors(["net.*"]))
        }
        try await scene.apply(
            scene.claim(operation, by: row),
            scene.result(.failedBecause("net.timeout"), of: operation, by: row, detail: "why")
        )
        let waiting = try await scene.execution(of: operation, on: row)
        try scene.check.equal(waiting.state, .pending, "the state after the first failure")
        try scene.check.equal(waiting.retries, 1, "repetitions")
        try scene.check.equal(waiting.detail, Array("why".utf8), "the detail")
        let until = try scene.check.some(waiting.until, "when it is repeated")
        try scene.check.isTrue(
            until >= scene.now + .seconds(60) && until <= scene.now + .seconds(66),
            "the wait is the backoff and up to a tenth"
        )
        try scene.check.equal(try await scene.offered(to: row), [], "offered before")
        try scene.check.equal(try await scene.offered(to: row, at: until), ["lock"], "offered then")
        try await scene.apply(
            scene.claim(operation, by: row, at: until),
            scene.result(.failedBecause("net.timeout"), of: operation, by: row, at: until),
            at: until
        )
        try scene.check.equal(
            try await scene.execution(of: operation, on: row).state,
            .failed,
            "the state when no repetition is left"
        )
        let other = try await scene.enqueue(to: .devices([row.id])) {
            $0.retry = RetryPolicy(count: 1, matching: .errors(["net.*"]))
        }
        try await scene.apply(scene.result(.failedBecause("disk.full"), of: other, by: row))
        try scene.check.equal(
            try await scene.execution(of: other, on: row).state,
            .failed,
            "a failure that does not match"
        )
    }

    static func timesOut(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3"])
        let operation = try await scene.enqueue(to: .devices(rows.map(\.id))) {
            $0.timeouts = ExecutionTimeouts(whole: .seconds(100), step: .seconds(10))
        }
        for row in rows { try await scene.apply(scene.claim(operation, by: row)) }
        let stepEnd = scene.now + .seconds(30)
        try await scene.apply(
            scene.entry(
                rows[1],
                .progress(operation.id, attempt: nil, detail: [], stepEnd: stepEnd)
            ),
            scene.result(.completed, of: operation, by: rows[2])
        )
        try scene.check.equal(try await scene.fire(at: scene.now + .seconds(29)), 0, "too early")
        try scene.check.equal(try await scene.fire(at: stepEnd), 1, "at the step's end")
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[1]).state,
            .timedOut,
            "a step without news"
        )
        try await scene.fire(at: scene.now + .seconds(100))
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[0]).state,
            .timedOut,
            "no answer at all"
        )
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.state, .finished, "the activity")
        try scene.check.equal(activity.counts[.timedOut], 2, "timed out")
        try scene.check.equal(try await scene.fire(at: scene.now + .seconds(9_999)), 0, "again")
        try await scene.apply(scene.result(.completed, of: operation, by: rows[0], detail: "late"))
        let late = try await scene.execution(of: operation, on: rows[0])
        try scene.check.equal(late.state, .timedOut, "a late answer changes nothing")
        try scene.check.equal(late.lateAnswer, Array("late".utf8), "it is kept")

        let again = try await scene.enqueue(to: .devices([rows[0].id])) {
            $0.timeouts.whole = .seconds(100)
            $0.retry = RetryPolicy(count: 1, matching: .timeouts)
        }
        try await scene.apply(scene.claim(again, by: rows[0]))
        try await scene.fire(at: scene.now + .seconds(100))
        let repeated = try await scene.execution(of: again, on: rows[0])
        try scene.check.equal(repeated.state, .pending, "a timeout that is repeated")
        try scene.check.equal(repeated.retries, 1, "repetitions")
    }

    static func endsCancellation(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: .devices(rows.map(\.id))) {
            $0.timeouts.cancellation = .seconds(600)
        }
        try await scene.apply(scene.claim(operation, by: rows[0]))
        try await scene.change(operation, .close(.cancelled))
        try scene.check.isTrue(try await scene.activity(operation).isLive, "asked back")
        try scene.check.equal(try await scene.fire(at: scene.now + .seconds(599)), 0, "too early")
        try await scene.fire(at: scene.now + .seconds(600))
        let ended = try await scene.execution(of: operation, on: rows[0])
        try scene.check.equal(ended.state, .cancelled, "the state")
        try scene.check.isTrue(!(try await scene.activity(operation).isLive), "let go")
    }

    static func supersedes(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        func policy(_ target: OperationTarget, _ code: String) async throws -> DeviceOperation {
            try await scene.enqueue(to: target, code: code) { $0.control = .supersede("policy") }
        }
        let named = try await policy(.devices(rows.map(\.id)), "named")
        let old = try await policy(.group("fleet"), "old")
        try await scene.apply(scene.claim(old, by: rows[0]))
        let new = try await policy(.group("fleet"), "new")
        let superseded = try await scene.activity(old)
        try scene.check.equal(superseded.state, .superseded, "the older one for the same group")
        try scene.check.equal(try await scene.activity(named).state, .open, "one for other devices")
        try scene.check.equal(try await scene.activity(new).state, .open, "the newer one")
        try await scene.apply(scene.result(.completed, of: old, by: rows[0]))
        try scene.check.equal(
            try await scene.execution(of: old, on: rows[0]).state,
            .completed,
            "work in hand goes on to its result"
        )
        try scene.check.equal(
            try await scene.execution(of: old, on: rows[1]).state,
            .superseded,
            "what nobody had"
        )
        _ = try await scene.enqueue(to: .group("fleet"), code: "gated") {
            $0.control = .supersede("policy")
            $0.approval = .required
        }
        try scene.check.equal(
            try await scene.activity(new).state,
            .open,
            "one that nobody may have yet supersedes nothing"
        )
    }

    static func takesSupersession(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: rows)
        try await scene.apply(scene.claim(operation, by: rows[1]))
        try await scene.apply(
            scene.entry(rows[0], .superseded(operation.id)),
            scene.entry(rows[1], .superseded(operation.id))
        )
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[0]).state,
            .superseded,
            "the unclaimed one"
        )
        try scene.check.equal(
            try await scene.execution(of: operation, on: rows[1]).state,
            .delivered,
            "the claimed one goes on"
        )
        try scene.check.equal(try await scene.activity(operation).counts[.superseded], 1, "counted")
    }

    static func followsJoiners(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2", "d-3", "d-4"])
        let ids = rows.map(\.id)
        try await scene.change(.join("fleet", Array(ids[0...2])))
        let operation = try await scene.enqueue(to: .group("fleet")) {
            $0.scope = .membersAndJoiners
        }
        try scene.check.equal(try await scene.activity(operation).addressed, 3, "members")
        try scene.check.equal(try await scene.offered(to: rows[3]), [], "before joining")
        try await scene.change(.join("fleet", [ids[3]]))
        try scene.check.equal(try await scene.offered(to: rows[3]), ["lock"], "after joining")
        try scene.check.equal(try await scene.activity(operation).addressed, 4, "with the joiner")
        try await scene.apply(
            scene.result(.completed, of: operation, by: rows[0]),
            scene.claim(operation, by: rows[1])
        )
        try await scene.change(.leave("fleet", Array(ids[0...2])))
        try scene.check.equal(try await scene.offered(to: rows[2]), [], "after leaving")
        let left = try await scene.activity(operation)
        try scene.check.equal(left.addressed, 3, "without who left untouched")
        try scene.check.equal(left.counts[.completed], 1, "who completed and left is counted")
        try scene.check.equal(left.counts[.cancelRequested], 1, "who had it in hand is asked back")
        try scene.check.equal(
            try await scene.openWork(for: rows[1]).cancellations,
            [scene.id(of: operation, on: rows[1])],
            "what the device is told"
        )
        try await scene.apply(scene.result(.cancelled, of: operation, by: rows[1]))
        try await scene.change(.join("fleet", [ids[0], ids[2]]))
        let back = try await scene.activity(operation)
        try scene.check.equal(back.addressed, 4, "nobody is counted twice")
        try scene.check.equal(try await scene.offered(to: rows[0]), [], "who has done it")
        try scene.check.equal(try await scene.offered(to: rows[2]), ["lock"], "who has not")
        try await scene.apply(
            scene.result(.completed, of: operation, by: rows[2]),
            scene.result(.completed, of: operation, by: rows[3])
        )
        try scene.check.equal(try await scene.activity(operation).state, .open, "it stays open")
        try await scene.change(operation, .close(.cancelled))
        let closed = try await scene.activity(operation)
        try scene.check.equal(closed.counts.total, closed.addressed, "all are counted")
        try scene.check.equal(closed.counts[.completed], 3, "completed")
    }

    static func asksJoinersOnly(_ scene: StoreScene) async throws {
        let old = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: .group(.everyone)) { $0.scope = .joinersOnly }
        try scene.check.equal(try await scene.activity(operation).addressed, 0, "nobody yet")
        try scene.check.equal(try await scene.activity(operation).state, .open, "it waits")
        try scene.check.equal(try await scene.offered(to: old), [], "who was there")
        let new = try await scene.enrol("d-2")
        try scene.check.equal(try await scene.offered(to: new), ["lock"], "who enrols")
        try await scene.apply(scene.result(.completed, of: operation, by: new))
        let again = try await scene.enrol("d-2")
        try scene.check.equal(try await scene.offered(to: again), ["lock"], "who enrols again")
        try await scene.change(.remove(old.id))
        let activity = try await scene.activity(operation)
        try scene.check.equal(activity.addressed, 2, "asked")
        try scene.check.equal(activity.counts[.completed], 1, "completed")
        try scene.check.equal(activity.counts[.pending], 1, "pending")
    }

    static func comparesVersions(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"])
        let operation = try await scene.enqueue(to: [rows[0]])
        let id = scene.id(of: operation, on: rows[0])
        func perform(_ command: ExecutionCommand, _ version: Int32?) async throws -> Execution {
            try await scene.operations.command(
                id,
                command,
                ifVersion: version,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            ).execution
        }
        try await scene.expect(.notPossible, from: "redelivering what nobody has") {
            _ = try await perform(.redeliver, 0)
        }
        try await scene.apply(scene.claim(operation, by: rows[0]))
        try await scene.expect(.versionConflict, from: "a command on an old version") {
            _ = try await perform(.cancel, 0)
        }
        _ = try await perform(.redeliver, 1)
        try scene.check.equal(try await scene.offered(to: rows[0]), ["lock"], "given out again")
        let cancelled = try await perform(.cancel, 2)
        try scene.check.equal(cancelled.state, .cancelRequested, "the state")
        try scene.check.equal(cancelled.version, 3, "the version")
        try await scene.expect(.notPossible, from: "confirming what was cancelled") {
            _ = try await perform(.confirm, nil)
        }
        let foreign = scene.id(of: operation, on: rows[1])
        try await scene.expect(.unknownExecution, from: "a device that is not addressed") {
            _ = try await scene.operations.command(
                foreign,
                .cancel,
                ifVersion: nil,
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
        }
    }

    static func cancelsAllOfADevice(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let named = try await scene.enqueue(to: rows)
        let group = try await scene.enqueue(to: "fleet")
        try await scene.apply(scene.claim(named, by: rows[0]))
        let (count, _) = try await scene.operations.cancelAll(
            of: rows[0].id,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        try scene.check.equal(count, 2, "cancelled")
        let states = [
            try await scene.execution(of: named, on: rows[0]).state,
            try await scene.execution(of: group, on: rows[0]).state,
        ]
        try scene.check.equal(states, [.cancelRequested, .cancelled], "the states")
        try scene.check.equal(
            try await scene.offered(to: rows[1]),
            ["lock", "lock"],
            "the other device"
        )
        try await scene.expect(.unknownDevice, from: "cancelling for an unknown device") {
            _ = try await scene.operations.cancelAll(
                of: "nobody",
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
        }
    }

    static func findsExecution(_ scene: StoreScene) async throws {
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let outsider = try await scene.enrol("d-3")
        let operation = try await scene.enqueue(to: "fleet")
        try await scene.apply(scene.claim(operation, by: rows[0]))
        func find(_ row: DeviceRow, tenant: TenantID? = nil) async throws -> Execution? {
            try await scene.operations.execution(
                scene.id(of: operation, on: row),
                tenant: tenant ?? scene.tenant
            )
        }
        try scene.check.equal(try await find(rows[0])?.state, .delivered, "with a row")
        try scene.check.equal(try await find(rows[1])?.version, 0, "without one")
        try scene.check.isNil(try await find(outsider), "a device that is not addressed")
        try scene.check.isNil(try await find(rows[0], tenant: scene.otherTenant), "another tenant")
    }

    // MARK: Waking

    static func wakesAfterDeferral(_ scene: StoreScene) async throws {
        _ = try scene.needs(\.wakes, "WakeStorage")
        let row = try await scene.enrol("d-1")
        let operation = try await scene.enqueue(to: [row])
        let until = scene.now + .seconds(600)
        try await scene.apply(
            scene.claim(operation, by: row),
            scene.result(.notNow(until: until), of: operation, by: row)
        )
        func wake() async throws -> WakeUp? {
            try await scene.operations.wakeUp(of: row.id, tenant: scene.tenant)
        }
        try await scene.fire(at: until - .milliseconds(1))
        try scene.check.isNil(try await wake(), "a wake before the wait is over")
        try await scene.fire(at: until)
        try scene.check.equal(try await wake()?.due, until, "the wake when it is")
        try scene.check.equal(try await scene.fire(at: until + .seconds(60)), 0, "once")
        try await scene.apply(
            scene.result(.notNow(until: until), of: operation, by: row, at: until),
            at: until
        )
        let second = try await scene.execution(of: operation, on: row)
        try scene.check.equal(second.deferrals, 2, "deferrals")
        try scene.check.isTrue(
            (second.until ?? .distantPast) >= until + .seconds(60),
            "a device that asks to be asked at once waits longer each time"
        )
    }

    static func wakesAtStart(_ scene: StoreScene) async throws {
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let rows = try await scene.enrol(["d-1", "d-2"], groups: ["fleet"])
        let start = scene.now + .seconds(3_600)
        for target in [OperationTarget.devices(rows.map(\.id)), .group("fleet")] {
            _ = try await scene.enqueue(to: target, wakeAt: scene.now) { $0.notBefore = start }
        }
        try scene.check.isNil(try await wakes.nextDue(), "a wake before the start")
        try scene.check.equal(try await scene.fire(at: start), 2, "timers due")
        _ = try await wakes.expand(limit: 10, epoch: scene.epoch, at: start)
        let due = try await wakes.due(at: start, limit: 10)
        try scene.check.equal(Set(due.map(\.wake.device)), Set(rows.map(\.id)), "woken")
    }

    static func wakesReleased(_ scene: StoreScene) async throws {
        let wakes = try scene.needs(\.wakes, "WakeStorage")
        let rows = try await scene.enrol((1...30).map { "d-\($0)" }, groups: ["fleet"])
        let operation = try await scene.enqueue(to: .group("fleet"), wakeAt: scene.now) {
            $0.rollout = RolloutPlan(.waves([RolloutWave(share: 5_000)]))
        }
        // Contacted at a revision before the release: the release is news all the same.
        let known = try await scene.openWork(for: rows[0]).revision
        for row in rows { try await scene.apply(scene.contact(row, answeredAt: known)) }
        try scene.check.isNil(try await wakes.nextDue(), "a wake before the first wave")
        var woken: Set<DeviceID> = []
        for (ceiling, wave) in [(Int32(5_000), Int32(0)), (RolloutPlan.everyone, 1)] {
            try await scene.change(operation, .release(ceiling: ceiling, released: 1, wave: wave))
            while try await !wakes.expand(limit: 100, epoch: scene.epoch, at: scene.now).isFinished
            {
            }
            let due = try await wakes.due(at: scene.now, limit: 100).map(\.wake)
            let expected = rows.filter {
                operation.activity.rank(of: $0.id) < ceiling && !woken.contains($0.id)
            }
            try scene.check.equal(
                Set(due.map(\.device)).subtracting(woken),
                Set(expected.map(\.id)),
                "newly woken below \(ceiling)"
            )
            woken.formUnion(due.map(\.device))
        }
        try scene.check.equal(woken.count, rows.count, "woken in the end")
    }
}
