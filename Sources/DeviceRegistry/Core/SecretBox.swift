public import ClusterRole
internal import Crypto

/// Seals small secrets, such as push registrations, before they are stored: AES-256-GCM
/// (NIST SP 800-38D) with a random 96-bit nonce.
///
/// A sealed secret is bound to its context: moved to another row, it does not open.
/// Layout, version 1: version byte, 12 bytes of nonce, ciphertext, 16 bytes of tag.
public struct SecretBox: Sendable, CustomStringConvertible {
    private static let formatVersion: UInt8 = 1
    private static let nonceSize = 12
    private static let tagSize = 16
    /// The size of a key in bytes.
    public static let keySize = 32

    private let key: SymmetricKey
    private let random: any RandomSource

    /// - Parameters:
    ///   - key: 32 random bytes. Who has them can read every secret sealed with them.
    ///   - random: where nonces come from; never a seeded source outside tests, since a nonce used
    ///     twice reveals the key stream.
    /// - Throws: ``DeviceRegistryError`` with code `invalidKey` for a key of another size.
    public init(
        key: [UInt8],
        random: any RandomSource = SystemRandomSource()
    ) throws(DeviceRegistryError) {
        guard key.count == Self.keySize else {
            throw DeviceRegistryError(
                .invalidKey,
                "A key has \(Self.keySize) bytes; this one has \(key.count). Make one with 32 random bytes."
            )
        }
        self.key = SymmetricKey(data: key)
        self.random = random
    }

    /// Never the key.
    public var description: String { "SecretBox(…)" }

    /// - Parameters:
    ///   - secret: what is to be hidden; it may be empty.
    ///   - context: what the secret belongs to, such as the key of its row. It is not hidden; the
    ///     same is needed to open.
    public func seal(
        _ secret: [UInt8],
        context: [UInt8] = []
    ) throws(DeviceRegistryError) -> [UInt8] {
        do {
            let nonce = random.bytes(Self.nonceSize)
            let sealed = try AES.GCM.seal(
                secret,
                using: key,
                nonce: AES.GCM.Nonce(data: nonce),
                authenticating: context
            )
            return [Self.formatVersion] + nonce + Array(sealed.ciphertext) + Array(sealed.tag)
        } catch {
            throw DeviceRegistryError(
                .damagedSecret,
                "The secret could not be sealed.",
                cause: error
            )
        }
    }

    /// Opens what ``seal(_:context:)`` returned.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `damagedSecret` if the bytes, the key or the
    ///   context are not those of the sealing.
    public func open(
        _ sealed: [UInt8],
        context: [UInt8] = []
    ) throws(DeviceRegistryError) -> [UInt8] {
        guard sealed.count >= 1 + Self.nonceSize + Self.tagSize, sealed[0] == Self.formatVersion
        else {
            throw DeviceRegistryError(
                .damagedSecret,
                "A sealed secret is cut short or of an unknown version. Restore the row."
            )
        }
        do {
            let box = try AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: sealed[1..<1 + Self.nonceSize]),
                ciphertext: sealed[(1 + Self.nonceSize)..<(sealed.count - Self.tagSize)],
                tag: sealed[(sealed.count - Self.tagSize)...]
            )
            return Array(try AES.GCM.open(box, using: key, authenticating: context))
        } catch {
            throw DeviceRegistryError(
                .damagedSecret,
                "A sealed secret does not open: the key is another one, or the row is damaged.",
                cause: error
            )
        }
    }
}
