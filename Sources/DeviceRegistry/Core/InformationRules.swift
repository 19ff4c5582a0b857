/// Which device information is taken: a JSON document (RFC 8259) of bounded size and depth.
///
/// The check walks the bytes once, without recursion and without building anything, so that no
/// document can exhaust the stack or the memory.
public enum InformationRules: Sendable {
    /// The largest body, in bytes. A list of a thousand applications fits; a photograph does not.
    public static let maximumBytes = 65_536
    /// The deepest nesting. Nobody describes a device deeper; parsers have died of it.
    public static let maximumDepth = 64

    /// - Throws: ``DeviceRegistryError`` with code `tooLarge` or `invalidInformation`.
    public static func validate(_ body: [UInt8]) throws(DeviceRegistryError) {
        guard body.count <= maximumBytes else {
            throw DeviceRegistryError(
                .tooLarge,
                "Information has at most \(maximumBytes) bytes; this has \(body.count). Send less."
            )
        }
        var scanner = DocumentScanner(bytes: body, maximumDepth: maximumDepth)
        if let offset = scanner.firstFault() {
            throw DeviceRegistryError(
                .invalidInformation,
                "Information is a JSON document at most \(maximumDepth) levels deep; this one is "
                    + "not, at byte \(offset)."
            )
        }
        guard String(validating: body, as: UTF8.self) != nil else {
            throw DeviceRegistryError(.invalidInformation, "Information is encoded in UTF-8.")
        }
    }
}

/// Finds the first byte at which a text stops being one JSON value.
private struct DocumentScanner {
    private enum Container: UInt8 { case object, array }

    let bytes: [UInt8]
    let maximumDepth: Int
    private var position = 0
    private var open: [Container] = []

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    /// - Returns: `nil` if the whole text is one value.
    mutating func firstFault() -> Int? {
        var expectsValue = true
        while true {
            skipSpace()
            if expectsValue {
                guard let closed = takeValue() else { return position }
                expectsValue = !closed
            } else if let container = open.last {
                guard let goesOn = takeSeparator(in: container) else { return position }
                expectsValue = goesOn
            } else {
                return position == bytes.count ? nil : position
            }
        }
    }

    /// Takes a scalar, an empty container, or the beginning of a container up to its first value.
    ///
    /// - Returns: whether the value is complete; `nil` at a fault.
    private mutating func takeValue() -> Bool? {
        switch next {
        case UInt8(ascii: "{"): return begin(.object, end: UInt8(ascii: "}"))
        case UInt8(ascii: "["): return begin(.array, end: UInt8(ascii: "]"))
        case UInt8(ascii: "\""): return takeString() ? true : nil
        case UInt8(ascii: "t"): return takeWord("true") ? true : nil
        case UInt8(ascii: "f"): return takeWord("false") ? true : nil
        case UInt8(ascii: "n"): return takeWord("null") ? true : nil
        default: return takeNumber() ? true : nil
        }
    }

    private mutating func begin(_ container: Container, end: UInt8) -> Bool? {
        guard open.count < maximumDepth else { return nil }
        position += 1
        skipSpace()
        if next == end {
            position += 1
            return true
        }
        open.append(container)
        if container == .object { return takeName() ? false : nil }
        return false
    }

    /// - Returns: whether another value follows; `nil` at a fault.
    private mutating func takeSeparator(in container: Container) -> Bool? {
        let end = container == .object ? UInt8(ascii: "}") : UInt8(ascii: "]")
        if next == end {
            position += 1
            open.removeLast()
            return false
        }
        guard next == UInt8(ascii: ",") else { return nil }
        position += 1
        if container == .array { return true }
        skipSpace()
        return takeName() ? true : nil
    }

    private mutating func takeName() -> Bool {
        guard takeString() else { return false }
        skipSpace()
        guard next == UInt8(ascii: ":") else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            position += 1
        }
    }

    private mutating func takeWord(_ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            guard bytes[position...].starts(with: word) else { return false }
            position += word.count
            return true
        }
    }

    private mutating func takeString() -> Bool {
        guard next == UInt8(ascii: "\"") else { return false }
        position += 1
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return true
            case UInt8(ascii: "\\"): if !takeEscape() { return false }
            case ..<0x20: return false
            default: continue
            }
        }
        return false
    }

    private mutating func takeEscape() -> Bool {
        guard let byte = next else { return false }
        position += 1
        guard byte == UInt8(ascii: "u") else { return "\"\\/bfnrt".utf8.contains(byte) }
        for _ in 0..<4 {
            guard let digit = next, isHexadecimal(digit) else { return false }
            position += 1
        }
        return true
    }

    private func isHexadecimal(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x41...0x46).contains(byte) || (0x61...0x66).contains(byte)
    }

    private func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private mutating func takeNumber() -> Bool {
        if next == UInt8(ascii: "-") { position += 1 }
        if next == UInt8(ascii: "0") {
            position += 1
        } else if !takeDigits() {
            return false
        }
        if next == UInt8(ascii: ".") {
            position += 1
            if !takeDigits() { return false }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            return takeDigits()
        }
        return true
    }

    private mutating func takeDigits() -> Bool {
        let start = position
        while let byte = next, isDigit(byte) { position += 1 }
        return position > start
    }
}
