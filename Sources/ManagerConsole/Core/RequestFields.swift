#if Server
internal import ClusterRole
internal import FoundationEssentials
internal import HTTPHandling
internal import HTTPTypes

extension HTTPField.Name {
    static let idempotencyKey = HTTPField.Name("Idempotency-Key")!
}

/// The longest `Idempotency-Key`, in bytes: it is a column of an index.
let maximumIdempotencyKeyBytes = 255

/// The rows of a page nobody sized.
let defaultPageSize = 100

extension HandlerRequest {
    /// The field `Idempotency-Key`, if there is one.
    func idempotencyKey() throws -> String? {
        guard let key = headerFields[.idempotencyKey] else { return nil }
        let isVisible = key.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard !key.isEmpty, key.utf8.count <= maximumIdempotencyKeyBytes, isVisible else {
            throw HTTPHandlingError(
                .invalidParameter,
                "An Idempotency-Key has 1 to \(maximumIdempotencyKeyBytes) visible ASCII characters."
            )
        }
        return key
    }

    /// The item `limit` of the query.
    func pageLimit(upTo maximum: Int) throws -> Int {
        try query.integer("limit", in: 1...maximum) ?? defaultPageSize
    }

    /// An item of the query as a name.
    func queryName<Name: NameIdentifier>(_ name: String, as type: Name.Type) throws -> Name? {
        try query[name].map { try Name(validating: $0) }
    }

    /// An item of the query as a number a list is continued below.
    func queryNumber(_ name: String) throws -> Int64? {
        guard let text = query[name] else { return nil }
        guard let number = Int64(text) else {
            throw HTTPHandlingError(
                .invalidParameter,
                "The query item \(name) is `next` of the page before."
            )
        }
        return number
    }
}

extension Duration {
    /// A duration that came as seconds.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `invalidField` unless it lies in `range`. A number
    ///   that is not finite never does.
    init(
        seconds: Double,
        of field: String,
        in range: ClosedRange<Duration>
    ) throws(ManagerConsoleError) {
        let milliseconds = (seconds * 1_000).rounded()
        let bounds = Double(range.lowerBound.milliseconds)...Double(range.upperBound.milliseconds)
        guard bounds.contains(milliseconds) else {
            throw ManagerConsoleError(
                .invalidField,
                "The field \(field) is a number of seconds from \(range.lowerBound.inSeconds) to "
                    + "\(range.upperBound.inSeconds)."
            )
        }
        self = .milliseconds(Int64(milliseconds))
    }

    /// Seconds with decimals, to the millisecond.
    var inSeconds: Double { Double(milliseconds) / 1_000 }
}

/// The bytes of a payload that came as JSON or in base64; none if it came as neither.
///
/// - Throws: ``ManagerConsoleError`` with code `invalidField`.
func payloadBytes(_ json: JSONValue?, base64: String?) throws -> [UInt8] {
    switch (json, base64) {
    case (nil, nil): return []
    case (let json?, nil): return try json.encoded()
    case (nil, let text?):
        guard let data = Data(base64Encoded: text) else {
            throw ManagerConsoleError(
                .invalidField,
                "The field payloadBase64 is base64 (RFC 4648, section 4)."
            )
        }
        return Array(data)
    case (_?, _?):
        throw ManagerConsoleError(
            .invalidField,
            "Send payload or payloadBase64, not both."
        )
    }
}

/// What a device or an enqueuer sent, as JSON where it is JSON, else in base64.
struct ShownBytes {
    var json: JSONValue?
    var base64: String?

    init(_ bytes: [UInt8]) {
        if bytes.isEmpty { return }
        json = try? JSONValue(parsing: bytes)
        if json == nil { base64 = Data(bytes).base64EncodedString() }
    }
}
#endif
