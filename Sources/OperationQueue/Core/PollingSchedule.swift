public import ClusterRole

/// Decides when a device polls next: pure.
public struct PollingSchedule: Hashable, Sendable {
    /// For devices without a frequency of their own.
    public var defaultFrequency: Duration
    /// The soonest poll that is asked for: while work remains, devices come this often.
    public var minimum: Duration
    /// How much a poll is shifted at random (0…1), so that a fleet does not march in step.
    public var jitter: Double

    /// - Parameters:
    ///   - defaultFrequency: one minute: a missed push costs at most that.
    ///   - minimum: one second.
    ///   - jitter: a tenth.
    public init(
        defaultFrequency: Duration = .seconds(60),
        minimum: Duration = .seconds(1),
        jitter: Double = 0.1
    ) {
        self.defaultFrequency = max(minimum, defaultFrequency)
        self.minimum = minimum
        self.jitter = max(0, min(1, jitter))
    }

    /// - Parameters:
    ///   - frequency: the device's own.
    ///   - workRemains: whether more is ready than the answer holds.
    ///   - nextOffer: when waiting work is offered again, if any waits.
    ///   - now: the present time.
    ///   - random: draws the jitter.
    /// - Returns: the frequency ± jitter; sooner while work remains or some falls due; never before
    ///   it does, and never less than ``minimum``.
    public func pollAfter(
        frequency: Duration?,
        workRemains: Bool,
        nextOffer: Timestamp?,
        at now: Timestamp,
        random: some RandomSource
    ) -> Duration {
        let usual = max(
            minimum,
            random.jittered(max(minimum, frequency ?? defaultFrequency), by: jitter)
        )
        if workRemains { return minimum }
        guard let nextOffer else { return usual }
        let wait = max(minimum, nextOffer - now)
        let spread = UInt64(max(0, Double(wait.milliseconds) * jitter))
        let later = Duration.milliseconds(Int64(random.number(below: spread + 1)))
        return min(usual, wait + later)
    }
}
