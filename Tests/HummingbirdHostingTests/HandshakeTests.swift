#if Server
import ClusterRole
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import NodeCertificates
import ServiceLifecycle
import XCTest

/// Connections that never become TLS: they are bounded in time and hold nothing up.
final class HandshakeTests: XCTestCase {
    /// Runs a server with TLS for the length of `body`, then stops it gracefully.
    private func withSecureServer(
        handshakeTimeout: Duration,
        _ body: (ServerAddress, ServiceGroup) async throws -> Void
    ) async throws {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "reeve-handshake-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let now = SystemTimeSource().now()
        let authority = try CertificateDirectory.make(
            at: path,
            trustDomain: "fleet.example",
            now: now
        )
        _ = try authority.issue(.manager, "m", to: path, now: now)
        let source = try CredentialSource(
            files: CertificateFiles(
                certificate: authority.file("m.pem"),
                key: authority.file("m.key"),
                authority: authority.file(CertificateDirectory.certificateName)
            ),
            logger: quiet
        )
        let server = try ReeveServer(
            mounts: [HandlerMount("/", ClosureHandler { _ in .text("hello") })],
            tls: try ServerTLS(source, handshakeTimeout: handshakeTimeout),
            logger: quiet
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let address = try await server.boundAddress
            do {
                try await body(address, group)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    func test_connection_thatNeverShakesHands_isClosedWhenItsTimeIsOver() async throws {
        try await withSecureServer(handshakeTimeout: .milliseconds(200)) { address, _ in
            let silent = try RawConnection(to: address)
            // Reading gives the end of the connection, not a minute of nothing.
            let end = try await silent.receive()
            XCTAssertEqual(end, [])
        }
    }

    func test_connection_inTheClear_isAnsweredWithNothingThatIsHTTP_andTheServerGoesOn()
        async throws
    {
        try await withSecureServer(handshakeTimeout: .seconds(30)) { address, _ in
            for _ in 0..<3 {
                let clear = try RawConnection(to: address)
                try await clear.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                let end = (try? await clear.receive()) ?? []
                XCTAssertFalse(String(decoding: end, as: UTF8.self).contains("HTTP/1.1"))
            }
        }
    }

    func test_shutdown_withHandshakesUnderWay_doesNotWaitForThem() async throws {
        // A minute and more of patience: a server that waited would fail the test's own limit.
        try await withSecureServer(handshakeTimeout: .seconds(3_600)) { address, group in
            let silent = try RawConnection(to: address)
            await group.triggerGracefulShutdown()
            let end = try await silent.receive()
            XCTAssertEqual(end, [])
        }
    }
}
#endif
