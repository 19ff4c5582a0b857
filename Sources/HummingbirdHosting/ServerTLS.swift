#if Server
public import ClusterRole
public import HTTPHandling
internal import NIOSSL
public import NodeCertificates
internal import Synchronization

/// Mutual TLS for a ``ReeveServer``: TLS 1.3, HTTP/2 and HTTP/1.1 by what the client offers.
///
/// The server's certificate, the authorities it believes and what they took back come from one
/// `CredentialSource`, asked for each new connection: replacing its files replaces them under load, and
/// connections that stand go on. What was taken back or has expired since is asked with each request,
/// so those are cut off too.
public final class ServerTLS: Sendable {
    /// Whether clients must present a certificate.
    public enum Clients: Hashable, Sendable {
        /// A connection without one ends in the handshake: for a port that only nodes dial.
        case required
        /// One that is presented must be good; who has none is a caller like any other, known by a token
        /// or not at all. For a port that people use too. The link asks for a certificate itself.
        case optional
    }

    let source: CredentialSource
    let clients: Clients
    let refusals: (any RefusalSink)?
    let handshakeTimeout: Duration
    let time: any TimeSource
    private let context: Mutex<Built>

    private struct Built {
        var generation: Int
        var context: NIOSSLContext
        var trust: CertificateTrust
    }

    /// - Parameters:
    ///   - source: the server's certificate and whom it believes. Run it beside the server, or nothing
    ///     is read again.
    ///   - clients: whether clients must present a certificate.
    ///   - refusals: told of connections that are not let through.
    ///   - handshakeTimeout: how long a client has for its handshake. 10 s: three round trips on the
    ///     worst of lines.
    ///   - time: by which certificates are valid.
    /// - Throws: `NodeCertificateError` with `unreadable` if the certificate cannot be used.
    public init(
        _ source: CredentialSource,
        clients: Clients = .optional,
        refusals: (any RefusalSink)? = nil,
        handshakeTimeout: Duration = .seconds(10),
        time: any TimeSource = SystemTimeSource()
    ) throws {
        self.source = source
        self.clients = clients
        self.refusals = refusals
        self.handshakeTimeout = handshakeTimeout
        self.time = time
        let (credentials, generation) = source.current
        context = Mutex(
            Built(
                generation: generation,
                context: try Self.makeContext(credentials, clients),
                trust: credentials.trust
            )
        )
    }

    /// The context for a new connection. Credentials that cannot be used leave the one before.
    func contextAndTrust() -> (NIOSSLContext, CertificateTrust) {
        context.withLock { built in
            if built.generation != source.generation {
                let (credentials, generation) = source.current
                built.trust = credentials.trust
                if let context = try? Self.makeContext(credentials, clients) {
                    built.context = context
                }
                built.generation = generation
            }
            return (built.context, built.trust)
        }
    }

    /// Whether a certificate that was verified when its connection began still counts.
    ///
    /// - Throws: `NodeCertificateError`.
    func check(_ peer: PeerCertificate) throws {
        try source.credentials.trust.check(peer, at: time.now())
    }

    private static func makeContext(
        _ credentials: NodeCredentials,
        _ clients: Clients
    ) throws -> NIOSSLContext {
        do {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: try credentials.chain.map {
                    .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
                },
                privateKey: .privateKey(
                    try NIOSSLPrivateKey(bytes: Array(credentials.keyPEM.utf8), format: .pem)
                )
            )
            configuration.minimumTLSVersion = .tlsv13
            configuration.applicationProtocols = ["h2", "http/1.1"]
            configuration.trustRoots = .certificates(
                try credentials.authorities.map { try NIOSSLCertificate(bytes: $0, format: .der) }
            )
            configuration.certificateVerification =
                clients == .required ? .noHostnameVerification : .optionalVerification
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw NodeCertificateError(
                .unreadable,
                "The certificate of \(credentials) cannot be used for TLS.",
                cause: error
            )
        }
    }
}
#endif
