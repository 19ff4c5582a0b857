#if Server
internal import ClusterRole
internal import Synchronization

/// What a streamed answer needs of its connection: a pace, and an end if the peer takes nothing.
///
/// A writer steps before and after each write, so an odd count means that it waits for the peer. A
/// handler that is slow to produce is left alone.
final class WatchedConnection: Sendable {
    /// How much is written before the writer waits for the event loop. The loop is what notices
    /// that the peer does not keep up; without the wait a fast handler fills its queue until it
    /// does.
    private static let bytesBetweenRoundTrips = 256 << 10

    private let time: any TimeSource
    private let timeout: Duration
    private let roundTrip: @Sendable () async throws -> Void
    private let close: @Sendable () -> Void
    private let steps = Atomic<Int>(0)
    private let unsettledBytes = Atomic<Int>(0)

    /// - Parameters:
    ///   - timeout: how long one write may wait for the peer.
    ///   - roundTrip: returns once the event loop has handled what was written before.
    ///   - close: breaks the connection off.
    init(
        time: any TimeSource,
        timeout: Duration,
        roundTrip: @escaping @Sendable () async throws -> Void,
        close: @escaping @Sendable () -> Void
    ) {
        self.time = time
        self.timeout = timeout
        self.roundTrip = roundTrip
        self.close = close
    }

    func step() { steps.add(1, ordering: .relaxed) }

    /// Waits for the event loop now and then, so that what is on its way stays bounded.
    func settle(after count: Int) async throws {
        let bytes = unsettledBytes.add(count, ordering: .relaxed).newValue
        guard bytes >= Self.bytesBetweenRoundTrips else { return }
        unsettledBytes.store(0, ordering: .relaxed)
        try await roundTrip()
    }

    /// Returns after it has broken a stalled connection off, or when cancelled.
    func watch() async {
        while true {
            let before = steps.load(ordering: .relaxed)
            do { try await time.sleep(for: timeout) } catch { return }
            if before % 2 == 1, steps.load(ordering: .relaxed) == before { return close() }
        }
    }
}
#endif
