#if Server
/// The pattern of a route's path: literal segments and `{names}`, as in OpenAPI.
struct PathPattern: Hashable, Sendable, CustomStringConvertible {
    enum Segment: Hashable, Sendable {
        case literal(String)
        case parameter(String)
    }

    let segments: [Segment]

    /// Parses `/devices/{device}`; `/` is the root.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `invalidRoute` for a pattern without a leading
    ///   slash, with an empty segment, with a name twice, or with braces that do not enclose a
    ///   segment.
    init(_ text: String) throws {
        guard text.hasPrefix("/") else { throw Self.invalid(text, "begins with a slash") }
        guard text != "/" else {
            segments = []
            return
        }
        var result: [Segment] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            if part.isEmpty { throw Self.invalid(text, "has no empty segment") }
            if part.first == "{", part.last == "}" {
                let name = Segment.parameter(String(part.dropFirst().dropLast()))
                guard part.count > 2, !result.contains(name) else {
                    throw Self.invalid(text, "names each parameter once")
                }
                result.append(name)
            } else if part.contains(where: { "{}%?#".contains($0) }) {
                throw Self.invalid(text, "has braces around whole segments only, and no escapes")
            } else {
                result.append(.literal(String(part)))
            }
        }
        segments = result
    }

    private init(segments: [Segment]) { self.segments = segments }

    private static func invalid(_ text: String, _ rule: String) -> HTTPHandlingError {
        HTTPHandlingError(.invalidRoute, "A path pattern \(rule); change \"\(text)\".")
    }

    var description: String {
        guard !segments.isEmpty else { return "/" }
        return segments.reduce(into: "") { text, segment in
            switch segment {
            case .literal(let word): text += "/\(word)"
            case .parameter(let name): text += "/{\(name)}"
            }
        }
    }

    /// What the parameters match in `path`, or `nil` if the pattern is another.
    func match(_ path: ArraySlice<String>) -> [(name: String, value: String)]? {
        guard path.count == segments.count else { return nil }
        var values: [(name: String, value: String)] = []
        for (segment, text) in zip(segments, path) {
            switch segment {
            case .literal(let word): guard word == text else { return nil }
            case .parameter(let name):
                guard !text.isEmpty else { return nil }
                values.append((name, text))
            }
        }
        return values
    }

    /// Whether `path` begins with this pattern. Only literals are compared.
    func isPrefix(of path: ArraySlice<String>) -> Bool {
        guard path.count >= segments.count else { return false }
        return zip(segments, path).allSatisfy { $0 == .literal($1) }
    }

    /// Whether both match the same paths.
    func overlaps(_ other: PathPattern) -> Bool { shape == other.shape }

    private var shape: [String?] {
        segments.map { if case .literal(let word) = $0 { word } else { nil } }
    }

    /// Whether a path that matches both goes here: the first segment where only one is literal
    /// decides.
    func isMoreSpecific(than other: PathPattern) -> Bool {
        for (mine, theirs) in zip(shape, other.shape) where (mine == nil) != (theirs == nil) {
            return mine != nil
        }
        return false
    }

    func appending(_ other: PathPattern) -> PathPattern {
        PathPattern(segments: segments + other.segments)
    }

    var hasParameters: Bool { shape.contains(nil) }
}
#endif
