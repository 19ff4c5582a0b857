#if Server && SQLite
internal import ClusterRole
internal import ClusterTransport
internal import Configuration
internal import HTTPHandling
internal import HummingbirdHosting
internal import Logging
internal import ManagerConsole
public import NodeCertificates
internal import ServiceLifecycle

extension ManagerConfiguration {
    mutating func readCertificates(_ config: ConfigReader) throws {
        certificates = try CertificateFiles(reading: config)
        switch config.string(forKey: "link.tls.clients", default: "optional") {
        case "optional": clientCertificates = .optional
        case "required": clientCertificates = .required
        case let other:
            throw ManagerConfigurationError(
                "link.tls.clients is optional or required, not \(other)."
            )
        }
    }

    /// The node's credentials; `nil` without certificates.
    func openCredentials() throws -> CredentialSource? {
        guard let certificates else {
            if !["127.0.0.1", "::1", "localhost"].contains(address.host) {
                logger.warning(
                    "Tokens and data travel in the clear; configure link.tls, or keep this port in a network that encrypts",
                    metadata: ["address": "\(address)"]
                )
            }
            return nil
        }
        let source = try CredentialSource(files: certificates, time: time, logger: logger)
        try source.credentials.require(node, [.manager, .combined])
        return source
    }
}

extension CertificateStatus {
    /// As the admin API tells it.
    var served: ServedCertificate {
        ServedCertificate(
            subject: subject,
            serial: serial,
            expires: expires,
            daysLeft: daysLeft,
            lastFailure: lastFailure
        )
    }
}

extension ManagerNode {
    /// How the node's certificate stands; `nil` without one.
    public var certificateStatus: CertificateStatus? { credentials?.status }

    /// The TLS of its server.
    func tls() throws -> ServerTLS? {
        try credentials.map {
            try ServerTLS(
                $0,
                clients: configuration.clientCertificates,
                refusals: turnedAway,
                time: configuration.time
            )
        }
    }

    /// A handler whose refusals are told.
    func audited(_ handler: any HTTPHandler) -> any HTTPHandler {
        RefusalObserver(handler, sink: turnedAway, codes: LinkEndpoint.refusalCodes)
    }
}

/// Writes to the log and the audit trail who was turned away before a route could record it: at the
/// handshake, or for want of a certificate. It also tells the product's own sink.
struct RecordedRefusals: RefusalSink, Service {
    /// The most refusals that wait to be recorded; what comes while so many wait is logged only. 256: a
    /// flood of them says no more than its beginning.
    private static let maximumWaiting = 256

    private let auditor: TrailAuditor
    private let own: (any RefusalSink)?
    private let logger: Logger
    private let waiting: AsyncStream<AccessRecord>
    private let queue: AsyncStream<AccessRecord>.Continuation

    init(auditor: TrailAuditor, own: (any RefusalSink)?, logger: Logger) {
        self.auditor = auditor
        self.own = own
        self.logger = logger
        (waiting, queue) = AsyncStream.makeStream(
            bufferingPolicy: .bufferingOldest(Self.maximumWaiting)
        )
    }

    func refused(_ refusal: PeerRefusal) {
        own?.refused(refusal)
        logger.notice(
            "A caller was turned away",
            metadata: [
                "code": "\(refusal.code)", "verb": "\(refusal.verb)",
                "peer": "\(refusal.peer.map { "\($0)" } ?? "-")",
                "identity": "\(refusal.identity ?? "-")",
                "address": "\(refusal.remoteAddress ?? "-")",
            ]
        )
        // The routes themselves record what they refuse.
        guard refusal.verb == PeerRefusal.handshake || refusal.code == Self.noCertificate else {
            return
        }
        queue.yield(
            AccessRecord(
                operation: refusal.verb,
                target: refusal.peer.map { "\($0)" } ?? "",
                peer: refusal.remoteAddress ?? "",
                status: refusal.status,
                code: refusal.code
            )
        )
    }

    private static let noCertificate = ClusterTransportError.Code.noCertificate.rawValue

    func run() async throws {
        for await record in waiting.cancelOnGracefulShutdown() { await auditor.record(record) }
    }
}
#endif
