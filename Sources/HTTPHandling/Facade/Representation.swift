#if Server
internal import HTTPTypes

/// Something that is served as it stands: a file, or bytes, with a validator.
///
/// It answers conditional requests (`If-None-Match`, 304) and resumes interrupted transfers
/// (`Range` with `If-Range`, 206 and 416) by RFC 9110. Of several ranges in one request the whole
/// is sent.
public struct Representation: Sendable {
    /// Where the bytes are.
    public enum Content: Sendable {
        case bytes([UInt8])
        case file(OpenFile)

        /// How many there are.
        public var length: Int64 {
            switch self {
            case .bytes(let bytes): Int64(bytes.count)
            case .file(let file): file.length
            }
        }
    }

    public var content: Content
    public var contentType: String
    /// Names exactly these bytes, such as their digest; without quotes. Without one there is no
    /// 304, and `If-Range` never matches.
    public var entityTag: String?
    /// The field `Cache-Control`.
    public var cacheControl: String?

    public init(
        _ content: Content,
        contentType: String,
        entityTag: String? = nil,
        cacheControl: String? = nil
    ) {
        self.content = content
        self.contentType = contentType
        self.entityTag = entityTag
        self.cacheControl = cacheControl
    }

    /// Opens the file at `path`.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `noFile` or `unreadableFile`.
    public init(
        file path: String,
        contentType: String = MediaType.bytes,
        entityTag: String? = nil,
        cacheControl: String? = nil
    ) throws {
        self.init(
            .file(try OpenFile(path: path)),
            contentType: contentType,
            entityTag: entityTag,
            cacheControl: cacheControl
        )
    }

    /// The answer to a `GET`. ``RouteTable`` turns it into the one to `HEAD`.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `unsatisfiableRange`, carrying `Content-Range`.
    public func response(to request: HandlerRequest) throws -> HandlerResponse {
        var fields: HTTPFields = [.acceptRanges: "bytes"]
        let tag = entityTag.map { EntityTag($0) }
        fields[.eTag] = tag?.text
        fields[.cacheControl] = cacheControl
        if let tag, tag.isNamed(by: request.headerFields[.ifNoneMatch]) {
            return HandlerResponse(status: .notModified, headerFields: fields)
        }
        fields[.contentType] = contentType
        switch range(of: request, tag) {
        case .whole:
            return HandlerResponse(headerFields: fields, body: body(0, content.length))
        case .part(let offset, let length):
            fields[.contentRange] = "bytes \(offset)-\(offset + length - 1)/\(content.length)"
            return HandlerResponse(
                status: .partialContent,
                headerFields: fields,
                body: body(offset, length)
            )
        case .unsatisfiable:
            throw HTTPHandlingError(
                .unsatisfiableRange,
                "There are \(content.length) bytes. Ask for a range within them, or for the whole.",
                headerFields: [.contentRange: "bytes */\(content.length)"]
            )
        }
    }

    private func range(of request: HandlerRequest, _ tag: EntityTag?) -> ByteRange {
        guard request.method == .get else { return .whole }
        if let condition = request.headerFields[.ifRange], condition != tag?.text { return .whole }
        return ByteRange.parse(request.headerFields[.range], length: content.length)
    }

    private func body(_ offset: Int64, _ length: Int64) -> HandlerResponse.Body {
        switch content {
        case .bytes(let bytes): .bytes(Array(bytes[Int(offset)..<Int(offset + length)]))
        case .file(let file): .file(FileRegion(file, offset: offset, length: length))
        }
    }
}
#endif
