public import ClusterRole

/// The conditions under which an operation is handed out and how its executions go on by themselves.
///
/// They are fixed when it is enqueued, travel with the operation to every replica, and are read by
/// the same pure rules on managers and workers. ``standard`` asks for nothing special and is what an
/// operation has unless said otherwise.
public struct OperationTerms: Hashable, Sendable {
    /// Which members of the addressed group it is for. Without a group it means nothing.
    public var scope = GroupScope.membersNow
    /// Before this it is handed out to nobody.
    public var notBefore: Timestamp?
    /// It is handed out only while this is open.
    public var window: MaintenanceWindow?
    public var timeouts = ExecutionTimeouts()
    /// What happens when a device fails it; `nil`: the execution has failed.
    public var retry: RetryPolicy?
    /// What must be done on a device first, in any order.
    public var after: [OperationDependency] = []
    public var control = RepetitionControl.always
    public var confirmation = ConfirmationRule.notAsked
    public var approval = ApprovalRule.notNeeded
    /// How it spreads over its devices; `nil`: all at once.
    public var rollout: RolloutPlan?
    /// Whether devices are woken when it becomes available to them.
    public var wake = WakePolicy.push

    public init() {}

    public static let standard = OperationTerms()
}

/// Which members of a group an operation is for.
public enum GroupScope: UInt8, Hashable, Sendable, Codable, CaseIterable {
    /// Who is a member at the operation's own revision. They stay bound to it after leaving.
    case membersNow = 0
    /// Who is a member, and who joins before it is closed. Who leaves is no longer asked.
    case membersAndJoiners = 1
    /// Only who joins after it was enqueued and before it is closed: the first operations of a newly
    /// enrolled device are those for who joins `GroupID.everyone`.
    case joinersOnly = 2

    /// Whether it goes on addressing new devices until it is closed.
    public var isStanding: Bool { self != .membersNow }

    /// Whether a stay in the group from revision `joined` up to, not including, `left` makes a device
    /// addressed by the operation with this number. `left` is `nil` while the stay lasts.
    public func addresses(_ number: Int64, joined: Int64, left: Int64?) -> Bool {
        switch self {
        case .membersNow: joined <= number && left.map { number < $0 } ?? true
        case .membersAndJoiners: left == nil
        case .joinersOnly: left == nil && joined > number
        }
    }
}

/// How long an execution may take.
public struct ExecutionTimeouts: Hashable, Sendable {
    /// From the first hand-out of an attempt to its result; `nil` for ever.
    public var whole: Duration?
    /// From a progress report that names no time of its own to the next; when it passes, the
    /// execution has timed out. `nil`: it is offered again instead.
    public var step: Duration?
    /// How long a cancelled execution waits for the device's answer; then it counts as cancelled.
    public var cancellation: Duration

    /// One day for the answer to a cancellation, no other limit.
    public init(
        whole: Duration? = nil,
        step: Duration? = nil,
        cancellation: Duration = .seconds(86_400)
    ) {
        self.whole = whole
        self.step = step
        self.cancellation = cancellation
    }
}

/// Hands a failed operation out again.
public struct RetryPolicy: Hashable, Sendable {
    /// How often after the first attempt; at least 1.
    public var count: Int32
    /// The wait before the first repetition; each further one doubles it.
    public var backoff: Duration
    /// The longest wait.
    public var longestBackoff: Duration
    /// Which failures are repeated.
    public var matching: RetryMatcher

    public init(
        count: Int32,
        backoff: Duration = .seconds(60),
        longestBackoff: Duration = .seconds(3_600),
        matching: RetryMatcher = .any
    ) {
        self.count = count
        self.backoff = backoff
        self.longestBackoff = longestBackoff
        self.matching = matching
    }
}

/// Which failures a retry policy is for.
public enum RetryMatcher: Hashable, Sendable {
    /// Every failure and every timeout.
    case any
    /// Timeouts only: the device never answered.
    case timeouts
    /// Failures whose error code (``ResultOutcome/failedBecause(_:)``) is one of these, or begins
    /// with one that ends in `*`.
    case errors([String])
}

/// Another activity that must have completed on a device before this one is handed out there.
///
/// A device that the other activity does not address has nothing to wait for.
public struct OperationDependency: Hashable, Sendable {
    public var activity: ActivityID
    public var onFailure: DependencyFailureRule

    public init(_ activity: ActivityID, onFailure: DependencyFailureRule = .stop) {
        self.activity = activity
        self.onFailure = onFailure
    }
}

/// What becomes of an operation on a device on which what it depends on has not succeeded.
public enum DependencyFailureRule: UInt8, Hashable, Sendable, Codable {
    /// Its execution there is cancelled, and so on down the sequence.
    case stop = 0
    /// It waits until somebody cancels it or it expires.
    case pause = 1
}

/// Whether an operation may stand beside others of its kind on one device.
public enum RepetitionControl: Hashable, Sendable {
    /// Each is done.
    case always
    /// One with the same code at a time: the oldest open one is offered; others that were not handed
    /// out yet end as superseded.
    case noRepeat
    /// The newest open one with this key is offered; older ones that were not handed out yet end as
    /// superseded.
    case supersede(String)
}

/// Whether the device must ask its user first.
public enum ConfirmationRule: UInt8, Hashable, Sendable, Codable {
    case notAsked = 0
    /// The device is told to ask, and reports `awaitingConfirmation`, then `confirmed`.
    case required = 1
}

/// Whether an administrator must approve before anybody sees the operation.
public enum ApprovalRule: UInt8, Hashable, Sendable, Codable {
    case notNeeded = 0
    case required = 1
}

/// Whether devices are woken for an operation.
public enum WakePolicy: String, Hashable, Sendable, Codable {
    /// A contentless push asks each to poll now.
    case push
    /// Nobody is woken.
    case none
}
