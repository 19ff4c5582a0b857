#if Server
internal import FoundationEssentials
public import HTTPTypes

/// One answer, independent of the server that sends it.
public struct HandlerResponse: Sendable {
    /// Status and header fields. Hosts add `Content-Length` or chunked framing from ``body``.
    public var head: HTTPResponse
    public var body: Body
    /// Which operation answered, for metrics and spans: a name from a closed set, never from input.
    /// ``RouteTable`` sets it.
    public var operationID: String?
    /// The revision that contains what the request changed, for audit entries.
    public var revision: String?
    /// The stable code of the problem this answer tells, for those who audit refusals; `nil` for others.
    public var problemCode: String?

    /// What follows the head.
    public enum Body: Sendable {
        /// Nothing. A `Content-Length` in the head is kept: it is how `HEAD` is answered.
        case none
        case bytes([UInt8])
        /// A stream. With a length the host promises it, and breaks the connection if the stream
        /// gives more or less; without one the body is chunked.
        case stream(ByteChunks, length: Int64?)
        /// A part of a file, or all of it.
        case file(FileRegion)

        /// The number of bytes, if it is known.
        public var length: Int64? {
            switch self {
            case .none: 0
            case .bytes(let bytes): Int64(bytes.count)
            case .stream(_, let length): length
            case .file(let region): region.length
            }
        }

        /// The bytes as a stream, whatever form they have: for hosts that know no other.
        public var chunks: ByteChunks {
            switch self {
            case .none: HandlerBody()
            case .bytes(let bytes): HandlerBody(bytes)
            case .stream(let chunks, _): chunks
            case .file(let region): region.chunks()
            }
        }
    }

    public init(
        status: HTTPResponse.Status = .ok,
        headerFields: HTTPFields = [:],
        body: Body = .none
    ) {
        head = HTTPResponse(status: status, headerFields: headerFields)
        self.body = body
    }

    public var status: HTTPResponse.Status { head.status }
    public var headerFields: HTTPFields {
        get { head.headerFields }
        set { head.headerFields = newValue }
    }

    /// `value` as JSON, with keys in order so that equal values give equal bytes.
    ///
    /// - Throws: `EncodingError` if the value cannot be written, such as a number that is not
    ///   finite.
    public static func json(
        _ value: some Encodable,
        status: HTTPResponse.Status = .ok,
        headerFields: HTTPFields = [:]
    ) throws -> HandlerResponse {
        let bytes = try encodedJSON(value)
        return .bytes(
            bytes,
            contentType: MediaType.json,
            status: status,
            headerFields: headerFields
        )
    }

    /// Bytes of a media type.
    public static func bytes(
        _ bytes: [UInt8],
        contentType: String,
        status: HTTPResponse.Status = .ok,
        headerFields: HTTPFields = [:]
    ) -> HandlerResponse {
        var fields = headerFields
        fields[.contentType] = contentType
        return HandlerResponse(status: status, headerFields: fields, body: .bytes(bytes))
    }

    /// Plain text in UTF-8.
    public static func text(
        _ text: String,
        status: HTTPResponse.Status = .ok
    ) -> HandlerResponse {
        .bytes(Array(text.utf8), contentType: MediaType.text, status: status)
    }

    /// A page in UTF-8.
    public static func html(
        _ page: String,
        status: HTTPResponse.Status = .ok
    ) -> HandlerResponse {
        .bytes(Array(page.utf8), contentType: MediaType.html, status: status)
    }

    /// An answer without a body: 204 unless said otherwise.
    public static func empty(
        _ status: HTTPResponse.Status = .noContent,
        headerFields: HTTPFields = [:]
    ) -> HandlerResponse {
        HandlerResponse(status: status, headerFields: headerFields)
    }

    /// The answer to `HEAD`: the same head, with the length the body would have had.
    public func withoutBody() -> HandlerResponse {
        var result = self
        if case .none = body { return result }
        if let length = body.length { result.headerFields[.contentLength] = String(length) }
        result.body = .none
        return result
    }
}

/// The media types this package writes.
public enum MediaType: Sendable {
    public static let json = "application/json"
    public static let problem = "application/problem+json"
    public static let text = "text/plain; charset=utf-8"
    public static let html = "text/html; charset=utf-8"
    public static let bytes = "application/octet-stream"
}

/// `value` as JSON with sorted keys.
func encodedJSON(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
}
#endif
