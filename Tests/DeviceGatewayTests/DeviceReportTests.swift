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

final class DeviceReportTests: XCTestCase {
    private let exchange = "/device/v1/exchange"

    // MARK: - Payloads

    func test_payload_isHandedOutAsItWasEnqueued() async throws {
        let rows: [(String, OperationType, member: String?)] = [
            ("", .command, nil), ("{}", .command, "payload"), ("null", .config, "payload"),
            (#"{"b":1.10,"a":12345678901234567890,"b":2}"#, .command, "payload"),
            (#" [ "\u00e9" , 1e400 ] "#, .policy, "payload"),
            (#"{"a":}"#, .command, "payloadBase64"),
            ("plain", .profile, "payloadBase64"), ("{}", .opaque, "payloadBase64"),
        ]
        for (text, type, member) in rows {
            let scene = try Scene()
            let caller = try await scene.enrolled()
            try await scene.enqueue("lock", payload: Array(text.utf8), type: type)
            let answer = try await caller.call(.post, exchange, [:])
            XCTAssertEqual(answer.status, 200)
            switch member {
            case "payload":
                XCTAssertTrue(answer.text.contains(#""payload":"# + text), answer.text)
                XCTAssertFalse(answer.text.contains("payloadBase64"), answer.text)
            case "payloadBase64":
                let base64 = Data(text.utf8).base64EncodedString()
                XCTAssertEqual(
                    answer.json?["operations"]?[0]?["payloadBase64"],
                    .string(base64),
                    text
                )
                XCTAssertFalse(answer.text.contains(#""payload":"#), answer.text)
            default: XCTAssertFalse(answer.text.contains("payload"), answer.text)
            }
        }
    }

    func test_answer_readsBackAsItsMessage() async throws {
        let scene = try Scene(age: .milliseconds(20_500))
        let caller = try await scene.enrolled()
        try await scene.enqueue("lock", payload: Array(#"{"a":[1,"x"]}"#.utf8))
        try await scene.enqueue("wipe", payload: [0xFF])
        let answer = try await caller.call(.post, exchange, [:])
        XCTAssertEqual(answer.violations, [])
        let message = try JSONDecoder().decode(
            DeviceMessages.ExchangeAnswer.self,
            from: Data(answer.body)
        )
        XCTAssertEqual(message.operations.map(\.code), ["lock", "wipe"])
        XCTAssertEqual(message.operations[0].payload, ["a": [1, "x"]])
        XCTAssertEqual(message.operations[1].payloadBase64, "/w==")
        XCTAssertEqual(message.age, 20.5)
    }

    func test_age_isToldOnlyWhileTheWorkerIsCutOff() async throws {
        for (age, told): (Duration?, JSONValue?) in [
            (nil, nil), (.milliseconds(14_999), nil), (.seconds(15), 15),
        ] {
            let scene = try Scene(age: age)
            let caller = try await scene.enrolled()
            let answer = try await caller.call(.post, exchange, [:])
            XCTAssertEqual(answer.json?["age"], told)
        }
    }

    // MARK: - What a device says of itself

    func test_pushRegistration_isKeptAndGivenUp() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let put = try await caller.call(
            .put,
            "/device/v1/push-registration",
            ["transport": "http", "address": "http://127.0.0.1:1/ä?x=%20"]
        )
        XCTAssertEqual(put.status, 204, put.text)
        let id = DeviceID(rawValue: "tablet-17")
        let kept = try await scene.devices.device(id, tenant: .standard)?.push
        XCTAssertEqual(kept?.address, "http://127.0.0.1:1/ä?x=%20")
        let deleted = try await caller.send(.delete, "/device/v1/push-registration")
        XCTAssertEqual(deleted.status, 204)
        let none = try await scene.devices.device(id, tenant: .standard)?.push
        XCTAssertNil(none)
        let rows: [(JSONValue, Int)] = [
            (["transport": "", "address": "x"], 400), (["transport": "http", "address": ""], 400),
            (
                ["transport": "http", "address": .string(String(repeating: "x", count: 4_097))], 413
            ),
        ]
        for (body, status) in rows {
            let answer = try await caller.call(.put, "/device/v1/push-registration", body)
            XCTAssertEqual(answer.status, status)
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_information_ofAnyKind_isKept_andCheckedAsAWhole() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let path = "/device/v1/information"
        let put = try await caller.call(
            .put,
            path,
            ["location": ["lat": 52.5], "applications": [], "com.example.till": .null]
        )
        XCTAssertEqual(put.status, 204, put.text)
        let id = DeviceID(rawValue: "tablet-17")
        var kept = try await scene.devices.information(of: id, tenant: .standard)
        XCTAssertEqual(
            kept.map(\.kind.rawValue),
            ["applications", "com.example.till", "location"]
        )
        XCTAssertEqual(kept.last?.body, Array(#"{"lat":52.5}"#.utf8))
        let large = JSONValue.string(String(repeating: "x", count: 70_000))
        let many = Dictionary(uniqueKeysWithValues: (0..<65).map { ("k\($0)", JSONValue.null) })
        for (body, status): (JSONValue, Int) in [
            (["location": 1, "z/z": 2], 400), (["location": 1, "": 2], 400),
            (["location": 1, "photo": large], 413), (.object(many), 400),
        ] {
            let answer = try await caller.call(.put, path, body)
            XCTAssertEqual(answer.status, status, answer.text)
            XCTAssertEqual(answer.violations, [])
        }
        let empty = try await caller.call(.put, path, [:])
        XCTAssertEqual(empty.status, 204)
        kept = try await scene.devices.information(of: id, tenant: .standard)
        XCTAssertEqual(kept.last?.body, Array(#"{"lat":52.5}"#.utf8))
    }

    // MARK: - Who is calling

    func test_authenticator_cutOff_is503AndNever401() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        scene.authenticator.isCutOff = true
        let answer = try await caller.call(.post, exchange, [:])
        XCTAssertEqual(answer.status, 503)
        XCTAssertEqual(answer.code, "devices.cannot-decide")
        XCTAssertEqual(answer.response.headerFields[.retryAfter], "5")
    }

    func test_enrolledDevice_theReplicaDoesNotHoldYet_isToldToComeAgain() async throws {
        let scene = try Scene(reader: EmptyReader())
        let caller = try await scene.enrolled()
        let answer = try await caller.call(.post, exchange, [:])
        XCTAssertEqual(answer.status, 503)
        XCTAssertEqual(answer.code, "gateway.not-yet-known")
        XCTAssertEqual(answer.response.headerFields[.retryAfter], "1")
        XCTAssertEqual(answer.violations, [])
    }

    func test_otherSchemes_areNoToken() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        let token = try XCTUnwrap(caller.token)
        for value in ["", "Bearer", "Bearer ", token, "Basic \(token)", "Digest \(token)"] {
            let answer = try await scene.caller.send(
                .post,
                exchange,
                fields: [.authorization: value, .contentType: "application/json"],
                body: Array("{}".utf8)
            )
            XCTAssertEqual(answer.status, 401, value)
        }
    }
}
#endif
