#if Server
public import ClusterRole
internal import Crypto
internal import Synchronization

/// Tells who holds a bearer token (RFC 6750).
public protocol BearerAuthenticator: Sendable {
    /// The identity a token stands for; `nil` if it stands for none.
    ///
    /// Implementations keep digests, not tokens, and compare in constant time.
    ///
    /// - Throws: if it cannot be told now. Throw a `CodedError` of category `unavailable`, so that
    ///   the caller reads 503 and does not throw a good token away.
    func identity(forToken token: String) async throws -> Identity?
}

/// The SHA-256 of a token: all that is ever kept of one.
public struct TokenDigest: Hashable, Sendable {
    /// 32 bytes.
    public let bytes: [UInt8]

    /// The digest of a token's UTF-8.
    public init(of token: String) {
        bytes = Array(SHA256.hash(data: Array(token.utf8)))
    }

    /// A digest read back from storage; `nil` unless it has 32 bytes.
    public init?(bytes: [UInt8]) {
        guard bytes.count == SHA256.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Whether both are equal, in a time that does not depend on where they differ.
    public func matches(_ other: TokenDigest) -> Bool {
        var difference: UInt8 = 0
        for (mine, theirs) in zip(bytes, other.bytes) { difference |= mine ^ theirs }
        return difference == 0
    }
}

/// Tokens in memory: the static table of a configuration, and the double in tests.
///
/// Keeps digests only. A lookup compares with every entry, so that its time tells nothing about
/// which one matched; meant for tens of tokens, not for a fleet's.
public final class InMemoryTokens: BearerAuthenticator {
    private let entries: Mutex<[Entry]>

    private struct Entry: Sendable {
        let digest: TokenDigest
        let identity: Identity
    }

    /// An empty table.
    public init() { entries = Mutex([]) }

    /// A table of tokens given in clear, which are digested at once and not kept.
    public init(_ tokens: [String: Identity]) {
        entries = Mutex(tokens.map { Entry(digest: TokenDigest(of: $0.key), identity: $0.value) })
    }

    /// Adds a token by its digest.
    public func insert(_ digest: TokenDigest, for identity: Identity) {
        entries.withLock { $0.append(Entry(digest: digest, identity: identity)) }
    }

    /// Makes a token of 256 random bits for `identity`. It is returned here and never again.
    public func issue(_ identity: Identity, from random: some RandomSource) -> String {
        let alphabet = Array("0123456789abcdef".utf8)
        let digits = random.bytes(32).flatMap { [alphabet[Int($0 >> 4)], alphabet[Int($0 & 15)]] }
        let token = String(decoding: digits, as: UTF8.self)
        insert(TokenDigest(of: token), for: identity)
        return token
    }

    /// Ends every token of the identity called `name`. Unknown names are ignored.
    public func revoke(name: String) {
        entries.withLock { $0.removeAll { $0.identity.name == name } }
    }

    public func identity(forToken token: String) async throws -> Identity? {
        let digest = TokenDigest(of: token)
        return entries.withLock { entries in
            var found: Identity?
            for entry in entries where entry.digest.matches(digest) { found = entry.identity }
            return found
        }
    }
}
#endif
