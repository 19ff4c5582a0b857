package import ClusterRole
package import DeviceRegistry
package import OperationQueue

/// Decides what becomes of each wake-up: whether it may be sent now, and what its outcome means.
///
/// A value. Time comes in twice: the wall time for what is stored, the monotonic time for rates and
/// pauses.
package struct DispatchCore: Sendable {
    /// What to do with a wake-up that is due.
    package enum DueDirective: Hashable, Sendable {
        /// Give it to the transport; it has used up a permit.
        case attempt(PushRegistration)
        /// Nothing is sent.
        case settle(WakeSettlement.Verdict)
    }

    /// What to do after an attempt, in order.
    package enum OutcomeDirective: Hashable, Sendable {
        case settle(WakeSettlement.Verdict)
        /// The transport rests: said, not obeyed; the core keeps to it.
        case reportPause(transport: String, for: Duration)
        case announceDead(DeadRegistration)
    }

    private struct TransportHealth: Sendable {
        var pausedUntil = Duration.zero
        var failures = 0
    }

    /// The longest failure text kept in a row, in bytes of UTF-8.
    package static let maximumFailureBytes = 200
    /// The longest pause a transport may ask for; a service that says "next year" is not believed.
    package static let longestRetryAfter = Duration.seconds(3_600)

    private let rate: WakeRate
    private let backoff: BackoffSchedule
    private let transports: Set<String>
    private var permits: Double
    private var refilledAt: Duration?
    private var health: [String: TransportHealth] = [:]

    package init(rate: WakeRate, backoff: BackoffSchedule, transports: Set<String>) {
        self.rate = rate
        self.backoff = backoff
        self.transports = transports
        permits = Double(rate.burst)
    }

    /// How many wake-ups may go out now.
    package mutating func permits(at monotonic: Duration) -> Int {
        let passed = monotonic - (refilledAt ?? monotonic)
        refilledAt = monotonic
        let gained = Double(max(0, passed.milliseconds)) / 1_000 * rate.perSecond
        // Fractions of a millisecond are kept by counting from the whole one.
        refilledAt = monotonic - (passed - .milliseconds(passed.milliseconds))
        permits = min(Double(rate.burst), permits + gained)
        return Int(permits)
    }

    /// How long to wait until a useful number of permits is there: a tenth of the burst, so that a slow
    /// rate does not mean a transaction a wake-up.
    package func delayToPermits() -> Duration {
        let wanted = max(1, Double(rate.burst) / 10) - permits
        return .milliseconds(max(1, Int64((max(0, wanted) / rate.perSecond * 1_000).rounded(.up))))
    }

    package mutating func onDue(
        _ due: DueWakeUp,
        at now: Timestamp,
        monotonic: Duration
    ) -> DueDirective {
        guard let registration = due.registration else {
            return .settle(.abandon(failure: "no push registration"))
        }
        let transport = registration.transport
        guard transports.contains(transport) else {
            return .settle(.abandon(failure: shortened("no transport named \(transport)")))
        }
        if let health = health[transport], monotonic < health.pausedUntil {
            let rest = health.pausedUntil - monotonic
            return .settle(.retry(at: now + rest, failure: "the transport rests"))
        }
        permits -= 1
        return .attempt(registration)
    }

    /// An attempt ended.
    package mutating func onOutcome(
        _ outcome: PushOutcome,
        of wake: WakeUp,
        registration: PushRegistration,
        random: some RandomSource,
        at now: Timestamp,
        monotonic: Duration
    ) -> [OutcomeDirective] {
        let transport = registration.transport
        switch outcome {
        case .accepted:
            health[transport] = nil
            return [.settle(.sent)]
        case .rejected(let reason):
            return [.settle(.abandon(failure: shortened(reason)))]
        case .unknown(let reason):
            return [.settle(retry(wake, after: nil, reason, random: random, at: now))]
        case .retry(let after, .device, let reason):
            return [.settle(retry(wake, after: after, reason, random: random, at: now))]
        case .retry(let after, .transport, let reason):
            let pause = rest(transport, after: after, random: random, monotonic: monotonic)
            // The transport's trouble is not the device's: it never makes a device be given up.
            return [
                .settle(.retry(at: now + pause, failure: shortened(reason))),
                .reportPause(transport: transport, for: pause),
            ]
        case .deadToken(let since):
            return dead(wake, registration, since: since, random: random, at: now)
        }
    }

    // MARK: Steps

    private func retry(
        _ wake: WakeUp,
        after: Duration?,
        _ reason: String,
        random: some RandomSource,
        at now: Timestamp
    ) -> WakeSettlement.Verdict {
        let failures = Int(wake.attempts) + 1
        if failures >= backoff.maximumAttempts { return .abandon(failure: shortened(reason)) }
        let pause = backoff.delay(afterFailures: failures, random: random)
        let asked = min(after ?? .zero, DispatchCore.longestRetryAfter)
        return .retry(at: now + max(pause, asked), failure: shortened(reason))
    }

    private mutating func rest(
        _ transport: String,
        after: Duration?,
        random: some RandomSource,
        monotonic: Duration
    ) -> Duration {
        var state = health[transport] ?? TransportHealth()
        let isResting = monotonic < state.pausedUntil
        // Attempts that were under way when the rest began tell nothing new.
        if !isResting { state.failures += 1 }
        let pause =
            after.map { min(max($0, .seconds(1)), DispatchCore.longestRetryAfter) }
            ?? backoff.delay(afterFailures: state.failures, random: random)
        state.pausedUntil = max(state.pausedUntil, monotonic + pause)
        health[transport] = state
        return state.pausedUntil - monotonic
    }

    private func dead(
        _ wake: WakeUp,
        _ registration: PushRegistration,
        since: Timestamp?,
        random: some RandomSource,
        at now: Timestamp
    ) -> [OutcomeDirective] {
        // Without a time, exactly the registration that was tried is dead: one that came meanwhile stays,
        // whatever the clocks say.
        let since = since ?? registration.registeredAt
        guard since >= registration.registeredAt else {
            // Died before it was registered: the service speaks of an older one. Ask again later, not at
            // once, or the two would go on for ever.
            let reason = "called dead as of a time before it was registered"
            return [.settle(retry(wake, after: nil, reason, random: random, at: now))]
        }
        return [
            .settle(.deadToken(since: since)),
            .announceDead(
                DeadRegistration(
                    tenant: wake.tenant,
                    device: wake.device,
                    transport: registration.transport,
                    since: since
                )
            ),
        ]
    }

    private func shortened(_ text: String) -> String {
        guard text.utf8.count > DispatchCore.maximumFailureBytes else { return text }
        return String(decoding: text.utf8.prefix(DispatchCore.maximumFailureBytes - 3), as: UTF8.self)
            + "…"
    }
}
