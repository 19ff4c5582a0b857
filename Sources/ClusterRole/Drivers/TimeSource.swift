/// The injected clock: wall time for what is stored, monotonic time for what is waited.
///
/// Core modules never ask the operating system for the time. Tests pass a manual clock.
public protocol TimeSource: Sendable {
    /// The wall time, in milliseconds since 1970. It may jump.
    func now() -> Timestamp
    /// Time since some fixed moment in this process. It never goes back.
    func monotonic() -> Duration
    /// Returns once `duration` has passed on the monotonic clock.
    ///
    /// - Throws: `CancellationError` when the task is cancelled first.
    func sleep(for duration: Duration) async throws
}

/// The operating system's clocks. The one place in the core modules that asks for the time.
public struct SystemTimeSource: TimeSource {
    private let origin = ContinuousClock.now

    public init() {}

    public func now() -> Timestamp { Timestamp(milliseconds: wallClockMilliseconds()) }
    public func monotonic() -> Duration { origin.duration(to: .now) }
    public func sleep(for duration: Duration) async throws {
        try await ContinuousClock().sleep(for: duration)
    }
}
