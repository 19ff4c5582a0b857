#if Server
import ClusterRole
import ClusterTestKit
import DeviceGateway
import DeviceRegistry
import Foundation
import HTTPHandling
import HTTPTestSupport
import HTTPTypes
import OperationQueue
import XCTest

final class DeviceEndpointTests: XCTestCase {
    private let exchange = "/device/v1/exchange"
    private let enrolments = "/device/v1/enrolments"

    // MARK: - Enrolment

    func test_enrolment_withSecret_showsACredentialThatWorks() async throws {
        let scene = try Scene()
        let answer = try await scene.caller.call(
            .post,
            enrolments,
            [
                "device": "tablet-17", "secret": .string(Scene.secret),
                "groups": ["shop-3", "zürich"],
            ]
        )
        XCTAssertEqual(answer.status, 201, answer.text)
        XCTAssertEqual(answer.violations, [])
        XCTAssertEqual(answer.json?["device"], "tablet-17")
        XCTAssertEqual(answer.json?["pollAfter"], 1)
        XCTAssertEqual(answer.response.headerFields[.cacheControl], "no-store")
        let token = try XCTUnwrap(answer.json?["credential"]?.stringValue)
        XCTAssertEqual(token.count, 43)
        let poll = try await scene.caller.with(token: token).call(.post, exchange, [:])
        XCTAssertEqual(poll.status, 200)
        let groups = try await scene.devices.groups(tenant: .standard)
        XCTAssertEqual(groups.map(\.group.rawValue), ["everyone", "shop-3", "zürich"])
    }

    func test_enrolment_refusedOrMalformed_enrolsNobody() async throws {
        let scene = try Scene()
        let rows: [(JSONValue, Int, String)] = [
            (["device": "a"], 403, "devices.enrolment-refused"),
            (["device": "a", "secret": "guess"], 403, "devices.enrolment-refused"),
            (
                ["device": "a", "secret": .string(Scene.secret), "groups": ["admins"]], 403,
                "devices.enrolment-refused"
            ),
            (["device": "", "secret": .string(Scene.secret)], 400, "role.invalid-name"),
            (["device": "a/b", "secret": .string(Scene.secret)], 400, "role.invalid-name"),
            (["device": "a b", "secret": .string(Scene.secret)], 400, "role.invalid-name"),
            (["device": "..", "secret": .string(Scene.secret)], 400, "role.invalid-name"),
            (
                ["device": .string(String(repeating: "n", count: 256))], 400, "role.invalid-name"
            ),
            (["device": "a", "groups": [""]], 400, "role.invalid-name"),
        ]
        for (body, status, code) in rows {
            let answer = try await scene.caller.call(.post, enrolments, body)
            XCTAssertEqual(answer.status, status, "\(body)")
            XCTAssertEqual(answer.code, code, "\(body)")
            XCTAssertEqual(answer.violations, [])
        }
        let page = try await scene.devices.devices(
            in: nil,
            after: nil,
            limit: 10,
            tenant: .standard
        )
        XCTAssertEqual(page, [])
    }

    func test_enrolment_repeatedUnderItsKey_isTheSameEnrolmentWithANewCredential() async throws {
        let scene = try Scene()
        let body: JSONValue = ["device": "tablet-17", "secret": .string(Scene.secret)]
        var tokens: [String] = []
        var incarnations: Set<IncarnationID> = []
        for key in ["k1", "k1", "k2"] {
            let answer = try await scene.caller.call(
                .post,
                enrolments,
                body,
                fields: [.init("Idempotency-Key")!: key]
            )
            XCTAssertEqual(answer.status, 201, answer.text)
            tokens.append(try XCTUnwrap(answer.json?["credential"]?.stringValue))
            let row = try await scene.devices.device(
                DeviceID(rawValue: "tablet-17"),
                tenant: .standard
            )
            incarnations.insert(try XCTUnwrap(row?.row.incarnation))
        }
        XCTAssertEqual(incarnations.count, 2)
        XCTAssertEqual(Set(tokens).count, 3)
        let old = try await scene.caller.with(token: tokens[0]).call(.post, exchange, [:])
        XCTAssertEqual(old.status, 401)
        for key in ["", "a b", "ü", String(repeating: "k", count: 256)] {
            let answer = try await scene.caller.call(
                .post,
                enrolments,
                body,
                fields: [.init("Idempotency-Key")!: key]
            )
            XCTAssertEqual(answer.code, "gateway.invalid-idempotency-key", key)
        }
    }

