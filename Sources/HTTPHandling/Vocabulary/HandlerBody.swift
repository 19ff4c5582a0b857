#if Server
internal import Synchronization

/// Bytes in order, in chunks, until `nil`; it throws when the source breaks off.
public typealias ByteChunks = any AsyncSequence<[UInt8], any Error> & Sendable

/// The body of a request, as a stream of chunks.
///
/// It can be iterated once; the host reads from the connection only as fast as the handler asks. A
/// second iteration throws ``HTTPHandlingError/Code/bodyConsumed``.
public struct HandlerBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = any Error

    /// What `Content-Length` promised, if anything.
    public let declaredLength: Int?
    private let chunks: ByteChunks
    private let limit: Int?
    private let once: Once

    /// No body.
    public init() { self.init([]) }

    /// A body that is in memory already.
    public init(_ bytes: [UInt8]) {
        self.init(OneChunk(bytes: bytes), declaredLength: bytes.count)
    }

    /// A body read from `chunks`.
    public init(_ chunks: ByteChunks, declaredLength: Int? = nil) {
        self.chunks = chunks
        self.declaredLength = declaredLength
        limit = nil
        once = Once()
    }

    private init(_ body: HandlerBody, limit: Int) {
        chunks = body.chunks
        declaredLength = body.declaredLength
        once = body.once
        self.limit = Swift.min(limit, body.limit ?? .max)
    }

    /// The same body, which throws ``HTTPHandlingError/Code/bodyTooLarge`` beyond `limit` bytes.
    public func limited(to limit: Int) -> HandlerBody { HandlerBody(self, limit: limit) }

    /// Reads the whole body.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `bodyTooLarge` as soon as more than `limit` bytes
    ///   are promised or have come; `bodyInterrupted` when the connection broke off.
    public func collect(upTo limit: Int) async throws -> [UInt8] {
        if let declaredLength, declaredLength > limit { throw Self.tooLarge(limit) }
        var result: [UInt8] = []
        result.reserveCapacity(Swift.min(declaredLength ?? 0, limit))
        for try await chunk in self {
            guard chunk.count <= limit - result.count else { throw Self.tooLarge(limit) }
            result.append(contentsOf: chunk)
        }
        return result
    }

    public func makeAsyncIterator() -> Iterator {
        guard once.take() else {
            return Iterator(
                chunks: FailedChunks().makeAsyncIterator(),
                remaining: .max,
                limit: .max
            )
        }
        let limit = limit ?? .max
        if let declaredLength, declaredLength > limit {
            return Iterator(chunks: chunks.makeAsyncIterator(), remaining: -1, limit: limit)
        }
        return Iterator(chunks: chunks.makeAsyncIterator(), remaining: limit, limit: limit)
    }

    /// Walks the chunks of a ``HandlerBody``.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate var chunks: any AsyncIteratorProtocol<[UInt8], any Error>
        fileprivate var remaining: Int
        fileprivate let limit: Int

        public mutating func next() async throws -> [UInt8]? {
            try await next(isolation: nil)
        }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws -> [UInt8]? {
            guard remaining >= 0 else { throw HandlerBody.tooLarge(limit) }
            guard let chunk = try await chunks.next(isolation: actor) else { return nil }
            remaining -= chunk.count
            guard remaining >= 0 else { throw HandlerBody.tooLarge(limit) }
            return chunk
        }
    }

    private static func tooLarge(_ limit: Int) -> HTTPHandlingError {
        HTTPHandlingError(
            .bodyTooLarge,
            "The body is larger than the \(limit) bytes this route takes. Send less at a time."
        )
    }
}

/// One task walks a body.
@available(*, unavailable)
extension HandlerBody.Iterator: Sendable {}

/// A flag that is taken once.
private final class Once: Sendable {
    private let taken = Atomic<Bool>(false)
    func take() -> Bool { !taken.exchange(true, ordering: .relaxed) }
}

/// All bytes as one chunk; none if there are none.
private struct OneChunk: AsyncSequence, Sendable {
    typealias Failure = any Error
    let bytes: [UInt8]

    func makeAsyncIterator() -> Iterator { Iterator(rest: bytes.isEmpty ? nil : bytes) }

    struct Iterator: AsyncIteratorProtocol {
        var rest: [UInt8]?
        mutating func next() async throws -> [UInt8]? { rest.take() }
    }
}

/// What a second iteration meets.
private struct FailedChunks: AsyncSequence, Sendable {
    typealias Failure = any Error

    func makeAsyncIterator() -> Iterator { Iterator() }

    struct Iterator: AsyncIteratorProtocol {
        mutating func next() async throws -> [UInt8]? {
            throw HTTPHandlingError(
                .bodyConsumed,
                "The body was read already. Keep what collect(upTo:) returned."
            )
        }
    }
}
#endif
