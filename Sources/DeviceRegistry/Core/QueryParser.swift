internal import ClusterRole

/// One word of a query's text.
enum QueryToken: Hashable {
    case word(String)
    case text(String)
    case number(Double)
    case comparison(DeviceQuery.Comparison)
    case open, close

    /// Words that mean something; a property called so stands in quotes.
    static let reserved: Set<String> = [
        "and", "or", "not", "exists", "installed", "member", "polling", "liveness", "prefix",
        "true", "false",
    ]

    static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// Reads the text form of a query. Recursion is bounded by ``DeviceQuery/maximumDepth``.
struct QueryParser {
    private var tokens: [(token: QueryToken, offset: Int)] = []
    private var position = 0
    private var end = 0

    init(_ text: String) throws(DeviceRegistryError) {
        var lexer = QueryLexer(bytes: Array(text.utf8))
        while let token = try lexer.next() { tokens.append(token) }
        end = text.utf8.count
    }

    mutating func query() throws(DeviceRegistryError) -> DeviceQuery {
        let query = try alternatives(depth: 1)
        if position < tokens.count { throw expected("`and`, `or` or the end") }
        return query
    }

    private var next: QueryToken? { position < tokens.count ? tokens[position].token : nil }

    private func expected(_ what: String) -> DeviceRegistryError {
        let offset = position < tokens.count ? tokens[position].offset : end
        return DeviceRegistryError(
            .invalidQuery,
            "The query cannot be read: expected \(what) at byte \(offset)."
        )
    }

    private mutating func take(word: String) -> Bool {
        guard next == .word(word) else { return false }
        position += 1
        return true
    }

    private mutating func alternatives(depth: Int) throws(DeviceRegistryError) -> DeviceQuery {
        var parts = [try conjunction(depth: depth)]
        while take(word: "or") { parts.append(try conjunction(depth: depth)) }
        return parts.count == 1 ? parts[0] : .or(parts)
    }

    private mutating func conjunction(depth: Int) throws(DeviceRegistryError) -> DeviceQuery {
        var parts = [try unary(depth: depth)]
        while take(word: "and") { parts.append(try unary(depth: depth)) }
        return parts.count == 1 ? parts[0] : .and(parts)
    }

    private mutating func unary(depth: Int) throws(DeviceRegistryError) -> DeviceQuery {
        // Parentheses that group nothing nest here too, so that no text exhausts the stack.
        guard depth <= 2 * DeviceQuery.maximumDepth else {
            throw DeviceRegistryError(
                .tooLarge,
                "A query nests at most \(DeviceQuery.maximumDepth) deep. Ask in two."
            )
        }
        if take(word: "not") { return .not(try unary(depth: depth + 1)) }
        if next == .open {
            position += 1
            let inner = try alternatives(depth: depth + 1)
            guard next == .close else { throw expected("a closing parenthesis") }
            position += 1
            return inner
        }
        return try comparison()
    }

    private mutating func comparison() throws(DeviceRegistryError) -> DeviceQuery {
        guard let token = next else { throw expected("a comparison") }
        position += 1
        switch token {
        case .word("exists"): return .exists(try name())
        case .word("installed"):
            let identifier = try text("an application's identifier in quotes")
            guard let comparison = takeOperator() else { return .installed(identifier, nil) }
            let version = try text("a version in quotes")
            return .installed(identifier, DeviceQuery.VersionBound(comparison, version))
        case .word("member"):
            return .member(of: GroupID(rawValue: try text("a group's name in quotes")))
        case .word("polling"): return try polling()
        case .word("liveness"):
            guard takeOperator() == .equals, case .word(let word) = next,
                let liveness = Liveness(rawValue: word)
            else { throw expected("`= active`, `= unreachable` or `= inactive`") }
            position += 1
            return .liveness(liveness)
        case .word(let name) where !QueryToken.reserved.contains(name), .text(let name):
            guard let comparison = takeOperator() else { throw expected("an operator") }
            return .property(name, comparison, try value())
        default:
            position -= 1
            throw expected("a comparison")
        }
    }

