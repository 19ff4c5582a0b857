#if Server
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import OperationQueue
import XCTest

final class OperationCommandTests: XCTestCase {
    private let operations = "/admin/v1/operations"

    private func enqueue(
        _ scene: Scene,
        _ more: [String: JSONValue] = [:],
        to devices: [String] = ["tablet-17"]
    ) async throws -> String {
        let body: [String: JSONValue] = [
            "target": ["devices": .array(devices.map { .string($0) })], "code": "lock",
        ]
        let answer = try await scene.admin.call(
            .post,
            operations,
            .object(body.merging(more) { $1 })
        )
        XCTAssertEqual(answer.status, 202, answer.text)
        XCTAssertEqual(answer.violations, [])
        return try XCTUnwrap(answer.json?["activity"]?.stringValue, answer.text)
    }

    private func post(
        _ scene: Scene,
        _ path: String,
        _ body: JSONValue? = nil
    ) async throws -> HandlerCaller.Answer {
        let answer =
            if let body {
                try await scene.admin.call(.post, "/admin/v1/" + path, body)
            } else {
                try await scene.admin.send(.post, "/admin/v1/" + path)
            }
        XCTAssertEqual(answer.violations, [])
        return answer
    }

    func test_operation_withAllItsTerms_isEnqueuedSo() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let first = try await enqueue(scene)
        let id = try await enqueue(
            scene,
            [
                "notBefore": .integer(scene.time.now().milliseconds + 5_000),
                "window": [
                    "days": ["monday", "sunday"], "start": 90, "duration": 3_600, "zone": "UTC",
                ],
                "timeouts": ["whole": 600, "step": 30.5, "cancellation": 60],
                "retry": [
                    "count": 3, "backoff": 10, "longestBackoff": 100, "errors": ["disk-*"],
                ],
                "after": [["activity": .string(first), "onFailure": "pause"]],
                "supersede": "wallpaper", "confirmation": "required", "approval": "required",
                "rollout": [
                    "waves": [["percent": 12.5, "successPercent": 90, "soak": 60]],
                    "failure": ["percent": 20, "minimum": 2, "action": "abort"],
                ],
            ]
        )
        let found = try await scene.operations.activity(
            ActivityID(parsing: id),
            tenant: .standard
        )
        let terms = try XCTUnwrap(found).operation.terms
        XCTAssertEqual(terms.notBefore, scene.time.now() + .seconds(5))
        XCTAssertEqual(terms.window?.days, [.monday, .sunday])
        XCTAssertEqual(terms.window?.start, 90)
        XCTAssertEqual(terms.timeouts.whole, .seconds(600))
        XCTAssertEqual(terms.timeouts.step, .milliseconds(30_500))
        XCTAssertEqual(terms.timeouts.cancellation, .seconds(60))
        XCTAssertEqual(terms.retry?.count, 3)
        XCTAssertEqual(terms.retry?.matching, .errors(["disk-*"]))
        XCTAssertEqual(
            terms.after,
            [OperationDependency(try ActivityID(parsing: first), onFailure: .pause)]
        )
        XCTAssertEqual(terms.control, .supersede("wallpaper"))
        XCTAssertEqual(terms.confirmation, .required)
        XCTAssertEqual(
            terms.rollout,
            RolloutPlan(
                .waves([RolloutWave(share: 1_250, successPercent: 90, soak: .seconds(60))]),
                failure: RolloutFailureThreshold(percent: 20, minimum: 2, action: .abort)
            )
        )
        let shown = try await scene.admin.send(.get, "/admin/v1/activities/\(id)")
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(shown.json?["hold"], "awaitingApproval", shown.text)
    }

    func test_operation_withTermsThatAreNone_isRefused() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let rows: [[String: JSONValue]] = [
            ["noRepeat": true, "supersede": "k"], ["supersede": ""], ["notBefore": -1],
            ["window": ["days": ["lundi"], "start": 0, "duration": 60, "zone": "UTC"]],
            ["window": ["days": ["monday"], "start": 0, "duration": 60, "zone": "Nowhere/At"]],
            ["window": ["days": ["monday"], "start": 0, "duration": 59, "zone": "UTC"]],
            ["timeouts": ["whole": 0]], ["retry": ["count": 0]],
            ["retry": ["count": 1, "matching": "any", "errors": ["x"]]],
            ["after": [["activity": "x"]]], ["rollout": [:]], ["scope": "all"],
            ["rollout": ["waves": [["percent": 101]]]], ["confirmation": "perhaps"],
        ]
        for more in rows {
            let body: [String: JSONValue] = [
                "target": ["devices": ["tablet-17"]], "code": "lock",
            ]
            let answer = try await scene.admin.call(
                .post,
                operations,
                .object(body.merging(more) { $1 })
            )
            XCTAssertEqual(answer.status, 400, "\(more): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_activity_approvedPausedAndResumed_saysSo() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17")
        let id = try await enqueue(scene, ["approval": "required"])
        func offered() async throws -> Int? {
            try await scene.operations.openWork(for: "tablet-17", tenant: .standard)?
                .batch(limit: 9, redelivery: .afterLease, at: scene.time.now()).count
        }
        var count = try await offered()
        XCTAssertEqual(count, 0)
        let approved = try await post(scene, "activities/\(id)/approve")
        XCTAssertEqual(approved.status, 200, approved.text)
        XCTAssertEqual(approved.json?["decidedBy"], "alice")
        XCTAssertNil(approved.json?["hold"])
        count = try await offered()
        XCTAssertEqual(count, 1)
        let paused = try await post(scene, "activities/\(id)/pause")
        XCTAssertEqual(paused.json?["hold"], "paused", paused.text)
        count = try await offered()
        XCTAssertEqual(count, 0)
        let explained = try await scene.admin.send(
            .get,
            "/admin/v1/activities/\(id)/executions/tablet-17/explanation"
        )
        XCTAssertEqual(explained.status, 200, explained.text)
        XCTAssertEqual(explained.violations, [])
        XCTAssertEqual(explained.json?["reasons"]?[0]?["reason"], "waits", explained.text)
        _ = try await post(scene, "activities/\(id)/resume")
        count = try await offered()
        XCTAssertEqual(count, 1)
        let refused = try await post(
            scene,
            "activities/\(try await enqueue(scene, ["approval": "required"]))/reject"
        )
        XCTAssertEqual(refused.json?["state"], "cancelled", refused.text)
        _ = receipt
    }

    func test_rollout_isReleasedByHand() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let id = try await enqueue(
            scene,
            ["rollout": ["waves": [["percent": 0.01], ["percent": 50]]]]
        )
        let released = try await post(scene, "activities/\(id)/release", ["percent": 40])
        XCTAssertEqual(released.status, 200, released.text)
        XCTAssertEqual(released.json?["releasedPercent"], 40, released.text)
        let wrong = try await post(scene, "activities/\(id)/release", ["percent": 100.5])
        XCTAssertEqual(wrong.status, 400)
    }

    func test_execution_commandedWithItsVersion_isChangedOnce() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let id = try await enqueue(scene)
        let path = "activities/\(id)/executions/tablet-17/commands"
        let stale = try await post(scene, path, ["command": "cancel", "version": 3])
        XCTAssertEqual(stale.status, 409, stale.text)
        let idle = try await post(scene, path, ["command": "redeliver"])
        XCTAssertEqual(idle.status, 409, idle.text)
        let cancelled = try await post(scene, path, ["command": "cancel", "version": 0])
        XCTAssertEqual(cancelled.status, 200, cancelled.text)
        XCTAssertEqual(cancelled.json?["state"], "cancelled")
    }

    func test_device_itsOperationsCancelled_hasNothingOpen() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        for _ in 0..<3 { _ = try await enqueue(scene) }
        let answer = try await post(scene, "devices/tablet-17/cancel-operations")
        XCTAssertEqual(answer.json?["cancelled"], 3, answer.text)
        let unknown = try await post(scene, "devices/nobody/cancel-operations")
        XCTAssertEqual(unknown.status, 404, unknown.text)
    }
}
#endif
