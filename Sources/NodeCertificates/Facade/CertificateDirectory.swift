#if Server
public import ClusterRole
internal import FoundationEssentials

/// An authority in a directory: what `reeve certificates` works on.
///
/// | file | what it is |
/// |--|--|
/// | `authority.pem` | the authority's certificate: copy it to every node |
/// | `authority.key` | its key: keep it here, and this directory off the nodes |
/// | `revoked.txt` | the signed list of what was taken back: copy it to every node after each change |
public struct CertificateDirectory: Sendable {
    public let path: String
    public let authority: CertificateAuthority

    public static let certificateName = "authority.pem"
    public static let keyName = "authority.key"
    public static let revokedName = "revoked.txt"

    private init(path: String, authority: CertificateAuthority) {
        self.path = path
        self.authority = authority
    }

    /// Makes an authority, and the directory if it is missing.
    ///
    /// - Parameters:
    ///   - path: of the directory.
    ///   - trustDomain: the cluster.
    ///   - lifetime: how long the authority lasts.
    ///   - now: when it is made.
    /// - Throws: ``NodeCertificateError`` with `unwritable` if there is an authority already, and
    ///   `invalid`.
    public static func make(
        at path: String,
        trustDomain: String,
        lifetime: Duration = CertificateAuthority.standardLifetime,
        now: Timestamp
    ) throws -> CertificateDirectory {
        let authority = try CertificateAuthority.make(
            trustDomain: trustDomain,
            lifetime: lifetime,
            at: now
        )
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
        } catch {
            throw NodeCertificateError(.unwritable, "\(path) cannot be made.", cause: error)
        }
        let made = CertificateDirectory(path: path, authority: authority)
        // The key first: a certificate without its key would look like an authority.
        try CertificateFiles.write(authority.keyPEM, to: made.file(keyName), replaces: false)
        try CertificateFiles.write(
            try authority.certificatePEM,
            to: made.file(certificateName),
            replaces: false
        )
        try made.write(RevocationList(trustDomain: trustDomain, issuedAt: now), replaces: false)
        return made
    }

    /// Opens what ``make(at:trustDomain:lifetime:now:)`` made.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable`.
    public init(opening path: String) throws {
        self.init(
            path: path,
            authority: try CertificateAuthority(
                certificatePEM: try CertificateFiles.read("\(path)/\(Self.certificateName)"),
                keyPEM: try CertificateFiles.read("\(path)/\(Self.keyName)")
            )
        )
    }

    /// The path of one of its files.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a certificate and writes it, with its key, to `NODE.pem` and `NODE.key`.
    ///
    /// - Parameters:
    ///   - role: what the node may do.
    ///   - node: its name.
    ///   - addresses: where programs that are no nodes reach it.
    ///   - lifetime: how long it is valid.
    ///   - directory: where to; its files are replaced, key first.
    ///   - now: when it is made.
    /// - Throws: ``NodeCertificateError`` with `invalid` or `unwritable`.
    public func issue(
        _ role: NodeRole,
        _ node: NodeID,
        addresses: [String] = [],
        lifetime: Duration = .seconds(90 * 86_400),
        to directory: String,
        now: Timestamp
    ) throws -> IssuedCertificate {
        let issued = try authority.issue(
            role,
            node,
            addresses: addresses,
            lifetime: lifetime,
            at: now
        )
        try CertificateFiles.write(issued.keyPEM, to: "\(directory)/\(node).key", replaces: true)
        try CertificateFiles.write(
            issued.certificatePEM,
            to: "\(directory)/\(node).pem",
            replaces: true
        )
        return issued
    }

    /// Takes a certificate back, by its serial number: writes the next list.
    ///
    /// - Throws: ``NodeCertificateError`` with `invalid`, `unreadable` or `unwritable`.
    @discardableResult
    public func revoke(_ serial: String, now: Timestamp) throws -> RevocationList {
        let list = try revocations().adding(serial, at: now)
        try write(list, replaces: true)
        return list
    }

    /// What was taken back so far.
    public func revocations() throws -> RevocationList {
        try RevocationList(
            parsing: try CertificateFiles.read(file(Self.revokedName)),
            signedByOneOf: [authority.certificate]
        )
    }

    private func write(_ list: RevocationList, replaces: Bool) throws {
        try CertificateFiles.write(
            try list.signed(by: authority),
            to: file(Self.revokedName),
            replaces: replaces
        )
    }
}

extension PeerCertificate {
    /// Reads whom the first certificate of a PEM file names. It verifies nothing.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable` or `noIdentity`.
    public init(file path: String) throws {
        try self.init(try CertificateFiles.firstCertificate(of: path))
    }
}

extension CertificateTrust {
    /// Trust in the authorities of a PEM file, for a program that is no node: it takes nothing back.
    ///
    /// - Throws: ``NodeCertificateError`` with `unreadable`.
    public init(authorityFile path: String) throws {
        let authorities = try CertificateFiles.allCertificates(of: path)
        guard let first = authorities.first else {
            throw NodeCertificateError(.unreadable, "\(path) holds no certificate in PEM.")
        }
        self.init(
            trustDomain: try CertificateAuthority.trustDomain(of: first),
            authorities: authorities,
            revocations: nil
        )
    }

    /// The authorities, in DER.
    public var authorityBytes: [[UInt8]] {
        get throws { try authorities.map(der(of:)) }
    }
}
#endif
