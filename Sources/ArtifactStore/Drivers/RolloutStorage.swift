public import ClusterRole

/// What the managers record about rollouts: how they stand, their history, what they blocked, and what
/// nodes say of their health.
///
/// Drivers are plain: the rules are ``ReleaseRollout``'s. Every write is one transaction that compares
/// `epoch` with the store's and throws `ClusterRoleError.fenced(current:)` if it is not the newest. It is
/// durable on return.
///
/// It is the same store as the channel's ``ReleaseStorage``, which asks
/// its `ChannelStanding` in the transaction that appends: a blocked tree is published
/// by nobody, and nothing is published beside an open rollout.
public protocol RolloutStorage: Sendable {
    /// Writes a change: the rollout, its lines of history and its blocks together, or nothing of them. It
    /// logs `ChangeKey.channel`, because what the channel's workers are offered may have changed.
    ///
    /// - Returns: the revision of the write.
    /// - Throws: ``ArtifactStoreError`` with code `rolloutOpen` if the rollout is new and its channel has an
    ///   open one; `conflict` if the stored version is not the one the change names, or if the release
    ///   it asks to be absent is there.
    func write(
        _ change: ReleaseRolloutChange,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision

    /// The open rollout of a channel and its blocks, by root, as of one moment.
    func standing(of channel: ChannelName, tenant: TenantID) async throws -> ChannelStanding

    /// Rollouts, newest first.
    ///
    /// - Parameters:
    ///   - filter: which.
    ///   - tenant: whose; `nil` for all tenants, which is for the managers' own work.
    ///   - before: only rollouts behind this one in the list; `nil` begins at the newest.
    ///   - limit: at most so many; at least 1.
    func rollouts(
        _ filter: ReleaseRolloutFilter,
        tenant: TenantID?,
        before: ReleaseRolloutID?,
        limit: Int
    ) async throws -> [ReleaseRollout]

    /// The history of a rollout, oldest first; none for one that is not this tenant's.
    func transitions(
        of rollout: ReleaseRolloutID,
        tenant: TenantID
    ) async throws -> [ReleaseRolloutTransition]

    /// Records what a node says of its health; of each node and channel the newest is kept
    /// (``ReleaseHealth/supersedes(_:)``). No replica holds it, so it logs no key.
    ///
    /// - Returns: the store's revision after the write.
    func record(
        _ health: ReleaseHealth,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision

    /// What each node last said of its health in a channel, by node.
    func health(of channel: ChannelName, tenant: TenantID) async throws -> [ReleaseHealth]
}

/// Which rollouts are asked for.
public enum ReleaseRolloutFilter: Hashable, Sendable {
    case all
    /// Those that are not over.
    case open
    case channel(ChannelName)
    case id(ReleaseRolloutID)
}

/// One write to a ``RolloutStorage``.
public struct ReleaseRolloutChange: Hashable, Sendable {
    /// The channel it is about.
    public let channel: ChannelName
    /// The rollout as it is to stand; `nil` if only blocks change.
    public let rollout: ReleaseRollout?
    /// The version that is stored; `nil` for a rollout that begins.
    public let version: Int64?
    /// A release that must not be there yet: an armed rollout never closes beside it.
    public let unpublished: ReleaseNumber?
    public let transitions: [ReleaseRolloutTransition]
    public let blocks: [ReleaseBlock]
    /// Trees whose blocks are lifted.
    public let unblocked: [TreeID]

    public init(
        channel: ChannelName,
        rollout: ReleaseRollout? = nil,
        version: Int64? = nil,
        unpublished: ReleaseNumber? = nil,
        transitions: [ReleaseRolloutTransition] = [],
        blocks: [ReleaseBlock] = [],
        unblocked: [TreeID] = []
    ) {
        self.channel = channel
        self.rollout = rollout
        self.version = version
        self.unpublished = unpublished
        self.transitions = transitions
        self.blocks = blocks
        self.unblocked = unblocked
    }

    /// What speaks against the change; `nil` if it may be written. Drivers ask in the transaction that
    /// writes.
    ///
    /// - Parameters:
    ///   - stored: the version of this rollout that is stored; `nil` if it is unknown.
    ///   - open: another rollout of the channel that is open.
    ///   - newest: the newest release of the channel.
    package func refusal(
        stored: Int64?,
        open: ReleaseRolloutID?,
        newest: ReleaseNumber?
    ) -> ArtifactStoreError? {
        if let rollout, version == nil, let open, open != rollout.id {
            return ArtifactStoreError(
                .rolloutOpen,
                "Channel \(channel) has the open rollout \(open). Wait for it, revert it, or abort it."
            )
        }
        if rollout != nil, stored != version {
            return ArtifactStoreError(
                .conflict,
                "The rollout has changed meanwhile. Look at it, then try again."
            )
        }
        if let unpublished, let newest, newest >= unpublished {
            return .conflict(channel: channel, expected: nil, actual: newest)
        }
        return nil
    }
}

/// Tells which nodes there are.
public protocol ReleaseNodeReader: Sendable {
    /// Every worker the managers know, in any order.
    func nodes() async throws -> [ReleaseNode]
}

/// Nodes that were named, for tests and for products with a registry of their own.
public struct FixedReleaseNodes: ReleaseNodeReader {
    private let all: @Sendable () async throws -> [ReleaseNode]

    /// - Parameter all: asked each time.
    public init(_ all: @escaping @Sendable () async throws -> [ReleaseNode]) { self.all = all }

    public func nodes() async throws -> [ReleaseNode] { try await all() }
}
