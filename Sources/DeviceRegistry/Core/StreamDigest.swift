internal import Crypto

/// SHA-256 of bytes that come in pieces.
package struct StreamDigest: Sendable {
    private var hash = SHA256()

    package init() {}

    package mutating func update(_ bytes: [UInt8]) { hash.update(data: bytes) }

    /// The digest of everything so far: 32 bytes.
    package func finish() -> [UInt8] { Array(hash.finalize()) }
}
