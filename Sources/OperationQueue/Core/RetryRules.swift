internal import ClusterRole
internal import DeviceRegistry

/// Why an attempt did not succeed.
public enum AttemptFailure: Hashable, Sendable {
    /// The device said so, with its error code if it gave one.
    case reported(String?)
    case timedOut
}

extension RetryPolicy {
    /// Whether a failure after `retries` repetitions is repeated once more.
    public func repeats(_ failure: AttemptFailure, after retries: Int32) -> Bool {
        retries < count && matching.matches(failure)
    }

    /// How long the repetition with this number (1 is the first) waits: the doubled backoff, up to the
    /// longest, and up to a tenth more by `rank`, so that a fleet that failed at once does not come
    /// back at once. The same on every node, because it draws nothing.
    public func wait(before repetition: Int32, rank: Int32) -> Duration {
        Backoff.wait(before: repetition, first: backoff, longest: longestBackoff, rank: rank)
    }
}

/// Waits that double.
enum Backoff {
    static func wait(
        before repetition: Int32,
        first: Duration,
        longest: Duration,
        rank: Int32
    ) -> Duration {
        let limit = max(1, longest.milliseconds)
        var wait = max(1, min(first.milliseconds, limit))
        for _ in 1..<max(2, min(repetition, 64)) where wait < limit && repetition > 1 {
            wait = min(limit, wait * 2)
        }
        return .milliseconds(wait + wait / 10 * Int64(rank) / Int64(RolloutPlan.everyone))
    }
}

extension RetryMatcher {
    func matches(_ failure: AttemptFailure) -> Bool {
        switch (self, failure) {
        case (.any, _), (.timeouts, .timedOut): true
        case (.timeouts, .reported), (.errors, .timedOut), (.errors, .reported(nil)): false
        case (.errors(let codes), .reported(.some(let code))):
            codes.contains { $0.last == "*" ? code.hasPrefix($0.dropLast()) : code == $0 }
        }
    }
}
