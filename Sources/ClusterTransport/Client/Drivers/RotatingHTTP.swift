#if Server
internal import AsyncHTTPClient
internal import ClusterRole
internal import NIOCore
internal import NIOSSL
internal import NodeCertificates
internal import Synchronization

/// An HTTP client that is not shut down before its last request has ended: whoever uses it holds this.
///
/// A retired one goes when the last holder lets go of it, so a rotation ends no request.
final class HeldHTTP: Sendable {
    let client: HTTPClient
    private let isOwned: Bool

    /// How long after its last use a client is shut down. A second: what its connections still have
    /// to say to its pool, after a refused certificate for example, is said by then.
    private static let afterlife = TimeAmount.seconds(1)

    init(_ client: HTTPClient, isOwned: Bool) {
        self.client = client
        self.isOwned = isOwned
    }

    deinit {
        guard isOwned else { return }
        let client = client
        _ = client.eventLoopGroup.any().scheduleTask(in: Self.afterlife) {
            // The callback keeps the client until it is shut down.
            client.shutdown { _ in withExtendedLifetime(client) {} }
        }
    }
}

/// Dials with the node's credentials as they are now: HTTP/2 where the manager speaks it, TLS 1.3, both
/// ends known by their certificates.
final class RotatingHTTP: Sendable {
    private let source: CredentialSource
    private let roles: Set<NodeRole>
    private let time: any TimeSource
    private let current: Mutex<(generation: Int, http: HeldHTTP)>

    init(
        _ source: CredentialSource,
        acceptedRoles roles: Set<NodeRole>,
        time: any TimeSource
    ) throws(ClusterLinkError) {
        self.source = source
        self.roles = roles
        self.time = time
        let (credentials, generation) = source.current
        let http = try Self.makeClient(credentials, source, roles, time)
        current = Mutex((generation, http))
    }

    /// The client for one request; the caller holds it until the answer's last byte.
    ///
    /// Credentials that cannot be used leave the client before.
    func http() -> HeldHTTP {
        current.withLock { current in
            guard current.generation != source.generation else { return current.http }
            let (credentials, generation) = source.current
            if let next = try? Self.makeClient(credentials, source, roles, time) {
                current.http = next
            }
            current.generation = generation
            return current.http
        }
    }

    private static func makeClient(
        _ credentials: NodeCredentials,
        _ source: CredentialSource,
        _ roles: Set<NodeRole>,
        _ time: any TimeSource
    ) throws(ClusterLinkError) -> HeldHTTP {
        var configuration = LinkClient.standardConfiguration
        do {
            configuration.tlsConfiguration = try tls(credentials)
        } catch {
            throw ClusterLinkError(
                .invalidConfiguration,
                "The certificate of \(credentials) cannot be used for TLS.",
                cause: error
            )
        }
        // The pool counts the wait for one of a connection's 100 streams as connecting too.
        configuration.timeout.connect = .seconds(10)
        configuration.verifyPeers(roles: roles, time: time) { source.credentials.trust }
        return HeldHTTP(
            HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration),
            isOwned: true
        )
    }

    private static func tls(_ credentials: NodeCredentials) throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv13
        tls.certificateChain = try credentials.chain.map {
            .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
        }
        tls.privateKey = .privateKey(
            try NIOSSLPrivateKey(bytes: Array(credentials.keyPEM.utf8), format: .pem)
        )
        tls.trustRoots = .certificates(
            try credentials.authorities.map { try NIOSSLCertificate(bytes: $0, format: .der) }
        )
        // Nodes are known by their role and name, not by where they are.
        tls.certificateVerification = .noHostnameVerification
        return tls
    }
}

extension HTTPClient.Configuration {
    /// Looks at each connection between its handshake and its first request: what fails here carries none.
    ///
    /// - Parameters:
    ///   - roles: whose certificates are taken.
    ///   - time: by which they are valid.
    ///   - trust: whom to believe, now.
    mutating func verifyPeers(
        roles: Set<NodeRole>,
        time: any TimeSource,
        trust: @escaping @Sendable () -> CertificateTrust
    ) {
        let check: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.nioSSL_peerCertificate().flatMapThrowing { certificate in
                let bytes = try certificate.map { try $0.toDERBytes() }
                try Self.verify(bytes, trust(), roles, at: time.now())
            }.flatMapErrorThrowing { error in
                // The pool hears of the failure first and of the end of the connection after that.
                channel.eventLoop.execute { channel.close(promise: nil) }
                throw error
            }
        }
        http1_1ConnectionDebugInitializer = check
        http2ConnectionDebugInitializer = check
    }

    /// The handshake has verified the chain; this is whom it vouches for.
    private static func verify(
        _ bytes: [UInt8]?,
        _ trust: CertificateTrust,
        _ roles: Set<NodeRole>,
        at now: Timestamp
    ) throws {
        guard let bytes else { throw CertificateTrust.missing() }
        let peer = try PeerCertificate(der: bytes)
        guard peer.subject.trustDomain == trust.trustDomain else {
            throw NodeCertificateError(
                .wrongDomain,
                "\(peer.subject) is of another cluster than \(trust.trustDomain)."
            )
        }
        guard roles.contains(peer.subject.role) else {
            throw NodeCertificateError(
                .wrongRole,
                "\(peer.subject) answers where a manager was dialled. Check the address; if it is right, "
                    + "somebody holds the certificate of a \(peer.subject.role.rawValue)."
            )
        }
        try trust.check(peer, at: now)
    }
}
#endif
