public import ClusterRole

/// What can go wrong when a tree is published, moved or activated.
///
/// Callers act on ``code``; ``message`` says what a person should do, ``path`` names the entry of
/// the tree it is about.
public struct ArtifactStoreError: CodedError, Equatable {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// The dotted code, which is part of the API.
        public let rawValue: String
        /// A code of a newer version, or of a driver of your own.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// A channel, key id or digest is not written as it must be.
        public static let invalidName = Code(rawValue: "artifacts.invalid-name")
        /// The directory to publish does not exist or cannot be read.
        public static let missingSource = Code(rawValue: "artifacts.missing-source")
        /// The directory to publish holds no file: an unmounted source never means delete-all.
        public static let emptySource = Code(rawValue: "artifacts.empty-source")
        /// The directory changed while it was read. Publish again when it is at rest.
        public static let sourceChanged = Code(rawValue: "artifacts.source-changed")
        /// A path is absolute, has `..`, a NUL, an empty part or a file as its parent.
        public static let unsafePath = Code(rawValue: "artifacts.unsafe-path")
        /// A symbolic link points outside its tree.
        public static let unsafeLink = Code(rawValue: "artifacts.unsafe-link")
        /// A device, socket or pipe, or a set-uid, set-gid or sticky bit.
        public static let unsupportedEntry = Code(rawValue: "artifacts.unsupported-entry")
        /// One of ``TreeLimits`` is exceeded.
        public static let limitExceeded = Code(rawValue: "artifacts.limit-exceeded")
        /// A record, manifest or bundle is damaged, cut short or of an unknown version.
        public static let malformed = Code(rawValue: "artifacts.malformed")
        /// Bytes do not match the digest that was signed for.
        public static let digestMismatch = Code(rawValue: "artifacts.digest-mismatch")
        /// The signature does not match, or its key is not trusted.
        public static let untrustedSignature = Code(rawValue: "artifacts.untrusted-signature")
        /// The release is signed for another tenant, channel or kind.
        public static let wrongChannel = Code(rawValue: "artifacts.wrong-channel")
        /// The release expired before this node accepted it.
        public static let expired = Code(rawValue: "artifacts.expired")
        /// The pointer to the release expired: somebody may keep newer releases back.
        public static let pointerExpired = Code(rawValue: "artifacts.pointer-expired")
        /// No pointer confirms that the release is the newest, or it names another one.
        public static let unconfirmed = Code(rawValue: "artifacts.unconfirmed")
        /// The release is older than one this node has already seen.
        public static let belowFloor = Code(rawValue: "artifacts.below-floor")
        /// The deployer refused the release.
        public static let deploymentFailed = Code(rawValue: "artifacts.deployment-failed")
        /// The deployer did not come back from a step in time.
        public static let deploymentTimedOut = Code(rawValue: "artifacts.deployment-timed-out")
        /// A release of another channel that this one needs was refused on this node.
        public static let dependencyRefused = Code(rawValue: "artifacts.dependency-refused")
        /// Another publisher was faster; ``ArtifactStoreError/conflict`` names both releases.
        public static let conflict = Code(rawValue: "artifacts.conflict")
        /// The channel, release or object does not exist.
        public static let notFound = Code(rawValue: "artifacts.not-found")
        /// The source of releases did not answer, or its answer ended too early.
        public static let unavailable = Code(rawValue: "artifacts.unavailable")
        /// A dependency names a channel that is not there, or not at that release.
        public static let dependencyMissing = Code(rawValue: "artifacts.dependency-missing")
        /// Channels need each other in a circle; the message names it.
        public static let dependencyCycle = Code(rawValue: "artifacts.dependency-cycle")
        /// The node lacks a capability or has too old a version for the release.
        public static let requirementsUnmet = Code(rawValue: "artifacts.requirements-unmet")
        /// The sealed value is not sealed to this node's key.
        public static let notRecipient = Code(rawValue: "artifacts.not-a-recipient")
        /// A ``PublishValidator`` refused the tree.
        public static let rejected = Code(rawValue: "artifacts.rejected")
        /// Fewer managers than asked for have made an object durable; the message names the others.
        public static let notReplicated = Code(rawValue: "artifacts.not-replicated")
        /// Another process uses the directory.
        public static let locked = Code(rawValue: "artifacts.locked")
        /// The frame needs a codec that is missing on this machine.
        public static let codecUnavailable = Code(rawValue: "artifacts.codec-unavailable")
        /// The operating system refused a file operation.
        public static let fileSystem = Code(rawValue: "artifacts.file-system")
    }

    /// Two releases that wanted the same place in a channel.
    public struct Conflict: Hashable, Sendable {
        /// The newest release the publisher knew; `nil` for an empty channel.
        public let expected: ReleaseNumber?
        /// The newest release the channel has.
        public let actual: ReleaseNumber?
        /// The release that was refused: signed, with who published which tree when. `nil` from a
        /// driver, which knows numbers only.
        public let offered: SignedRelease?
        /// The release the channel has, likewise.
        public let newest: SignedRelease?

        /// The numbers as the store saw them in one transaction, and both sides if they are known.
        public init(
            expected: ReleaseNumber?,
            actual: ReleaseNumber?,
            offered: SignedRelease? = nil,
            newest: SignedRelease? = nil
        ) {
            self.expected = expected
            self.actual = actual
            self.offered = offered
            self.newest = newest
        }
    }

    /// What to act on.
    public let code: Code
    /// What a person should do. It is safe to show to a peer.
    public let message: String
    /// The entry of the tree, or the file, this is about.
    public let path: String?
    /// For `conflict`: both releases.
    public let conflict: Conflict?
    /// What a driver, the system or a deployer threw. It is logged, never sent.
    public let cause: (any Error)?

    /// An error as drivers throw it, too.
    public init(
        _ code: Code,
        _ message: String,
        path: String? = nil,
        conflict: Conflict? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.path = path
        self.conflict = conflict
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .notFound, .missingSource, .unknownRollout: .notFound
        case .conflict, .belowFloor, .locked, .sourceChanged, .emptySource: .conflict
        case .dependencyMissing, .dependencyCycle, .requirementsUnmet: .conflict
        case .rolloutOpen, .rolloutState, .blocked: .conflict
        case .untrustedSignature, .wrongChannel, .rejected, .notRecipient: .forbidden
        case .limitExceeded: .tooLarge
        case .unavailable, .codecUnavailable, .notReplicated: .unavailable
        case .fileSystem, .digestMismatch: .internalFailure
        default: .invalid
        }
    }

    /// Equal if code, message, path and conflict are; causes are not compared.
    public static func == (left: Self, right: Self) -> Bool {
        left.code == right.code && left.message == right.message && left.path == right.path
            && left.conflict == right.conflict
    }
}

extension ArtifactStoreError {
    /// A damaged format, with the reader's own words as the cause.
    static func malformed(_ what: String, cause: (any Error)? = nil) -> ArtifactStoreError {
        ArtifactStoreError(.malformed, "\(what) Fetch or publish it again.", cause: cause)
    }
}
