#if Server
/// One range of a `Range` field (RFC 9110, section 14), resolved against a length.
enum ByteRange: Equatable, Sendable {
    /// No range, several, or one that is not understood: the whole is sent.
    case whole
    /// The bytes from `offset`, `length` of them.
    case part(offset: Int64, length: Int64)
    /// Nothing of it exists.
    case unsatisfiable

    /// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n`.
    static func parse(_ field: String?, length: Int64) -> ByteRange {
        guard let field, field.lowercased().hasPrefix("bytes=") else { return .whole }
        let range = field.dropFirst(6).filter { $0 != " " }
        guard !range.contains(","), let dash = range.firstIndex(of: "-") else { return .whole }
        let (first, last) = (range[..<dash], range[range.index(after: dash)...])
        if first.isEmpty {
            guard let count = digits(last) else { return .whole }
            guard count > 0, length > 0 else { return .unsatisfiable }
            let suffix = min(count, length)
            return .part(offset: length - suffix, length: suffix)
        }
        guard let start = digits(first) else { return .whole }
        if last.isEmpty {
            return start < length ? .part(offset: start, length: length - start) : .unsatisfiable
        }
        guard let end = digits(last), end >= start else { return .whole }
        guard start < length else { return .unsatisfiable }
        return .part(offset: start, length: min(end, length - 1) - start + 1)
    }

    private static func digits(_ text: some StringProtocol) -> Int64? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }
}

/// A validator of a representation (RFC 9110, section 8.8.3), always strong here.
struct EntityTag: Equatable, Sendable {
    /// With its quotes.
    let text: String

    /// Quotes `value` after dropping what a quoted tag may not hold.
    init(_ value: String) {
        let clean = value.unicodeScalars.filter { $0.value > 0x20 && $0.value < 0x7F && $0 != "\"" }
        text = "\"" + String(String.UnicodeScalarView(clean)) + "\""
    }

    /// Whether `If-None-Match` names this tag: weak comparison, `*` names every one.
    func isNamed(by field: String?) -> Bool {
        guard let field else { return false }
        return field.split(separator: ",").contains { candidate in
            var tag = candidate.drop { $0 == " " || $0 == "\t" }
            while tag.last == " " || tag.last == "\t" { tag.removeLast() }
            if tag.hasPrefix("W/") { tag = tag.dropFirst(2) }
            return tag == "*" || tag == text
        }
    }
}
#endif
