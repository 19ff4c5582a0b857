#if Server
internal import ClusterRole

/// How long to wait after one failure, two, three: doubling, bounded, jittered by the caller.
struct Backoff: Sendable {
    let initial: Duration
    let maximum: Duration
    private(set) var failures = 0

    init(initial: Duration, maximum: Duration) {
        self.initial = initial
        self.maximum = maximum
    }

    /// The wait after one more failure; at least what the other side asked for, if that is no longer
    /// than `maximum`.
    mutating func onFailure(retryAfter: Duration?) -> Duration {
        let doubled = initial * (1 << min(failures, 16))
        failures = min(failures + 1, 1_000_000)
        return min(max(doubled, retryAfter ?? .zero), maximum)
    }

    mutating func onSuccess() { failures = 0 }
}
#endif
