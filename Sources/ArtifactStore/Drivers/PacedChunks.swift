internal import ClusterRole

/// How slowly bytes may come before a transfer is given up: a source that sends a byte a minute
/// would otherwise keep a node at its old release for as long as it likes.
public struct TransferPace: Hashable, Sendable {
    /// Bytes a second, on the average since the transfer began. 1 KiB: a bad mobile line has more.
    public var bytesPerSecond: Int64 = 1 << 10
    /// The time before the average counts, and the longest silence at the beginning. 30 s.
    public var grace: Duration = .seconds(30)
    /// The most time that is saved up: a fast beginning does not allow a long silence later. 60 s.
    public var longestSilence: Duration = .seconds(60)

    /// The defaults.
    public init() {}

    /// When the next bytes must have come.
    ///
    /// - Parameters:
    ///   - began: of the transfer, by a monotonic clock.
    ///   - now: by the same.
    ///   - received: bytes until now.
    func deadline(began: Duration, now: Duration, received: Int64) -> Duration {
        let earned = Duration.milliseconds(received / max(1, bytesPerSecond) * 1_000)
        return min(began + grace + earned, now + longestSilence)
    }
}

/// Bytes that must keep up a pace.
struct PacedChunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let base: ByteChunks
    let pace: TransferPace
    let time: any TimeSource

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(pump: ChunkPump(base), pace: pace, time: time, began: time.monotonic())
    }

    struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let pump: ChunkPump
        let pace: TransferPace
        let time: any TimeSource
        let began: Duration
        var received: Int64 = 0

        mutating func next() async throws -> [UInt8]? {
            let now = time.monotonic()
            let rest = pace.deadline(began: began, now: now, received: received) - now
            let chunk = try await next(within: rest)
            received += Int64(chunk?.count ?? 0)
            return chunk
        }

        private func next(within rest: Duration) async throws -> [UInt8]? {
            let (pump, time) = (pump, time)
            return try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
                group.addTask { try await pump.next() }
                group.addTask {
                    if rest > .zero { try await time.sleep(for: rest) }
                    throw ArtifactStoreError(
                        .unavailable,
                        "The bundle comes more slowly than it may. It is fetched again, perhaps from a "
                            + "better source."
                    )
                }
                defer { group.cancelAll() }
                for try await chunk in group { return chunk }
                return nil
            }
        }
    }
}

/// Holds an iterator where a task of its own can ask it.
private actor ChunkPump {
    private var iterator: ByteChunks.AsyncIterator

    init(_ chunks: ByteChunks) { iterator = chunks.makeAsyncIterator() }

    func next() async throws -> [UInt8]? {
        var current = iterator
        let chunk = try await current.next(isolation: self)
        iterator = current
        return chunk
    }
}
