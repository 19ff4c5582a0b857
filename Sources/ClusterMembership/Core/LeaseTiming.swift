public import ClusterRole

/// The three times of the coordinator's lease.
///
/// The names and the rule between them are those of Kubernetes' leader election: a holder that cannot
/// renew stops itself after ``renew``, which is before anybody else may take the lease (``duration``),
/// and it tries several times before that (``retry``).
public struct LeaseTiming: Hashable, Sendable {
    /// How long the store keeps the lease for a holder that says nothing. 15 s.
    public let duration: Duration
    /// How long a holder goes on without a successful renewal, by its own monotonic clock. 10 s.
    public let renew: Duration
    /// The pause between two tries to take or to renew it. 2 s.
    public let retry: Duration

    /// How much a pause may be lengthened, so that several nodes do not ask in step.
    public static let jitterFactor = 1.2

    /// - Throws: ``ClusterMembershipError`` with `invalidConfiguration` unless
    ///   `duration > renew > retry × 1.2` and `retry > 0`.
    public init(duration: Duration, renew: Duration, retry: Duration)
        throws(ClusterMembershipError)
    {
        guard duration > renew, renew > retry * LeaseTiming.jitterFactor, retry > .zero else {
            throw ClusterMembershipError(
                .invalidConfiguration,
                "A lease needs duration > renew > retry × 1.2 > 0; these are \(duration), \(renew) and "
                    + "\(retry). The standard is 15 s, 10 s and 2 s."
            )
        }
        self.duration = duration
        self.renew = renew
        self.retry = retry
    }

    private init(trusted duration: Duration, _ renew: Duration, _ retry: Duration) {
        self.duration = duration
        self.renew = renew
        self.retry = retry
    }

    /// 15 s, 10 s, 2 s.
    public static let standard = LeaseTiming(trusted: .seconds(15), .seconds(10), .seconds(2))
}

/// Why a node is no longer the coordinator.
public enum LeaseLoss: Hashable, Sendable {
    /// Another epoch has begun.
    case fenced(current: Epoch)
    /// It could not renew in time; another may hold the lease by now or soon.
    case notRenewed
    /// Its own callback for the gain threw.
    case gainFailed
    /// Its own callback for the gain did not return in time.
    case gainStuck
    /// It is shutting down and gave the lease back.
    case shutdown
    /// It gave the lease back to leave it to others: it drains, or another is preferred.
    case handedOver
    /// Its task was cancelled; the lease runs out by itself.
    case cancelled
}
