#if Push
import ClusterRole
import NotificationDispatch
import PushTransports
import XCTest

final class HTTPWebhookTransportTests: XCTestCase {
    private func request(_ url: String) -> WebhookRequest {
        WebhookRequest(
            url: url,
            message: "msg_1",
            timestamp: 1_700_000_000,
            signature: "v1,c2lnbmVk",
            epoch: Epoch(rawValue: 9),
            body: Array("{\"type\":\"t\"}".utf8)
        )
    }

    private func withServer(
        _ configuration: HTTPWebhookConfiguration = HTTPWebhookConfiguration(),
        _ body: (LoopbackServer, HTTPWebhookTransport) async throws -> Void
    ) async throws {
        let server = try LoopbackServer()
        let transport = HTTPWebhookTransport(configuration: configuration)
        do {
            try await body(server, transport)
        } catch {
            await transport.close()
            server.stop()
            throw error
        }
        await transport.close()
        server.stop()
    }

    func test_batch_isPosted_withTheHeadersOfStandardWebhooks() async throws {
        try await withServer { server, transport in
            let outcome = await transport.send(request(server.url("/hook?token=secret")))
            XCTAssertEqual(outcome, .accepted)
            let head = try XCTUnwrap(server.requests.first).lowercased()
            XCTAssertTrue(head.hasPrefix("post /hook?token=secret http/1.1\r\n"), head)
            for line in [
                "content-type: application/json", "webhook-id: msg_1",
                "webhook-timestamp: 1700000000", "webhook-signature: v1,c2lnbmvk",
                "reeve-epoch: 9", "content-length: 12",
            ] {
                XCTAssertTrue(head.contains("\r\n\(line)\r\n"), "\(line) in \(head)")
            }
        }
    }

    func test_status_becomesAnOutcome() async throws {
        let expected: [(Int, [String], WebhookOutcome)] = [
            (200, [], .accepted),
            (204, [], .accepted),
            (410, [], .gone),
            (302, ["Location: http://127.0.0.1:1/"], .failed(reason: "status 302")),
            (400, [], .failed(reason: "status 400")),
            (404, [], .failed(reason: "status 404")),
            (429, ["Retry-After: 7"], .failed(reason: "status 429", retryAfter: .seconds(7))),
            (503, ["Retry-After: soon"], .failed(reason: "status 503")),
        ]
        try await withServer { server, transport in
            for (status, headers, outcome) in expected {
                server.answer(with: .status(status, headers: headers))
                let found = await transport.send(request(server.url()))
                XCTAssertEqual(found, outcome, "status \(status)")
            }
        }
    }

    func test_receiverThatHangsUpOrIsNotThere_isAFailureThatNamesNoURL() async throws {
        try await withServer { server, transport in
            server.answer(with: .hangUp)
            let hungUp = await transport.send(request(server.url("/hook?token=secret")))
            XCTAssertEqual(hungUp, .failed(reason: "the connection ended before an answer"))
            server.stop()
            let none = await transport.send(request("http://127.0.0.1:1/hook?token=secret"))
            guard case .failed(let reason, nil) = none else { return XCTFail("\(none)") }
            XCTAssertFalse(reason.contains("secret"))
        }
    }

    func test_silentReceiver_isGivenUpInTime() async throws {
        var configuration = HTTPWebhookConfiguration()
        configuration.timeout = .milliseconds(200)
        try await withServer(configuration) { server, transport in
            server.answer(with: .silence)
            let outcome = await transport.send(request(server.url()))
            XCTAssertEqual(outcome, .failed(reason: "no answer in time"))
        }
    }

    func test_hostThatIsNotAllowed_isNotCalled() async throws {
        let configuration = HTTPWebhookConfiguration(
            allowedHosts: .only(["hooks.example"])
        )
        try await withServer(configuration) { server, transport in
            let outcome = await transport.send(request(server.url()))
            XCTAssertEqual(outcome, .failed(reason: "the subscription's host is not allowed"))
            XCTAssertEqual(server.requests, [])
        }
    }
}
#endif
