#if Server
public import ClusterRole
public import Configuration

extension CertificateFiles {
    /// Reads where the files are; `nil` if the configuration names no certificate.
    ///
    /// | key | meaning |
    /// |--|--|
    /// | `link.tls.certificate` | the node's certificate, in PEM, with what stands between it and the authority |
    /// | `link.tls.key` | its key, in PEM |
    /// | `link.tls.authority` | the root authorities that are believed, in PEM |
    /// | `link.tls.revoked` | the list of certificates they took back, as `reeve certificates revoke` writes it |
    ///
    /// - Throws: what the reader throws if one of the first three is named and another is not.
    public init?(reading config: ConfigReader) throws {
        let certificate = config.string(forKey: "link.tls.certificate")
        let key = config.string(forKey: "link.tls.key")
        let authority = config.string(forKey: "link.tls.authority")
        if certificate == nil, key == nil, authority == nil { return nil }
        self.init(
            certificate: try config.requiredString(forKey: "link.tls.certificate"),
            key: try config.requiredString(forKey: "link.tls.key"),
            authority: try config.requiredString(forKey: "link.tls.authority"),
            revoked: config.string(forKey: "link.tls.revoked")
        )
    }
}

extension NodeCredentials {
    /// Refuses a certificate that is another node's, or of a role that cannot play this part.
    ///
    /// - Parameters:
    ///   - node: the node these are to be the credentials of.
    ///   - roles: the roles it may have.
    /// - Throws: ``NodeCertificateError`` with `wrongRole` or `invalid`.
    public func require(_ node: NodeID, _ roles: Set<NodeRole>) throws(NodeCertificateError) {
        guard peer.subject.node == node else {
            throw NodeCertificateError(
                .invalid,
                "The certificate names \(peer.subject.node); this node is \(node). Give it its own."
            )
        }
        guard roles.contains(peer.subject.role) else {
            throw NodeCertificateError(
                .wrongRole,
                "The certificate of \(node) is a \(peer.subject.role.rawValue)'s. Issue one for its role."
            )
        }
    }
}
#endif
