#if Server && SQLite
import AsyncHTTPClient
import ClusterRole
import ClusterTransport
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import NodeCertificates
import ServiceLifecycle
import XCTest

@testable import ClusterLink

/// An authority with a directory for its nodes' files.
final class AuthorityScene: Sendable {
    let directory: CertificateDirectory
    private let root: String

    init(domain: String = "fleet.example") throws {
        root =
            FileManager.default.temporaryDirectory
            .appending(path: "reeve-tls-\(UUID().uuidString)").path
        directory = try CertificateDirectory.make(
            at: root,
            trustDomain: domain,
            now: SystemTimeSource().now()
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    /// Where the files of a node are. `believing` another authority, if one is given.
    func files(_ node: NodeID, believing other: AuthorityScene? = nil) -> CertificateFiles {
        let trusted = other ?? self
        return CertificateFiles(
            certificate: directory.file("\(node).pem"),
            key: directory.file("\(node).key"),
            authority: trusted.directory.file(CertificateDirectory.certificateName),
            revoked: trusted.directory.file(CertificateDirectory.revokedName)
        )
    }

    /// Makes a certificate that is valid for `lifetime` from `ago` before now, in place of the one before.
    @discardableResult
    func issue(
        _ role: NodeRole,
        _ node: NodeID,
        lifetime: Duration = .seconds(3_600),
        ago: Duration = .zero
    ) throws -> PeerCertificate {
        try directory.issue(
            role,
            node,
            lifetime: lifetime,
            to: root,
            now: SystemTimeSource().now() - ago
        ).peer
    }

    /// Credentials of a node, with a new certificate.
    func credentials(
        _ role: NodeRole,
        _ node: NodeID,
        believing other: AuthorityScene? = nil
    ) throws -> CredentialSource {
        try issue(role, node)
        return try CredentialSource(files: files(node, believing: other), logger: quiet)
    }

    func revoke(_ peer: PeerCertificate) throws {
        try directory.revoke(peer.serial, now: SystemTimeSource().now())
    }
}

/// A manager's server with TLS on a loopback port, for the length of `body`.
func withSecureServer(
    _ mounts: [HandlerMount],
    _ credentials: CredentialSource,
    clients: ServerTLS.Clients = .optional,
    refusals: RecordingRefusals = RecordingRefusals(),
    _ body: (_ address: String) async throws -> Void
) async throws {
    let server = try ReeveServer(
        configuration: ReeveServerConfiguration(address: .loopback()),
        mounts: mounts.map {
            HandlerMount(
                $0.prefix,
                RefusalObserver($0.handler, sink: refusals, codes: LinkEndpoint.refusalCodes)
            )
        },
        tls: try ServerTLS(credentials, clients: clients, refusals: refusals),
        logger: quiet
    )
    let group = ServiceGroup(
        configuration: ServiceGroupConfiguration(services: [server], logger: quiet)
    )
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        let address = try await server.boundAddress
        do {
            try await body("https://\(address)")
        } catch {
            await group.triggerGracefulShutdown()
            throw error
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
    }
}

/// What came back of a request made by hand.
struct RawAnswer: Sendable {
    var status: UInt
    var code: String?
    var version: HTTPVersion
}

/// Calls with a node's credentials, or with none: an attacker's client, which sends what it likes.
final class RawCaller: Sendable {
    let client: HTTPClient

    /// - Parameters:
    ///   - credentials: whose certificate is presented; `nil` for none.
    ///   - authority: whose server certificates are believed.
    init(_ credentials: CredentialSource?, believing authority: AuthorityScene) throws {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(authority.directory.file(CertificateDirectory.certificateName))
        tls.certificateVerification = .noHostnameVerification
        if let credentials {
            tls.certificateChain = try credentials.credentials.chain.map {
                .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
            }
            tls.privateKey = .privateKey(
                try NIOSSLPrivateKey(
                    bytes: Array(credentials.credentials.keyPEM.utf8),
                    format: .pem
                )
            )
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    func send(
        _ method: HTTPMethod,
        _ url: String,
        body: [UInt8] = [],
        json: Bool = false,
        headers: [(String, String)] = []
    ) async throws -> RawAnswer {
        var request = HTTPClientRequest(url: url)
        request.method = method
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if method != .GET {
            request.headers.add(
                name: "Content-Type",
                value: json ? "application/json" : "application/octet-stream"
            )
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let response = try await client.execute(request, timeout: .seconds(20))
        let bytes = Array(try await response.body.collect(upTo: 1 << 20).readableBytesView)
        return RawAnswer(
            status: response.status.code,
            code: problemCode(bytes),
            version: response.version
        )
    }

    func hello(_ hello: LinkHello, at address: String) async throws -> RawAnswer {
        try await send(
            .POST,
            address + "/link/v1/hello",
            body: Array(try JSONEncoder().encode(hello)),
            json: true
        )
    }
}

/// Runs `body` with a caller, and shuts it down.
func withCaller(
    _ credentials: CredentialSource?,
    believing authority: AuthorityScene,
    _ body: (RawCaller) async throws -> Void
) async throws {
    let caller = try RawCaller(credentials, believing: authority)
    do {
        try await body(caller)
    } catch {
        try? await caller.client.shutdown()
        throw error
    }
    try await caller.client.shutdown()
}
#endif
