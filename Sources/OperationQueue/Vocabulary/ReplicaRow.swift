public import ClusterRole
public import DeviceRegistry

/// One row of what a replica holds, or the news that it is gone.
public enum ReplicaRow: Hashable, Sendable {
    case device(DeviceRow)
    /// Open intervals, and closed ones only while a live operation refers to them.
    case membership(TenantID, Membership)
    /// A live activity, with what its operation needs to be handed out.
    case activity(TenantID, ReplicaActivity)
    /// A named device that a live operation addresses.
    case target(TenantID, number: Int64, device: DeviceID, incarnation: IncarnationID)
    /// An execution row of a live activity.
    case execution(TenantID, number: Int64, Execution)
    /// The activity with this number is no longer live: its rows and targets go with it.
    case activityGone(TenantID, number: Int64)
    /// How often the members of a group poll by themselves; `nil` for no wish of the group's.
    case group(TenantID, GroupID, pollingFrequency: Duration?)
    /// How far the asking node's spool has been applied.
    case mark(SpoolMark)
}

/// What a replica holds of an activity.
public struct ReplicaActivity: Hashable, Sendable {
    public var operation: DeviceOperation
    public var group: GroupID?
    public var state: ActivityState
    public var gate: OfferGate

    public init(
        operation: DeviceOperation,
        group: GroupID?,
        state: ActivityState,
        gate: OfferGate = OfferGate()
    ) {
        self.operation = operation
        self.group = group
        self.state = state
        self.gate = gate
    }
}

/// Where the next page of a snapshot begins. Opaque outside the driver that made it.
public struct ReplicaCursor: Hashable, Sendable {
    public var token: String
    public init(token: String) { self.token = token }
}

/// One page of a snapshot or a delta.
public struct ReplicaPage: Hashable, Sendable {
    /// What the rows are.
    public enum Content: Hashable, Sendable {
        /// The first page of a snapshot: forget everything, then take the rows.
        case snapshotBegins
        /// A further page of a snapshot.
        case snapshotContinues
        /// Current rows of changed keys.
        case delta
    }

    public var content: Content
    public var rows: [ReplicaRow]
    /// Snapshot: the revision at which it began. Delta: the revision the replica reaches.
    public var revision: Revision
    /// `nil` on the last page of a snapshot, and on a delta.
    public var next: ReplicaCursor?
    /// The epoch of the manager that answered.
    public var epoch: Epoch

    public init(
        content: Content,
        rows: [ReplicaRow],
        revision: Revision,
        next: ReplicaCursor?,
        epoch: Epoch
    ) {
        self.content = content
        self.rows = rows
        self.revision = revision
        self.next = next
        self.epoch = epoch
    }
}
