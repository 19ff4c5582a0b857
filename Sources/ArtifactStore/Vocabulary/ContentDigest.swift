internal import ClusterRole
internal import Crypto

/// The SHA-256 (FIPS 180-4) of some bytes: the name of a file's content or of a stored object.
public struct ContentDigest: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    /// How many bytes a digest has.
    public static let byteCount = 32

    private let upper: IdentifierBits
    private let lower: IdentifierBits
    var high: UInt128 { upper.value }
    var low: UInt128 { lower.value }

    init(high: UInt128, low: UInt128) {
        upper = IdentifierBits(high)
        lower = IdentifierBits(low)
    }

    /// Digests that stand one after the other, as managers tell each other of objects.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` if the bytes end in the middle of one.
    package static func all(in bytes: [UInt8]) throws(ArtifactStoreError) -> [ContentDigest] {
        guard bytes.count.isMultiple(of: byteCount) else {
            throw .malformed("A list of objects ends in the middle of one.")
        }
        var digests: [ContentDigest] = []
        for start in stride(from: 0, to: bytes.count, by: byteCount) {
            digests.append(try ContentDigest(bytes: bytes[start..<start + byteCount]))
        }
        return digests
    }

    /// - Throws: ``ArtifactStoreError`` with code `invalidName` unless there are exactly 32 bytes.
    public init(bytes: some Collection<UInt8>) throws(ArtifactStoreError) {
        guard bytes.count == Self.byteCount else {
            throw ArtifactStoreError(.invalidName, "A digest has 32 bytes, not \(bytes.count).")
        }
        var halves: (UInt128, UInt128) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 16 {
                halves.0 = halves.0 << 8 | UInt128(byte)
            } else {
                halves.1 = halves.1 << 8 | UInt128(byte)
            }
        }
        self.init(high: halves.0, low: halves.1)
    }

    /// Parses the 64 hexadecimal digits of ``description``.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidName` for anything else.
    public init(parsing text: String) throws(ArtifactStoreError) {
        let digits = Array(text.utf8)
        let isHexadecimal = digits.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        guard digits.count == 64, isHexadecimal,
            let high = UInt128(text.prefix(32), radix: 16),
            let low = UInt128(text.suffix(32), radix: 16)
        else {
            throw ArtifactStoreError(
                .invalidName,
                "A digest is written as 64 lower-case hexadecimal digits."
            )
        }
        self.init(high: high, low: low)
    }

    /// The digest of bytes in memory.
    public init(of bytes: [UInt8]) {
        var hasher = ContentHasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        self = hasher.finish()
    }

    /// The 32 bytes, first byte first.
    public var bytes: [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(Self.byteCount)
        withUnsafeBytes(of: high.bigEndian) { result.append(contentsOf: $0) }
        withUnsafeBytes(of: low.bigEndian) { result.append(contentsOf: $0) }
        return result
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String { Self.digits(high) + Self.digits(low) }

    private static func digits(_ value: UInt128) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    public static func < (left: Self, right: Self) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    public init(from decoder: any Decoder) throws {
        try self.init(parsing: String(from: decoder))
    }

    public func encode(to encoder: any Encoder) throws { try description.encode(to: encoder) }
}

/// The digest of a tree's canonical manifest: equal ids, equal trees.
public struct TreeID: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    /// The SHA-256 of the manifest's canonical form.
    public let digest: ContentDigest
    /// The tree whose manifest has this digest.
    public init(_ digest: ContentDigest) { self.digest = digest }

    /// Parses the 64 hexadecimal digits of ``description``.
    public init(parsing text: String) throws(ArtifactStoreError) {
        digest = try ContentDigest(parsing: text)
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String { digest.description }
    public static func < (left: Self, right: Self) -> Bool { left.digest < right.digest }

    public init(from decoder: any Decoder) throws { digest = try ContentDigest(from: decoder) }
    public func encode(to encoder: any Encoder) throws { try digest.encode(to: encoder) }
}

/// Digests bytes as they pass by.
struct ContentHasher {
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

    func finish() -> ContentDigest {
        hash.finalize().withUnsafeBytes { bytes in
            ContentDigest(
                high: UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt128.self)),
                low: UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt128.self))
            )
        }
    }
}

extension ByteWriter {
    mutating func write(_ digest: ContentDigest) {
        withUnsafeBytes(of: digest.high.bigEndian) { writeRaw($0) }
        withUnsafeBytes(of: digest.low.bigEndian) { writeRaw($0) }
    }
}

extension ByteReader {
    mutating func readDigest() throws(ClusterRoleError) -> ContentDigest {
        let raw = try readRaw(ContentDigest.byteCount)
        return raw.withUnsafeBytes { bytes in
            ContentDigest(
                high: UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt128.self)),
                low: UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt128.self))
            )
        }
    }
}
