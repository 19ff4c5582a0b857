#if Server
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import ManagerConsole
import NotificationDispatch
import OperationQueue
import XCTest

final class EventRoutesTests: XCTestCase {
    private let base = "/admin/v1"

    private func get(_ scene: Scene, _ path: String) async throws -> JSONValue {
        let answer = try await scene.admin.send(.get, base + path)
        XCTAssertEqual(answer.status, 200, "\(path): \(answer.text)")
        XCTAssertEqual(answer.violations, [], path)
        return try XCTUnwrap(answer.json)
    }

    private func answer(_ scene: Scene, _ receipt: EnrolmentReceipt, _ activity: String)
        async throws
    {
        let id = try ActivityID(parsing: activity)
        let found = try await scene.operations.activity(id, tenant: .standard)
        let operation = try XCTUnwrap(found).operation.id
        try await scene.report(
            receipt,
            .result(operation, attempt: nil, outcome: .completed, detail: [])
        )
    }

    func test_events_arePagedFromAPositionOn_andFilteredByTenant() async throws {
        let scene = try Scene()
        let start = try await get(scene, "/events")
        XCTAssertEqual(start["events"], [])
        XCTAssertEqual(start["last"], true)
        let receipt = try await scene.enrol("tablet-17")
        let activity = try await scene.enqueue("tablet-17")
        try await answer(scene, receipt, activity)
        var next = try XCTUnwrap(start["next"]?.stringValue)
        var found: [JSONValue] = []
        repeat {
            let page = try await get(scene, "/events?after=\(next)&limit=1")
            found += elements(of: page["events"])
            next = try XCTUnwrap(page["next"]?.stringValue)
            if page["last"] == true { break }
        } while found.count < 10
        XCTAssertEqual(found.map { $0["type"] }, ["activity", "execution", "activity"])
        XCTAssertEqual(found.map { $0["to"] }, ["open", "completed", "finished"])
        XCTAssertEqual(Set(found.map { $0["activity"] }), [.string(activity)])
        XCTAssertEqual(found[1]["device"], "tablet-17")
        XCTAssertEqual(found[1]["version"], 1)
        let since = try await get(scene, "/events?since=0&changes=state&device=tablet-17")
        XCTAssertEqual(elements(of: since["events"]), [found[1]])
        let none = try await get(scene, "/events?since=0&code=wipe")
        XCTAssertEqual(none["events"], [])
        let other = try await scene.admin.with(token: "other-token")
            .send(.get, "\(base)/events?since=0")
        XCTAssertEqual(other.json?["events"], [])
    }

    func test_events_ofAnotherHistory_are409_andOfNoPosition400() async throws {
        let scene = try Scene()
        let gone = String(repeating: "a", count: 32) + ":4"
        for path in ["/events?after=\(gone)", "/activities?updatedAfter=\(gone)"] {
            let answer = try await scene.admin.send(.get, base + path)
            XCTAssertEqual(answer.status, 409, path)
            XCTAssertEqual(answer.code, "operations.events-gone")
            XCTAssertEqual(answer.violations, [])
        }
        let bad = [
            "/events?after=x", "/events?since=x", "/events?wait=31", "/events?changes=some",
            "/events?activity=1", "/events?device=", "/activities?state=gone",
            "/activities?type=x", "/activities?createdFrom=-1", "/activities?updatedSince=soon",
        ]
        for path in bad {
            let answer = try await scene.admin.send(.get, base + path)
            XCTAssertEqual(answer.status, 400, path)
            XCTAssertEqual(answer.violations, [], path)
        }
    }

