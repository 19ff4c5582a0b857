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

    public var kind: ArtifactKind = .files
    public var links: LinkPolicy = .insideTree
    /// How long nodes may accept the release; `nil` is for ever.
    public var expiresAfter: Duration?
    public var repetition: Repetition = .returnExisting
    public var emptySource: EmptySource = .refuse

    public init() {}

    public init(kind: ArtifactKind, links: LinkPolicy = .insideTree) {
        self.kind = kind
        self.links = links
    }
}

/// What a publisher needs beside its stores; the defaults work.
public struct PublisherConfiguration: Sendable {
    public var limits = TreeLimits()
    /// How bundles are compressed. The best this machine has.
    public var codec = BundleCodec.preferred
    /// Where bundles are built, in a directory of their own that is removed afterwards. It must hold
    /// the unpacked tree of the previous release, and the bundles.
    public var scratchDirectory = "/var/tmp"
    public var time: any TimeSource = SystemTimeSource()
    public var random: any RandomSource = SystemRandomSource()
    public var logger = Logger(label: "reeve.artifacts.publish")

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

    public let outcome: Outcome
    public let release: StoredRelease
    /// How many files the tree has, and their bytes.
    public let fileCount: Int
    public let totalBytes: Int64
    /// The bundles workers can fetch, full first.
    public let bundles: [BundleDescription]
    public internal(set) var duration: Duration
}
