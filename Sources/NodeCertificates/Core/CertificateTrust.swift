#if Server
public import ClusterRole
internal import FoundationEssentials
@_spi(FixedExpiryValidationTime) internal import X509

/// Whose certificates are believed: those of the authorities, of one trust domain, that were not taken
/// back.
public struct CertificateTrust: Sendable {
    /// Whom the certificates must name: the node's own cluster.
    public let trustDomain: String
    /// What the authority took back; `nil` without a list.
    public let revocations: RevocationList?
    let authorities: [Certificate]

    /// The longest chain that is looked at: a node, and up to three authorities. Longer ones are
    /// refused before anything is computed.
    public static let maximumChainLength = 4

    init(trustDomain: String, authorities: [Certificate], revocations: RevocationList?) {
        self.trustDomain = trustDomain
        self.authorities = authorities
        self.revocations = revocations
    }

    /// Verifies what a peer presented.
    ///
    /// - Parameters:
    ///   - chain: in DER, the peer's own first, as TLS carries it.
    ///   - use: which end the peer is.
    ///   - now: the time by which it must be valid.
    /// - Throws: ``NodeCertificateError`` with the reason.
    public func verify(
        _ chain: [[UInt8]],
        as use: CertificateUse,
        at now: Timestamp
    ) async throws -> PeerCertificate {
        guard let first = chain.first else { throw Self.missing() }
        guard chain.count <= Self.maximumChainLength else {
            throw NodeCertificateError(
                .wrongAuthority,
                "A chain has at most \(Self.maximumChainLength) certificates."
            )
        }
        let leaf = try parseCertificate(first)
        var rest: [Certificate] = []
        for bytes in chain.dropFirst() { rest.append(try parseCertificate(bytes)) }
        try await verifySignatures(leaf, rest, at: now)
        let peer = try PeerCertificate(leaf)
        guard peer.subject.trustDomain == trustDomain else {
            throw NodeCertificateError(
                .wrongDomain,
                "\(peer.subject) is of another cluster than \(trustDomain)."
            )
        }
        let usages = try? leaf.extensions.extendedKeyUsage
        let wanted: ExtendedKeyUsage.Usage = use == .client ? .clientAuth : .serverAuth
        guard usages?.contains(wanted) == true else {
            throw NodeCertificateError(
                .wrongUse,
                "The certificate of \(peer.subject) is not made for this end of a connection."
            )
        }
        try check(peer, at: now)
        return peer
    }

    /// Whether a certificate that was verified before still counts: it may have expired since, or been
    /// taken back. Cheap enough to be asked with each request.
    ///
    /// - Throws: ``NodeCertificateError`` with `expired`, `notYetValid` or `revoked`.
    public func check(
        _ peer: PeerCertificate,
        at now: Timestamp
    ) throws(NodeCertificateError) {
        guard now <= peer.expires else {
            throw NodeCertificateError(
                .expired,
                "The certificate of \(peer.subject) has expired. Issue a new one."
            )
        }
        guard now >= peer.validFrom else {
            throw NodeCertificateError(
                .notYetValid,
                "The certificate of \(peer.subject) is not valid yet. Compare the clocks."
            )
        }
        guard revocations?.isRevoked(peer.serial) != true else {
            throw NodeCertificateError(
                .revoked,
                "The certificate \(peer.serial) of \(peer.subject) was revoked. Issue a new one, if the "
                    + "node is to be trusted."
            )
        }
    }

    /// A peer without a certificate where one is required.
    public static func missing() -> NodeCertificateError {
        NodeCertificateError(
            .missing,
            "This needs a node's certificate. Dial with one of this cluster's authority."
        )
    }

    /// The chain up to an authority, at the leaf's own time if its time is not now: so that a
    /// certificate of ours that has expired is told from a stranger's.
    private func verifySignatures(
        _ leaf: Certificate,
        _ rest: [Certificate],
        at now: Timestamp
    ) async throws {
        let moment = min(max(date(now), leaf.notValidBefore), leaf.notValidAfter)
        var verifier = Verifier(rootCertificates: CertificateStore(authorities)) {
            RFC5280Policy(fixedExpiryValidationTime: moment)
        }
        let result = await verifier.validate(leaf: leaf, intermediates: CertificateStore(rest))
        guard case .validCertificate = result else {
            throw NodeCertificateError(
                .wrongAuthority,
                "No authority of the cluster \(trustDomain) vouches for this certificate."
            )
        }
    }
}
#endif
