internal import ClusterRole
public import DeviceRegistry
internal import Synchronization

/// A ``PushTransport`` for tests: it sends nothing, records everything, and fails as it is told.
///
/// ```swift
/// let transport = RecordingPushTransport()
/// transport.failNext(2, with: .retry(after: nil, scope: .device, reason: "busy"))
/// // … run the dispatcher …
/// let woken = transport.popWakeUps().map(\.device)
/// ```
public final class RecordingPushTransport: PushTransport {
    private struct State {
        var attempts: [PushRequest] = []
        var wakeUps: [PushRequest] = []
        var script: [PushOutcome] = []
        var standing: [DeviceID: PushOutcome] = [:]
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    public init() {}

    /// Every request since the beginning, whatever became of it.
    public var attempts: [PushRequest] { state.withLock { $0.attempts } }

    /// Requests answered `accepted` since the last call.
    public func popWakeUps() -> [PushRequest] {
        state.withLock { state in
            defer { state.wakeUps = [] }
            return state.wakeUps
        }
    }

    /// The next `count` requests, of whatever device, are answered with `outcome`.
    public func failNext(_ count: Int = 1, with outcome: PushOutcome) {
        state.withLock { $0.script += Array(repeating: outcome, count: max(0, count)) }
    }

    /// From now on this device's requests are answered with `outcome`; `nil` ends that. What
    /// ``failNext(_:with:)`` wants goes first.
    public func answer(_ device: DeviceID, with outcome: PushOutcome?) {
        state.withLock { $0.standing[device] = outcome }
    }

    /// Keeps requests waiting, as a slow service does, until ``letGo()``.
    public func hold() { state.withLock { $0.isHeld = true } }

    /// Answers the requests kept waiting, and later ones at once.
    public func letGo() {
        let held = state.withLock { state in
            state.isHeld = false
            defer { state.held = [] }
            return state.held
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

    public func wake(_ request: PushRequest) async -> PushOutcome {
        let (outcome, satisfied) = state.withLock { state in
            state.attempts.append(request)
            let count = state.attempts.count
            let satisfied = state.watchers.filter { $0.count <= count }.map(\.continuation)
            state.watchers.removeAll { $0.count <= count }
            let standing = state.standing[request.device] ?? .accepted
            return (state.script.isEmpty ? standing : state.script.removeFirst(), satisfied)
        }
        for watcher in satisfied { watcher.resume() }
        await waitWhileHeld()
        if outcome == .accepted { state.withLock { $0.wakeUps.append(request) } }
        return outcome
    }

    private func waitWhileHeld() async {
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                if state.isHeld { state.held.append(continuation) }
                return state.isHeld
            }
            if !isHeld { continuation.resume() }
        }
    }
}
