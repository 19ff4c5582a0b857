#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// What terms mean for the file: what is kept over a restart, and how many rows it takes.
final class OperationTermsTests: XCTestCase {
    private let fleet = GroupID(rawValue: "fleet")

    private func terms(_ change: (inout OperationTerms) -> Void) -> OperationTerms {
        var terms = OperationTerms()
        change(&terms)
        return terms
    }

    private func enqueue(
        _ scene: EmbeddedScene,
        _ target: OperationTarget,
        wakeAt: Timestamp? = nil,
        _ change: (inout OperationTerms) -> Void = { _ in }
    ) async throws -> DeviceOperation {
        var plan = scene.plan(target, wakeAt: wakeAt)
        plan.operation.terms = terms(change)
        let receipt = try await scene.enqueue(plan)
        let activity = try await scene.store.activity(receipt.activity, tenant: scene.tenant)
        return try XCTUnwrap(activity).operation
    }

    private func claim(_ operation: DeviceOperation, _ scene: EmbeddedScene) -> InboxEntry.Body {
        .claim(
            operation.id,
            attempt: AttemptID(from: scene.random),
            leaseEnd: scene.now + .seconds(60)
        )
    }

    private func fire(_ scene: EmbeddedScene, at now: Timestamp, limit: Int = 100) async throws
        -> Int
    {
        try await scene.store.fireTimers(at: now, limit: limit, epoch: scene.epoch)
    }

    private func state(
        of operation: DeviceOperation,
        on row: DeviceRow,
        _ scene: EmbeddedScene
    ) async throws -> ExecutionState? {
        try await scene.store.execution(
            ExecutionID(operation: operation.id, incarnation: row.incarnation, device: row.id),
            tenant: scene.tenant
        )?.state
    }

    func test_reopening_keepsTermsGatesAndTimers() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        let timed = try await enqueue(scene, .devices([row.id])) {
            $0.timeouts.whole = .seconds(100)
            $0.retry = RetryPolicy(count: 3, matching: .errors(["net.*"]))
        }
        let gated = try await enqueue(scene, .group(fleet)) {
            $0.approval = .required
            $0.rollout = RolloutPlan(
                .waves([RolloutWave(share: 100, soak: .seconds(5))]),
                failure: RolloutFailureThreshold(percent: 10)
            )
        }
        let change = ActivityChange.approve(by: "an administrator")
        _ = try await scene.store.change(
            gated.activity,
            change,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        let released = try await scene.store.change(
            gated.activity,
            .release(ceiling: 100, released: 7, wave: 0),
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        ).activity
        _ = try await scene.apply(row, claim(timed, scene))
        let again = try await scene.reopened()
        let rollouts = try await again.store.rollouts(after: nil, limit: 10)
        XCTAssertEqual(rollouts, [released])
        XCTAssertEqual(rollouts.first?.rollout.released, 7)
        XCTAssertEqual(rollouts.first?.decidedBy, "an administrator")
        let stored = try await again.store.activity(timed.activity, tenant: again.tenant)
        XCTAssertEqual(stored?.operation, timed)
        let early = try await fire(again, at: again.now + .seconds(99))
        XCTAssertEqual(early, 0)
        let due = try await fire(again, at: again.now + .seconds(100))
        XCTAssertEqual(due, 1)
        let ended = try await state(of: timed, on: row, again)
        XCTAssertEqual(ended, .timedOut)
        let timers = try await again.count("timer")
        XCTAssertEqual(timers, 0)
        try await again.store.close()
    }

