#if SQLite
internal import Synchronization

/// Lets callers that ask the same question at the same time share one answer.
///
/// The first asks, the others wait for its answer. If the first is cancelled, one of the others asks
/// anew.
final class SingleFlight<Question: Hashable & Sendable, Answer: Sendable>: Sendable {
    private enum Landing: Sendable {
        case answer(Result<Answer, any Error>)
        case cancelled
    }

    private let waiting = Mutex<[Question: [CheckedContinuation<Landing, Never>]]>([:])

    /// The answer to `question`, from `ask` or from a call that is under way.
    func answer(
        _ question: Question,
        _ ask: @Sendable () async throws -> Answer
    ) async throws -> Answer {
        while true {
            try Task.checkCancellation()
            let isFirst = waiting.withLock { waiting in
                if waiting[question] != nil { return false }
                waiting[question] = []
                return true
            }
            if isFirst { return try await lead(question, ask) }
            let landing: Landing = await withCheckedContinuation { continuation in
                let isJoined = waiting.withLock { waiting in
                    guard waiting[question] != nil else { return false }
                    waiting[question]?.append(continuation)
                    return true
                }
                if !isJoined { continuation.resume(returning: .cancelled) }
            }
            if case .answer(let result) = landing { return try result.get() }
        }
    }

    private func lead(
        _ question: Question,
        _ ask: @Sendable () async throws -> Answer
    ) async throws -> Answer {
        let result: Result<Answer, any Error>
        do { result = .success(try await ask()) } catch { result = .failure(error) }
        let joined = waiting.withLock { $0.removeValue(forKey: question) ?? [] }
        let landing: Landing = Task.isCancelled ? .cancelled : .answer(result)
        for continuation in joined { continuation.resume(returning: landing) }
        return try result.get()
    }
}
#endif
