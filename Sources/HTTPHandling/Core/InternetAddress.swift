#if Server
/// An IPv4 or IPv6 address; an IPv4 address is the same as its IPv6-mapped form.
public struct InternetAddress: Hashable, Sendable, CustomStringConvertible {
    /// Big-endian; IPv4 within `::ffff:0:0/96`.
    let bits: UInt128

    private static let mapped: UInt128 = 0xFFFF << 32

    init(bits: UInt128) { self.bits = bits }

    var isIPv4: Bool { bits >> 32 == 0xFFFF }

    /// Parses an address without a port, brackets or zone; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        if text.contains(":") {
            guard let bits = Self.parseIPv6(text) else { return nil }
            self.bits = bits
        } else {
            guard let word = Self.parseIPv4(text) else { return nil }
            bits = Self.mapped | UInt128(word)
        }
    }

    /// Parses what proxies write: an address, `address:port` or `[address]:port`; `nil` for anything else.
    init?(hop text: some StringProtocol) {
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            let rest = text[text.index(after: close)...]
            guard rest.isEmpty || (rest.hasPrefix(":") && Self.isPort(rest.dropFirst())) else {
                return nil
            }
            let inner = text[text.index(after: text.startIndex)..<close]
            guard inner.contains(":") else { return nil }
            self.init(inner)
        } else if let colon = text.firstIndex(of: ":"), text.contains(".") {
            // An IPv4 address with a port, unless it is an IPv6 address that ends in an IPv4 one.
            if text[text.index(after: colon)...].contains(":") { return nil }
            guard Self.isPort(text[text.index(after: colon)...]) else { return nil }
            self.init(text[..<colon])
        } else {
            self.init(text)
        }
    }

    private static func isPort(_ text: some StringProtocol) -> Bool {
        (1...5).contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    private static func parseIPv4(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var word: UInt32 = 0
        for part in parts {
            // A leading zero is octal to some readers.
            guard (1...3).contains(part.utf8.count), part == "0" || part.first != "0",
                part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let octet = UInt8(part)
            else { return nil }
            word = word << 8 | UInt32(octet)
        }
        return word
    }

    private static func parseIPv6(_ text: some StringProtocol) -> UInt128? {
        guard text.utf8.count <= 45 else { return nil }
        let text = String(text)
        let halves: [Substring]
        if let gap = text.firstRange(of: "::") {
            halves = [text[..<gap.lowerBound], text[gap.upperBound...]]
        } else {
            halves = [text[...]]
        }
        var groups: [[UInt16]] = []
        for (index, half) in halves.enumerated() {
            guard let parsed = words(of: half, isLast: index == halves.count - 1) else {
                return nil
            }
            groups.append(parsed)
        }
        let count = groups.reduce(0) { $0 + $1.count }
        guard halves.count == 1 ? count == 8 : count < 8 else { return nil }
        let zeros = Array(repeating: UInt16(0), count: 8 - count)
        let all = (groups.first ?? []) + zeros + (groups.count > 1 ? groups[1] : [])
        return all.reduce(0) { $0 << 16 | UInt128($1) }
    }

    /// The groups of one side of `::`.
    private static func words(of half: Substring, isLast: Bool) -> [UInt16]? {
        if half.isEmpty { return [] }
        var words: [UInt16] = []
        let parts = half.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if part.contains(".") {
                guard isLast, index == parts.count - 1, let word = parseIPv4(part) else {
                    return nil
                }
                words += [UInt16(word >> 16), UInt16(word & 0xFFFF)]
            } else {
                guard (1...4).contains(part.utf8.count), part.allSatisfy(\.isHexDigit),
                    let word = UInt16(part, radix: 16)
                else { return nil }
                words.append(word)
            }
        }
        return words
    }

    /// Dotted for IPv4, groups of hexadecimal digits for IPv6.
    public var description: String {
        if isIPv4 {
            return [24, 16, 8, 0].map { String(UInt8(truncatingIfNeeded: bits >> UInt128($0))) }
                .joined(separator: ".")
        }
        return (0..<8).reversed()
            .map { String(UInt16(truncatingIfNeeded: bits >> UInt128($0 * 16)), radix: 16) }
            .joined(separator: ":")
    }
}

/// One address, or all with the same leading bits: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
public struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    private let first: InternetAddress
    private let length: Int

    /// Parses a range.
    ///
    /// - Returns: `nil` unless it is an address, or one with a prefix length whose other bits are zero: a
    ///   range with stray bits is a slip that would trust others than meant.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = InternetAddress(parts[0]) else { return nil }
        let offset = address.isIPv4 && !parts[0].contains(":") ? 96 : 0
        if parts.count == 2 {
            guard let given = Int(parts[1]), parts[1].allSatisfy(\.isNumber),
                (0...(128 - offset)).contains(given)
            else { return nil }
            length = offset + given
        } else {
            length = 128
        }
        guard address.bits & ~Self.mask(length) == 0 else { return nil }
        first = address
    }

    public func contains(_ address: InternetAddress) -> Bool {
        address.bits & Self.mask(length) == first.bits
    }

    private static func mask(_ length: Int) -> UInt128 {
        length == 0 ? 0 : UInt128.max << UInt128(128 - length)
    }

    public var description: String {
        let shown = first.isIPv4 && length >= 96 ? length - 96 : length
        return "\(first)/\(shown)"
    }
}
#endif