    func test_reopening_keepsWhatWaitsForAnother() async throws {
        let scene = try await EmbeddedScene.open()
        let rows = [try await scene.enrol("d-1"), try await scene.enrol("d-2")]
        let target = OperationTarget.devices(rows.map(\.id))
        let first = try await enqueue(scene, target)
        let second = try await enqueue(scene, target) {
            $0.after = [OperationDependency(first.activity)]
        }
        let again = try await scene.reopened()
        let work = try await again.store.openWork(for: rows[0].id, tenant: again.tenant)
        XCTAssertEqual(
            work?.items.last?.dependencies,
            [first.activity: .waits(first.activity)]
        )
        _ = try await again.apply(
            rows[0],
            .result(first.id, attempt: nil, outcome: .failed, detail: [])
        )
        let stopped = try await state(of: second, on: rows[0], again)
        XCTAssertEqual(stopped, .cancelled)
        _ = try await again.apply(
            rows[1],
            .result(first.id, attempt: nil, outcome: .completed, detail: [])
        )
        let kept = try await again.store.activity(first.activity, tenant: again.tenant)
        XCTAssertEqual(kept?.state, .finished)
        XCTAssertEqual(kept?.isLive, true, "the other still waits for it")
        _ = try await again.apply(
            rows[1],
            .result(second.id, attempt: nil, outcome: .completed, detail: [])
        )
        for table in ["dependency", "timer", "target"] {
            let left = try await again.count(table)
            XCTAssertEqual(left, 0, table)
        }
        let released = try await again.store.activity(first.activity, tenant: again.tenant)
        XCTAssertEqual(released?.isLive, false)
        XCTAssertEqual(released?.dependents, 0)
        try await again.store.close()
    }

