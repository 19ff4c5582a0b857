/// The name of a caller whose token is stored. Unique in its tenant.
public struct IdentityName: NameIdentifier {
    public static let noun = "identity name"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// A caller whose token was made by ``IdentityAdministration``.
public struct StoredIdentity: Hashable, Sendable {
    public var name: IdentityName
    public var tenant: TenantID
    public var kind: IdentityKind
    public var permissions: Set<Permission>
    /// SHA-256 of the token: all that is kept of it.
    public var digest: [UInt8]
    public var createdAt: Timestamp
    /// The name of who made it.
    public var createdBy: String
    /// From when on the token is worth nothing; `nil` for never.
    public var expiresAt: Timestamp?

    public init(
        name: IdentityName,
        tenant: TenantID,
        kind: IdentityKind,
        permissions: Set<Permission>,
        digest: [UInt8],
        createdAt: Timestamp,
        createdBy: String = "",
        expiresAt: Timestamp? = nil
    ) {
        self.name = name
        self.tenant = tenant
        self.kind = kind
        self.permissions = permissions
        self.digest = digest
        self.createdAt = createdAt
        self.createdBy = createdBy
        self.expiresAt = expiresAt
    }

    /// Whether its token is worth something at `now`.
    public func isValid(at now: Timestamp) -> Bool { expiresAt.map { now < $0 } ?? true }
}

/// An identity that was just made, with its token.
public struct IssuedIdentity: Sendable, CustomStringConvertible {
    public var identity: StoredIdentity
    /// 64 hexadecimal digits, shown this once.
    public var token: String

    /// Never the token.
    public var description: String { "IssuedIdentity(\(identity.tenant), \(identity.name))" }
}

/// The most identities a tenant stores: they are listed and looked up whole.
public let maximumIdentities = 1_000

/// Lower-case hexadecimal digits, two a byte.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let alphabet = Array("0123456789abcdef".utf8)
    let digits = bytes.flatMap { [alphabet[Int($0 >> 4)], alphabet[Int($0 & 15)]] }
    return String(decoding: digits, as: UTF8.self)
}
