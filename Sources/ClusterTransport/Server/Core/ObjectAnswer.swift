#if Server
internal import ArtifactStore
internal import HTTPHandling
internal import HTTPTypes

/// An object as an answer: the bytes from where `Range: bytes=N-` says; other ranges get the whole.
enum ObjectAnswer {
    /// - Throws: `ArtifactStoreError` with code `notFound`; `HTTPHandlingError` with code
    ///   `unsatisfiableRange`.
    static func make(
        _ digest: ContentDigest,
        of objects: any ObjectStorage,
        to request: HandlerRequest
    ) async throws -> HandlerResponse {
        guard let length = try await objects.byteCount(of: digest) else {
            throw ArtifactStoreError(
                .notFound,
                "There is no object \(digest). Ask for the channel's newest release again."
            )
        }
        let tag = "\"\(digest)\""
        if request.headerFields[.ifNoneMatch] == tag {
            return .empty(.notModified, headerFields: [.eTag: tag])
        }
        var fields: HTTPFields = [
            .acceptRanges: "bytes", .eTag: tag, .contentType: MediaType.bytes,
            .cacheControl: "private, immutable, max-age=31536000",
        ]
        var offset: Int64 = 0
        var status = HTTPResponse.Status.ok
        if let start = openRange(request.headerFields[.range]) {
            guard start < length || (start == 0 && length == 0) else {
                throw HTTPHandlingError(
                    .unsatisfiableRange,
                    "There are \(length) bytes. Ask for a range within them, or for the whole.",
                    headerFields: [.contentRange: "bytes */\(length)"]
                )
            }
            offset = start
            status = .partialContent
            fields[.contentRange] = "bytes \(offset)-\(max(offset, length - 1))/\(length)"
        }
        let chunks = try await objects.read(digest, from: offset)
        return HandlerResponse(
            status: status,
            headerFields: fields,
            body: .stream(chunks, length: length - offset)
        )
    }

    /// `N` of `bytes=N-`; `nil` for anything else, which a server may answer with the whole.
    private static func openRange(_ field: String?) -> Int64? {
        guard let field, field.hasPrefix("bytes="), field.hasSuffix("-"),
            let start = Int64(field.dropFirst(6).dropLast()), start >= 0
        else { return nil }
        return start
    }
}
#endif
