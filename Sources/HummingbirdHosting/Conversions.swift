#if Server
internal import HTTPHandling
internal import HTTPTypes
internal import Hummingbird
internal import Logging

/// The size of the pieces in which bodies are written: what a connection's buffer takes without
/// growing.
private let chunkBytes = 64 << 10

extension HandlerRequest {
    init(
        _ request: Request,
        remoteAddress: String?,
        identity: Identity? = nil,
        limits: HandlerLimits,
        logger: Logger
    ) {
        self.init(
            head: request.head,
            body: HandlerBody(
                RequestChunks(body: request.body),
                declaredLength: request.headers[.contentLength].flatMap { Int($0) }
            ),
            remoteAddress: remoteAddress,
            identity: identity,
            limits: limits,
            logger: logger
        )
    }
}

/// A request's body as it comes from the connection.
private struct RequestChunks: AsyncSequence, Sendable {
    typealias Failure = any Error
    let body: RequestBody

    func makeAsyncIterator() -> Iterator { Iterator(base: body.makeAsyncIterator()) }

    struct Iterator: AsyncIteratorProtocol {
        var base: RequestBody.AsyncIterator

        mutating func next() async throws -> [UInt8]? {
            do {
                return try await base.next().map { Array($0.readableBytesView) }
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                throw HTTPHandlingError(
                    .bodyInterrupted,
                    "The body ended before it was whole. Send it again.",
                    cause: error
                )
            }
        }
    }
}

extension Response {
    /// Small bodies go out with their head in one write, larger ones in chunks as the peer takes
    /// them.
    init(_ response: HandlerResponse, through connection: WatchedConnection?) {
        var body: ResponseBody
        switch response.body {
        case .none: body = ResponseBody()
        case .bytes(let bytes) where bytes.count <= chunkBytes:
            body = ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        case .bytes(let bytes):
            body = ResponseBody(contentLength: bytes.count) { writer in
                try await writer.write(pieces(of: bytes), length: nil, connection)
                try await writer.finish(nil)
            }
        case .stream(let chunks, let length):
            body = ResponseBody(contentLength: length.map { Int($0) }) { writer in
                try await writer.write(chunks, length: length, connection)
                try await writer.finish(nil)
            }
        case .file(let region):
            body = ResponseBody(contentLength: Int(region.length)) { writer in
                let chunks = region.chunks(of: chunkBytes)
                try await writer.write(chunks, length: region.length, connection)
                try await writer.finish(nil)
            }
        }
        self.init(status: response.status, headers: response.headerFields, body: body)
    }
}

/// Bytes in memory as a stream of one chunk.
private func pieces(of bytes: [UInt8]) -> ByteChunks { HandlerBody(bytes) }

extension ResponseBodyWriter {
    /// Writes all chunks, and no byte more or less than `length`.
    fileprivate mutating func write(
        _ chunks: ByteChunks,
        length: Int64?,
        _ connection: WatchedConnection?
    ) async throws {
        var writer = self
        defer { self = writer }
        guard let connection else { return try await writer.copy(chunks, length, nil) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.watch() }
            defer { group.cancelAll() }
            try await writer.copy(chunks, length, connection)
        }
    }

    private mutating func copy(
        _ chunks: ByteChunks,
        _ length: Int64?,
        _ connection: WatchedConnection?
    ) async throws {
        var rest = length
        for try await chunk in chunks {
            if let promised = rest {
                guard Int64(chunk.count) <= promised else { throw wrongLength }
                rest = promised - Int64(chunk.count)
            }
            for start in stride(from: 0, to: chunk.count, by: chunkBytes) {
                let piece = chunk[start..<min(start + chunkBytes, chunk.count)]
                connection?.step()
                try await write(ByteBuffer(bytes: piece))
                try await connection?.settle(after: piece.count)
                connection?.step()
            }
        }
        guard rest ?? 0 == 0 else { throw wrongLength }
    }
}

/// The connection is broken off with it: the head has promised otherwise already.
private let wrongLength = HTTPHandlingError(
    .wrongLength,
    "The stream did not give the number of bytes its handler had promised."
)
#endif
