#if Server
public import ClusterRole
internal import Crypto
internal import FoundationEssentials
internal import SwiftASN1
internal import X509

/// An authority for development and for clusters that have no other: its key makes certificates of nodes.
///
/// Keep its key off the nodes: whoever has it makes managers. A cluster with an authority of its own
/// (SPIRE, Vault, cert-manager) needs none of this; its certificates must name nodes like
/// `CertifiedNode`.
public struct CertificateAuthority: Sendable {
    /// The cluster it vouches for.
    public let trustDomain: String
    let certificate: Certificate
    let key: P256.Signing.PrivateKey

    /// How long an authority lasts: ten years, because replacing it means visiting every node.
    public static let standardLifetime = Duration.seconds(3_650 * 86_400)
    /// How much earlier than now a certificate begins, for clocks that are behind: five minutes.
    public static let clockTolerance = Duration.seconds(300)

    /// Makes an authority with a new key.
    ///
    /// - Parameters:
    ///   - trustDomain: the cluster, such as `fleet.example`.
    ///   - lifetime: how long it lasts.
    ///   - now: when it is made.
    /// - Throws: ``NodeCertificateError`` with `invalid`.
    public static func make(
        trustDomain: String,
        lifetime: Duration = standardLifetime,
        at now: Timestamp
    ) throws -> CertificateAuthority {
        do {
            try CertifiedNode.validate(trustDomain: trustDomain)
            let key = P256.Signing.PrivateKey()
            let name = try DistinguishedName {
                CommonName("\(trustDomain) authority")
            }
            let certificate = try Certificate(
                version: .v3,
                serialNumber: Certificate.SerialNumber(),
                publicKey: Certificate.PrivateKey(key).publicKey,
                notValidBefore: date(now - clockTolerance),
                notValidAfter: date(now + lifetime),
                issuer: name,
                subject: name,
                signatureAlgorithm: .ecdsaWithSHA256,
                extensions: try Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: Certificate.PrivateKey(key).publicKey)
                    SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain)")])
                },
                issuerPrivateKey: Certificate.PrivateKey(key)
            )
            return CertificateAuthority(
                trustDomain: trustDomain,
                certificate: certificate,
                key: key
            )
        } catch let error as ClusterRoleError {
            throw NodeCertificateError(.invalid, error.message, cause: error)
        }
    }

    private init(trustDomain: String, certificate: Certificate, key: P256.Signing.PrivateKey) {
        self.trustDomain = trustDomain
        self.certificate = certificate
        self.key = key
    }

    /// An authority out of what ``certificatePEM`` and ``keyPEM`` gave.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable`.
    public init(certificatePEM: String, keyPEM: String) throws {
        do {
            certificate = try Certificate(pemEncoded: certificatePEM)
            key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
        } catch {
            throw NodeCertificateError(
                .unreadable,
                "These are no authority's certificate and key in PEM.",
                cause: error
            )
        }
        guard certificate.publicKey == Certificate.PrivateKey(key).publicKey else {
            throw NodeCertificateError(
                .unreadable,
                "The authority's key is not the one of its certificate."
            )
        }
        trustDomain = try Self.trustDomain(of: certificate)
    }

    /// The trust domain an authority's certificate names.
    static func trustDomain(of authority: Certificate) throws -> String {
        let names = (try? authority.extensions.subjectAlternativeNames) ?? SubjectAlternativeNames()
        for case .uniformResourceIdentifier(let uri) in names where uri.hasPrefix("spiffe://") {
            let domain = String(uri.dropFirst("spiffe://".count).prefix { $0 != "/" })
            try CertifiedNode.validate(trustDomain: domain)
            return domain
        }
        throw NodeCertificateError(
            .unreadable,
            "The authority's certificate names no trust domain."
        )
    }

    /// The certificate: what nodes are given to know others by. No secret.
    public var certificatePEM: String {
        get throws { try certificate.serializeAsPEM().pemString + "\n" }
    }

    /// The key. A secret.
    public var keyPEM: String { key.pemRepresentation + "\n" }

    /// Makes a certificate and a new key for a node, good for both ends of a connection.
    ///
    /// - Parameters:
    ///   - role: what the node may do.
    ///   - node: its name, the one in its configuration.
    ///   - addresses: names and IP addresses under which programs that are no nodes (browsers, `curl`)
    ///     reach it. Nodes know each other by role and name.
    ///   - lifetime: how long it is valid. Short ones make lost keys harmless; rotation is cheap.
    ///   - now: when it is made.
    /// - Throws: ``NodeCertificateError`` with `invalid`.
    public func issue(
        _ role: NodeRole,
        _ node: NodeID,
        addresses: [String] = [],
        lifetime: Duration = .seconds(90 * 86_400),
        at now: Timestamp
    ) throws -> IssuedCertificate {
        guard lifetime >= .seconds(1) else {
            throw NodeCertificateError(.invalid, "A certificate is valid for at least a second.")
        }
        let subject: CertifiedNode
        do {
            subject = try CertifiedNode(trustDomain: trustDomain, role: role, node: node)
        } catch {
            throw NodeCertificateError(.invalid, error.message, cause: error)
        }
        let key = P256.Signing.PrivateKey()
        let issuerKey = SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier
        let names =
            [GeneralName.uniformResourceIdentifier(subject.description)]
            + addresses.map(generalName)
        let made = try Certificate(
            version: .v3,
            serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PrivateKey(key).publicKey,
            notValidBefore: date(now - Self.clockTolerance),
            notValidAfter: min(date(now + lifetime), certificate.notValidAfter),
            issuer: certificate.subject,
            subject: try DistinguishedName { CommonName(node.rawValue) },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.clientAuth, .serverAuth])
                SubjectKeyIdentifier(hash: Certificate.PrivateKey(key).publicKey)
                AuthorityKeyIdentifier(keyIdentifier: issuerKey)
                SubjectAlternativeNames(names)
            },
            issuerPrivateKey: Certificate.PrivateKey(self.key)
        )
        return IssuedCertificate(
            peer: try PeerCertificate(made),
            certificatePEM: try made.serializeAsPEM().pemString + "\n",
            keyPEM: key.pemRepresentation + "\n"
        )
    }
}

/// A certificate an authority has just made, with its key.
public struct IssuedCertificate: Sendable {
    /// Whom it names, and until when.
    public let peer: PeerCertificate
    /// In PEM. No secret.
    public let certificatePEM: String
    /// In PEM. A secret.
    public let keyPEM: String
}

/// An IPv4 address as one, anything else as a DNS name.
private func generalName(_ address: String) -> GeneralName {
    let parts = address.split(separator: ".", omittingEmptySubsequences: false)
    let bytes = parts.compactMap { UInt8($0) }
    guard parts.count == 4, bytes.count == 4 else { return .dnsName(address) }
    return .ipAddress(ASN1OctetString(contentBytes: ArraySlice(bytes)))
}
#endif
