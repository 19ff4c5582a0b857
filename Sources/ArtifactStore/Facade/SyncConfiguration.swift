public import ClusterRole
public import Logging

/// How a worker makes sure of the files it already has before it builds a new tree on them.
public enum CarryCheck: String, Hashable, Sendable {
    /// Every file against its digest: finds what the disk itself damaged, and costs reading the tree.
    case digests
    /// Only files whose inode, size or time of change is not what it was when they were laid out, or
    /// that were laid out in the last tick of the clock. What the disk damaged without a write is
    /// found by the check at the start.
    case marks
}

/// How a worker keeps a channel's releases; the defaults work.
public struct SyncConfiguration: Sendable {
    /// How much of the active tree is checked when the node starts.
    public enum StartCheck: Hashable, Sendable {
        /// Every file against its digest: a damaged tree is not served but fetched again.
        case digests
        /// Nothing: for trees so large that reading them delays the start too much.
        case none
    }

    /// Who acknowledges.
    public var node: NodeID
    /// Whose channel it is.
    public var tenant: TenantID
    /// How often the source is asked when nobody hints. 30 s: what a missed hint costs at most.
    public var pollInterval: Duration = .seconds(30)
    /// The fraction of the interval by which it varies, so that workers do not ask in step.
    public var pollJitter = 0.2
    /// The pause after a failure; each further one in a row doubles it. 1 s.
    public var retryInterval: Duration = .seconds(1)
    /// The longest such pause. 5 minutes; while the source does not answer, no longer than the poll
    /// interval.
    public var maximumRetryInterval: Duration = .seconds(300)
    /// How long requests may go on using the old release after the switch. 10 s.
    public var drainTimeout: Duration = .seconds(10)
    /// How long each step of a deployer may take.
    public var deployerTimeouts = DeployerTimeouts()
    /// Whether releases are taken at once. ``ArtifactSync/setMode(_:)`` changes it later.
    public var mode = SyncMode.automatic
    /// How often the files under the active release are compared with what was released, and
    /// mended; `nil` for never. 5 minutes: a look at each file's metadata, and a digest of those
    /// that changed.
    public var verifyInterval: Duration? = .seconds(300)
    /// How often that reads every file, whatever its metadata says. 24 hours.
    public var digestInterval: Duration = .seconds(86_400)
    /// How often one bundle is opened, counting from the first time. 3: a broken connection, and
    /// its bad luck.
    public var bundleAttempts = 3
    /// How slowly a bundle may come.
    public var pace = TransferPace()
    /// The largest tree this node takes.
    public var limits = TreeLimits()
    /// The most a signed release may allow its links on this node.
    public var links: LinkPolicy = .allowAbsolute
    /// What a start costs, against what a damaged disk may do.
    public var startCheck: StartCheck = .digests
    /// What an update costs, against the same. ``CarryCheck/marks``: a changed file in ten thousand
    /// is not worth reading the other ones.
    public var carryCheck: CarryCheck = .marks
    /// The clock; tests pass one they move themselves.
    public var time: any TimeSource = SystemTimeSource()
    /// For jitter and temporary names.
    public var random: any RandomSource = SystemRandomSource()
    /// Where files are worked on; `nil` for a thread of the channel's own, because that work blocks. A
    /// simulation passes its own executor.
    public var executor: (any SerialExecutor)?
    /// Where news and failures go.
    public var logger = Logger(label: "reeve.artifacts.sync")

    /// The defaults for one node.
    public init(node: NodeID, tenant: TenantID = .standard) {
        self.node = node
        self.tenant = tenant
    }
}

/// What one look at the source came to.
public struct SyncReport: Sendable {
    /// What became of the channel's newest release.
    public enum Outcome: Sendable {
        /// It is the active one already.
        case unchanged
        /// The channel has no release.
        case empty
        /// It is active now.
        case activated
        /// Its tree was active already under an older number; nothing was loaded.
        case adopted
        /// The active release stays. The error says why.
        case refused(ArtifactStoreError)
        /// The active release stays until another channel has what this release needs.
        case held(DependencyHold)
        /// It could be taken; in manual mode somebody says when.
        case available
    }

    /// How the bytes came.
    public enum Transfer: String, Hashable, Sendable {
        /// None were needed.
        case none
        case incremental
        case full
    }

    /// What became of it.
    public let outcome: Outcome
    /// The release the outcome is about.
    public let release: Release?
    /// How many paths differ from the tree that was active before.
    public internal(set) var filesChanged = 0
    /// Bytes of bundles that arrived, those of failed attempts included.
    public internal(set) var bytesReceived: Int64 = 0
    /// How the bytes of the attempt that succeeded came.
    public internal(set) var transfer = Transfer.none
    /// From asking the source to the acknowledgement.
    public internal(set) var duration = Duration.zero

    init(_ outcome: Outcome, _ release: Release? = nil) {
        self.outcome = outcome
        self.release = release
    }

    /// Whether the release is active as it should be.
    public var isApplied: Bool {
        switch outcome {
        case .unchanged, .activated, .adopted: true
        case .empty, .refused, .held, .available: false
        }
    }
}
