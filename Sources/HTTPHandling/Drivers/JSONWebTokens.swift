#if Server
public import ClusterRole
internal import Crypto
internal import FoundationEssentials

/// Why a JSON Web Token is not believed.
public enum TokenRefusal: String, Error, Hashable, Sendable {
    /// It is not three parts of base64url with JSON in them, or larger than allowed.
    case malformed
    /// Its algorithm is `none`, symmetric, or not the key's own.
    case algorithm
    /// The issuer has no key of that name.
    case unknownKey
    /// The signature is not the key's.
    case signature
    /// It has expired, or does not say when it does.
    case expired
    /// It is not valid yet.
    case notYetValid
    /// Another issuer made it.
    case issuer
    /// It was made for somebody else.
    case audience
}

/// What a verified token says.
public struct TokenClaims: Hashable, Sendable {
    /// `sub`; empty without one.
    public let subject: String
    public let issuer: String
    public let audience: [String]
    public let expires: Timestamp
    /// All claims, for those of your own.
    public let all: JSONValue
}

/// Believes signed tokens (RFC 7519) of one OIDC issuer: how a product brings its own identities.
///
/// ```swift
/// let keys = FetchedKeys { try await get("https://login.example/jwks.json") }
/// let people = JSONWebTokens(
///     issuer: "https://login.example", audience: "reeve", keys: keys
/// ) { claims in
///     guard claims.all["groups"]?[0]?.stringValue == "fleet" else { return nil }
///     return Identity(name: claims.subject, permissions: [.read, .operate])
/// }
/// ```
///
/// ES256 and EdDSA (Ed25519) are verified here; for RS256 and others give a ``SignatureCheck``. The
/// algorithm is always the key's own, never what the token asks for. `none` and symmetric algorithms
/// are refused.
public struct JSONWebTokens: BearerAuthenticator {
    /// Verifies signatures of algorithms this package does not; it is given the key as its document has it.
    public typealias SignatureCheck =
        @Sendable (_ key: JSONWebKey, _ message: [UInt8], _ signature: [UInt8]) async throws -> Bool
    /// Who a verified token stands for; `nil` for nobody.
    public typealias Mapping = @Sendable (TokenClaims) async throws -> Identity?

    /// The longest token, in bytes: twice what fits a cookie.
    public static let maximumTokenBytes = 8_192

    private let issuer: String
    private let audience: String
    private let keys: any JSONWebKeySource
    private let leeway: Duration
    private let clock: any TimeSource
    private let check: SignatureCheck?
    private let identity: Mapping

    /// - Parameters:
    ///   - issuer: the only `iss` believed.
    ///   - audience: one of the token's `aud` must be this.
    ///   - keys: the issuer's keys.
    ///   - leeway: by how much clocks may differ.
    ///   - clock: tells whether a token is valid now.
    ///   - check: verifies what this package does not.
    ///   - identity: maps claims to an identity.
    public init(
        issuer: String,
        audience: String,
        keys: any JSONWebKeySource,
        leeway: Duration = .seconds(30),
        clock: any TimeSource = SystemTimeSource(),
        checking check: SignatureCheck? = nil,
        identity: @escaping Mapping
    ) {
        self.issuer = issuer
        self.audience = audience
        self.keys = keys
        self.leeway = leeway
        self.clock = clock
        self.check = check
        self.identity = identity
    }

    /// A token that is not believed stands for nobody, whatever the reason.
    public func identity(forToken token: String) async throws -> Identity? {
        do {
            return try await identity(claims(of: token))
        } catch is TokenRefusal {
            return nil
        }
    }

    /// Verifies a token.
    ///
    /// - Throws: ``TokenRefusal``; what the source of keys throws.
    public func claims(of token: String) async throws -> TokenClaims {
        guard token.utf8.count <= Self.maximumTokenBytes else { throw TokenRefusal.malformed }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let head = Self.object(parts[0]),
            let claims = Self.object(parts[1]),
            let signature = base64URLDecoded(parts[2])
        else { throw TokenRefusal.malformed }
        guard let algorithm = head["alg"]?.stringValue else { throw TokenRefusal.algorithm }
        // An extension that must be understood is not understood here (RFC 7515, section 4.1.11).
        guard head["crit"] == nil else { throw TokenRefusal.malformed }
        guard algorithm.lowercased() != "none", !algorithm.uppercased().hasPrefix("HS") else {
            throw TokenRefusal.algorithm
        }
        guard let id = head["kid"]?.stringValue, let key = try await keys.key(id) else {
            throw TokenRefusal.unknownKey
        }
        guard key.algorithm == algorithm else { throw TokenRefusal.algorithm }
        let message = Array("\(parts[0]).\(parts[1])".utf8)
        guard try await isSignature(signature, of: message, by: key) else {
            throw TokenRefusal.signature
        }
        return try checked(claims)
    }

    private func checked(_ claims: JSONValue) throws -> TokenClaims {
        let now = clock.now()
        guard let expires = Self.time(claims["exp"]), now < expires + leeway else {
            throw TokenRefusal.expired
        }
        for name in ["nbf", "iat"] {
            guard let value = claims[name] else { continue }
            guard let begins = Self.time(value), begins <= now + leeway else {
                throw TokenRefusal.notYetValid
            }
        }
        guard claims["iss"]?.stringValue == issuer else { throw TokenRefusal.issuer }
        var audiences: [String] = []
        switch claims["aud"] {
        case .string(let one)?: audiences = [one]
        case .array(let several)?: audiences = several.compactMap(\.stringValue)
        default: break
        }
        guard audiences.contains(audience) else { throw TokenRefusal.audience }
        return TokenClaims(
            subject: claims["sub"]?.stringValue ?? "",
            issuer: issuer,
            audience: audiences,
            expires: expires,
            all: claims
        )
    }

    private func isSignature(
        _ signature: [UInt8],
        of message: [UInt8],
        by key: JSONWebKey
    ) async throws -> Bool {
        switch key.algorithm {
        case "ES256":
            guard let known = try? P256.Signing.PublicKey(x963Representation: key.material),
                let given = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
            else { return false }
            return known.isValidSignature(given, for: message)
        case "EdDSA":
            guard let known = try? Curve25519.Signing.PublicKey(rawRepresentation: key.material)
            else { return false }
            return known.isValidSignature(signature, for: message)
        default:
            guard let check else { throw TokenRefusal.algorithm }
            return try await check(key, message, signature)
        }
    }

    private static func object(_ part: Substring) -> JSONValue? {
        guard let bytes = base64URLDecoded(part),
            let value = try? JSONValue(parsing: bytes, maximumDepth: 16), case .object = value
        else { return nil }
        return value
    }

    /// Seconds since 1970, whole or not.
    private static func time(_ value: JSONValue?) -> Timestamp? {
        switch value {
        case .integer(let seconds)?:
            guard (0...253_402_300_799).contains(seconds) else { return nil }
            return Timestamp(milliseconds: seconds * 1_000)
        case .number(let seconds)?:
            guard seconds >= 0, seconds <= 253_402_300_799 else { return nil }
            return Timestamp(milliseconds: Int64(seconds * 1_000))
        default: return nil
        }
    }
}
#endif
