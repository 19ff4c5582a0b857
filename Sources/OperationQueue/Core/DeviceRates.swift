internal import ClusterRole
internal import DeviceRegistry

/// How often each device may come: a token bucket a device, kept as one time each (the generic cell
/// rate algorithm, ITU-T I.371): the time at which its bucket is full again.
///
/// A report is charged half of what a poll is and may overdraw by another burst, so that a device that
/// polled too often can still report. A call that is refused costs nothing. Devices whose bucket is
/// full are forgotten; if more than `capacity` are not, further ones are let in uncounted: memory is
/// bounded first.
struct DeviceRates: Sendable {
    /// The time one exchange takes to be earned back.
    private let interval: Duration
    private let burst: Int
    private let capacity: Int
    private var fullAt: [ConcernedDevice: Duration] = [:]
    private var sweepAt: Int
    private var nextSweep = Duration.zero

    /// - Parameters:
    ///   - perMinute: exchanges earned in a minute.
    ///   - burst: the most exchanges in one moment.
    ///   - capacity: the most devices counted.
    init(perMinute: Int, burst: Int, capacity: Int) {
        interval = .seconds(60) / max(1, perMinute)
        self.burst = max(1, burst)
        self.capacity = max(1, capacity)
        sweepAt = min(self.capacity, 1_024)
    }

    /// How many devices are counted now.
    var count: Int { fullAt.count }

    /// A device comes.
    ///
    /// - Returns: how long it must wait; `nil` if it may go on.
    mutating func onCall(
        of device: ConcernedDevice,
        isReport: Bool,
        at now: Duration
    ) -> Duration? {
        let full = max(now, fullAt[device] ?? now)
        let cost = isReport ? interval / 2 : interval
        let allowed = interval * (isReport ? burst * 2 : burst)
        let wait = full + cost - now - allowed
        if wait > .zero { return wait }
        if fullAt[device] == nil {
            makeRoom(at: now)
            guard fullAt.count < capacity else { return nil }
        }
        fullAt[device] = full + cost
        return nil
    }

    /// Forgets devices whose bucket is full, when the number has doubled and at most once a second.
    private mutating func makeRoom(at now: Duration) {
        guard fullAt.count >= sweepAt, now >= nextSweep else { return }
        nextSweep = now + .seconds(1)
        fullAt = fullAt.filter { $0.value > now }
        sweepAt = min(capacity, max(1_024, fullAt.count * 2))
    }
}
