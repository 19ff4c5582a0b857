public import ClusterRole
public import DeviceRegistry

/// How fast devices are woken: the herd control.
///
/// A wake-up makes a device poll, so this rate is also the rate at which a group operation sends the
/// fleet to the workers.
public struct WakeRate: Hashable, Sendable {
    /// Wake-ups a second, over time. 500.
    public let perSecond: Double
    /// Wake-ups that may go out at once after a pause. One second's worth unless said.
    public let burst: Int
    /// Attempts under way at once. 64: enough for a transport that answers in 100 ms to reach the rate.
    public let maximumConcurrent: Int

    /// - Throws: ``NotificationDispatchError`` with `invalidConfiguration` for a rate, burst or
    ///   concurrency that would never send anything.
    public init(
        perSecond: Double = 500,
        burst: Int? = nil,
        maximumConcurrent: Int = 64
    ) throws(NotificationDispatchError) {
        let burst = burst ?? max(1, Int(min(perSecond.isFinite ? perSecond : 0, 1e9)))
        guard perSecond > 0, perSecond.isFinite, burst > 0, maximumConcurrent > 0 else {
            throw NotificationDispatchError(
                .invalidConfiguration,
                "A wake rate needs a finite rate, a burst and a concurrency above zero."
            )
        }
        self.init(trusted: perSecond, burst, maximumConcurrent)
    }

    private init(trusted perSecond: Double, _ burst: Int, _ maximumConcurrent: Int) {
        self.perSecond = perSecond
        self.burst = burst
        self.maximumConcurrent = maximumConcurrent
    }

    /// 500 a second, 64 at once.
    public static let standard = WakeRate(trusted: 500, 500, 64)
}

/// When a failed wake-up is tried again: exponentially later, up to a cap, with jitter.
public struct BackoffSchedule: Hashable, Sendable {
    /// The pause after the first failure. 10 s.
    public let first: Duration
    /// The longest pause. 15 min: about how often a device polls by itself.
    public let cap: Duration
    /// How far a pause is moved by chance, as a fraction of itself. 0.2.
    public let jitter: Double
    /// Attempts after which a device is left to polling. 8: about 20 minutes.
    public let maximumAttempts: Int

    /// - Throws: ``NotificationDispatchError`` with `invalidConfiguration` unless
    ///   `0 < first <= cap`, `0 <= jitter < 1` and `maximumAttempts > 0`.
    public init(
        first: Duration = .seconds(10),
        cap: Duration = .seconds(900),
        jitter: Double = 0.2,
        maximumAttempts: Int = 8
    ) throws(NotificationDispatchError) {
        guard first > .zero, first <= cap, jitter >= 0, jitter < 1, maximumAttempts > 0 else {
            throw NotificationDispatchError(
                .invalidConfiguration,
                "A backoff needs 0 < first <= cap, a jitter from 0 up to 1, and at least one attempt."
            )
        }
        self.init(trusted: first, cap, jitter, maximumAttempts)
    }

    private init(trusted first: Duration, _ cap: Duration, _ jitter: Double, _ attempts: Int) {
        self.first = first
        self.cap = cap
        self.jitter = jitter
        maximumAttempts = attempts
    }

    /// 10 s, doubling to 15 min, ±20 %, 8 attempts.
    public static let standard = BackoffSchedule(trusted: .seconds(10), .seconds(900), 0.2, 8)

    /// 5 s, doubling to 1 h, ±20 %, 12 attempts: a receiver that is down for more than two hours finds
    /// dead letters.
    public static let webhooks = BackoffSchedule(trusted: .seconds(5), .seconds(3_600), 0.2, 12)

    /// The pause after the `failures`th failure (1 for the first). Never longer than ``cap``.
    public func delay(afterFailures failures: Int, random: some RandomSource) -> Duration {
        var pause = first
        for _ in 1..<max(2, min(failures, 64)) where failures > 1 && pause < cap { pause *= 2 }
        return min(cap, random.jittered(min(cap, pause), by: jitter))
    }
}

/// A push registration a transport called dead. It names no address.
public struct DeadRegistration: Hashable, Sendable {
    public var tenant: TenantID
    public var device: DeviceID
    public var transport: String
    /// Registrations no newer than this are gone.
    public var since: Timestamp

    public init(tenant: TenantID, device: DeviceID, transport: String, since: Timestamp) {
        self.tenant = tenant
        self.device = device
        self.transport = transport
        self.since = since
    }
}

/// What one ``WakeDispatcher/step()`` did.
public struct WakeStep: Hashable, Sendable {
    /// Outbox rows written for members of groups.
    public var expanded = 0
    /// Members of groups that had a wake-up under way already.
    public var coalesced = 0
    /// Wake-ups given to a transport.
    public var attempted = 0
    /// Taken by a transport.
    public var sent = 0
    /// Put off.
    public var retried = 0
    /// Given up: left to polling.
    public var abandoned = 0
    /// Dead registrations.
    public var dead = 0
    /// When something is due next; `nil` when nothing waits.
    public var nextDue: Timestamp?

    public init() {}
}
