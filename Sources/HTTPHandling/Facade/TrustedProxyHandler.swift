#if Server
internal import ClusterRole
internal import Crypto
internal import HTTPTypes
internal import Logging

/// What a named proxy told of a request.
public struct RequestOrigin: Hashable, Sendable {
    /// The client's address, as the chain of named proxies told it.
    public var client: String
    /// `https` or `http`, as the client used it; `nil` if no proxy said.
    public var scheme: String?
    /// The certificate the client showed the proxy, in DER; the proxy has verified it.
    public var certificate: [UInt8]?

    public init(client: String, scheme: String? = nil, certificate: [UInt8]? = nil) {
        self.client = client
        self.scheme = scheme
        self.certificate = certificate
    }
}

/// Which proxies are believed, and what they say.
///
/// A proxy must remove the fields it is believed in from what its own clients send, and set them anew. So
/// exactly one kind of each is believed, the one the proxies are configured to set: believing another as
/// well would believe what a client slipped through.
public struct ProxyTrust: Hashable, Sendable {
    /// How proxies name the client.
    public enum AddressField: String, Hashable, Sendable, CaseIterable {
        /// `X-Forwarded-For` and `X-Forwarded-Proto`.
        case xForwardedFor = "x-forwarded-for"
        /// `Forwarded` (RFC 7239).
        case forwarded
    }

    /// How proxies pass on the client's certificate.
    public enum CertificateField: String, Hashable, Sendable, CaseIterable {
        case none
        /// `Client-Cert` (RFC 9440).
        case clientCert = "client-cert"
        /// `Cert` in Envoy's `X-Forwarded-Client-Cert`.
        case envoy = "x-forwarded-client-cert"
    }

    /// The addresses of the proxies; nobody is believed without one.
    public var proxies: [AddressRange]
    public var addressField: AddressField
    public var certificateField: CertificateField

    public init(
        proxies: [AddressRange] = [],
        addressField: AddressField = .xForwardedFor,
        certificateField: CertificateField = .none
    ) {
        self.proxies = proxies
        self.addressField = addressField
        self.certificateField = certificateField
    }

    func trusts(_ address: InternetAddress) -> Bool {
        proxies.contains { $0.contains(address) }
    }
}

/// Tells who shows a certificate that a named proxy has verified.
public protocol CertificateAuthenticator: Sendable {
    /// The identity a certificate stands for, given in DER; `nil` if it stands for none.
    func identity(forCertificate certificate: [UInt8]) async throws -> Identity?
}

/// Identities by the SHA-256 of their certificate.
public struct CertificateFingerprints: CertificateAuthenticator {
    private let identities: [String: Identity]

    /// - Parameter identities: by fingerprint: 64 lower-case hexadecimal digits.
    public init(_ identities: [String: Identity]) { self.identities = identities }

    public func identity(forCertificate certificate: [UInt8]) async throws -> Identity? {
        identities[hexadecimal(SHA256.hash(data: certificate))]
    }
}

/// Believes the header fields of named proxies, and of nobody else.
///
/// From a named address, ``HandlerRequest/origin`` is set. From any other, the fields are removed, the
/// request goes on without them, and the attempt is recorded. In both cases no handler sees the fields.
public struct TrustedProxyHandler: HTTPHandler, RouteListing {
    /// The code under which forged fields are recorded.
    public static let forgedCode = "http.forged-proxy-fields"
    /// The operation under which forged fields are recorded.
    public static let forgedOperation = "proxyFields"

    private let handler: any HTTPHandler
    private let trust: ProxyTrust
    private let certificates: (any CertificateAuthenticator)?
    private let recorder: (any AccessRecorder)?

    /// - Parameters:
    ///   - handler: what answers.
    ///   - trust: who is believed.
    ///   - certificates: who certificates stand for; without one they are only told of.
    ///   - recorder: told of fields from elsewhere.
    public init(
        _ handler: any HTTPHandler,
        trust: ProxyTrust,
        certificates: (any CertificateAuthenticator)? = nil,
        recorder: (any AccessRecorder)? = nil
    ) {
        self.handler = handler
        self.trust = trust
        self.certificates = certificates
        self.recorder = recorder
    }

    public var routes: [RouteDescription] { (handler as? any RouteListing)?.routes ?? [] }

    public func handle(_ request: HandlerRequest) async throws -> HandlerResponse {
        let told = ForwardedFields.names.filter { request.headerFields.contains($0) }
        guard !told.isEmpty else { return try await handler.handle(request) }
        var request = request
        let fields = request.headerFields
        for name in told { request.head.headerFields[values: name] = [] }
        guard let text = request.remoteAddress, let peer = InternetAddress(text), trust.trusts(peer)
        else {
            await recordForgery(request, told)
            return try await handler.handle(request)
        }
        let origin = Self.origin(of: fields, peer: peer, trust)
        request.origin = origin
        if request.identity == nil, let certificates, let shown = origin.certificate {
            request.identity = try await certificates.identity(forCertificate: shown)
        }
        return try await handler.handle(request)
    }

    private func recordForgery(_ request: HandlerRequest, _ told: [HTTPField.Name]) async {
        request.logger.debug(
            "Fields of a proxy from an address that is none",
            metadata: ["fields": "\(told.map(\.rawName).joined(separator: " "))"]
        )
        var record = AccessRecord(request, operation: Self.forgedOperation)
        record.code = Self.forgedCode
        await recorder?.record(record)
    }

    /// Walks from the nearest proxy towards the client as long as each hop is a named proxy: the first that
    /// is none is the client. What lies behind it, he may have made up.
    static func origin(
        of fields: HTTPFields,
        peer: InternetAddress,
        _ trust: ProxyTrust
    ) -> RequestOrigin {
        let hops: [ForwardedFields.Hop]
        switch trust.addressField {
        case .xForwardedFor:
            hops = ForwardedFields.xForwardedFor(values(fields, "X-Forwarded-For"))
        case .forwarded: hops = ForwardedFields.forwarded(values(fields, "Forwarded")) ?? []
        }
        var origin = RequestOrigin(client: peer.description)
        for hop in hops.suffix(ForwardedFields.maximumHops).reversed() {
            guard let address = InternetAddress(hop: hop.client) else { break }
            origin.client = address.description
            if let scheme = hop.scheme { origin.scheme = known(scheme) }
            if !trust.trusts(address) { break }
        }
        if trust.addressField == .xForwardedFor {
            // Of several, the last is the nearest proxy's.
            let schemes = values(fields, "X-Forwarded-Proto").joined(separator: ",")
            origin.scheme = schemes.split(separator: ",").last
                .flatMap { known(ForwardedFields.trimmed($0)) }
        }
        switch trust.certificateField {
        case .none: break
        case .clientCert:
            origin.certificate = ForwardedFields.clientCert(values(fields, "Client-Cert"))
        case .envoy:
            origin.certificate = ForwardedFields.envoyCert(
                values(fields, "X-Forwarded-Client-Cert")
            )
        }
        return origin
    }

    private static func values(_ fields: HTTPFields, _ name: String) -> [String] {
        HTTPField.Name(name).map { fields[values: $0] } ?? []
    }

    private static func known(_ scheme: String) -> String? {
        ["http", "https"].first { $0 == scheme.lowercased() }
    }
}
#endif
