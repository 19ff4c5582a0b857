#if Server
public import ClusterRole
internal import Crypto
internal import FoundationEssentials
internal import Synchronization

/// One public key of a JWKS document (RFC 7517).
public struct JSONWebKey: Hashable, Sendable {
    /// Its `kid`.
    public let id: String
    /// The one algorithm it is used with: told by its `alg`, or by its type and curve.
    public let algorithm: String
    /// The members of the document, for a ``JSONWebTokens/SignatureCheck`` of one's own.
    public let members: JSONValue

    /// The point or key bytes; empty for keys this package does not verify with itself.
    let material: [UInt8]

    /// Reads one member of `keys`; `nil` for a key that is not for signatures, has no `kid`, or is malformed.
    init?(_ members: JSONValue) {
        guard let id = members["kid"]?.stringValue, !id.isEmpty,
            members["use"]?.stringValue ?? "sig" == "sig"
        else { return nil }
        let stated = members["alg"]?.stringValue
        func bytes(_ name: String) -> [UInt8]? {
            members[name]?.stringValue.flatMap { base64URLDecoded($0) }
        }
        switch (members["kty"]?.stringValue, members["crv"]?.stringValue) {
        case ("EC", "P-256"):
            guard let x = bytes("x"), let y = bytes("y"), x.count == 32, y.count == 32,
                stated ?? "ES256" == "ES256"
            else { return nil }
            material = [4] + x + y
            algorithm = "ES256"
        case ("OKP", "Ed25519"):
            guard let x = bytes("x"), x.count == 32, stated ?? "EdDSA" == "EdDSA" else {
                return nil
            }
            material = x
            algorithm = "EdDSA"
        case ("oct", _): return nil
        default:
            guard let stated, Self.isAsymmetric(stated) else { return nil }
            material = []
            algorithm = stated
        }
        self.id = id
        self.members = members
    }

    /// A secret shared with the issuer would let each reader of the document make tokens.
    private static func isAsymmetric(_ algorithm: String) -> Bool {
        algorithm != "none" && !algorithm.hasPrefix("HS")
    }
}

/// The keys an issuer signs with: a JWKS document (RFC 7517).
public struct JSONWebKeySet: Hashable, Sendable {
    /// The most keys read; issuers have two or three.
    public static let maximumKeys = 64

    private let keys: [String: JSONWebKey]

    /// Reads a document. Keys it cannot use are passed by.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidJSON` or `tooDeep` if it is no JSON object with
    ///   `keys`.
    public init(parsing document: [UInt8]) throws {
        let value = try JSONValue(parsing: document, maximumDepth: 8)
        guard case .array(let members)? = value["keys"] else {
            throw HTTPHandlingError(.invalidJSON, "A JWKS document has the member keys, an array.")
        }
        let known = members.prefix(Self.maximumKeys).compactMap { JSONWebKey($0) }
        keys = Dictionary(known.map { ($0.id, $0) }) { first, _ in first }
    }

    public subscript(id: String) -> JSONWebKey? { keys[id] }
}

/// Where the keys of an issuer come from.
public protocol JSONWebKeySource: Sendable {
    /// The key called `id`; `nil` if the issuer has none.
    ///
    /// - Throws: if it cannot be told now. Throw a `CodedError` of category `unavailable`.
    func key(_ id: String) async throws -> JSONWebKey?
}

/// Keys given at start.
public struct FixedKeys: JSONWebKeySource {
    private let set: JSONWebKeySet

    public init(_ set: JSONWebKeySet) { self.set = set }

    public func key(_ id: String) async throws -> JSONWebKey? { set[id] }
}

/// Keys fetched by a closure of yours, again when a token names one that is unknown, and when they are old.
///
/// The package makes no request by itself: the closure does, with your client and your time limit.
public final class FetchedKeys: JSONWebKeySource {
    /// Gets the document's bytes.
    public typealias Fetch = @Sendable () async throws -> [UInt8]

    private struct State {
        var set: JSONWebKeySet?
        var triedAt: Duration?
        var fetchedAt: Duration?
    }

    private let fetch: Fetch
    private let interval: Duration
    private let lifetime: Duration
    private let clock: any TimeSource
    private let state = Mutex(State())

    /// - Parameters:
    ///   - interval: the shortest time between two fetches. 60 s: tokens with made-up keys cause no flood.
    ///   - lifetime: after which the keys are fetched again. An hour: a key that was withdrawn ends then.
    ///   - clock: measures both.
    ///   - fetch: gets the document.
    public init(
        interval: Duration = .seconds(60),
        lifetime: Duration = .seconds(3_600),
        clock: any TimeSource = SystemTimeSource(),
        fetch: @escaping Fetch
    ) {
        self.fetch = fetch
        self.interval = interval
        self.lifetime = lifetime
        self.clock = clock
    }

    public func key(_ id: String) async throws -> JSONWebKey? {
        let now = clock.monotonic()
        let mustFetch = state.withLock { state in
            let isOld = state.fetchedAt.map { now - $0 >= lifetime } ?? true
            guard isOld || state.set?[id] == nil,
                state.triedAt.map({ now - $0 >= interval }) ?? true
            else { return false }
            state.triedAt = now
            return true
        }
        if mustFetch {
            do {
                let set = try JSONWebKeySet(parsing: try await fetch())
                state.withLock { state in
                    state.set = set
                    state.fetchedAt = now
                }
            } catch {
                // Known keys go on being known while their issuer is away.
                if state.withLock({ $0.set?[id] }) == nil { throw Self.unavailable(error) }
            }
        }
        guard let set = state.withLock({ $0.set }) else { throw Self.unavailable(nil) }
        return set[id]
    }

    private static func unavailable(_ cause: (any Error)?) -> HTTPHandlingError {
        HTTPHandlingError(
            .overloaded,
            "The issuer's keys cannot be had now. Repeat the call.",
            retryAfter: .seconds(5),
            cause: cause
        )
    }
}

/// Base64url without padding (RFC 4648, section 5); `nil` for anything else.
func base64URLDecoded(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count * 3 / 4)
    var buffer: UInt32 = 0
    var bits: UInt32 = 0
    for byte in text.utf8 {
        let value: UInt8
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): value = 62
        case UInt8(ascii: "_"): value = 63
        default: return nil
        }
        buffer = (buffer << 6 | UInt32(value)) & 0xFFFF
        bits += 6
        if bits >= 8 {
            bits -= 8
            bytes.append(UInt8(truncatingIfNeeded: buffer >> bits))
        }
    }
    // One text, one value: nothing is left over.
    guard bits < 6, buffer & ((1 << bits) - 1) == 0 else { return nil }
    return bytes
}
#endif