    func test_unenrolment_endsTheCredential() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let first = try await caller.send(.delete, "/device/v1/enrolment")
        XCTAssertEqual(first.status, 204)
        XCTAssertEqual(first.violations, [])
        let second = try await caller.send(.delete, "/device/v1/enrolment")
        XCTAssertEqual(second.status, 401)
        XCTAssertNotNil(second.response.headerFields[.wwwAuthenticate])
    }

    // MARK: - Exchange

    func test_exchange_offersTakesResultsAndOffersTheRest() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let lock = try await scene.enqueue("lock", payload: Array(#"{"message":"hi"}"#.utf8))
        try await scene.enqueue("wipe")
        let first = try await caller.call(.post, exchange, ["limit": 1])
        XCTAssertEqual(first.violations, [])
        let offer = try XCTUnwrap(first.json?["operations"]?[0])
        XCTAssertEqual(offer["code"], "lock")
        XCTAssertEqual(offer["payload"], ["message": "hi"])
        guard case .number(let pollAfter) = first.json?["pollAfter"] else {
            return XCTFail(first.text)
        }
        XCTAssertEqual(pollAfter, 60, accuracy: 6, "the default frequency and its jitter")
        XCTAssertEqual(
            first.response.headerFields[.init("Reeve-Revision")!],
            first.json?["revision"]?.stringValue
        )
        let report: JSONValue = [
            "results": [
                [
                    "execution": offer["execution"]!, "attempt": offer["attempt"]!,
                    "status": "completed", "detail": ["ok": true, "n": 3],
                ]
            ]
        ]
        let second = try await caller.call(.post, exchange, report)
        XCTAssertEqual(second.violations, [])
        XCTAssertEqual(elements(of: second.json?["operations"]).map { $0["code"] }, ["wipe"])
        let execution = try await scene.execution(lock)
        XCTAssertEqual(execution?.state, .completed)
        XCTAssertEqual(execution?.detail, Array(#"{"n":3,"ok":true}"#.utf8))
    }

    func test_exchange_everyStatus_reachesTheExecution() async throws {
        let rows: [(String, ExecutionState)] = [
            ("completed", .completed), ("failed", .failed), ("notNow", .deferred),
            ("awaitingConfirmation", .awaitingConfirmation),
        ]
        for (status, state) in rows {
            let scene = try Scene()
            let caller = try await scene.enrolled()
            let receipt = try await scene.enqueue("lock")
            let offer = try await caller.call(.post, exchange, [:])
            let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
            let answer = try await caller.call(
                .post,
                exchange,
                [
                    "results": [
                        ["execution": execution, "status": .string(status), "retryAfter": 90.5]
                    ]
                ]
            )
            XCTAssertEqual(answer.status, 200, answer.text)
            let row = try await scene.execution(receipt)
            XCTAssertEqual(row?.state, state, status)
            if state == .deferred {
                XCTAssertEqual(row?.until, scene.time.now() + .milliseconds(90_500))
            }
        }
    }

    func test_exchange_confirmation_isOfferedAgain() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("wipe")
        let offer = try await caller.call(.post, exchange, [:])
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        for (status, offered) in [("awaitingConfirmation", 0), ("confirmed", 1), ("completed", 0)] {
            let answer = try await caller.call(
                .post,
                exchange,
                ["results": [["execution": execution, "status": .string(status)]]]
            )
            XCTAssertEqual(elements(of: answer.json?["operations"]).count, offered, status)
        }
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .completed)
    }

    func test_exchange_cancelledWork_isNamedUntilAnswered() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("install")
        let offer = try await caller.call(.post, exchange, [:])
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        try await scene.enqueuer.cancel(receipt.activity)
        let told = try await caller.call(.post, exchange, [:])
        XCTAssertEqual(told.json?["cancel"], [execution])
        let ended = try await caller.call(
            .post,
            exchange,
            ["results": [["execution": execution, "status": "cancelled"]]]
        )
        XCTAssertEqual(ended.json?["cancel"], [])
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .cancelled)
    }

    func test_exchange_progressAndRedelivery() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("install")
        let offer = try await caller.call(.post, exchange, [:])
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        let plain = try await caller.call(.post, exchange, ["redeliver": false])
        XCTAssertEqual(plain.json?["operations"], [])
        let again = try await caller.call(.post, exchange, ["redeliver": true])
        XCTAssertEqual(again.json?["operations"]?[0]?["execution"], execution)
        let attempt = try XCTUnwrap(again.json?["operations"]?[0]?["attempt"])
        let note = try await caller.call(
            .post,
            exchange,
            ["progress": [["execution": execution, "attempt": attempt, "detail": "halfway"]]]
        )
        XCTAssertEqual(note.status, 200, note.text)
        let row = try await scene.execution(receipt)
        XCTAssertEqual(row?.state, .inProgress)
        XCTAssertEqual(row?.detail, Array(#""halfway""#.utf8))
    }

    func test_exchange_valuesOutOfRange_are400_andChangeNothing() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("lock")
        let offer = try await caller.call(.post, exchange, [:])
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        func result(_ more: [String: JSONValue]) -> JSONValue {
            let base: [String: JSONValue] = ["execution": execution, "status": "notNow"]
            return ["results": [.object(base.merging(more) { $1 })]]
        }
        let rows: [JSONValue] = [
            ["limit": -1], ["limit": 1.5], ["limit": 1e30], result(["retryAfter": 0]),
            result(["retryAfter": -5]), result(["retryAfter": 1e18]),
            result(["execution": "x"]), result(["execution": ""]), result(["attempt": "x"]),
            result(["attempt": ""]), result(["status": "done"]), result(["status": ""]),
            result(["execution": "0.0.tablet-17"]),
        ]
        for body in rows {
            let answer = try await caller.call(.post, exchange, body)
            XCTAssertEqual(answer.status, 400, "\(body): \(answer.text)")
            XCTAssertEqual(answer.violations, [])
        }
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .delivered)
        for body: JSONValue in [
            ["results": [], "progress": []], ["limit": 0], ["limit": 1_000_000],
            ["results": .null, "limit": .null, "redeliver": .null],
        ] {
            let answer = try await caller.call(.post, exchange, body)
            XCTAssertEqual(answer.status, 200, "\(body): \(answer.text)")
        }
    }

    func test_exchange_anotherDevicesExecution_is403() async throws {
        let scene = try Scene()
        let mine = try await scene.enrolled("mine")
        _ = try await scene.enrolled("theirs")
        let receipt = try await scene.enqueue("lock", to: "theirs")
        let id = try await scene.execution(receipt)?.id
        let answer = try await mine.call(
            .post,
            exchange,
            ["results": [["execution": .string("\(try XCTUnwrap(id))"), "status": "completed"]]]
        )
        XCTAssertEqual(answer.status, 403)
        XCTAssertEqual(answer.code, "operations.foreign-execution")
        XCTAssertEqual(answer.violations, [])
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .pending)
    }

    func test_exchange_tooManyResults_is413() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let id = String(repeating: "0", count: 32)
        let result: JSONValue = ["execution": .string("\(id).\(id).tablet-17"), "status": "failed"]
        let answer = try await caller.call(
            .post,
            exchange,
            ["results": .array(Array(repeating: result, count: 101))]
        )
        XCTAssertEqual(answer.status, 413)
        XCTAssertEqual(answer.code, "operations.too-large")
        XCTAssertEqual(answer.violations, [])
    }

    func test_exchange_unicodeDevice_travelsInItsExecutionIDs() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled("Kasse.Zürich№3")
        try await scene.enqueue("lock", to: "Kasse.Zürich№3")
        let offer = try await caller.call(.post, exchange, [:])
        let execution = try XCTUnwrap(offer.json?["operations"]?[0]?["execution"])
        XCTAssertTrue(execution.stringValue?.hasSuffix(".Kasse.Zürich№3") ?? false)
        let answer = try await caller.call(
            .post,
            exchange,
            ["results": [["execution": execution, "status": "completed"]]]
        )
        XCTAssertEqual(answer.status, 200, answer.text)
    }
}
#endif
