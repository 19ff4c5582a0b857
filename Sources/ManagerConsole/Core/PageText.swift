#if Server
internal import FoundationEssentials
internal import Mustache

/// Text for a page, escaped for the content of an element.
///
/// It is the only leaf of a page's model, so that no text reaches a page unescaped. Escaping goes by
/// Unicode scalars: the template engine's own goes by characters and lets `"` pass when a combining
/// mark follows it.
struct PageText: MustacheCustomRenderable, Sendable {
    let renderText: String
    var isNull: Bool { false }

    init(_ text: String) {
        var escaped = ""
        escaped.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "&": escaped += "&amp;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        renderText = escaped
    }

    init(_ number: some BinaryInteger) { self.init(String(number)) }

    /// A time in UTC (ISO 8601), or a dash.
    init(milliseconds: Int64?) {
        guard let milliseconds else {
            self.init("–")
            return
        }
        let date = Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
        self.init(date.formatted(.iso8601))
    }
}
#endif
