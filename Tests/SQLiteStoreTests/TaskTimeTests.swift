#if SQLite
import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

/// A hundred thousand devices: what finding those that are due reads and writes.
final class TaskTimeTests: XCTestCase {
    private let size = 100_000

    private func plan(of sql: String, _ scene: EmbeddedScene) async throws -> String {
        try await scene.store.file.read { connection in
            try connection.rows("EXPLAIN QUERY PLAN \(sql)") { $0.text(3) }
                .joined(separator: "; ")
        }
    }

    private func moved(behind now: Timestamp, _ scene: EmbeddedScene) async throws -> Int {
        try await scene.store.file.read { connection in
            try connection.row("SELECT count(*) FROM task_time WHERE due > ?", now.rawValue) {
                $0.int(0)
            } ?? 0
        }
    }

    func test_dueDevices_ofAHugeFleet_areFoundWithoutLookingAtTheOthers() async throws {
        let scene = try await EmbeddedScene.open()
        let task = PeriodicTask(
            id: PeriodicTaskID(rawValue: "information"),
            group: GroupID(rawValue: "fleet"),
            frequency: .seconds(100_000),
            begins: scene.now
        )
        try await scene.store.put(task, tenant: scene.tenant, epoch: scene.epoch)
        _ = try await scene.enrolFleet(size, group: "fleet")
        while try await !scene.store.spread(limit: 1_000, epoch: scene.epoch, at: scene.now) {}
        let times = try await scene.count("task_time")
        XCTAssertEqual(times, size)
        // About one device a second is due.
        let now = scene.now + .seconds(5_000)
        let earliest = try await scene.store.file.read { connection in
            try connection.rows("SELECT due FROM task_time ORDER BY due LIMIT 1000") {
                Timestamp(rawValue: $0.int64(0))
            }
        }
        let found = try await scene.store.file.read { connection in
            try connection.dueTaskTimes(slots: 0..<64, at: now, limit: 1_000).map(\.due)
        }
        XCTAssertEqual(found, earliest, "the longest overdue, in order")
        let later = try await moved(behind: now, scene)
        let commits = scene.store.commits
        let steps = try await scene.store.claim(
            limit: 1_000,
            in: .all,
            epoch: scene.epoch,
            at: now
        )
        XCTAssertEqual(steps.map(\.devices.count), [1_000])
        XCTAssertEqual(scene.store.commits - commits, 1)
        let stored = try await scene.count("task_step")
        XCTAssertEqual(stored, 1)
        let afterwards = try await moved(behind: now, scene)
        XCTAssertEqual(afterwards - later, 1_000, "rows written")
        let plan = try await plan(of: TaskTimeRecord.dueQuery, scene)
        XCTAssertTrue(plan.contains("USING INDEX task_time_order (slot=? AND"), plan)
        XCTAssertTrue(plan.contains("due<?"), plan)
        XCTAssertFalse(plan.contains("TEMP B-TREE"), plan)
        try await scene.store.close()
    }

    func test_tasksOfAnEarlierBuild_goOnWithTheirDevicesSpread() async throws {
        let scene = try await EmbeddedScene.open()
        let task = PeriodicTask(
            id: PeriodicTaskID(rawValue: "information"),
            frequency: .seconds(60),
            begins: scene.now
        )
        try await scene.enrol("d-1")
        // As the earlier build left it: a row of table task, no series.
        _ = try await scene.store.guarded(epoch: scene.epoch) { [tenant = scene.tenant] in
            try $0.store(task, tenant: tenant)
            _ = $1
            return ([], ())
        }
        let known = try await scene.store.tasks(tenant: scene.tenant)
        XCTAssertEqual(known, [task])
        while try await !scene.store.spread(limit: 100, epoch: scene.epoch, at: scene.now) {}
        let due = try await scene.store.dueTimes(
            of: DeviceID(rawValue: "d-1"),
            tenant: scene.tenant
        )
        XCTAssertEqual(due.map(\.task), [task.id])
        try await scene.store.close()
    }
}
#endif
