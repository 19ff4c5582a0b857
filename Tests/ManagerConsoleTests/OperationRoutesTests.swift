#if Server
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import NotificationDispatch
import OperationQueue
import XCTest

final class OperationRoutesTests: XCTestCase {
    private let path = "/admin/v1/operations"
    private let key = HTTPField.Name("Idempotency-Key")!

    func test_operation_withEverythingSaid_isEnqueuedSo() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let answer = try await scene.admin.call(
            .post,
            path,
            [
                "target": ["devices": ["tablet-17", "nobody"]], "code": "lock", "type": "config",
                "payload": ["b": 1, "a": [.null, "é"]], "priority": -3, "order": "strict",
                "expiresAfter": 90.5, "deliveryLease": 5, "wake": "none",
            ]
        )
        XCTAssertEqual(answer.status, 202, answer.text)
        XCTAssertEqual(answer.violations, [])
        XCTAssertEqual(answer.json?["addressed"], 1)
        XCTAssertEqual(answer.json?["unknown"], 1)
        let id = try ActivityID(parsing: XCTUnwrap(answer.json?["activity"]?.stringValue))
        let found = try await scene.operations.activity(id, tenant: .standard)
        let activity = try XCTUnwrap(found)
        XCTAssertEqual(activity.initiator, "alice")
        XCTAssertEqual(activity.operation.type, .config)
        XCTAssertEqual(activity.operation.payload, Array(#"{"a":[null,"é"],"b":1}"#.utf8))
        XCTAssertEqual(activity.operation.priority, -3)
        XCTAssertEqual(activity.operation.order, .strict)
        XCTAssertEqual(
            activity.operation.expiresAt,
            scene.time.now() + .milliseconds(90_500)
        )
        XCTAssertEqual(activity.operation.deliveryLease, .seconds(5))
        let due = try await scene.services.cluster.wakes?.nextDue()
        XCTAssertNil(due ?? nil)
    }

    func test_operation_toAGroup_wakesUnlessToldNotTo() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17", groups: ["filiale-ö"])
        let answer = try await scene.admin.call(
            .post,
            path,
            [
                "target": ["group": "filiale-ö"], "code": "lock", "type": "opaque",
                "payloadBase64": "/wA=",
            ]
        )
        XCTAssertEqual(answer.status, 202, answer.text)
        let id = try ActivityID(parsing: XCTUnwrap(answer.json?["activity"]?.stringValue))
        let activity = try await scene.operations.activity(id, tenant: .standard)
        XCTAssertEqual(activity?.operation.payload, [0xFF, 0x00])
        let due = try await scene.services.cluster.wakes?.nextDue()
        XCTAssertEqual(due, scene.time.now())
        let shown = try await scene.admin.send(.get, "/admin/v1/activities/\(id)")
        XCTAssertEqual(shown.violations, [])
        XCTAssertEqual(shown.json?["group"], "filiale-ö")
        XCTAssertEqual(shown.json?["counts"], ["pending": 1])
    }