    private mutating func polling() throws(DeviceRegistryError) -> DeviceQuery {
        guard let comparison = takeOperator(), case .number(let seconds) = next,
            (0...1e10).contains(seconds)
        else { throw expected("an operator and a number of seconds") }
        position += 1
        return .polling(comparison, .milliseconds(Int64((seconds * 1_000).rounded())))
    }

    private mutating func takeOperator() -> DeviceQuery.Comparison? {
        if take(word: "prefix") { return .hasPrefix }
        guard case .comparison(let comparison) = next else { return nil }
        position += 1
        return comparison
    }

    private mutating func name() throws(DeviceRegistryError) -> String {
        switch next {
        case .word(let name) where !QueryToken.reserved.contains(name), .text(let name):
            position += 1
            return name
        default: throw expected("a property's name")
        }
    }

    private mutating func text(_ what: String) throws(DeviceRegistryError) -> String {
        guard case .text(let text) = next else { throw expected(what) }
        position += 1
        return text
    }

    private mutating func value() throws(DeviceRegistryError) -> PropertyValue {
        let found: PropertyValue
        switch next {
        case .text(let text): found = .text(text)
        case .number(let number): found = .number(number)
        case .word("true"): found = .flag(true)
        case .word("false"): found = .flag(false)
        default: throw expected("a text in quotes, a number, `true` or `false`")
        }
        position += 1
        return found
    }
}

/// Cuts a query's text into words.
private struct QueryLexer {
    let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func next() throws(DeviceRegistryError) -> (token: QueryToken, offset: Int)? {
        while position < bytes.count,
            bytes[position] == 0x20 || (0x09...0x0D).contains(bytes[position])
        {
            position += 1
        }
        guard position < bytes.count else { return nil }
        let start = position
        return (try token(), start)
    }

    private mutating func token() throws(DeviceRegistryError) -> QueryToken {
        let byte = bytes[position]
        switch byte {
        case UInt8(ascii: "("):
            position += 1
            return .open
        case UInt8(ascii: ")"):
            position += 1
            return .close
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "="), UInt8(ascii: "!"), UInt8(ascii: "<"), UInt8(ascii: ">"):
            return .comparison(try comparison())
        default: return try word()
        }
    }

    private mutating func comparison() throws(DeviceRegistryError) -> DeviceQuery.Comparison {
        let start = position
        position += 1
        if position < bytes.count, bytes[position] == UInt8(ascii: "=") { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let found = DeviceQuery.Comparison(rawValue: text) else { throw fault(at: start) }
        return found
    }

    private mutating func text() throws(DeviceRegistryError) -> String {
        let start = position
        var text: [UInt8] = []
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: text, as: UTF8.self) }
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            guard position < bytes.count, "\"\\".utf8.contains(bytes[position]) else {
                throw fault(at: position)
            }
            text.append(bytes[position])
            position += 1
        }
        throw DeviceRegistryError(
            .invalidQuery,
            "The query cannot be read: the text that begins at byte \(start) has no closing quote."
        )
    }

    /// A word, or a number: what begins with a digit or a minus sign.
    private mutating func word() throws(DeviceRegistryError) -> QueryToken {
        let start = position
        let first = bytes[start]
        let isNumber = (0x30...0x39).contains(first) || first == UInt8(ascii: "-")
        while position < bytes.count,
            QueryToken.isWordByte(bytes[position])
                || isNumber && bytes[position] == UInt8(ascii: "+")
        {
            position += 1
        }
        guard position > start else { throw fault(at: start) }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard isNumber else { return .word(text) }
        guard let number = Double(text), number.isFinite else { throw fault(at: start) }
        return .number(number)
    }

    private func fault(at offset: Int) -> DeviceRegistryError {
        DeviceRegistryError(
            .invalidQuery,
            "The query cannot be read at byte \(offset). Names and texts with other characters than "
                + "letters, digits, dots, underscores and hyphens stand in double quotes."
        )
    }
}
