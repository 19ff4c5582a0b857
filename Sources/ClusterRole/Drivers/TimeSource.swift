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

/// The injected randomness.
public protocol RandomSource: Sendable {
    /// The next 64 uniformly distributed bits. Cryptographically strong outside tests.
    func next() -> UInt64
}

extension RandomSource {
    /// `count` random bytes.
    public func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 7)
        while result.count < count {
            withUnsafeBytes(of: next().littleEndian) { result.append(contentsOf: $0) }
        }
        result.removeLast(result.count - count)
        return result
    }

    /// A uniformly distributed number in `0..<bound`; 0 when `bound` is 0.
    public func number(below bound: UInt64) -> UInt64 {
        next().multipliedFullWidth(by: bound).high
    }

    /// `duration` changed by at most ±`fraction` (0…1) of itself, so that a fleet does not march in step.
    public func jittered(_ duration: Duration, by fraction: Double) -> Duration {
        let span = Double(duration.milliseconds) * max(0, min(1, fraction))
        guard span >= 1 else { return duration }
        let offset = Int64(number(below: UInt64(span * 2) + 1)) - Int64(span)
        return .milliseconds(duration.milliseconds + offset)
    }
}

/// The operating system's randomness (getrandom).
public struct SystemRandomSource: RandomSource {
    public init() {}
    public func next() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}
