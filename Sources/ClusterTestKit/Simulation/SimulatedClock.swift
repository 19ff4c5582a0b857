public import ClusterRole
internal import Synchronization

/// A node's clock in a simulation. Its time passes when every node waits, and only then.
///
/// The wall clocks of two nodes differ, and jump; the monotonic one counts from a moment of the node's
/// own and never does.
public final class SimulatedClock: TimeSource {
    private let scheduler: SimulatedScheduler
    private let boot: Duration
    private let offset: Mutex<Duration>

    init(_ scheduler: SimulatedScheduler, boot: Duration, skew: Duration) {
        self.scheduler = scheduler
        self.boot = boot
        offset = Mutex(skew)
    }

    public func now() -> Timestamp {
        ManualTimeSource.standardStart + scheduler.now + offset.withLock { $0 }
    }

    public func monotonic() -> Duration { boot + scheduler.now }

    /// Moves the wall clock only.
    public func jump(by duration: Duration) { offset.withLock { $0 += duration } }

    /// Sets the wall clock right.
    public func setRight() { offset.withLock { $0 = .zero } }

    public func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        let wait = SimulatedWait<Void>()
        let timer = scheduler.after(duration) { wait.resolve(.success(())) }
        defer { scheduler.cancel(timer) }
        try await wait.value()
    }
}
