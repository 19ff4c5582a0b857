public import ClusterRole

/// The right to be coordinator, kept by the store.
///
/// Correctness rests on the epoch: each new holder gets a higher one, and the store refuses guarded
/// writes of lower ones. Times are the store's own (a database's clock), never a caller's.
public protocol LeaseStore: Sendable {
    /// Takes the lease if it is free, has run out, or is `holder`'s own from an earlier life; each time
    /// with a new epoch.
    ///
    /// - Returns: the lease as it is now, whoever holds it.
    func acquire(holder: NodeID, duration: Duration) async throws -> Lease

    /// Renews the lease of `epoch`.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)` when another epoch has begun.
    func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease

    /// Gives the lease back, so that another may take it at once. Harmless if it is no longer held.
    func release(holder: NodeID, epoch: Epoch) async throws

    /// The lease as it is now, without asking for it; `nil` while it is free or has run out.
    func holder() async throws -> Lease?
}

extension LeaseStore {
    /// A store that cannot tell: managers that are less preferred then wait for a while before they ask,
    /// and none can tell where the coordinator is.
    public func holder() async throws -> Lease? { nil }
}

/// Who is coordinator, and for how long from the answer on.
public struct Lease: Hashable, Sendable {
    public var holder: NodeID
    public var epoch: Epoch
    /// How long it lasted when the store answered. The holder counts it down by its own monotonic clock,
    /// from **before** it asked.
    public var remaining: Duration

    public init(holder: NodeID, epoch: Epoch, remaining: Duration) {
        self.holder = holder
        self.epoch = epoch
        self.remaining = remaining
    }

    /// What ``remaining`` is at least when the lease never runs out: the store belongs to this process
    /// until it is closed (SQLite). A ``Coordinator`` then never renews.
    public static let unlimited = Duration.seconds(100 * 365 * 86_400)

    /// Whether the lease never runs out.
    public var isUnlimited: Bool { remaining >= Lease.unlimited }
}

/// The log of all committed changes, in one total order. It holds keys only.
public protocol RevisionLog: Sendable {
    func current() async throws -> Revision

    /// Changes after a revision, oldest first.
    ///
    /// - Throws: ``ClusterMembershipError`` with `compacted` when the log no longer reaches back so far
    ///   or the revision is of another history: take a snapshot.
    func changes(after revision: Revision, limit: Int) async throws -> [LoggedChange]

    /// Appends keys as one guarded write.
    func append(_ keys: [ChangeKey], epoch: Epoch) async throws -> Revision
}

/// One revision and what it changed.
public struct LoggedChange: Hashable, Sendable {
    public var number: Int64
    public var keys: [ChangeKey]

    public init(number: Int64, keys: [ChangeKey]) {
        self.number = number
        self.keys = keys
    }
}

/// Keeps the members of the cluster.
public protocol MemberRegistry: Sendable {
    /// Stores a member as it is now: joined, or changed. A repeated heartbeat that changes nothing but
    /// `lastHeard` and `applied` takes no revision (a revision for having applied a revision would never
    /// come to rest).
    func put(_ member: Member, epoch: Epoch) async throws -> Revision
    /// Removes a member.
    func remove(_ node: NodeID, epoch: Epoch) async throws -> Revision
    /// All members, by id.
    func members() async throws -> [Member]
}

/// "Revision N exists." It may lose, repeat and reorder; nothing is correct only because of it.
public protocol HintBus: Sendable {
    func publish(_ revision: Revision)
    /// Hints from now on. A slow reader gets the newest only.
    func hints() -> AsyncStream<Revision>
}
