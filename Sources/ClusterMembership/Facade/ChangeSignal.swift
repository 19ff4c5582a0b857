package import ClusterRole
internal import ServiceLifecycle
internal import Synchronization

/// Wakes whoever waits for messages or state in this process. It carries nothing: who wakes looks.
public final class ChangeSignal: Sendable {
    private struct State {
        var readers: [Int: AsyncStream<Void>.Continuation] = [:]
        var next = 0
    }

    private let state = Mutex(State())

    public init() {}

    /// Wakes everybody.
    public func send() {
        // Yielding may end a reader, whose handler takes the lock: so not inside it.
        let readers = state.withLock { state in state.readers.sorted { $0.key < $1.key } }
        for (_, reader) in readers { reader.yield() }
    }

    /// Signals from now on; several at once are one.
    package func signals() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let reader = state.withLock { state in
            state.next += 1
            state.readers[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in self?.forget(reader) }
        return stream
    }

    private func forget(_ reader: Int) {
        let ended = state.withLock { $0.readers.removeValue(forKey: reader) }
        _ = ended
    }

    /// Calls `attempt` now, at each signal, and once more when the wait is over or the process shuts
    /// down gracefully.
    ///
    /// - Returns: the first answer that is not `nil`; `nil` if there was none in time.
    package func first<Answer: Sendable>(
        within wait: Duration,
        clock: any TimeSource,
        _ attempt: @escaping @Sendable () async throws -> Answer?
    ) async throws -> Answer? {
        // Subscribed before the first attempt, so that nothing falls between the two.
        let stream = signals()
        if let answer = try await attempt() { return answer }
        guard wait > .zero else { return nil }
        let answer = try await withThrowingTaskGroup(of: Answer?.self) { group in
            group.addTask {
                for await _ in stream {
                    if let answer = try await attempt() { return answer }
                }
                try Task.checkCancellation()
                return nil
            }
            group.addTask {
                try await clock.sleep(for: wait)
                return nil
            }
            group.addTask {
                try await gracefulShutdown()
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        if let answer { return answer }
        return try await attempt()
    }
}
