public import ClusterRole

/// Names one rollout of a release.
public struct ReleaseRolloutID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }

    /// The place of a node in the order of this rollout: 0…9,999, evenly spread, and the same on every
    /// manager.
    ///
    /// The 64-bit FNV-1a hash (draft-eastlake-fnv) of the id's 16 big-endian bytes and the node's name,
    /// finished by the mixing step of MurmurHash3, scaled to the range.
    public func rank(of node: NodeID) -> Int32 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        withUnsafeBytes(of: bits.bigEndian) { $0.forEach(add) }
        node.rawValue.utf8.forEach(add)
        hash ^= hash >> 33
        hash &*= 0xff51_afd7_ed55_8ccd
        hash ^= hash >> 33
        return Int32(hash.multipliedFullWidth(by: UInt64(ReleaseAudience.whole)).high)
    }
}

/// Where a rollout stands.
public enum ReleaseRolloutState: UInt8, Hashable, Sendable, Codable, CaseIterable {
    /// It waits for its release to be published.
    case awaitingRelease = 0
    /// A wave runs.
    case running = 1
    /// It goes no further: nobody is offered the release who has not applied it.
    case paused = 2
    /// The tree before is being published again.
    case reverting = 3
    /// Everybody is offered the release.
    case completed = 4
    /// It ended early; the release is blocked.
    case aborted = 5
    /// It ended with the tree before, under a new number; the release is blocked.
    case reverted = 6

    /// Whether it is over for good.
    public var isClosed: Bool { rawValue >= ReleaseRolloutState.completed.rawValue }
}

/// One release on its way to the workers of its channel.
public struct ReleaseRollout: Hashable, Sendable {
    /// A release and its tree.
    public struct Target: Hashable, Sendable {
        public let number: ReleaseNumber
        public let root: TreeID

        public init(number: ReleaseNumber, root: TreeID) {
            self.number = number
            self.root = root
        }
    }

    public let id: ReleaseRolloutID
    public let tenant: TenantID
    public let channel: ChannelName
    public let plan: ReleaseRolloutPlan
    /// Who started it.
    public let initiator: String
    public let startedAt: Timestamp
    /// The number that is rolled out.
    public let candidate: ReleaseNumber
    /// What everybody else keeps, and what a revert publishes again; `nil` for a channel's first release.
    public let baseline: Target?
    /// The tree of the candidate, once it is there.
    public package(set) var candidateRoot: TreeID?
    public package(set) var state = ReleaseRolloutState.awaitingRelease
    /// The wave that runs, or ran last, from 0 on.
    public package(set) var wave = 0
    /// When that wave began.
    public package(set) var waveBegan: Timestamp?
    /// Since when the wave has what it asks for; the soak counts from here.
    public package(set) var satisfiedSince: Timestamp?
    /// Nodes that were chosen by name for waves that count.
    public package(set) var named: Set<NodeID> = []
    /// The last wave that chose its nodes by name; it does so once.
    var namingWave: Int?
    /// Failures that somebody resumed the rollout in spite of.
    var toleratedFailures = 0
    /// Failures that paused it.
    var pausingFailures = 0
    public package(set) var closedAt: Timestamp?
    /// Why it is paused, reverted or closed; empty otherwise.
    public package(set) var reason = ""
    /// Grows with each change; a writer names the one it read.
    public package(set) var version: Int64 = 1

    /// A rollout that waits for its release.
    public init(
        id: ReleaseRolloutID,
        tenant: TenantID,
        channel: ChannelName,
        plan: ReleaseRolloutPlan,
        initiator: String,
        startedAt: Timestamp,
        candidate: ReleaseNumber,
        baseline: Target?
    ) {
        self.id = id
        self.tenant = tenant
        self.channel = channel
        self.plan = plan
        self.initiator = initiator
        self.startedAt = startedAt
        self.candidate = candidate
        self.baseline = baseline
    }

    /// The first wave that lets a node have the release; `nil` for a node no wave so far does.
    ///
    /// Only waves that have begun count: a node is held until its own does.
    public func admittingWave(of node: ReleaseNode) -> Int? {
        guard state != .awaitingRelease, waveBegan != nil else { return nil }
        let rank = id.rank(of: node.id)
        let isNamed = named.contains(node.id)
        return plan.waves.prefix(wave + 1).firstIndex { wave in
            let audience = wave.audience
            guard audience.matches(node) else { return false }
            if audience.count != nil { return isNamed }
            return audience.share.map { rank < $0 || isNamed } ?? true
        }
    }
}

