/// A small JSON value, read from a document that ``InformationRules`` has passed.
///
/// Its size and depth are bounded by that check, so recursion is safe here.
package enum JSONNode: Hashable, Sendable {
    case null
    case flag(Bool)
    case number(Double)
    case text(String)
    case array([JSONNode])
    /// In the document's order, repeated names included.
    case object([Member])

    package struct Member: Hashable, Sendable {
        package var name: String
        package var value: JSONNode
    }

    /// - Throws: ``DeviceRegistryError`` with code `tooLarge` or `invalidInformation`.
    package init(checking document: [UInt8]) throws(DeviceRegistryError) {
        try InformationRules.validate(document)
        var reader = JSONNodeReader(bytes: document)
        self = reader.value()
    }

    /// The last member of that name, as most readers of JSON take it.
    package subscript(name: String) -> JSONNode? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == name }?.value
    }

    package var number: Double? {
        if case .number(let value) = self, value.isFinite { value } else { nil }
    }

    package var text: String? {
        if case .text(let value) = self { value } else { nil }
    }
}

/// Reads a document known to be one JSON value. A byte that cannot be there ends the value early; it
/// never traps.
private struct JSONNodeReader {
    let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    /// Takes `byte` and the white space before it, if it comes next.
    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard next == byte else { return false }
        position += 1
        return true
    }

    mutating func value() -> JSONNode {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return object()
        case UInt8(ascii: "["): return array()
        case UInt8(ascii: "\""): return .text(string())
        case UInt8(ascii: "t"):
            position += 4
            return .flag(true)
        case UInt8(ascii: "f"):
            position += 5
            return .flag(false)
        case UInt8(ascii: "n"):
            position += 4
            return .null
        default: return number()
        }
    }

    private mutating func object() -> JSONNode {
        position += 1
        var members: [JSONNode.Member] = []
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipSpace()
            let name = string()
            guard take(UInt8(ascii: ":")) else { break }
            members.append(JSONNode.Member(name: name, value: value()))
        } while take(UInt8(ascii: ","))
        _ = take(UInt8(ascii: "}"))
        return .object(members)
    }

    private mutating func array() -> JSONNode {
        position += 1
        var elements: [JSONNode] = []
        if take(UInt8(ascii: "]")) { return .array(elements) }
        repeat { elements.append(value()) } while take(UInt8(ascii: ","))
        _ = take(UInt8(ascii: "]"))
        return .array(elements)
    }

    private mutating func number() -> JSONNode {
        let start = position
        while let byte = next, "+-.eE0123456789".utf8.contains(byte) { position += 1 }
        if start == position { position += 1 }
        let end = min(position, bytes.count)
        let text = String(decoding: bytes[min(start, end)..<end], as: UTF8.self)
        return Double(text).map { .number($0) } ?? .null
    }

    private mutating func string() -> String {
        guard next == UInt8(ascii: "\"") else { return "" }
        position += 1
        var text: [UInt8] = []
        while let byte = next {
            position += 1
            if byte == UInt8(ascii: "\"") { break }
            if byte == UInt8(ascii: "\\") {
                escape(into: &text)
            } else {
                text.append(byte)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func escape(into text: inout [UInt8]) {
        guard let byte = next else { return }
        position += 1
        switch byte {
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            let scalar = self.scalar()
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: text.append(byte)
        }
    }

    /// The scalar behind `\u`; U+FFFD for half a surrogate pair.
    private mutating func scalar() -> Unicode.Scalar {
        let replacement: Unicode.Scalar = "\u{FFFD}"
        let first = unit()
        guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) ?? replacement }
        let start = position
        guard next == UInt8(ascii: "\\") else { return replacement }
        position += 1
        guard next == UInt8(ascii: "u") else {
            position = start
            return replacement
        }
        position += 1
        let second = unit()
        guard UTF16.isTrailSurrogate(second) else {
            position = start
            return replacement
        }
        let high = UInt32(first & 0x3FF) << 10
        return Unicode.Scalar(0x10000 + high + UInt32(second & 0x3FF)) ?? replacement
    }

    private mutating func unit() -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next,
                let digit = Character(Unicode.Scalar(byte)).hexDigitValue
            else { return value }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }
}
