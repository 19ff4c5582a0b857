#if Push
import ClusterRole
import DeviceRegistry
import NotificationDispatch
import PushTransports
import XCTest

final class HTTPPushTransportTests: XCTestCase {
    private func request(_ address: String) -> PushRequest {
        PushRequest(
            tenant: .standard,
            device: DeviceID(rawValue: "d-1"),
            registration: PushRegistration(
                transport: "http",
                address: address,
                registeredAt: Timestamp(milliseconds: 1)
            ),
            epoch: Epoch(rawValue: 9)
        )
    }

    /// Runs a body with a server and a transport, and closes both.
    private func withServer(
        _ configuration: HTTPPushConfiguration = HTTPPushConfiguration(),
        _ body: (LoopbackServer, HTTPPushTransport) async throws -> Void
    ) async throws {
        let server = try LoopbackServer()
        let transport = HTTPPushTransport(configuration: configuration)
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

    func test_wakeUp_isAPostWithoutContent_carryingTheEpoch() async throws {
        try await withServer { server, transport in
            let outcome = await transport.wake(request(server.url()))
            XCTAssertEqual(outcome, .accepted)
            let head = try XCTUnwrap(server.requests.first).lowercased()
            XCTAssertTrue(head.hasPrefix("post /wake/secret http/1.1\r\n"), head)
            XCTAssertTrue(head.contains("\r\nreeve-epoch: 9\r\n"), head)
            XCTAssertTrue(head.contains("\r\ntopic: reeve-wake\r\n"), head)
            XCTAssertTrue(head.contains("\r\ncontent-length: 0\r\n"), head)
            XCTAssertTrue(head.hasSuffix("\r\n\r\n"), head)
        }
    }

    func test_status_becomesAnOutcome() async throws {
        let device = PushOutcome.RetryScope.device
        let expected: [(Int, [String], PushOutcome)] = [
            (200, [], .accepted),
            (204, [], .accepted),
            (404, [], .deadToken(since: nil)),
            (410, [], .deadToken(since: nil)),
            (400, [], .rejected(reason: "status 400")),
            (401, [], .rejected(reason: "status 401")),
            (429, [], .retry(after: nil, scope: device, reason: "status 429")),
            (
                503, ["Retry-After: 17"],
                .retry(after: .seconds(17), scope: device, reason: "status 503")
            ),
            (
                503, ["Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"],
                .retry(after: nil, scope: device, reason: "status 503")
            ),
            (503, ["Retry-After: -5"], .retry(after: nil, scope: device, reason: "status 503")),
            (500, [], .retry(after: nil, scope: device, reason: "status 500")),
            (502, [], .retry(after: nil, scope: device, reason: "status 502")),
        ]
        try await withServer { server, transport in
            for (status, headers, outcome) in expected {
                server.answer(with: .status(status, headers: headers))
                let answer = await transport.wake(request(server.url()))
                XCTAssertEqual(answer, outcome, "\(status) \(headers)")
            }
        }
    }

    func test_redirect_isNotFollowed() async throws {
        try await withServer { server, transport in
            server.answer(with: .status(307, headers: ["Location: \(server.url("/internal"))"]))
            let outcome = await transport.wake(request(server.url()))
            XCTAssertEqual(outcome, .rejected(reason: "status 307"))
            XCTAssertEqual(server.requests.count, 1)
        }
    }

    func test_overload_ofAServiceForAll_concernsTheTransport() async throws {
        try await withServer(HTTPPushConfiguration(overloadScope: .transport)) {
            server,
            transport in
            server.answer(with: .status(429, headers: ["Retry-After: 2"]))
            let outcome = await transport.wake(request(server.url()))
            XCTAssertEqual(
                outcome,
                .retry(after: .seconds(2), scope: .transport, reason: "status 429")
            )
        }
    }

    func test_deviceThatIsNotThere_orHangsUp_orIsSilent_isTriedAgain() async throws {
        try await withServer(HTTPPushConfiguration(timeout: .milliseconds(300))) {
            server,
            transport in
            server.answer(with: .hangUp)
            guard case .unknown(let cut) = await transport.wake(request(server.url())) else {
                return XCTFail("a connection that ends without an answer says nothing")
            }
            XCTAssertFalse(cut.contains("secret"))
            server.answer(with: .silence)
            let silent = await transport.wake(request(server.url()))
            XCTAssertEqual(silent, .unknown(reason: "no answer in time"))
            server.stop()
            let gone = await transport.wake(request(server.url()))
            guard case .retry(nil, .device, let reason) = gone else {
                return XCTFail("nothing was sent, so it is tried again: \(gone)")
            }
            XCTAssertFalse(reason.contains("127.0.0.1"))
        }
    }

    func test_address_thatIsNoPlainWebURL_isRejectedUnsent() async throws {
        let bad = [
            "", "not a url", "/relative", "ftp://127.0.0.1/x", "file:///etc/passwd",
            "http+unix://%2Ftmp%2Fsocket/x", "http:///nohost", "http://user:pw@127.0.0.1/",
            "http://allowed.example\\@127.0.0.1/", "http://127.0.0.1/\r\nHost: evil",
            "http://127.0.0.1/" + String(repeating: "a", count: 5_000), "javascript:alert(1)",
        ]
        try await withServer { _, transport in
            for address in bad {
                let outcome = await transport.wake(request(address))
                guard case .rejected = outcome else {
                    XCTFail("\(address) was not rejected: \(outcome)")
                    continue
                }
            }
        }
    }

    func test_hostThatIsNotAllowed_isNotCalled() async throws {
        let hosts = AllowedHosts.only(["push.example.com"])
        try await withServer(HTTPPushConfiguration(allowedHosts: hosts)) { server, transport in
            let outcome = await transport.wake(request(server.url()))
            XCTAssertEqual(outcome, .rejected(reason: "the registration's host is not allowed"))
            XCTAssertEqual(server.requests, [])
        }
    }

    func test_allowedHosts_compareHostAndPort() {
        let hosts = AllowedHosts.only([
            "Push.example.com", "*.devices.example", "10.0.0.7:8443", "[::1]:80",
        ])
        XCTAssertTrue(hosts.allows(host: "push.EXAMPLE.com", port: 443))
        XCTAssertTrue(hosts.allows(host: "push.example.com.", port: 1))
        XCTAssertFalse(hosts.allows(host: "evilpush.example.com", port: 443))
        XCTAssertTrue(hosts.allows(host: "a.b.devices.example", port: 443))
        XCTAssertFalse(hosts.allows(host: "devices.example", port: 443))
        XCTAssertFalse(hosts.allows(host: "evil-devices.example", port: 443))
        XCTAssertTrue(hosts.allows(host: "10.0.0.7", port: 8_443))
        XCTAssertFalse(hosts.allows(host: "10.0.0.7", port: 80))
        XCTAssertTrue(hosts.allows(host: "::1", port: 80))
        XCTAssertTrue(hosts.allows(host: "[::1]", port: 80))
        XCTAssertFalse(hosts.allows(host: "::1", port: 81))
        XCTAssertFalse(AllowedHosts.only([]).allows(host: "push.example.com", port: 443))
        XCTAssertTrue(AllowedHosts.any.allows(host: "169.254.169.254", port: 80))
    }

    /// The client beneath traps when it goes without having been shut down.
    func test_transport_thatIsDroppedUnused_goesQuietly() {
        for _ in 0..<10 { _ = HTTPPushTransport() }
    }

    func test_closedTransport_putsWakeUpsOff_andClosingTwiceIsHarmless() async throws {
        try await withServer { server, transport in
            await transport.close()
            await transport.close()
            guard case .retry(nil, .transport, _) = await transport.wake(request(server.url()))
            else {
                return XCTFail("a closed transport puts wake-ups off")
            }
        }
    }
}
#endif
