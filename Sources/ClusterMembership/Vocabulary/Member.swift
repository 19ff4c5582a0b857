public import ClusterRole

/// One node of the cluster, as it last said.
public struct Member: Hashable, Sendable {
    public var node: NodeID
    public var role: NodeRole
    /// `domain` or `domain/sub-domain`, such as `reeve/worker`.
    public var domain: ClusterDomain
    /// Where others reach it, such as `10.0.0.4:8443`; empty if nobody dials it.
    public var address: String
    /// The software's version.
    public var version: String
    public var state: MemberState
    /// What the product adds: zone, capacity. At most 64 entries.
    public var properties: [String: String]
    /// The newest revision it has applied.
    public var applied: Revision?
    /// What the node itself says of its readiness for work.
    public var mode: MemberMode
    /// What an administrator asked of it; it stays when the node joins again.
    public var askedMode: MemberMode
    public var joinedAt: Timestamp
    public var lastHeard: Timestamp

    public init(
        node: NodeID,
        role: NodeRole,
        domain: ClusterDomain,
        address: String = "",
        version: String = "",
        state: MemberState = .alive,
        properties: [String: String] = [:],
        applied: Revision? = nil,
        mode: MemberMode = .active,
        askedMode: MemberMode = .active,
        joinedAt: Timestamp,
        lastHeard: Timestamp
    ) {
        self.node = node
        self.role = role
        self.domain = domain
        self.address = address
        self.version = version
        self.state = state
        self.properties = properties
        self.applied = applied
        self.mode = mode
        self.askedMode = askedMode
        self.joinedAt = joinedAt
        self.lastHeard = lastHeard
    }

    /// How it stands for work: the stricter of ``mode`` and ``askedMode``.
    public var effectiveMode: MemberMode { max(mode, askedMode) }

    /// Whether nothing differs but what each heartbeat moves: `lastHeard` and `applied`.
    public func isSameButForHeartbeat(as other: Member) -> Bool {
        var moved = self
        moved.lastHeard = other.lastHeard
        moved.applied = other.applied
        return moved == other
    }

    /// The property by which a manager says its ``CoordinatorConfiguration/rank``.
    public static let coordinatorRank = "reeve.coordinator-rank"

    /// The most ``properties``, so that a list of members stays small.
    public static let maximumProperties = 64
    /// The longest key or value of ``properties``, ``address`` and ``version``, in bytes of UTF-8.
    public static let maximumTextBytes = 1_024

    /// Refuses what would grow the registry without bound.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `invalidMember`.
    public func validate() throws(ClusterMembershipError) {
        let texts = [address, version] + properties.keys + properties.values
        guard properties.count <= Member.maximumProperties,
            texts.allSatisfy({ $0.utf8.count <= Member.maximumTextBytes })
        else {
            throw ClusterMembershipError(
                .invalidMember,
                "A member has at most \(Member.maximumProperties) properties, and no text longer than "
                    + "\(Member.maximumTextBytes) bytes."
            )
        }
    }
}

/// How a member stands.
public enum MemberState: String, Hashable, Sendable, Codable, CaseIterable {
    case alive
    /// Not heard for a while; it may come back as it was.
    case suspect
    /// Not heard for long; it has to join again.
    case failed
    /// It said good-bye.
    case left
}

/// Whether a member takes work. Every member sees every other's.
public enum MemberMode: String, Hashable, Sendable, Codable, CaseIterable, Comparable {
    case active
    /// It finishes what it has and takes nothing new: it tells load balancers that it is not ready, and
    /// gives up its cluster tasks and its right to coordinate, but goes on answering.
    case draining
    /// As draining, and it is expected to go away: nobody waits for it.
    case maintenance

    /// A stricter mode is greater.
    public static func < (left: MemberMode, right: MemberMode) -> Bool {
        left.strictness < right.strictness
    }

    private var strictness: Int {
        switch self {
        case .active: 0
        case .draining: 1
        case .maintenance: 2
        }
    }
}

/// What can go wrong in the cluster.
public struct ClusterMembershipError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The log no longer reaches back to the revision, or it is of another history.
        public static let compacted = Code(rawValue: "cluster.compacted")
        /// Nobody holds the lease now.
        public static let noCoordinator = Code(rawValue: "cluster.no-coordinator")
        public static let invalidConfiguration = Code(rawValue: "cluster.invalid-configuration")
        public static let invalidMember = Code(rawValue: "cluster.invalid-member")
        /// The member never joined, failed or left: it has to join (again).
        public static let notJoined = Code(rawValue: "cluster.not-joined")
        /// A cluster task that cannot be placed or kept.
        public static let invalidTask = Code(rawValue: "cluster.invalid-task")
        /// A slot of a cluster task is no longer this holder's.
        public static let slotLost = Code(rawValue: "cluster.slot-lost")
        public static let storage = Code(rawValue: "cluster.storage")
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?

    public init(
        _ code: Code,
        _ message: String,
        retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .compacted, .notJoined, .slotLost, .messageConflict, .stateConflict: .conflict
        case .noCoordinator: .unavailable
        case .tooManyMessages: .overloaded
        case .stateFull: .tooLarge
        case .unknownMessage, .unknownMember: .notFound
        case .noHandler: .forbidden
        case .slowHandler: .unavailable
        case .storage: (cause as? any CodedError)?.category ?? .internalFailure
        default: .invalid
        }
    }
}
