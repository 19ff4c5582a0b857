public import ClusterRole
public import Logging

/// How one tree is published.
public struct PublishOptions: Hashable, Sendable {
    /// What to do when the channel's newest release names this very tree.
    public enum Repetition: Hashable, Sendable {
        /// Return that release: publishing twice is harmless.
        case returnExisting
        /// Make a new release of the same tree, for instance because the old one expires.
        case publishAgain
    }

    /// What to do with a directory that holds no file.
    public enum EmptySource: Hashable, Sendable {
        /// Refuse it: an unmounted or emptied source must not delete what is deployed.
        case refuse
        /// Publish it: the workers are meant to serve nothing.
        case publish
    }

    /// Which deployers load it.
    public var kind: ArtifactKind = .files
    /// What links the tree may have; signed with the release.
    public var links: LinkPolicy = .insideTree
    /// What to do with names that differ in case or composition only. Allowed by default.
    public var nameClashes: NameClashes = .allow
    /// Whether the times of files are part of the tree, and workers set them: for what goes by them, such as
    /// `Last-Modified` of a web server, or `make`. A file that was only touched is a change then. Whole
    /// seconds. Off by default.
    public var keepsTimes = false
    /// How long nodes may accept the release; `nil` is for ever.
    public var expiresAfter: Duration?
    /// The channels of the same tenant the release needs, and at which release at least. They must
    /// be there, and must not need this channel in turn.
    public var dependencies: [ReleaseDependency] = []
    /// What a node must be able to do to be offered the release.
    public var requirements: ReleaseRequirements = .none
    /// Who publishes, in words that are signed with the release and shown to others.
    public var publisher: PublisherName?
    /// Publishing the same tree twice is harmless by default.
    public var repetition: Repetition = .returnExisting
    /// A source without files is refused by default.
    public var emptySource: EmptySource = .refuse

    /// The defaults.
    public init() {}

    /// Another kind, or other links; the rest as by default.
    public init(kind: ArtifactKind, links: LinkPolicy = .insideTree) {
        self.kind = kind
        self.links = links
    }
}

/// What a publisher needs beside its stores; the defaults work.
public struct PublisherConfiguration: Sendable {
    /// The largest tree that is published.
    public var limits = TreeLimits()
    /// How bundles are compressed. The best this machine has.
    public var codec = BundleCodec.preferred
    /// From how many of the channel's newest trees an incremental bundle is built when a release is
    /// published; at most 15. 1: each costs unpacking that tree, and ``BundleMaker`` makes the others
    /// when the first worker asks.
    public var updatesFrom = 1
    /// Where bundles are built, in a directory of their own that is removed afterwards. It must
    /// hold the unpacked tree of the previous release, and the bundles.
    public var scratchDirectory = "/var/tmp"
    /// A directory in which it is kept what files looked like when they were digested, so that
    /// publishing again reads only those that were written to since (by inode, size and both times;
    /// what was written as late as the last scan is read once more). `nil` reads all files each time.
    public var scanMemory: String?
    /// Who signs beside the publisher's own signer, where workers ask for more than one signature.
    public var cosigners: [any ReleaseSigner] = []
    /// Who is asked before a tree is published, in turn.
    public var validators: [any PublishValidator] = []
    /// The clock of records and durations.
    public var time: any TimeSource = SystemTimeSource()
    /// For temporary names.
    public var random: any RandomSource = SystemRandomSource()
    /// Where news and failures go.
    public var logger = Logger(label: "reeve.artifacts.publish")

    /// The defaults.
    public init() {}
}

/// What publishing came to.
public struct Publication: Hashable, Sendable {
    /// Whether something new was published.
    public enum Outcome: Hashable, Sendable {
        case published
        /// The channel's newest release names this tree already; it is the one returned.
        case unchanged
    }

    /// Whether it is new.
    public let outcome: Outcome
    /// The release, with the revision that appended it.
    public let release: StoredRelease
    /// How many files the tree has, and their bytes.
    public let fileCount: Int
    /// The bytes of those files.
    public let totalBytes: Int64
    /// The bundles workers can fetch, full first.
    public let bundles: [BundleDescription]
    /// From reading the directory to the durable record.
    public internal(set) var duration: Duration
}

/// What publishing would come to.
public struct PublishPreview: Hashable, Sendable {
    /// Whether something new would be published.
    public let outcome: Publication.Outcome
    /// The channel's newest release; `nil` for a channel that would begin.
    public let current: Release?
    /// The number the release would have, or has.
    public let number: ReleaseNumber
    /// The tree.
    public let root: TreeID
    /// How many files the tree has.
    public let fileCount: Int
    /// The bytes of those files.
    public let totalBytes: Int64
    /// What it changes.
    public let changes: TreeChanges
    /// How many bytes a worker without any release would fetch: the length of the full bundle.
    public let fullBundleBytes: Int64
    /// How many bytes a worker with the current release would fetch; `nil` if there is none, or the full
    /// bundle is smaller.
    public let updateBundleBytes: Int64?
}