    func test_aPlainOperation_takesNoRowOfTerms() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        let operation = try await enqueue(scene, .group(fleet), wakeAt: scene.now)
        _ = try await scene.apply(
            row,
            claim(operation, scene),
            .progress(operation.id, attempt: nil, detail: [], stepEnd: scene.now + .seconds(9))
        )
        for (table, rows) in [
            ("operation", 1), ("activity", 1), ("expansion", 1), ("execution", 1), ("timer", 0),
            ("dependency", 0),
        ] {
            let stored = try await scene.count(table)
            XCTAssertEqual(stored, rows, table)
        }
        let sizes = try await scene.store.file.read { connection in
            try connection.row(
                """
                SELECT length(terms), length(gate), standing, rolling, control_key IS NULL
                FROM operation JOIN activity USING (number)
                """
            ) { row in (0..<5).map { row.int64(Int32($0)) } }
        }
        XCTAssertEqual(sizes, [0, 0, 0, 0, 1])
        try await scene.store.close()
    }

    func test_pollsTimersAndRollouts_areFoundByTheirIndexes() async throws {
        let scene = try await EmbeddedScene.open()
        let plans = try await scene.store.file.read { connection in
            try [
                """
                SELECT number, 0 FROM activity
                WHERE live = 1 AND standing = 0 AND group_idx = 1 AND number >= 1 AND number < 9
                """,
                "SELECT number, standing FROM activity WHERE live = 1 AND standing > 0 AND group_idx = 1",
                "SELECT number FROM activity WHERE live = 1 AND control_key = 'x' AND number < 9",
                "SELECT number FROM activity WHERE live = 1 AND rolling = 1 AND number > 1",
                "SELECT * FROM activity WHERE live = 1 AND number >= 1 ORDER BY number LIMIT 1",
                "SELECT number FROM timer WHERE due <= 1 ORDER BY due, number, device_idx LIMIT 1",
            ].map { sql in
                try connection.rows("EXPLAIN QUERY PLAN " + sql) { $0.text(3) }.joined()
            }
        }
        let indexes = [
            "activity_group (group_idx=? AND number>? AND number<?)",
            "activity_standing (group_idx=?)", "activity_control (control_key=?",
            "activity_rolling (rolling=? AND number>?)", "activity_live (number>?)",
            "timer_due (due<?)",
        ]
        XCTAssertEqual(plans.count, indexes.count)
        for (plan, index) in zip(plans, indexes) { XCTAssertTrue(plan.contains(index), plan) }
        try await scene.store.close()
    }

    func test_theSweepOfACancelledFleet_goesOnInParts() async throws {
        let scene = try await EmbeddedScene.open()
        let count = ExecutionWriter.maximumSweep + 20
        let ids = try await scene.enrolFleet(count, group: "fleet")
        let operation = try await enqueue(scene, .group(fleet)) {
            $0.timeouts.cancellation = .seconds(60)
        }
        var entries: [SpooledEntry] = []
        for id in ids {
            let device = try await scene.store.device(id, tenant: scene.tenant)
            let row = try XCTUnwrap(device).row
            let entry = InboxEntry(
                identity: row.identity,
                receivedAt: scene.now,
                body: claim(operation, scene)
            )
            entries.append(SpooledEntry(number: Int64(entries.count) + 1, entry: entry))
        }
        _ = try await scene.store.apply(entries, from: nil, epoch: scene.epoch, at: scene.now)
        _ = try await scene.store.close(
            operation.activity,
            as: .cancelled,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        )
        let again = try await scene.reopened()
        let end = again.now + .seconds(60)
        let first = try await fire(again, at: end)
        XCTAssertEqual(first, 100, "there is more to do")
        let half = try await again.store.activity(operation.activity, tenant: again.tenant)
        XCTAssertEqual(half?.rowCounts[.cancelled], ExecutionWriter.maximumSweep)
        XCTAssertEqual(half?.isLive, true)
        let second = try await fire(again, at: end)
        XCTAssertEqual(second, 1)
        let whole = try await again.store.activity(operation.activity, tenant: again.tenant)
        XCTAssertEqual(whole?.rowCounts[.cancelled], count)
        XCTAssertEqual(whole?.isLive, false)
        let timers = try await again.count("timer")
        XCTAssertEqual(timers, 0)
        try await again.store.close()
    }

    func test_twoOperationsWhoseTimeComesAtOnce_bothWakeTheirGroups() async throws {
        let scene = try await EmbeddedScene.open()
        try await scene.enrol("d-1", groups: ["fleet"])
        try await scene.enrol("d-2", groups: ["others"])
        let start = scene.now + .seconds(60)
        for group in [fleet, GroupID(rawValue: "others")] {
            _ = try await enqueue(scene, .group(group), wakeAt: scene.now) { $0.notBefore = start }
        }
        let fired = try await fire(scene, at: start)
        XCTAssertEqual(fired, 2)
        let waiting = try await scene.count("expansion")
        XCTAssertEqual(waiting, 2)
        let receipt = try await scene.store.expand(limit: 10, epoch: scene.epoch, at: start)
        XCTAssertEqual(receipt.added, 2)
        XCTAssertTrue(receipt.isFinished)
        try await scene.store.close()
    }

    func test_supersedingOneDevice_leavesTheOthersOfTheKey() async throws {
        let scene = try await EmbeddedScene.open()
        let rows = [try await scene.enrol("d-1"), try await scene.enrol("d-2")]
        var operations: [DeviceOperation] = []
        for id in [rows[0].id, rows[1].id, rows[0].id] {
            operations.append(
                try await enqueue(scene, .devices([id])) { $0.control = .supersede("policy") }
            )
        }
        var states: [ActivityState?] = []
        for operation in operations {
            states.append(
                try await scene.store.activity(operation.activity, tenant: scene.tenant)?.state
            )
        }
        XCTAssertEqual(states, [.superseded, .open, .open])
        try await scene.store.close()
    }

    func test_cancellingAllOfADevice_countsWhatStopsWithIt() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let first = try await enqueue(scene, .devices([row.id]))
        let second = try await enqueue(scene, .devices([row.id])) {
            $0.after = [OperationDependency(first.activity)]
        }
        let count = try await scene.store.cancelAll(
            of: row.id,
            tenant: scene.tenant,
            epoch: scene.epoch,
            at: scene.now
        ).count
        XCTAssertEqual(count, 2)
        let activity = try await scene.store.activity(second.activity, tenant: scene.tenant)
        XCTAssertEqual(activity?.rowCounts[.cancelled], 1)
        XCTAssertEqual(activity?.state, .finished)
        try await scene.store.close()
    }
}
#endif
