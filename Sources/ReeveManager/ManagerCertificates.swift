#if Server && SQLite
internal import ClusterRole
internal import ClusterTransport
internal import Configuration
internal import HTTPHandling
internal import HummingbirdHosting
internal import Logging
internal import ManagerConsole
public import NodeCertificates

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
                refusals: refusals,
                time: configuration.time
            )
        }
    }

    /// Told of callers that are turned away.
    var refusals: any RefusalSink {
        configuration.refusals ?? LoggedRefusals(logger: configuration.logger)
    }

    /// A handler whose refusals are told.
    func audited(_ handler: any HTTPHandler) -> any HTTPHandler {
        RefusalObserver(handler, sink: refusals, codes: LinkEndpoint.refusalCodes)
    }
}

/// Refusals in the log, where nobody audits them.
private struct LoggedRefusals: RefusalSink {
    let logger: Logger

    func refused(_ refusal: PeerRefusal) {
        logger.notice(
            "A caller was turned away",
            metadata: [
                "code": "\(refusal.code)", "verb": "\(refusal.verb)",
                "peer": "\(refusal.peer.map { "\($0)" } ?? "-")",
                "identity": "\(refusal.identity ?? "-")",
                "address": "\(refusal.remoteAddress ?? "-")",
            ]
        )
    }
}
#endif
