#if Server
internal import ClusterMembership
internal import ClusterRole
internal import ServiceLifecycle

/// Holds a request until there is something to answer: a long poll.
struct RevisionWaiter: Sendable {
    let hints: any HintBus
    let time: any TimeSource

    /// Calls `attempt` now, at each hint, and once more when the wait is over.
    ///
    /// A lost hint costs the rest of the wait, never an answer: the last attempt finds what it
    /// announced. A server that shuts down gracefully ends the wait at once.
    ///
    /// - Returns: the first answer that is not `nil`; `nil` if there was none in time.
    func first<Answer: Sendable>(
        within wait: Duration,
        _ attempt: @escaping @Sendable () async throws -> Answer?
    ) async throws -> Answer? {
        // Subscribed before the first attempt, so that nothing falls between the two.
        let stream = hints.hints()
        if let answer = try await attempt() { return answer }
        guard wait > .zero else { return nil }
        let time = time
        let answer = try await withThrowingTaskGroup(of: Answer?.self) { group in
            group.addTask {
                for await _ in stream {
                    if let answer = try await attempt() { return answer }
                }
                // The bus has closed, or the wait is over.
                try Task.checkCancellation()
                try await time.sleep(for: wait)
                return nil
            }
            group.addTask {
                try await time.sleep(for: wait)
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
#endif