    func test_largeResult_isStreamedAsTheDeviceSentIt() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17")
        let activity = try await scene.enqueue("tablet-17")
        let path = "/admin/v1/activities/\(activity)/executions/tablet-17/result"
        let none = try await scene.admin.send(.get, path)
        XCTAssertEqual(none.status, 404)
        XCTAssertEqual(none.code, "operations.no-large-result")
        let sent = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 >> 4) }
        try await scene.uploadResult(receipt, sent)
        let answer = try await scene.admin.send(.get, path)
        XCTAssertEqual(answer.status, 200, answer.text)
        XCTAssertEqual(answer.violations, [])
        XCTAssertEqual(answer.body, sent)
        XCTAssertEqual(answer.response.body.length, 600_000)
        let digest = answer.response.headerFields[HTTPField.Name("Repr-Digest")!]
        XCTAssertTrue(digest?.hasPrefix("sha-256=:") ?? false, digest ?? "-")
        let list = try await scene.admin.send(
            .get,
            "/admin/v1/activities/\(activity)/executions"
        )
        let detail = list.json?["executions"]?[0]?["detail"]
        XCTAssertEqual(detail?["largeResult"]?["bytes"], 600_000, list.text)
        let stranger = scene.admin.with(token: "other-token")
        let refused = try await stranger.send(.get, path)
        XCTAssertEqual(refused.status, 404)
    }

    func test_groupPolling_isSetShownAndReset() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17", groups: ["shop-3"])
        for (frequency, shown): (JSONValue, JSONValue?) in [(900.5, 900.5), (.null, nil)] {
            let put = try await scene.admin.call(
                .put,
                "/admin/v1/groups/shop-3/polling",
                ["frequency": frequency]
            )
            XCTAssertEqual(put.status, 204, put.text)
            let list = try await scene.admin.send(.get, "/admin/v1/groups")
            XCTAssertEqual(list.violations, [])
            XCTAssertEqual(list.json?["groups"]?[1]?["pollingFrequency"], shown, list.text)
        }
        let short = try await scene.admin.call(
            .put,
            "/admin/v1/groups/shop-3/polling",
            ["frequency": 0.5]
        )
        XCTAssertEqual(short.status, 400)
    }

    func test_operation_repeatedUnderItsKey_isEnqueuedOnce_andAnotherRequestConflicts() async throws
    {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let body: JSONValue = ["target": ["devices": ["tablet-17"]], "code": "lock"]
        var activities: [JSONValue?] = []
        for repeated in [false, true] {
            let answer = try await scene.admin.call(.post, path, body, fields: [key: "k-1"])
            XCTAssertEqual(answer.status, 202)
            XCTAssertEqual(answer.json?["repeated"], .bool(repeated))
            activities.append(answer.json?["activity"])
        }
        XCTAssertEqual(activities[0], activities[1])
        let other = try await scene.admin.call(
            .post,
            path,
            ["target": ["devices": ["tablet-17"]], "code": "wipe"],
            fields: [key: "k-1"]
        )
        XCTAssertEqual(other.status, 409)
        XCTAssertEqual(other.code, "operations.key-conflict")
        XCTAssertEqual(other.violations, [])
        for bad in ["", "a b", "é", String(repeating: "k", count: 256)] {
            let answer = try await scene.admin.call(.post, path, body, fields: [key: bad])
            XCTAssertEqual(answer.status, 400, bad)
            XCTAssertEqual(answer.code, "http.invalid-parameter")
        }
    }

    func test_operation_withBadValues_isRefused_andNothingIsEnqueued() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let good: [String: JSONValue] = ["target": ["devices": ["tablet-17"]], "code": "lock"]
        let large = JSONValue.string(String(repeating: "x", count: 70_000))
        let rows: [([String: JSONValue], Int)] = [
            (["target": [:]], 400), (["target": ["devices": []]], 400),
            (["target": ["devices": ["a"], "group": "b"]], 400),
            (["target": ["devices": ["a/b"]]], 400), (["target": ["group": ""]], 400),
            (["target": ["devices": ["nobody"]]], 400), (["code": ""], 400), (["code": "a b"], 400),
            (["type": "query"], 400), (["type": ""], 400), (["order": "any"], 400),
            (["wake": "sms"], 400), (["priority": 2_147_483_648], 400), (["priority": 0.5], 400),
            (["expiresAfter": 0], 400), (["expiresAfter": -1], 400), (["expiresAfter": 1e20], 400),
            (["deliveryLease": 0], 400), (["deliveryLease": 1e7], 400),
            (["payloadBase64": "%%%"], 400), (["payload": 1, "payloadBase64": "AA=="], 400),
            (["payload": large], 413),
        ]
        for (more, status) in rows {
            let body = good.merging(more) { $1 }
            let answer = try await scene.admin.call(.post, path, .object(body))
            XCTAssertEqual(answer.status, status, "\(more.keys.sorted()): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
        let list = try await scene.admin.send(.get, "/admin/v1/activities")
        XCTAssertEqual(list.json?["activities"], [])
    }

    func test_activities_arePagedNewestFirst() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        var made: [String] = []
        for _ in 0..<5 { made.append(try await scene.enqueue("tablet-17")) }
        var seen: [String] = []
        var path: String? = "/admin/v1/activities?limit=2"
        while let next = path {
            let answer = try await scene.admin.send(.get, next)
            XCTAssertEqual(answer.violations, [])
            seen += elements(of: answer.json?["activities"]).compactMap { $0["id"]?.stringValue }
            path = answer.json?["next"]?.stringValue.map {
                "/admin/v1/activities?limit=2&before=\($0)"
            }
        }
        XCTAssertEqual(seen, made.reversed())
        let bad = try await scene.admin.send(.get, "/admin/v1/activities?before=x")
        XCTAssertEqual(bad.status, 400)
        XCTAssertEqual(bad.violations, [])
    }

    func test_executions_showDetailsAsJSONOrBase64_andThoseWithoutARow() async throws {
        let scene = try Scene()
        var receipts: [EnrolmentReceipt] = []
        for name in ["a", "b", "c"] { receipts.append(try await scene.enrol(name)) }
        let answer = try await scene.admin.call(
            .post,
            path,
            ["target": ["group": "everyone"], "code": "lock"]
        )
        let id = try ActivityID(parsing: XCTUnwrap(answer.json?["activity"]?.stringValue))
        let operation = try await scene.operations.activity(id, tenant: .standard)?.operation.id
        let open = try XCTUnwrap(operation)
        try await scene.report(
            receipts[0],
            .result(open, attempt: nil, outcome: .completed, detail: Array(#"{"ok":1}"#.utf8))
        )
        try await scene.report(
            receipts[1],
            .result(open, attempt: nil, outcome: .failed, detail: [0xFF])
        )
        let first = try await scene.admin.send(
            .get,
            "/admin/v1/activities/\(id)/executions?limit=2"
        )
        XCTAssertEqual(first.violations, [])
        let rows = elements(of: first.json?["executions"])
        XCTAssertEqual(rows.map { $0["device"] }, ["a", "b"])
        XCTAssertEqual(rows.map { $0["state"] }, ["completed", "failed"])
        XCTAssertEqual(rows[0]["detail"], ["ok": 1])
        XCTAssertEqual(rows[1]["detailBase64"], "/w==")
        XCTAssertEqual(first.json?["next"], "b")
        let second = try await scene.admin.send(
            .get,
            "/admin/v1/activities/\(id)/executions?limit=2&after=b"
        )
        XCTAssertEqual(second.violations, [])
        XCTAssertEqual(second.json?["executions"]?[0]?["state"], "pending")
        XCTAssertNil(second.json?["next"])
        let shown = try await scene.admin.send(.get, "/admin/v1/activities/\(id)")
        XCTAssertEqual(shown.json?["counts"], ["completed": 1, "failed": 1, "pending": 1])
    }

    func test_cancel_closesTheActivity_andMayBeRepeated() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let id = try await scene.enqueue("tablet-17")
        for _ in 0..<2 {
            let answer = try await scene.admin.send(.post, "/admin/v1/activities/\(id)/cancel")
            XCTAssertEqual(answer.status, 200, answer.text)
            XCTAssertEqual(answer.violations, [])
            XCTAssertEqual(answer.json?["state"], "cancelled")
            XCTAssertEqual(answer.json?["counts"], ["cancelled": 1])
        }
    }

    func test_tasks_arePutShownAndRemoved_andKeepTheirBeginning() async throws {
        let scene = try Scene()
        let path = "/admin/v1/tasks/ask.everyone"
        let put = try await scene.admin.call(.put, path, ["frequency": 60])
        XCTAssertEqual(put.status, 200, put.text)
        XCTAssertEqual(put.violations, [])
        XCTAssertEqual(put.json?["group"], "everyone")
        XCTAssertEqual(put.json?["code"], "device-information")
        let begins = try XCTUnwrap(put.json?["begins"])
        scene.time.advance(by: .seconds(7))
        let changed = try await scene.admin.call(
            .put,
            path,
            ["frequency": 60, "code": "ask", "payload": ["x": 1]]
        )
        XCTAssertEqual(changed.json?["begins"], begins)
        XCTAssertEqual(changed.json?["payload"], ["x": 1])
        let another = try await scene.admin.call(
            .put,
            path,
            ["frequency": 90, "group": "shop", "satisfiedBy": "battery", "freshness": 45]
        )
        XCTAssertEqual(another.violations, [])
        XCTAssertNotEqual(another.json?["begins"], begins)
        XCTAssertEqual(another.json?["satisfiedBy"], "battery")
        XCTAssertEqual(another.json?["freshness"], 45)
        let list = try await scene.admin.send(.get, "/admin/v1/tasks")
        XCTAssertEqual(list.violations, [])
        XCTAssertEqual(list.json?["tasks"]?[0]?["frequency"], 90)
        for bad: JSONValue in [
            ["frequency": 0.5], ["frequency": 0], ["frequency": 1e15], ["frequency": -60],
            ["frequency": 60, "group": "a b"], ["frequency": 60, "code": ""],
            ["frequency": 60, "payloadBase64": "="], ["frequency": 60, "satisfiedBy": "a b"],
            ["frequency": 60, "freshness": 0],
        ] {
            let answer = try await scene.admin.call(.put, path, bad)
            XCTAssertEqual(answer.status, 400, "\(bad): \(answer.text)")
        }
        let large = JSONValue.string(String(repeating: "x", count: 70_000))
        let tooLarge = try await scene.admin.call(.put, path, ["frequency": 60, "payload": large])
        XCTAssertEqual(tooLarge.status, 413, "no run of it could ever be enqueued")
        XCTAssertEqual(tooLarge.violations, [])
        let removed = try await scene.admin.send(.delete, path)
        XCTAssertEqual(removed.status, 204)
    }

    func test_permissions_separateReadersFromWriters() async throws {
        let scene = try Scene()
        let names = try await scene.populate()
        let reader = scene.admin.with(token: "reader-token")
        for operation in scene.admin.document.operations {
            var path = operation.path
            for (name, value) in names {
                path = path.replacingOccurrences(of: "{\(name)}", with: value)
            }
            let answer = try await reader.send(.init(operation.method)!, path)
            // Nobody has sent a large result: who may read is told so.
            let readable = operation.id == "getLargeResult" ? 404 : 200
            let expected = operation.permission == "read" ? readable : 403
            XCTAssertEqual(answer.status, expected, operation.id)
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_revokedCapability_makesWritesUnavailable_andReadsGoOn() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        scene.capability.revoke()
        let writes: [(HTTPRequest.Method, String, JSONValue)] = [
            (.post, path, ["target": ["devices": ["tablet-17"]], "code": "lock"]),
            (.put, "/admin/v1/devices/tablet-17/polling", ["frequency": 60]),
            (.post, "/admin/v1/groups/g/members", ["join": ["tablet-17"]]),
            (.put, "/admin/v1/tasks/t", ["frequency": 60]),
        ]
        for (method, path, body) in writes {
            let answer = try await scene.admin.call(method, path, body)
            XCTAssertEqual(answer.status, 503, "\(path): \(answer.text)")
            XCTAssertNotNil(answer.response.headerFields[.retryAfter], path)
            XCTAssertEqual(answer.violations, [])
        }
        let status = try await scene.admin.send(.get, "/admin/v1/status")
        XCTAssertEqual(status.status, 200)
        XCTAssertNil(status.json?["epoch"])
    }
}
#endif
