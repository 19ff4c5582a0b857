/// Reads a bundle's bytes in order, opening it again where it broke off.
final class BundleInput {
    /// There is no such bundle: asking again is in vain.
    struct NotMade: Error {}

    private let open: (Int64, isolated (any Actor)?) async throws -> ByteChunks
    private let attempts: Int
    private var iterator: ByteChunks.AsyncIterator?
    private var chunk: [UInt8] = []
    private var position = 0
    private var failures = 0
    /// How many bytes were handed on.
    private(set) var consumed: Int64 = 0
    /// How many bytes arrived, those twice that arrived twice.
    private(set) var received: Int64 = 0

    /// - Parameters:
    ///   - attempts: how often it may be opened, the first time included.
    ///   - open: the bundle's bytes from an offset on.
    init(
        attempts: Int,
        open: @escaping (Int64, isolated (any Actor)?) async throws -> ByteChunks
    ) {
        self.attempts = attempts
        self.open = open
    }

    /// The next `count` bytes.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `unavailable` when the bundle ends too early,
    ///   even after it was opened again.
    func bytes(
        _ count: Int,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            if position == chunk.count {
                try await refill(isolation: isolation)
            }
            let part = min(count - bytes.count, chunk.count - position)
            bytes += chunk[position..<position + part]
            position += part
            consumed += Int64(part)
        }
        return bytes
    }

    /// Whether everything was read.
    func isAtEnd(isolation: isolated (any Actor)? = #isolation) async throws -> Bool {
        guard position == chunk.count, var current = iterator else { return false }
        let next = try await current.next(isolation: isolation)
        iterator = current
        return next == nil
    }

    private func refill(isolation: isolated (any Actor)?) async throws {
        while true {
            try Task.checkCancellation()
            do {
                if iterator == nil {
                    iterator = try await open(consumed, isolation).makeAsyncIterator()
                }
                guard var current = iterator else { continue }
                let next = try await current.next(isolation: isolation)
                iterator = current
                if let next {
                    chunk = next
                    position = 0
                    received += Int64(next.count)
                    if !next.isEmpty { return }
                    continue
                }
                throw ArtifactStoreError(
                    .unavailable,
                    "The bundle ended after \(consumed) bytes. It is fetched again."
                )
            } catch let error as CancellationError {
                throw error
            } catch let error as NotMade {
                throw error
            } catch {
                iterator = nil
                failures += 1
                guard failures < attempts else {
                    throw ArtifactStoreError(
                        .unavailable,
                        "The bundle broke off after \(consumed) bytes. It is fetched again later.",
                        cause: error
                    )
                }
            }
        }
    }
}
