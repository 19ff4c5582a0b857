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

final class LargeResultRouteTests: XCTestCase {
    private let digest = HTTPField.Name("Repr-Digest")!
    private let contentDigest = HTTPField.Name("Content-Digest")!
    /// Of "abc" (FIPS 180-2, appendix B.1).
    private let digestOfABC = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:"

    private func offered(
        _ scene: Scene
    ) async throws -> (HandlerCaller, EnqueueReceipt, execution: String, attempt: String) {
        let caller = try await scene.enrolled()
        let receipt = try await scene.enqueue("logs")
        let offer = try await caller.call(.post, "/device/v1/exchange", [:])
        let operation = try XCTUnwrap(offer.json?["operations"]?[0], offer.text)
        return (
            caller, receipt, try XCTUnwrap(operation["execution"]?.stringValue),
            try XCTUnwrap(operation["attempt"]?.stringValue)
        )
    }

    func test_largeResult_isKept_andAnsweredWithItsDigest() async throws {
        let scene = try Scene()
        let (caller, receipt, execution, attempt) = try await offered(scene)
        let path = "/device/v1/results/\(execution)?status=failed&attempt=\(attempt)"
        let put = try await caller.send(
            .put,
            path,
            fields: [digest: "sha-512=:AAAA:, \(digestOfABC)"],
            body: Array("abc".utf8)
        )
        XCTAssertEqual(put.status, 204, put.text)
        XCTAssertEqual(put.violations, [])
        XCTAssertEqual(put.response.headerFields[digest], digestOfABC)
        let state = try await scene.execution(receipt)
        XCTAssertEqual(state?.state, .failed)
        let found = try await scene.operations.largeResult(
            of: receipt.activity,
            on: DeviceID(rawValue: "tablet-17"),
            tenant: .standard
        )
        XCTAssertEqual(found?.bytes, 3)
    }

    func test_largeResult_thatIsWrong_isRefusedWithItsCode() async throws {
        let scene = try Scene()
        let (caller, receipt, execution, _) = try await offered(scene)
        let other = try await scene.enrolled("tablet-18")
        let good = "/device/v1/results/\(execution)"
        let body = Array("abd".utf8)
        let large = [UInt8](repeating: 1, count: (16 << 20) + 1)
        let rows: [(HandlerCaller, String, HTTPFields, [UInt8], Int, String)] = [
            (caller, good, [digest: digestOfABC], body, 400, "operations.digest-mismatch"),
            (caller, good, [contentDigest: digestOfABC], body, 400, "operations.digest-mismatch"),
            (caller, good, [digest: "sha-256=abc"], body, 400, "http.invalid-parameter"),
            (caller, good, [digest: "sha-256=:AAAA:"], body, 400, "http.invalid-parameter"),
            (caller, good, [digest: "abc"], body, 400, "http.invalid-parameter"),
            (caller, good + "?status=notNow", [:], body, 400, "gateway.invalid-field"),
            (caller, good + "?error=x", [:], body, 400, "gateway.invalid-field"),
            (caller, good + "?attempt=x", [:], body, 400, "role.invalid-identifier"),
            (caller, good, [:], large, 413, "operations.too-large"),
            (other, good, [:], body, 403, "operations.foreign-execution"),
            (caller.with(token: nil), good, [:], body, 401, "http.unauthenticated"),
        ]
        for (caller, path, fields, body, status, code) in rows {
            let answer = try await caller.send(.put, path, fields: fields, body: body)
            XCTAssertEqual(answer.status, status, "\(path) \(fields): \(answer.text)")
            XCTAssertEqual(answer.code, code, "\(path) \(fields)")
            XCTAssertEqual(answer.violations, [])
        }
        let state = try await scene.execution(receipt)?.state
        XCTAssertEqual(state, .delivered)
    }

    func test_exchange_waitThatIsNone_isRefused() async throws {
        let scene = try Scene()
        let caller = try await scene.enrolled()
        for wait: JSONValue in [-1, .number(1e20), "30"] {
            let answer = try await caller.call(.post, "/device/v1/exchange", ["wait": wait])
            XCTAssertEqual(answer.status, 400, answer.text)
            XCTAssertEqual(answer.violations, [])
        }
    }

    func test_exchange_moreOftenThanAllowed_is429_withRetryAfter() async throws {
        var limits = ExchangeLimits()
        limits.exchangesPerMinute = 6
        limits.exchangeBurst = 2
        let scene = try Scene(exchangeLimits: limits)
        let caller = try await scene.enrolled()
        for _ in 0..<2 {
            let answer = try await caller.call(.post, "/device/v1/exchange", [:])
            XCTAssertEqual(answer.status, 200)
        }
        let refused = try await caller.call(.post, "/device/v1/exchange", [:])
        XCTAssertEqual(refused.status, 429)
        XCTAssertEqual(refused.code, "operations.too-many-exchanges")
        XCTAssertEqual(refused.response.headerFields[.retryAfter], "10")
        XCTAssertEqual(refused.violations, [])
    }
}
#endif