/// One line of a rollout's history.
public struct ReleaseRolloutTransition: Hashable, Sendable {
    /// What happened.
    public enum Event: UInt8, Hashable, Sendable, Codable, CaseIterable {
        case started = 0
        case waveBegan = 1
        /// The wave has what it asks for, and soaks.
        case satisfied = 2
        /// It has it no longer.
        case unsatisfied = 3
        case paused = 4
        case resumed = 5
        case reverting = 6
        case completed = 7
        case aborted = 8
        case reverted = 9
        /// The block of the release was lifted.
        case unblocked = 10
    }

    public let rollout: ReleaseRolloutID
    /// Its place in the history.
    public let number: Int64
    public let event: Event
    /// The state it led to.
    public let state: ReleaseRolloutState
    public let wave: Int
    public let at: Timestamp
    /// Who did it; `rollout` for what followed from the plan.
    public let by: String
    /// Why; at most ``maximumReasonBytes`` long.
    public let reason: String

    /// The longest reason, in bytes.
    public static let maximumReasonBytes = 1_024
    /// Who it is that follows the plan.
    public static let automatic = "rollout"

    public init(
        rollout: ReleaseRolloutID,
        number: Int64,
        event: Event,
        state: ReleaseRolloutState,
        wave: Int,
        at: Timestamp,
        by: String,
        reason: String
    ) {
        self.rollout = rollout
        self.number = number
        self.event = event
        self.state = state
        self.wave = wave
        self.at = at
        self.by = by
        self.reason = reason
    }
}

/// A tree that is neither offered nor published in a channel until somebody lifts the block.
public struct ReleaseBlock: Hashable, Sendable {
    public let channel: ChannelName
    public let root: TreeID
    /// The release that was reverted or aborted.
    public let number: ReleaseNumber
    public let rollout: ReleaseRolloutID
    public let at: Timestamp
    public let by: String
    public let reason: String

    public init(
        channel: ChannelName,
        root: TreeID,
        number: ReleaseNumber,
        rollout: ReleaseRolloutID,
        at: Timestamp,
        by: String,
        reason: String
    ) {
        self.channel = channel
        self.root = root
        self.number = number
        self.rollout = rollout
        self.at = at
        self.by = by
        self.reason = reason
    }
}

/// What a node says of its health on a release, after it was activated.
public struct ReleaseHealth: Hashable, Sendable {
    public enum State: UInt8, Hashable, Sendable, Codable {
        case healthy = 0
        case unhealthy = 1
    }

    public let node: NodeID
    public let channel: ChannelName
    public let number: ReleaseNumber
    public let root: TreeID
    public let state: State
    /// For `unhealthy`: why, at most ``ReleaseRolloutTransition/maximumReasonBytes`` long.
    public let message: String
    /// The node's time.
    public let at: Timestamp

    public init(
        node: NodeID,
        channel: ChannelName,
        number: ReleaseNumber,
        root: TreeID,
        state: State,
        message: String = "",
        at: Timestamp
    ) {
        self.node = node
        self.channel = channel
        self.number = number
        self.root = root
        self.state = state
        self.message = message.shortened(
            toBytes: ReleaseRolloutTransition.maximumReasonBytes
        )
        self.at = at
    }

    /// Whether this is newer than `other` about the same node and channel: about a higher release, or
    /// later about the same one. Drivers keep only the newest.
    public func supersedes(_ other: ReleaseHealth) -> Bool {
        number > other.number || (number == other.number && at >= other.at)
    }
}

/// How a channel stands: what decides what is offered and what may be appended.
public struct ChannelStanding: Hashable, Sendable {
    /// The rollout that is open; a channel has one at most.
    public var rollout: ReleaseRollout?
    /// By root.
    public var blocks: [ReleaseBlock]

    public init(rollout: ReleaseRollout? = nil, blocks: [ReleaseBlock] = []) {
        self.rollout = rollout
        self.blocks = blocks
    }

    /// Why a tree is blocked; `nil` if it is not.
    public func block(of root: TreeID) -> ReleaseBlock? { blocks.first { $0.root == root } }
}

extension String {
    /// The beginning, cut between characters.
    func shortened(toBytes count: Int) -> String {
        guard utf8.count > count else { return self }
        var length = count
        while length > 0 {
            if let text = String(validating: utf8.prefix(length), as: UTF8.self) { return text }
            length -= 1
        }
        return ""
    }
}
