/// One at a time for each key: who comes while the same is under way waits and then looks again, so
/// that what was made meanwhile is found made.
actor SingleFlight<Key: Hashable & Sendable> {
    private var waiting: [Key: [CheckedContinuation<Void, Never>]] = [:]

    /// Runs `body` when nobody else does for this key. It begins by looking whether its work is done.
    nonisolated(nonsending) func run<Result: Sendable>(
        _ key: Key,
        _ body: () async throws -> Result
    ) async throws -> Result {
        await begin(key)
        do {
            try Task.checkCancellation()
            let result = try await body()
            await end(key)
            return result
        } catch {
            await end(key)
            throw error
        }
    }

    private func begin(_ key: Key) async {
        guard waiting[key] != nil else {
            waiting[key] = []
            return
        }
        // The one before hands its turn on.
        await withCheckedContinuation { waiting[key]?.append($0) }
    }

    private func end(_ key: Key) {
        guard var others = waiting[key], !others.isEmpty else {
            waiting[key] = nil
            return
        }
        let next = others.removeFirst()
        waiting[key] = others
        next.resume()
    }
}
