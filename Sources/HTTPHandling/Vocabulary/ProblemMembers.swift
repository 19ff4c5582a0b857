#if Server
/// An error that says more in its problem document than its code and its message.
///
/// Whoever answers with another module's errors makes them this.
public protocol ProblemMembers: Error {
    /// Members of the document beside those of ``ProblemDetails``; callers may ignore them.
    var problemMembers: [String: JSONValue] { get }
}

extension ProblemDetails {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private enum Known: String, CaseIterable {
        case type, title, status, detail, instance, code, retryAfter

        var key: Key { Key(stringValue: rawValue) }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        type = try container.decode(String.self, forKey: Known.type.key)
        title = try container.decode(String.self, forKey: Known.title.key)
        status = try container.decode(Int.self, forKey: Known.status.key)
        detail = try container.decodeIfPresent(String.self, forKey: Known.detail.key)
        instance = try container.decodeIfPresent(String.self, forKey: Known.instance.key)
        code = try container.decode(String.self, forKey: Known.code.key)
        retryAfter = try container.decodeIfPresent(Int.self, forKey: Known.retryAfter.key)
        for key in container.allKeys where Known(rawValue: key.stringValue) == nil {
            members[key.stringValue] = try container.decode(JSONValue.self, forKey: key)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(type, forKey: Known.type.key)
        try container.encode(title, forKey: Known.title.key)
        try container.encode(status, forKey: Known.status.key)
        try container.encodeIfPresent(detail, forKey: Known.detail.key)
        try container.encodeIfPresent(instance, forKey: Known.instance.key)
        try container.encode(code, forKey: Known.code.key)
        try container.encodeIfPresent(retryAfter, forKey: Known.retryAfter.key)
        for (name, value) in members.sorted(by: { $0.key < $1.key })
        where Known(rawValue: name) == nil {
            try container.encode(value, forKey: Key(stringValue: name))
        }
    }
}
#endif
