public import ClusterRole
internal import Synchronization

/// A clock that stands still until a test moves it.
///
/// Sleepers wake in order of their deadlines when ``advance(by:)`` reaches them. A test that must be
/// sure that something sleeps before it moves the clock waits for that with ``waitForSleepers(_:)``,
/// never by sleeping itself.
public final class ManualTimeSource: TimeSource {
    /// Where a clock starts unless a test says otherwise: 2026-01-01T00:00:00Z.
    public static let standardStart = Timestamp(milliseconds: 1_767_225_600_000)

    private struct Sleeper {
        var id: UInt64
        var deadline: Duration
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct Watcher {
        var id: UInt64
        var count: Int
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var wall: Timestamp
        var monotonic = Duration.zero
        var nextID: UInt64 = 0
        /// In order of deadline, then of arrival.
        var sleepers: [Sleeper] = []
        var watchers: [Watcher] = []
        /// Waits that were cancelled before they were stored.
        var cancelled: Set<UInt64> = []

        mutating func drawID() -> UInt64 {
            nextID += 1
            return nextID
        }

        mutating func popSatisfiedWatchers() -> [CheckedContinuation<Void, any Error>] {
            let present = sleepers.count
            let satisfied = watchers.filter { $0.count <= present }
            watchers.removeAll { $0.count <= present }
            return satisfied.map(\.continuation)
        }
    }

    private let state: Mutex<State>

    /// - Parameter start: the wall time at first. The monotonic time begins at zero.
    public init(startingAt start: Timestamp = ManualTimeSource.standardStart) {
        state = Mutex(State(wall: start))
    }

    public func now() -> Timestamp { state.withLock { $0.wall } }

    public func monotonic() -> Duration { state.withLock { $0.monotonic } }

    /// How many tasks sleep on this clock now.
    public var sleeperCount: Int { state.withLock { $0.sleepers.count } }

    /// How far the clock must be moved to wake the next sleeper; `nil` when nobody sleeps.
    public var timeToNextWake: Duration? {
        state.withLock { state in state.sleepers.first.map { $0.deadline - state.monotonic } }
    }

    /// Moves both clocks on and wakes everyone whose deadline is reached, earliest first.
    ///
    /// The clock goes straight to its new time: a task that wakes and sleeps again counts from there.
    /// A negative duration moves nothing.
    public func advance(by duration: Duration) {
        let woken = state.withLock { state -> [Sleeper] in
            guard duration > .zero else { return [] }
            let before = state.monotonic.milliseconds
            state.monotonic += duration
            // The wall moves by whole milliseconds without losing the fractions of many small steps.
            let moved = state.monotonic.milliseconds - before
            state.wall = Timestamp(milliseconds: state.wall.milliseconds + moved)
            let due = state.sleepers.prefix { $0.deadline <= state.monotonic }
            state.sleepers.removeFirst(due.count)
            return Array(due)
        }
        for sleeper in woken { sleeper.continuation.resume() }
    }

    /// Moves the wall clock only, forwards or backwards, as an administrator or a time server does.
    /// Nobody wakes.
    public func jumpWallClock(by duration: Duration) {
        state.withLock { $0.wall = $0.wall + duration }
    }

    public func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        guard duration > .zero else { return }
        let id = state.withLock { $0.drawID() }
        try await wait(id) { state, continuation in
            let deadline = state.monotonic + duration
            let index =
                state.sleepers.firstIndex { $0.deadline > deadline } ?? state.sleepers.endIndex
            state.sleepers.insert(
                Sleeper(id: id, deadline: deadline, continuation: continuation),
                at: index
            )
        }
    }

    /// Returns once at least `count` tasks sleep on this clock.
    ///
    /// - Throws: `CancellationError` when the task is cancelled first.
    public func waitForSleepers(_ count: Int) async throws {
        try Task.checkCancellation()
        let id = state.withLock { $0.drawID() }
        try await wait(id) { state, continuation in
            state.watchers.append(Watcher(id: id, count: count, continuation: continuation))
        }
    }

    private func wait(
        _ id: UInt64,
        storing store: (inout State, CheckedContinuation<Void, any Error>) -> Void
    ) async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (isCancelled, satisfied) = state.withLock { state in
                    if state.cancelled.remove(id) != nil {
                        return (true, [CheckedContinuation<Void, any Error>]())
                    }
                    store(&state, continuation)
                    return (false, state.popSatisfiedWatchers())
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
                for watcher in satisfied { watcher.resume() }
            }
        } onCancel: {
            cancel(id)
        }
        // A cancellation that came after the wake has left its mark behind.
        state.withLock { _ = $0.cancelled.remove(id) }
    }

    private func cancel(_ id: UInt64) {
        let continuation = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            if let index = state.sleepers.firstIndex(where: { $0.id == id }) {
                return state.sleepers.remove(at: index).continuation
            }
            if let index = state.watchers.firstIndex(where: { $0.id == id }) {
                return state.watchers.remove(at: index).continuation
            }
            state.cancelled.insert(id)
            return nil
        }
        continuation?.resume(throwing: CancellationError())
    }
}
