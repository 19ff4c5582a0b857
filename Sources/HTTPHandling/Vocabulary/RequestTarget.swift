#if Server
/// Where a request goes: the path in decoded segments, and the query.
public struct RequestTarget: Hashable, Sendable {
    /// The path as it came, without the query; begins with a slash.
    public let path: String
    /// The decoded segments of ``path``; the root has none. `nil` if an escape is broken.
    ///
    /// Segments are split before they are decoded, so `%2F` is part of a segment, not a separator.
    /// Dots are not resolved and empty segments are kept: `/a/` has two.
    public let segments: [String]?
    /// The query's items in order. Items with a broken escape are left out.
    public let query: RequestQuery

    /// Parses the target of a request line: origin form, or absolute form as a proxy sends it.
    public init(_ text: String) {
        var rest = Substring(text)
        if !rest.hasPrefix("/"), let scheme = rest.firstRange(of: "://") {
            let authority = rest[scheme.upperBound...]
            rest = authority.firstIndex { $0 == "/" || $0 == "?" }.map { authority[$0...] } ?? "/"
        }
        if let fragment = rest.firstIndex(of: "#") { rest = rest[..<fragment] }
        let mark = rest.firstIndex(of: "?")
        var path = String(rest[..<(mark ?? rest.endIndex)])
        if !path.hasPrefix("/") { path = "/" + path }
        self.path = path
        query = RequestQuery(mark.map { rest[rest.index(after: $0)...] } ?? "")
        segments = Self.split(path)
    }

    private static func split(_ path: String) -> [String]? {
        guard path != "/" else { return [] }
        var result: [String] = []
        for part in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let segment = percentDecoded(part, plusIsSpace: false) else { return nil }
            result.append(segment)
        }
        return result
    }
}

/// The items of a query, in the order they were sent.
public struct RequestQuery: Hashable, Sendable {
    private let items: [(name: String, value: String)]

    /// Parses `name=value&name=value`; `+` is a space.
    public init(_ text: some StringProtocol) {
        items = text.split(separator: "&").compactMap { item in
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = percentDecoded(parts[0], plusIsSpace: true),
                let value = percentDecoded(parts.count > 1 ? parts[1] : "", plusIsSpace: true)
            else { return nil }
            return (name, value)
        }
    }

    /// The first value of `name`; empty if it was sent without one.
    public subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// All values of `name`.
    public func values(_ name: String) -> [String] {
        items.compactMap { $0.name == name ? $0.value : nil }
    }

    /// The value of `name` as a whole number within `range`.
    ///
    /// - Returns: `nil` if the query has no such item.
    /// - Throws: ``HTTPHandlingError`` with code `invalidParameter` naming it and the range.
    public func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = self[name] else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw HTTPHandlingError(
                .invalidParameter,
                "The query item \(name) is a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)."
            )
        }
        return number
    }

    public static func == (left: RequestQuery, right: RequestQuery) -> Bool {
        left.items.elementsEqual(right.items) { $0 == $1 }
    }

    public func hash(into hasher: inout Hasher) {
        for item in items {
            hasher.combine(item.name)
            hasher.combine(item.value)
        }
    }
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
///
/// - Returns: `nil` for a broken escape, a NUL, or bytes that are not UTF-8.
func percentDecoded(_ text: some StringProtocol, plusIsSpace: Bool) -> String? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count)
    var rest = text.utf8.makeIterator()
    while let byte = rest.next() {
        switch byte {
        case UInt8(ascii: "%"):
            guard let high = rest.next().flatMap(hexadecimalDigit),
                let low = rest.next().flatMap(hexadecimalDigit)
            else { return nil }
            bytes.append(high << 4 | low)
        case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
        default: bytes.append(byte)
        }
    }
    guard !bytes.contains(0) else { return nil }
    return String(validating: bytes, as: UTF8.self)
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
#endif
