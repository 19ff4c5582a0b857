public import ClusterRole
internal import Crypto

/// A 256-bit secret that proves who a device is. Shown once, at enrolment; only its digest is kept.
public struct DeviceCredential: Sendable, CustomStringConvertible {
    /// 43 characters of base64url (RFC 4648, section 5, without padding).
    public let token: String

    /// Draws a new credential.
    public init(from random: some RandomSource) {
        token = base64URL(random.bytes(32))
    }

    /// Takes a token a device presented. Any text is taken; only the digest decides.
    public init(presented token: String) { self.token = token }

    public var digest: CredentialDigest { CredentialDigest(of: token) }

    /// Never the secret.
    public var description: String { "DeviceCredential(…)" }
}

/// SHA-256 of a credential. Equality takes the same time whatever the bytes are.
public struct CredentialDigest: Hashable, Sendable, CustomStringConvertible {
    private let upper: IdentifierBits
    private let lower: IdentifierBits

    public init(high: UInt128, low: UInt128) {
        upper = IdentifierBits(high)
        lower = IdentifierBits(low)
    }

    public var high: UInt128 { upper.value }
    public var low: UInt128 { lower.value }

    public init(of token: String) {
        var token = token
        let digest = token.withUTF8 { SHA256.hash(data: UnsafeRawBufferPointer($0)) }
        (upper, lower) = digest.withUnsafeBytes { bytes in
            (
                IdentifierBits(UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self))),
                IdentifierBits(
                    UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt128.self))
                )
            )
        }
    }

    public static func == (left: CredentialDigest, right: CredentialDigest) -> Bool {
        (left.high ^ right.high) | (left.low ^ right.low) == 0
    }

    public var description: String { "CredentialDigest(…)" }
}

/// Base64url without padding (RFC 4648, section 5).
package func base64URL(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var text: [UInt8] = []
    var buffer: UInt32 = 0
    var bits = 0
    for byte in bytes {
        buffer = buffer << 8 | UInt32(byte)
        bits += 8
        while bits >= 6 {
            bits -= 6
            text.append(alphabet[Int(buffer >> UInt32(bits)) & 63])
        }
        buffer &= (1 << UInt32(bits)) - 1
    }
    if bits > 0 { text.append(alphabet[Int(buffer << UInt32(6 - bits)) & 63]) }
    return String(decoding: text, as: UTF8.self)
}
