#if Server
public import AsyncHTTPClient
internal import ClusterRole
internal import NIOSSL
internal import NodeCertificates
internal import Synchronization

/// HTTP for programs that are no nodes and call a manager: administration commands, scripts.
public enum ManagerHTTP: Sendable {
    private static let made = Mutex<[String: HTTPClient]>([:])

    /// A client that believes the authority of a cluster and talks to its managers only, by their
    /// certificates' role: an address needs no name in them. It lives as long as the process.
    ///
    /// - Parameter path: the authority's certificate, in PEM.
    /// - Throws: `NodeCertificateError` with `unreadable`.
    public static func client(authority path: String) throws -> HTTPClient {
        try made.withLock { made in
            if let client = made[path] { return client }
            let trust = try CertificateTrust(authorityFile: path)
            var configuration = LinkClient.standardConfiguration
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.minimumTLSVersion = .tlsv13
            tls.trustRoots = .certificates(
                try trust.authorityBytes.map { try NIOSSLCertificate(bytes: $0, format: .der) }
            )
            tls.certificateVerification = .noHostnameVerification
            configuration.tlsConfiguration = tls
            configuration.verifyPeers(roles: [.manager, .combined], time: SystemTimeSource()) {
                trust
            }
            let client = HTTPClient(
                eventLoopGroupProvider: .singleton,
                configuration: configuration
            )
            made[path] = client
            return client
        }
    }
}
#endif
