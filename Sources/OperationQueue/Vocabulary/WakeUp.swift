public import ClusterRole
public import DeviceRegistry

/// A wake-up under way: one row a device, however many operations wait for it.
///
/// OperationQueue's storage writes it in the transaction that makes it necessary; NotificationDispatch
/// takes it from there.
public struct WakeUp: Hashable, Sendable {
    public var tenant: TenantID
    public var device: DeviceID
    /// Grows each time something new is to be woken for, so that an outcome of an older attempt does
    /// not end a newer wish.
    public var generation: Int64
    /// The newest revision number the device must be answered at for the wake to have done its work.
    public var number: Int64
    /// When to try next.
    public var due: Timestamp
    public var attempts: Int32
    /// Why the last attempt failed; empty before the first.
    public var lastFailure: String

    public init(
        tenant: TenantID,
        device: DeviceID,
        generation: Int64,
        number: Int64,
        due: Timestamp,
        attempts: Int32 = 0,
        lastFailure: String = ""
    ) {
        self.tenant = tenant
        self.device = device
        self.generation = generation
        self.number = number
        self.due = due
        self.attempts = attempts
        self.lastFailure = lastFailure
    }
}

/// A group operation whose members are still to be given their wake-ups.
public struct WakeExpansion: Hashable, Sendable {
    public var tenant: TenantID
    public var group: GroupID
    /// The revision a member must be answered at for its wake to have done its work; who has been
    /// already gets none. It names the expansion: the enqueue's own, or that of a later release.
    public var number: Int64
    /// The operation's number: members as of it are woken.
    public var operation: Int64
    /// Whose ranks count.
    public var activity: ActivityID
    /// Only devices with such a rank are woken.
    public var ranks: Range<Int32>
    /// The last member given a wake-up; `nil` at the beginning.
    public var cursor: DeviceID?
    public var due: Timestamp

    public init(
        tenant: TenantID,
        group: GroupID,
        number: Int64,
        operation: Int64,
        activity: ActivityID,
        ranks: Range<Int32> = 0..<RolloutPlan.everyone,
        cursor: DeviceID? = nil,
        due: Timestamp
    ) {
        self.tenant = tenant
        self.group = group
        self.number = number
        self.operation = operation
        self.activity = activity
        self.ranks = ranks
        self.cursor = cursor
        self.due = due
    }

    /// Whether a stay in the group is to be woken for.
    public func covers(_ membership: Membership) -> Bool {
        membership.contains(operation)
            && (ranks == 0..<RolloutPlan.everyone
                || ranks.contains(activity.rank(of: membership.device)))
    }
}
