internal import CReeveSystem

/// The path of an entry in a tree: bytes, as the file system keeps them, parts divided by `/`.
///
/// Bytes and not a `String`, because two strings can be equal in Unicode's eyes and name two files.
/// The root itself has no path.
public struct TreePath: Hashable, Sendable, Comparable, CustomStringConvertible,
    ExpressibleByStringLiteral
{
    /// Not validated: a path is checked where a tree is made of it.
    public let bytes: [UInt8]

    /// A path as the file system spells it.
    public init(bytes: [UInt8]) { self.bytes = bytes }
    /// A path in UTF-8.
    public init(_ text: String) { bytes = Array(text.utf8) }
    public init(stringLiteral text: String) { self.init(text) }

    /// For people: bytes that are not UTF-8 are shown as U+FFFD.
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    /// By bytes, as `memcmp` does; a directory sorts before what it holds.
    public static func < (left: Self, right: Self) -> Bool {
        compare(left.bytes, right.bytes) < 0
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.bytes.count == right.bytes.count && compare(left.bytes, right.bytes) == 0
    }

    public func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    private static func compare(_ left: [UInt8], _ right: [UInt8]) -> Int {
        let order = left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                reeve_compare(left.baseAddress, right.baseAddress, min(left.count, right.count))
            }
        }
        return order != 0 ? Int(order) : left.count - right.count
    }

    /// The directory it lies in; `nil` at the top.
    public var parent: TreePath? {
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        return TreePath(bytes: Array(bytes[..<slash]))
    }

    /// The last part.
    public var name: TreePath {
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return self }
        return TreePath(bytes: Array(bytes[(slash + 1)...]))
    }

    /// Runs `body` with the path as a C string. The path holds no NUL.
    func withCPath<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
        try withUnsafeTemporaryAllocation(byteCount: bytes.count + 1, alignment: 1) { space in
            space.copyBytes(from: bytes)
            space[bytes.count] = 0
            return try body(space.baseAddress!.assumingMemoryBound(to: CChar.self))
        }
    }

    func appending(_ name: [UInt8]) -> TreePath {
        var joined = bytes
        joined.reserveCapacity(bytes.count + name.count + 1)
        if !joined.isEmpty { joined.append(UInt8(ascii: "/")) }
        joined.append(contentsOf: name)
        return TreePath(bytes: joined)
    }
}
