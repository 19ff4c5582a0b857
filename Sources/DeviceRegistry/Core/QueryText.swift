internal import ClusterRole

extension DeviceQuery: CustomStringConvertible, Codable {
    /// Reads the text form.
    ///
    /// ```
    /// query      = and { "or" and }                 and = unary { "and" unary }
    /// unary      = "not" unary | "(" query ")" | comparison
    /// comparison = name operator value              a property: os.version >= "17"
    ///            | "exists" name
    ///            | "installed" text [ operator text ]
    ///            | "member" text
    ///            | "polling" operator seconds
    ///            | "liveness" "=" ( "active" | "unreachable" | "inactive" )
    /// operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | "prefix"
    /// value      = text | number | "true" | "false"
    /// ```
    ///
    /// A text stands in double quotes, with `\"` and `\\` for these two. A name that holds anything but
    /// letters, digits, `.`, `_` and `-`, or is one of the words above, stands in double quotes too.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `invalidQuery`, naming the place, or `tooLarge`.
    public init(parsing text: String) throws(DeviceRegistryError) {
        guard text.utf8.count <= Self.maximumTextBytes else { throw Self.tooLong() }
        var parser = try QueryParser(text)
        self = try parser.query()
        try validate()
    }

    /// Checks a query that was put together in code.
    ///
    /// - Throws: ``DeviceRegistryError`` with code `invalidQuery` or `tooLarge`.
    public func validate() throws(DeviceRegistryError) {
        guard depth <= Self.maximumDepth, nodes <= Self.maximumNodes else {
            throw DeviceRegistryError(
                .tooLarge,
                "A query has at most \(Self.maximumNodes) parts, \(Self.maximumDepth) deep. Ask in two."
            )
        }
        guard description.utf8.count <= Self.maximumTextBytes else { throw Self.tooLong() }
        try validateParts()
    }

    private func validateParts() throws(DeviceRegistryError) {
        switch self {
        case .and(let parts), .or(let parts):
            guard parts.count > 1 else {
                throw DeviceRegistryError(.invalidQuery, "`and` and `or` join two parts or more.")
            }
            for part in parts { try part.validateParts() }
        case .not(let part): try part.validateParts()
        case .property(let name, _, let value):
            try Self.validate(name)
            if case .number(let number) = value, !number.isFinite {
                throw DeviceRegistryError(.invalidQuery, "A number in a query is finite.")
            }
        case .exists(let name), .installed(let name, _): try Self.validate(name)
        case .member(let group):
            do {
                _ = try GroupID(validating: group.rawValue)
            } catch {
                throw DeviceRegistryError(.invalidQuery, error.message, cause: error)
            }
        case .polling(let comparison, _):
            if comparison == .hasPrefix {
                throw DeviceRegistryError(.invalidQuery, "A polling frequency has no prefix.")
            }
        case .liveness: break
        }
    }

    private static func validate(_ name: String) throws(DeviceRegistryError) {
        guard !name.isEmpty, name.utf8.count <= InformationLimits.nameBytes else {
            throw DeviceRegistryError(
                .invalidQuery,
                "A name in a query has 1 to \(InformationLimits.nameBytes) bytes."
            )
        }
    }

    private static func tooLong() -> DeviceRegistryError {
        DeviceRegistryError(.tooLarge, "A query has at most \(maximumTextBytes) bytes. Ask in two.")
    }

    /// The text form; parsing it gives an equal query.
    public var description: String {
        switch self {
        case .property(let name, let comparison, let value):
            "\(Self.written(name: name)) \(comparison.rawValue) \(value.written)"
        case .exists(let name): "exists \(Self.written(name: name))"
        case .installed(let identifier, let bound):
            "installed \(quoted(identifier))"
                + (bound.map { " \($0.comparison.rawValue) \(quoted($0.version))" } ?? "")
        case .member(let group): "member \(quoted(group.rawValue))"
        case .polling(let comparison, let frequency):
            "polling \(comparison.rawValue) \(Double(frequency.milliseconds) / 1_000)"
        case .liveness(let liveness): "liveness = \(liveness.rawValue)"
        case .and(let parts): parts.map(\.enclosed).joined(separator: " and ")
        case .or(let parts): parts.map(\.enclosed).joined(separator: " or ")
        case .not(let part): "not \(part.enclosed)"
        }
    }

    private var enclosed: String {
        switch self {
        case .and, .or: "(\(self))"
        default: description
        }
    }

    private static func written(name: String) -> String {
        let isPlain = name.utf8.allSatisfy(QueryToken.isWordByte) && !name.isEmpty
        let first = name.utf8.first ?? 0
        let isNumeric = (0x30...0x39).contains(first) || first == UInt8(ascii: "-")
        return isPlain && !isNumeric && !QueryToken.reserved.contains(name) ? name : quoted(name)
    }

    /// The text form as one string.
    public init(from decoder: any Decoder) throws {
        try self.init(parsing: decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension PropertyValue {
    fileprivate var written: String {
        switch self {
        case .text(let text): quoted(text)
        case .number(let number): "\(number)"
        case .flag(let flag): flag ? "true" : "false"
        }
    }
}

private func quoted(_ text: String) -> String {
    var result = "\""
    for character in text.unicodeScalars {
        if character == "\"" || character == "\\" { result.unicodeScalars.append("\\") }
        result.unicodeScalars.append(character)
    }
    return result + "\""
}
