/// A name that is a non-empty, bounded line of visible text.
///
/// Conforming types share validation, so that a bad name is refused with one typed error
/// (``ClusterRoleError/Code/invalidName``) wherever it enters.
///
/// In source code a literal is a name: `let group: GroupID = "tills"`. It is checked where it is used.
public protocol NameIdentifier: Hashable, Sendable, Comparable, CustomStringConvertible,
    RawRepresentable, ExpressibleByStringLiteral
where RawValue == String, StringLiteralType == String {
    /// Wraps a string that is known to be valid: a literal, or a row read back.
    init(rawValue: String)

    /// The word used for it in error messages, such as "device id".
    static var noun: String { get }
}

/// The longest ``NameIdentifier``, in UTF-8 bytes: it must fit an index entry and a URL segment.
public let maximumNameLength = 255

extension NameIdentifier {
    public var description: String { rawValue }

    /// A name in source code; it is checked where it is used.
    public init(stringLiteral name: String) { self.init(rawValue: name) }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// Validates a name that came from outside.
    ///
    /// - Throws: ``ClusterRoleError`` with code `invalidName` if the name is empty, longer than
    ///   ``maximumNameLength`` bytes of UTF-8, or holds a control character or a slash.
    public init(validating name: String) throws(ClusterRoleError) {
        guard !name.isEmpty, name.utf8.count <= maximumNameLength else {
            throw ClusterRoleError(
                .invalidName,
                "A \(Self.noun) has 1 to \(maximumNameLength) bytes; this one has \(name.utf8.count)."
            )
        }
        let isClean = name.unicodeScalars.allSatisfy {
            $0.value > 0x20 && $0.value != 0x7F && !(0x80...0x9F).contains($0.value) && $0 != "/"
        }
        guard isClean, name != ".", name != ".." else {
            throw ClusterRoleError(
                .invalidName,
                "A \(Self.noun) holds no white space, control character or slash. Choose another name."
            )
        }
        self.init(rawValue: name)
    }
}

/// Who owns a set of devices, operations and channels. Every query names its tenant.
public struct TenantID: NameIdentifier {
    public static let noun = "tenant"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The only tenant of a product that has no tenants.
    public static let standard = TenantID(rawValue: "default")
}

/// The name of one node, stable across its restarts.
public struct NodeID: NameIdentifier {
    public static let noun = "node id"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// A random 128-bit identifier. It says nothing about order; numbers do that.
public protocol RandomIdentifier: Hashable, Sendable, Comparable, CustomStringConvertible, Codable {
    var bits: UInt128 { get }
    init(bits: UInt128)
}

extension RandomIdentifier {
    /// Draws an identifier from the injected randomness.
    public init(from random: some RandomSource) {
        let high = UInt128(random.next())
        self.init(bits: high << 64 | UInt128(random.next()))
    }

    /// 32 lower-case hexadecimal digits.
    public var description: String {
        let digits = String(bits, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    /// Parses what ``description`` wrote.
    ///
    /// - Throws: ``ClusterRoleError`` with code `invalidIdentifier` for anything else.
    public init(parsing text: String) throws(ClusterRoleError) {
        guard text.utf8.count == 32, let bits = UInt128(text, radix: 16), !text.hasPrefix("+")
        else {
            throw ClusterRoleError(
                .invalidIdentifier,
                "An identifier is 32 hexadecimal digits. Use one this API gave out."
            )
        }
        self.init(bits: bits)
    }

    public static func < (left: Self, right: Self) -> Bool { left.bits < right.bits }

    public init(from decoder: any Decoder) throws {
        try self.init(parsing: String(from: decoder))
    }

    public func encode(to encoder: any Encoder) throws { try description.encode(to: encoder) }
}

/// The two halves of a 128-bit identifier.
///
/// Identifiers and digests keep these rather than a `UInt128`, which is aligned to 16 bytes: rows would
/// carry padding, and an `AsyncStream` of over-aligned values crashes with Swift 6.3 when it buffers the
/// newest and its producer and consumer run in parallel.
public struct IdentifierBits: Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64

    public init(_ bits: UInt128) {
        high = UInt64(truncatingIfNeeded: bits >> 64)
        low = UInt64(truncatingIfNeeded: bits)
    }

    public var value: UInt128 { UInt128(high) << 64 | UInt128(low) }
}

/// One unbroken history of revisions. A restore begins a new one.
public struct HistoryID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// One life of something that keeps its name: a device enrolment, a spool file.
public struct IncarnationID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}
