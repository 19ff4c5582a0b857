/// Bytes that arrive in pieces, at the pace of whoever reads them.
///
/// Each piece is at most a few hundred kilobytes in the drivers of this package. It can be read as
/// often as its base can; a body read from a network can be read once.
public struct ByteChunks: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = any Error
    private let begin: @Sendable () -> AsyncIterator

    public struct AsyncIterator: AsyncIteratorProtocol {
        private let produce: (isolated (any Actor)?) async throws -> [UInt8]?

        init(_ produce: @escaping (isolated (any Actor)?) async throws -> [UInt8]?) {
            self.produce = produce
        }

        public mutating func next() async throws -> [UInt8]? { try await produce(nil) }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws -> [UInt8]? { try await produce(actor) }
    }

    /// Passes on the pieces of another sequence.
    public init<Base: AsyncSequence & Sendable>(_ base: Base) where Base.Element == [UInt8] {
        begin = {
            var iterator = base.makeAsyncIterator()
            return AsyncIterator { try await iterator.next(isolation: $0) }
        }
    }

    /// Pieces that are in memory.
    public init(_ chunks: [[UInt8]]) {
        begin = {
            var rest = chunks[...]
            return AsyncIterator { _ in rest.popFirst() }
        }
    }

    /// Pieces that a function produces; `nil` ends them. `begin` is called once for each reading.
    public init(reading begin: @escaping @Sendable () -> () throws -> [UInt8]?) {
        self.begin = {
            let produce = begin()
            return AsyncIterator { _ in try produce() }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { begin() }

    /// Collects everything.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `limitExceeded` beyond `limit` bytes.
    public func collect(upTo limit: Int) async throws -> [UInt8] {
        var result: [UInt8] = []
        for try await chunk in self {
            guard chunk.count <= limit - result.count else {
                throw ArtifactStoreError(.limitExceeded, "More than \(limit) bytes arrived.")
            }
            result.append(contentsOf: chunk)
        }
        return result
    }
}

/// An iterator belongs to one task.
@available(*, unavailable)
extension ByteChunks.AsyncIterator: Sendable {}
