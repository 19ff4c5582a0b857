/// Who a certificate says its holder is: a node, in a role, of a cluster.
///
/// It is written as a URI, `spiffe://<trust domain>/<role>/<node>`, in the certificate's subject
/// alternative names. That is the form of a SPIFFE id, so that an issuer a product already runs can
/// make a node's certificate.
public struct CertifiedNode: Hashable, Sendable, CustomStringConvertible {
    /// The cluster whose authority vouches for the node, such as `fleet.example`.
    public let trustDomain: String
    public let role: NodeRole
    public let node: NodeID

    /// The longest name of a trust domain, in bytes.
    public static let maximumDomainLength = 255

    /// A node of a cluster.
    ///
    /// - Throws: ``ClusterRoleError`` with `invalidName` for a trust domain with anything but lower-case
    ///   letters, digits, `.`, `-` and `_`, or a node with anything but letters, digits and those.
    public init(
        trustDomain: String,
        role: NodeRole,
        node: NodeID
    ) throws(ClusterRoleError) {
        try Self.validate(trustDomain: trustDomain)
        let valid = try NodeID(validating: node.rawValue).rawValue
        guard valid.utf8.allSatisfy({ Self.isOfDomain($0) || Self.isUpper($0) }) else {
            throw ClusterRoleError(
                .invalidName,
                "A certified node's name has letters, digits, '.', '-' and '_' only, not \"\(valid)\"."
            )
        }
        self.trustDomain = trustDomain
        self.role = role
        self.node = node
    }

    /// Parses what ``description`` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with `invalidName` for anything else.
    public init(parsing uri: String) throws(ClusterRoleError) {
        let parts = uri.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "spiffe:", parts[1].isEmpty,
            let role = NodeRole(rawValue: String(parts[3]))
        else {
            throw ClusterRoleError(
                .invalidName,
                "A certified node is written spiffe://<trust domain>/<role>/<node>, not \"\(uri)\"."
            )
        }
        try self.init(
            trustDomain: String(parts[2]),
            role: role,
            node: NodeID(rawValue: String(parts[4]))
        )
    }

    /// Refuses what cannot be the name of a trust domain.
    ///
    /// - Throws: ``ClusterRoleError`` with `invalidName`.
    public static func validate(trustDomain: String) throws(ClusterRoleError) {
        guard !trustDomain.isEmpty, trustDomain.utf8.count <= maximumDomainLength,
            trustDomain.utf8.allSatisfy(isOfDomain)
        else {
            throw ClusterRoleError(
                .invalidName,
                "A trust domain has 1 to \(maximumDomainLength) lower-case letters, digits, '.', '-' and "
                    + "'_', not \"\(trustDomain)\"."
            )
        }
    }

    /// `spiffe://<trust domain>/<role>/<node>`.
    public var description: String { "spiffe://\(trustDomain)/\(role.rawValue)/\(node)" }

    private static func isOfDomain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isUpper(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }
}

/// The certificate of a peer, verified: who it is, which certificate it is, and until when.
public struct PeerCertificate: Hashable, Sendable, CustomStringConvertible {
    public let subject: CertifiedNode
    /// The serial number its authority gave it: lower-case hexadecimal digits, two a byte.
    public let serial: String
    /// The first and the last moment at which it is valid.
    public let validFrom: Timestamp
    public let expires: Timestamp

    public init(
        subject: CertifiedNode,
        serial: String,
        validFrom: Timestamp,
        expires: Timestamp
    ) {
        self.subject = subject
        self.serial = serial
        self.validFrom = validFrom
        self.expires = expires
    }

    /// What the certificate alone allows: a worker's to speak the worker's half of the link; a
    /// manager's also to hand other managers objects to keep.
    public var permissions: Set<Permission> { subject.role.mayWrite ? [.link, .publish] : [.link] }

    /// What remains of a token's permissions when this peer presents the token: a worker's certificate
    /// leaves the link and nothing else, whatever the token says.
    public func capping(_ permissions: Set<Permission>) -> Set<Permission> {
        subject.role.mayWrite ? permissions : permissions.intersection([.link])
    }

    public var description: String { "\(subject) (serial \(serial))" }
}
