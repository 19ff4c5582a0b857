#if Server
/// Tells whether bytes are one JSON text (RFC 8259), in one pass and without recursion.
///
/// A payload that passes is put into an answer as its enqueuer wrote it: numbers keep their digits and
/// objects their order, and nothing is parsed for each device.
struct JSONText {
    private let bytes: [UInt8]
    private var position = 0
    /// The open arrays and objects, innermost last: `}` or `]` as what closes them.
    private var open: [UInt8] = []
    private let maximumDepth: Int

    private init(_ bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    /// Whether `bytes` are a JSON text in UTF-8 that nests at most `maximumDepth` deep.
    ///
    /// 64 levels is what ``HandlerLimits`` lets into this package; what is deeper travels as base64.
    static func isValid(_ bytes: [UInt8], maximumDepth: Int = 64) -> Bool {
        guard String(validating: bytes, as: UTF8.self) != nil else { return false }
        var text = JSONText(bytes, maximumDepth: maximumDepth)
        return text.readText()
    }

    private mutating func readText() -> Bool {
        repeat {
            guard readValue() else { return false }
            // A value ended: close what it ends, or go on behind a comma.
            while let closer = open.last {
                guard let byte = nextVisible() else { return false }
                if byte == closer {
                    open.removeLast()
                } else if byte == UInt8(ascii: ",") {
                    guard closer == UInt8(ascii: "]") || readName() else { return false }
                    break
                } else {
                    return false
                }
            }
        } while !open.isEmpty
        return nextVisible() == nil
    }

    /// Reads one value up to its end, or up to the first value inside it.
    private mutating func readValue() -> Bool {
        while let byte = nextVisible() {
            switch byte {
            case UInt8(ascii: "{"):
                guard enter(UInt8(ascii: "}")) else { return false }
                if peekVisible() == UInt8(ascii: "}") { return closeEmpty() }
                guard readName() else { return false }
            case UInt8(ascii: "["):
                guard enter(UInt8(ascii: "]")) else { return false }
                if peekVisible() == UInt8(ascii: "]") { return closeEmpty() }
            case UInt8(ascii: "\""): return readStringRest()
            case UInt8(ascii: "t"): return readWord("rue")
            case UInt8(ascii: "f"): return readWord("alse")
            case UInt8(ascii: "n"): return readWord("ull")
            default: return readNumber(startingWith: byte)
            }
        }
        return false
    }

    private mutating func enter(_ closer: UInt8) -> Bool {
        open.append(closer)
        return open.count <= maximumDepth
    }

    private mutating func closeEmpty() -> Bool {
        _ = nextVisible()
        open.removeLast()
        return true
    }

    private mutating func readName() -> Bool {
        guard nextVisible() == UInt8(ascii: "\""), readStringRest() else { return false }
        return nextVisible() == UInt8(ascii: ":")
    }

    private mutating func readStringRest() -> Bool {
        while let byte = next() {
            switch byte {
            case UInt8(ascii: "\""): return true
            case 0..<0x20: return false
            case UInt8(ascii: "\\"):
                guard let escape = next() else { return false }
                switch escape {
                case UInt8(ascii: "u"):
                    for _ in 0..<4 where !(next().map(Self.isHexadecimal) ?? false) { return false }
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
                    UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
                    break
                default: return false
                }
            default: break
            }
        }
        return false
    }

    private mutating func readNumber(startingWith first: UInt8) -> Bool {
        var byte = first
        if byte == UInt8(ascii: "-") {
            guard let digit = next() else { return false }
            byte = digit
        }
        guard Self.isDigit(byte) else { return false }
        if byte != UInt8(ascii: "0") { skipDigits() }
        if peek() == UInt8(ascii: ".") {
            position += 1
            guard skipDigits() else { return false }
        }
        if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
            position += 1
            if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { position += 1 }
            guard skipDigits() else { return false }
        }
        return true
    }

    private mutating func readWord(_ rest: StaticString) -> Bool {
        let count = rest.utf8CodeUnitCount
        let matches = rest.withUTF8Buffer { bytes[position...].prefix(count).elementsEqual($0) }
        position += count
        return matches
    }

    @discardableResult
    private mutating func skipDigits() -> Bool {
        let start = position
        while let byte = peek(), Self.isDigit(byte) { position += 1 }
        return position > start
    }

    private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func next() -> UInt8? {
        guard position < bytes.count else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    private mutating func peekVisible() -> UInt8? {
        while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D {
            position += 1
        }
        return peek()
    }

    private mutating func nextVisible() -> UInt8? {
        let byte = peekVisible()
        if byte != nil { position += 1 }
        return byte
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
    }
}
#endif
