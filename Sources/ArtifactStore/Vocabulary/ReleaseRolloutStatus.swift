public import ClusterRole

/// How one node stands to one release.
public enum ReleaseNodeStanding: Hashable, Sendable {
    /// It applied it, or a newer one.
    case applied
    /// It kept what it had.
    case refused(code: String, message: String)
    /// It applied it and says that it is not well.
    case unhealthy(String)
    /// It applied it and fell silent.
    case lost(since: Timestamp)
    /// It is offered the release and has not said anything of it yet; the release it last spoke of.
    case behind(ReleaseNumber?)
    /// It is not heard; the time it last was, if it ever was.
    case notConnected(since: Timestamp?)
    /// It lacks something the release asks for.
    case unfit([UnmetRequirement])
    /// The rollout has not come to it, or is paused.
    case held(ReleaseRolloutID, isPaused: Bool)
    /// The release is blocked.
    case blocked(reason: String)

    /// A stable word for interfaces.
    public var code: String {
        switch self {
        case .applied: "applied"
        case .refused: "refused"
        case .unhealthy: "unhealthy"
        case .lost: "lost"
        case .behind: "behind"
        case .notConnected: "not-connected"
        case .unfit: "unfit"
        case .held: "held"
        case .blocked: "blocked"
        }
    }

    /// For people.
    public var explanation: String {
        switch self {
        case .applied: "applied"
        case .refused(let code, let message): "\(code): \(message)"
        case .unhealthy(let message): message
        case .lost(let since): "silent since \(since), after it had applied the release"
        case .behind(let number):
            number.map { "it last spoke of release \($0)" } ?? "it has said nothing of this channel"
        case .notConnected(let since):
            since.map { "not connected since \($0)" } ?? "never connected"
        case .unfit(let unmet):
            "it lacks \(unmet.map(\.description).joined(separator: ", "))"
        case .held(let rollout, let isPaused):
            isPaused ? "rollout \(rollout) is paused" : "rollout \(rollout) has not come to it"
        case .blocked(let reason): "the release is blocked: \(reason)"
        }
    }
}

/// A node that is not where a release wants it, and why.
public struct ReleaseLaggard: Hashable, Sendable {
    public let node: NodeID
    public let standing: ReleaseNodeStanding

    public init(node: NodeID, standing: ReleaseNodeStanding) {
        self.node = node
        self.standing = standing
    }
}

/// How far a release has come: "X of Y applied".
public struct ReleaseProgress: Hashable, Sendable {
    public let channel: ChannelName
    public let number: ReleaseNumber
    /// How many nodes take the channel.
    public let nodes: Int
    /// How many of them applied the release, or a newer one.
    public let applied: Int
    /// The others, by name.
    public let laggards: [ReleaseLaggard]

    public init(
        channel: ChannelName,
        number: ReleaseNumber,
        nodes: Int,
        applied: Int,
        laggards: [ReleaseLaggard]
    ) {
        self.channel = channel
        self.number = number
        self.nodes = nodes
        self.applied = applied
        self.laggards = laggards
    }
}

/// How many nodes must have applied a release for it to be where it is wanted.
public enum ReleaseQuorum: Hashable, Sendable {
    /// Every node that takes the channel.
    case all
    /// So many.
    case count(Int)
    /// So many per cent of them, rounded up.
    case percent(Int)

    /// Whether `applied` of `nodes` is enough. Nothing is enough of no nodes but `count(0)`.
    public func isReached(applied: Int, of nodes: Int) -> Bool {
        switch self {
        case .all: nodes > 0 && applied >= nodes
        case .count(let count): applied >= count
        case .percent(let percent):
            nodes > 0 && applied * 100 >= nodes * max(0, min(100, percent))
        }
    }

    /// Parses `all`, a number, or a number with `%` behind it.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidName`.
    public init(parsing text: String) throws(ArtifactStoreError) {
        let digits = text.hasSuffix("%") ? text.dropLast() : text[...]
        if text == "all" {
            self = .all
        } else if let count = Int(digits), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            !text.hasSuffix("%") || count <= 100
        {
            self = text.hasSuffix("%") ? .percent(count) : .count(count)
        } else {
            throw ArtifactStoreError(
                .invalidName,
                "A quorum is written all, or as a number of nodes, or as per cent such as 80%."
            )
        }
    }
}

/// What waiting for a release came to.
public struct AwaitedRelease: Hashable, Sendable {
    /// Whether the quorum was reached before the deadline.
    public let isReached: Bool
    /// How the release stood then.
    public let progress: ReleaseProgress

    public init(isReached: Bool, progress: ReleaseProgress) {
        self.isReached = isReached
        self.progress = progress
    }
}

/// How a rollout stands, wave by wave.
public struct ReleaseRolloutStatus: Hashable, Sendable {
    /// One wave: those it is the first to admit.
    public struct Wave: Hashable, Sendable {
        /// From 0 on.
        public let index: Int
        public let nodes: Int
        public let applied: Int
        /// Those that refused, are unhealthy, or were lost.
        public let failed: Int
        /// Those that lack what the release asks for; nothing waits for them.
        public let unfit: Int

        public init(index: Int, nodes: Int, applied: Int, failed: Int, unfit: Int) {
            self.index = index
            self.nodes = nodes
            self.applied = applied
            self.failed = failed
            self.unfit = unfit
        }
    }

    public let rollout: ReleaseRollout
    /// The waves that have begun.
    public let waves: [Wave]
    /// Of the whole channel.
    public let progress: ReleaseProgress

    public init(rollout: ReleaseRollout, waves: [Wave], progress: ReleaseProgress) {
        self.rollout = rollout
        self.waves = waves
        self.progress = progress
    }
}
