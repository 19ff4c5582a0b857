#if Server && SQLite
import ArtifactStore
import AsyncHTTPClient
import ClusterRole
import ClusterTransport
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import NIOCore
import NIOSSL
import NodeCertificates
import Synchronization
import XCTest

@testable import ClusterLink

/// Certificates are replaced under load, at both ends.
final class CertificateRotationTests: XCTestCase {
    private static let rotations = 6
    private static let inFlight = 200

    /// Answers with the serial number of the caller's certificate, and keeps who called.
    private final class Probe: HTTPHandler {
        let serials = Mutex<Set<String>>([])
        let answered = Atomic<Int>(0)

        func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
            guard let peer = request.peerCertificate else {
                throw HTTPHandlingError.unauthenticated()
            }
            serials.withLock { _ = $0.insert(peer.serial) }
            for _ in 0..<20 { await Task.yield() }
            answered.add(1, ordering: .relaxed)
            return .text(peer.serial)
        }
    }

    /// What callers saw.
    private final class Tally: Sendable {
        let isOver = Atomic<Bool>(false)
        let succeeded = Atomic<Int>(0)
        let failures = Mutex<[String]>([])
    }

    func test_certificates_replacedAtBothEndsUnderLoad_failNoRequest() async throws {
        let authority = try AuthorityScene()
        let server = try authority.credentials(.manager, "manager-1")
        let worker = try authority.credentials(.worker, "worker-1")
        let probe = Probe()
        let tally = Tally()
        let mounts = [HandlerMount("/link/v1", probe)]
        try await withSecureServer(mounts, server, clients: .required) { address in
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(
                    addresses: [address],
                    credentials: worker,
                    requestTimeout: .seconds(60)
                ),
                logger: quiet
            )
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<Self.inFlight {
                    group.addTask { await Self.callRepeatedly(client, tally) }
                }
                defer { tally.isOver.store(true, ordering: .relaxed) }
                try await eventually("the load is there") {
                    tally.succeeded.load(ordering: .relaxed) >= Self.inFlight
                }
                for _ in 0..<Self.rotations {
                    try authority.issue(.manager, "manager-1")
                    let next = try authority.issue(.worker, "worker-1")
                    XCTAssertTrue(try server.reload())
                    XCTAssertTrue(try worker.reload())
                    try await eventually("requests use the new certificate") {
                        probe.serials.withLock { $0.contains(next.serial) }
                    }
                    let before = tally.succeeded.load(ordering: .relaxed)
                    try await eventually("the load goes on") {
                        tally.succeeded.load(ordering: .relaxed) >= before + Self.inFlight
                    }
                }
                let shown = try await Self.serverSerial(at: address, worker, authority)
                XCTAssertEqual(
                    shown,
                    server.credentials.peer.serial,
                    "new connections see the newest"
                )
                tally.isOver.store(true, ordering: .relaxed)
                try await group.waitForAll()
            }
        }
        XCTAssertEqual(tally.failures.withLock { $0 }, [])
        XCTAssertEqual(probe.serials.withLock { $0.count }, Self.rotations + 1)
        XCTAssertEqual(server.status.rotations, Self.rotations)
    }

    private static func callRepeatedly(_ client: LinkClient, _ tally: Tally) async {
        while !tally.isOver.load(ordering: .relaxed) {
            do {
                _ = try await client.connection.send(.get("/probe"))
                tally.succeeded.add(1, ordering: .relaxed)
            } catch {
                tally.failures.withLock { if $0.count < 10 { $0.append("\(error)") } }
            }
        }
    }

    /// The serial number a server shows on a new connection.
    private static func serverSerial(
        at address: String,
        _ worker: CredentialSource,
        _ authority: AuthorityScene
    ) async throws -> String? {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(authority.directory.file(CertificateDirectory.certificateName))
        tls.certificateVerification = .noHostnameVerification
        tls.certificateChain = try worker.credentials.chain.map {
            .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
        }
        tls.privateKey = .privateKey(
            try NIOSSLPrivateKey(bytes: Array(worker.credentials.keyPEM.utf8), format: .pem)
        )
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        let box = SerialBox()
        configuration.http2ConnectionDebugInitializer = { channel in
            channel.nioSSL_peerCertificate().map { certificate in
                let bytes = certificate.flatMap { try? $0.toDERBytes() }
                box.value.withLock { $0 = bytes.flatMap { try? PeerCertificate(der: $0).serial } }
            }
        }
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        _ = try await client.execute(
            HTTPClientRequest(url: "\(address)/link/v1/probe"),
            timeout: .seconds(20)
        )
        try await client.shutdown()
        return box.value.withLock { $0 }
    }

    private final class SerialBox: Sendable {
        let value = Mutex<String?>(nil)
    }

    func test_bundle_underWayWhenCertificatesAreReplaced_isReadToItsEnd() async throws {
        let authority = try AuthorityScene()
        let server = try authority.credentials(.manager, "manager-1")
        let worker = try authority.credentials(.worker, "worker-1")
        let sent = [UInt8](repeating: 7, count: 10 << 20)
        let handler = ClosureHandler { request in
            guard request.target.path.hasSuffix("/bundle") else { return .text("ok") }
            return .bytes(sent, contentType: MediaType.bytes)
        }
        try await withSecureServer([HandlerMount("/link/v1", handler)], server) { address in
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(addresses: [address], credentials: worker),
                logger: quiet
            )
            var received = 0
            var isReplaced = false
            for try await bytes in try await client.bytes("/bundle", from: 0) {
                received += bytes.count
                guard !isReplaced else { continue }
                isReplaced = true
                try authority.issue(.manager, "manager-1")
                try authority.issue(.worker, "worker-1")
                try server.reload()
                try worker.reload()
                // The next client takes over while the one before still reads.
                _ = try await client.connection.send(.get("/other"))
            }
            XCTAssertEqual(received, sent.count)
        }
    }

    func test_authority_replacedInThreeSteps_losesNobody() async throws {
        let (old, new) = (try AuthorityScene(), try AuthorityScene())
        let both =
            try old.directory.authority.certificatePEM + new.directory.authority.certificatePEM
        let trusted = old.directory.file("trusted.pem")
        func files(_ scene: AuthorityScene, _ node: NodeID) -> CertificateFiles {
            CertificateFiles(
                certificate: scene.directory.file("\(node).pem"),
                key: scene.directory.file("\(node).key"),
                authority: trusted
            )
        }
        try CertificateFiles.write(both, to: trusted, replaces: false)
        try old.issue(.manager, "manager-1")
        try new.issue(.worker, "worker-1")
        let server = try CredentialSource(files: files(old, "manager-1"), logger: quiet)
        let worker = try CredentialSource(files: files(new, "worker-1"), logger: quiet)
        let probe = Probe()
        try await withSecureServer([HandlerMount("/link/v1", probe)], server) { address in
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(addresses: [address], credentials: worker),
                logger: quiet
            )
            let answer = try await client.connection.send(.get("/probe"))
            XCTAssertEqual(answer.status, 200)
        }
    }
}
#endif
