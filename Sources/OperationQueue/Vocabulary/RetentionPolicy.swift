public import ClusterRole

/// How long the history of activities is kept.
///
/// Only history is ever purged: an activity that is open, or that a device still has in hand, is not.
public struct RetentionPolicy: Hashable, Sendable {
    /// How long an activity is kept after it was closed; `nil` for as long as ``keepAtMost`` allows.
    public var keepFor: Duration?
    /// The most closed activities a tenant keeps; the oldest go first. `nil` for no such bound.
    public var keepAtMost: Int?
    /// The most rows removed in one transaction; other writers get in between. At most
    /// ``maximumBatchRows``.
    public var batchRows: Int
    /// How long rejected entries are kept, and the marks of spools whose node is no longer heard of.
    public var keepEvidenceFor: Duration
    /// How long a removed device is kept, with its history, at least; `nil` for ever. One that appears
    /// in an activity that is kept stays as long as that.
    public var keepRemovedDevicesFor: Duration?

    /// The most rows of one transaction: with more, others wait noticeably.
    public static let maximumBatchRows = 500
    /// How long an idempotency key is kept at least, from when its request was enqueued: who repeats a
    /// request after a long week-end still gets the first answer. It goes before the other bounds.
    public static let minimumKeyAge = Duration.seconds(7 * 86_400)

    /// - Parameters:
    ///   - keepFor: after closing; 90 days unless said. `nil` for no bound by age.
    ///   - keepAtMost: closed activities a tenant; no bound unless said.
    ///   - batchRows: rows a transaction.
    ///   - keepEvidenceFor: of rejected entries and marks of spools of nodes that are gone.
    ///   - keepRemovedDevicesFor: after their removal; 90 days unless said.
    public init(
        keepFor: Duration? = .seconds(90 * 86_400),
        keepAtMost: Int? = nil,
        batchRows: Int = RetentionPolicy.maximumBatchRows,
        keepEvidenceFor: Duration = .seconds(30 * 86_400),
        keepRemovedDevicesFor: Duration? = .seconds(90 * 86_400)
    ) {
        self.keepRemovedDevicesFor = keepRemovedDevicesFor
        self.keepFor = keepFor
        self.keepAtMost = keepAtMost
        self.batchRows = max(1, min(batchRows, Self.maximumBatchRows))
        self.keepEvidenceFor = keepEvidenceFor
    }

    /// Whether an activity must be kept for its idempotency key.
    func mustKeepKey(of activity: ClosedActivity, at now: Timestamp) -> Bool {
        activity.hasKey && activity.createdAt + Self.minimumKeyAge > now
    }
}

/// An activity that is history: closed, and no device has work of it in hand.
public struct ClosedActivity: Hashable, Sendable {
    public var tenant: TenantID
    public var id: ActivityID
    public var number: Int64
    public var createdAt: Timestamp
    public var closedAt: Timestamp
    /// Whether it was enqueued with an idempotency key.
    public var hasKey: Bool
    /// Rows of executions it has.
    public var executions: Int

    public init(
        tenant: TenantID,
        id: ActivityID,
        number: Int64,
        createdAt: Timestamp,
        closedAt: Timestamp,
        hasKey: Bool,
        executions: Int
    ) {
        self.tenant = tenant
        self.id = id
        self.number = number
        self.createdAt = createdAt
        self.closedAt = closedAt
        self.hasKey = hasKey
        self.executions = executions
    }
}

/// How much history a tenant has.
public struct HistoryCount: Hashable, Sendable {
    public var tenant: TenantID
    /// Closed activities.
    public var activities: Int
    /// Rows of their executions.
    public var executions: Int

    public init(tenant: TenantID, activities: Int, executions: Int) {
        self.tenant = tenant
        self.activities = activities
        self.executions = executions
    }
}

/// What one step of forgetting removed devices did.
public struct ForgottenDevices: Hashable, Sendable {
    /// Enrolments that went.
    public var count: Int
    /// Where the next look begins; `nil` at the end.
    public var next: Int64?

    public init(count: Int, next: Int64?) {
        self.count = count
        self.next = next
    }
}

/// What one look of a ``RetentionTask`` did, or would do.
public struct RetentionReport: Hashable, Sendable {
    /// Activities purged.
    public var activities = 0
    /// Rows of executions of those.
    public var executions = 0
    /// Activities that are old enough and are kept for their idempotency key.
    public var keptForKey = 0
    /// Rejected entries and marks of spools removed.
    public var evidence = 0
    /// Removed devices and past enrolments that were forgotten.
    public var devices = 0
    /// Whether it stopped at ``RetentionTask/maximumActivities``: there is more.
    public var hasMore = false

    public init() {}
}
