internal import ClusterRole
internal import Synchronization

/// A ``WebhookTransport`` for tests: it posts nothing, records everything, and fails as it is told.
///
/// ```swift
/// let transport = RecordingWebhookTransport()
/// transport.failNext(2, at: url, with: .failed(reason: "busy"))
/// // … run the dispatcher …
/// let bodies = transport.popAccepted(at: url).map(\.body)
/// ```
public final class RecordingWebhookTransport: WebhookTransport {
    private struct State {
        var attempts: [WebhookRequest] = []
        var accepted: [WebhookRequest] = []
        var script: [String: [WebhookOutcome]] = [:]
        var standing: [String: WebhookOutcome] = [:]
        var heldURLs: Set<String> = []
        var held: [String: [CheckedContinuation<Void, Never>]] = [:]
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    public init() {}

    /// Every request since the beginning, whatever became of it.
    public var attempts: [WebhookRequest] { state.withLock { $0.attempts } }

    /// Requests to `url` answered `accepted` since the last call for it.
    public func popAccepted(at url: String) -> [WebhookRequest] {
        state.withLock { state in
            defer { state.accepted.removeAll { $0.url == url } }
            return state.accepted.filter { $0.url == url }
        }
    }

    /// The next `count` requests to `url` are answered with `outcome`.
    public func failNext(_ count: Int = 1, at url: String, with outcome: WebhookOutcome) {
        state.withLock {
            $0.script[url, default: []] += Array(repeating: outcome, count: max(0, count))
        }
    }

    /// From now on requests to `url` are answered with `outcome`; `nil` ends that. What
    /// ``failNext(_:at:with:)`` wants goes first.
    public func answer(at url: String, with outcome: WebhookOutcome?) {
        state.withLock { $0.standing[url] = outcome }
    }

    /// Keeps requests to `url` waiting, as a slow receiver does, until ``letGo(_:)``.
    public func hold(_ url: String) { state.withLock { _ = $0.heldURLs.insert(url) } }

    /// Answers the requests to `url` kept waiting, and later ones at once.
    public func letGo(_ url: String) {
        let held = state.withLock { state in
            state.heldURLs.remove(url)
            return state.held.removeValue(forKey: url) ?? []
        }
        for continuation in held { continuation.resume() }
    }

    /// Returns once at least `count` requests have arrived since the beginning.
    public func waitForAttempts(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.attempts.count >= count { return true }
                state.watchers.append((count, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    public func send(_ request: WebhookRequest) async -> WebhookOutcome {
        let (outcome, satisfied) = state.withLock { state in
            state.attempts.append(request)
            let count = state.attempts.count
            let satisfied = state.watchers.filter { $0.count <= count }.map(\.continuation)
            state.watchers.removeAll { $0.count <= count }
            var outcome = state.standing[request.url] ?? .accepted
            if let scripted = state.script[request.url]?.first {
                outcome = scripted
                state.script[request.url]?.removeFirst()
            }
            return (outcome, satisfied)
        }
        for watcher in satisfied { watcher.resume() }
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                let isHeld = state.heldURLs.contains(request.url)
                if isHeld { state.held[request.url, default: []].append(continuation) }
                return isHeld
            }
            if !isHeld { continuation.resume() }
        }
        if outcome == .accepted { state.withLock { $0.accepted.append(request) } }
        return outcome
    }
}