    func test_longPoll_answersWithWhatHappensMeanwhile() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let start = try await get(scene, "/events")["next"]?.stringValue ?? ""
        let (admin, path) = (scene.admin, "\(base)/events?after=\(start)&wait=20")
        async let polled = admin.send(.get, path)
        try await scene.time.waitForSleepers(1)
        let activity = try await scene.enqueue("tablet-17")
        scene.time.advance(by: .seconds(1))
        let answer = try await polled
        XCTAssertEqual(answer.status, 200, answer.text)
        let events = elements(of: answer.json?["events"])
        XCTAssertEqual(events.map { $0["activity"] }, [.string(activity)])
    }

    func test_activities_areFiltered_andListedAsUpdated() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17", groups: ["shop-3"])
        let lock = try await scene.enqueue("tablet-17")
        let wipe = try await scene.admin.call(
            .post,
            "\(base)/operations",
            ["target": ["group": "shop-3"], "code": "wipe", "type": "policy"],
            fields: [HTTPField.Name("Idempotency-Key")!: "k-1"]
        ).json?["activity"]?.stringValue
        func ids(_ query: String) async throws -> [String?] {
            elements(of: try await get(scene, "/activities?\(query)")["activities"])
                .map { $0["id"]?.stringValue }
        }
        let rows: [(String, [String?])] = [
            ("code=lock", [lock]), ("code=lock&code=wipe", [wipe, lock]), ("type=policy", [wipe]),
            ("state=open", [wipe, lock]), ("state=cancelled", []),
            ("initiator=alice", [wipe, lock]),
            ("initiator=bob", []), ("group=shop-3", [wipe]), ("idempotencyKey=k-1", [wipe]),
            ("createdFrom=\(scene.time.now().milliseconds + 1)", []),
            ("createdBefore=\(scene.time.now().milliseconds + 1)&code=lock", [lock]),
        ]
        for (query, expected) in rows {
            let found = try await ids(query)
            XCTAssertEqual(found, expected, query)
        }
        scene.time.advance(by: .seconds(60))
        let then = scene.time.now().milliseconds
        try await answer(scene, receipt, lock)
        let updated = try await get(scene, "/activities?updatedSince=\(then)")
        XCTAssertEqual(elements(of: updated["activities"]).map { $0["id"] }, [.string(lock)])
        let next = try XCTUnwrap(updated["next"]?.stringValue)
        let rest = try await get(scene, "/activities?updatedAfter=\(next)")
        XCTAssertEqual(rest["activities"], [])
        XCTAssertNotNil(rest["next"])
    }

    func test_executionsOfADeviceAndInAState_andItsPendingWork_areListed() async throws {
        let scene = try Scene()
        let receipt = try await scene.enrol("tablet-17", groups: ["shop-3"])
        let first = try await scene.enqueue("tablet-17")
        let second = try await scene.enqueue("tablet-17")
        try await answer(scene, receipt, first)
        let all = try await get(scene, "/devices/tablet-17/executions?limit=1")
        XCTAssertEqual(elements(of: all["executions"]).map { $0["activity"] }, [.string(second)])
        let next = try XCTUnwrap(all["next"]?.stringValue)
        let rest = try await get(scene, "/devices/tablet-17/executions?before=\(next)")
        XCTAssertEqual(
            elements(of: rest["executions"]).map { $0["execution"]?["state"] },
            ["completed"]
        )
        XCTAssertNil(rest["next"])
        let pending = try await get(scene, "/devices/tablet-17/pending")
        XCTAssertEqual(
            elements(of: pending["executions"]).map { $0["activity"] },
            [.string(second)]
        )
        XCTAssertEqual(elements(of: pending["executions"])[0]["execution"]?["state"], "pending")
        for (state, count) in [("completed", 1), ("pending", 0), ("failed", 0)] {
            let found = try await get(scene, "/activities/\(first)/executions?state=\(state)")
            XCTAssertEqual(elements(of: found["executions"]).count, count, state)
        }
        for path in ["/devices/nobody/executions", "/devices/nobody/pending"] {
            let unknown = try await scene.admin.send(.get, base + path)
            XCTAssertEqual(unknown.status, 404, path)
            XCTAssertEqual(unknown.code, "operations.unknown-device", path)
        }
    }

    func test_webhook_isMadeShownServedAndEnded() async throws {
        let scene = try Scene()
        try await scene.enrol("tablet-17")
        let made = try await scene.admin.call(
            .post,
            "\(base)/webhooks",
            ["url": "https://hooks.example/reeve", "codes": ["lock"]]
        )
        XCTAssertEqual(made.status, 201, made.text)
        XCTAssertEqual(made.violations, [])
        let secret = try XCTUnwrap(made.json?["secret"]?.stringValue)
        XCTAssertTrue(secret.hasPrefix("whsec_"))
        let id = try XCTUnwrap(made.json?["webhook"]?["webhook"]?.stringValue)
        _ = try await scene.enqueue("tablet-17")
        scene.webhookTransport.answer(
            at: "https://hooks.example/reeve",
            with: .failed(reason: "status 500")
        )
        var configuration = WebhookDispatchConfiguration(logger: quiet)
        configuration.backoff = try BackoffSchedule(first: .seconds(1), maximumAttempts: 1)
        try await WebhookDispatcher(
            storage: scene.webhooks,
            events: OperationEvents(reader: scene.operations, clock: scene.time),
            transport: scene.webhookTransport,
            capability: scene.capability,
            configuration: configuration,
            clock: scene.time,
            random: scene.random
        ).step()
        let shown = try await get(scene, "/webhooks/\(id)")
        XCTAssertEqual(shown["lastFailure"], "status 500")
        XCTAssertNil(shown["secret"])
        let letters = try await get(scene, "/webhooks/\(id)/dead-letters")
        XCTAssertEqual(elements(of: letters["deadLetters"]).map { $0["letter"] }, [1])
        let redeliver = "\(base)/webhooks/\(id)/dead-letters/1/redeliver"
        let refused = try await scene.admin.send(.post, redeliver)
        XCTAssertEqual(refused.status, 503, refused.text)
        XCTAssertEqual(refused.code, "webhook.not-delivered")
        scene.webhookTransport.answer(at: "https://hooks.example/reeve", with: nil)
        let taken = try await scene.admin.send(.post, redeliver)
        XCTAssertEqual(taken.status, 204, taken.text)
        let again = try await scene.admin.send(.post, redeliver)
        XCTAssertEqual(again.status, 404)
        XCTAssertEqual(again.code, "webhook.unknown-dead-letter")
        let foreign = try await scene.admin.with(token: "other-token")
            .send(.delete, "\(base)/webhooks/\(id)")
        XCTAssertEqual(foreign.status, 404)
        let ended = try await scene.admin.send(.delete, "\(base)/webhooks/\(id)")
        XCTAssertEqual(ended.status, 204)
        let gone = try await scene.admin.send(.get, "\(base)/webhooks/\(id)")
        XCTAssertEqual(gone.code, "webhook.unknown")
        let bad = try await scene.admin.call(.post, "\(base)/webhooks", ["url": "ftp://x/"])
        XCTAssertEqual(bad.status, 400)
        XCTAssertEqual(bad.code, "webhook.invalid")
    }
}
#endif
