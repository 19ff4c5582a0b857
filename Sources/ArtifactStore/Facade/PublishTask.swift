internal import CReeveSystem
public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Who decides when a watched directory is published.
public enum PublishMode: String, Hashable, Sendable, Codable, CaseIterable {
    /// Whenever it changed and is at rest.
    case automatic
    /// Only when somebody says so.
    case manual
}

/// How a watched directory stands.
public struct PublishTaskStatus: Hashable, Sendable {
    /// What became of the last time something was to be published.
    public enum Outcome: Hashable, Sendable {
        case published(ReleaseNumber)
        /// The channel's newest release named that tree already.
        case unchanged(ReleaseNumber)
        /// The code and the message of the error.
        case refused(code: String, message: String)
    }

    /// Who decides now.
    public internal(set) var mode: PublishMode
    /// When the directory was last looked at; `nil` before the first time.
    public internal(set) var lastLook: Timestamp?
    /// When it was last seen changed.
    public internal(set) var lastChange: Timestamp?
    /// When something was last published.
    public internal(set) var lastPublished: Timestamp?
    /// When it was last tried, well or badly.
    public internal(set) var lastAttempt: Timestamp?
    /// What became of that.
    public internal(set) var lastOutcome: Outcome?
    /// There is something that is not published yet.
    public internal(set) var isPending = false
}

/// Watches a directory on a manager and publishes it: by itself when it changed and is at rest, or
/// when told.
///
/// An emptied or unmounted directory, and one that lost more than
/// ``PublishTask/Settings/largestRemoval`` of its files, is never published by itself.
/// ```swift
/// let task = PublishTask("/srv/site", to: "web/site", publisher: publisher)
/// // in a ServiceGroup: task.run(); by hand: try await task.commitNow()
/// ```
public actor PublishTask: Service {
    /// How it watches; the defaults work.
    public struct Settings: Sendable {
        /// Who decides to begin with.
        public var mode = PublishMode.automatic
        /// How often the directory is looked at. 10 s. A look reads no file.
        public var interval: Duration = .seconds(10)
        /// How long it must not have changed. 5 s: an upload pauses for less.
        public var rest: Duration = .seconds(5)
        /// The fraction of the newest release's files that may be gone. A half; 1 allows any.
        public var largestRemoval = 0.5
        /// The largest tree that is looked at.
        public var limits = TreeLimits()
        /// The clock; tests pass one they move themselves.
        public var time: any TimeSource = SystemTimeSource()
        /// Where news and failures go.
        public var logger = Logger(label: "reeve.artifacts.publish-task")

        /// The defaults.
        public init() {}
    }

    /// What is watched: a path of this machine.
    public nonisolated let directory: String
    /// Where to.
    public nonisolated let channel: ChannelName
    /// Whose channel it is.
    public nonisolated let tenant: TenantID
    private let options: PublishOptions
    private let publisher: any ReleaseWriter
    private let settings: Settings
    private let executor = FileWorkExecutor(label: "reeve.artifacts.publish-task")
    private var core: PublishWatchCore
    private var lastSeen: TreeFingerprint?
    /// How it stands.
    public private(set) var status: PublishTaskStatus

    /// A thread of its own: the work blocks on files.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - directory: a path of this machine.
    ///   - channel: where it is published to.
    ///   - tenant: the tenant the channel belongs to.
    ///   - options: as for publishing; an empty source is refused whatever they say.
    ///   - publisher: publishes.
    ///   - settings: how it watches.
    public init(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID = .standard,
        options: PublishOptions = PublishOptions(),
        publisher: any ReleaseWriter,
        settings: Settings = Settings()
    ) {
        self.directory = directory
        self.channel = channel
        self.tenant = tenant
        var options = options
        options.emptySource = .refuse
        self.options = options
        self.publisher = publisher
        self.settings = settings
        core = PublishWatchCore(rest: settings.rest, largestRemoval: settings.largestRemoval)
        status = PublishTaskStatus(mode: settings.mode)
    }

    /// Looks at intervals until the task is cancelled or the service group shuts down gracefully.
    public func run() async throws {
        do {
            try await cancelWhenGracefulShutdown {
                while true {
                    await self.look()
                    try await self.settings.time.sleep(for: self.settings.interval)
                }
            }
        } catch is CancellationError {
            return
        }
    }

    /// Who decides from now on.
    public func setMode(_ mode: PublishMode) { status.mode = mode }

    /// Looks once, and publishes if it is to be.
    public func look() async {
        status.lastLook = settings.time.now()
        do {
            let fingerprint = try TreeFingerprint(of: directory, limits: settings.limits)
            if let lastSeen, lastSeen != fingerprint { status.lastChange = status.lastLook }
            lastSeen = fingerprint
            let newest = try await publisher.latest(of: channel, tenant: tenant)?.release
            let directive = core.onLook(
                fingerprint,
                published: newest?.fileCount,
                mode: status.mode,
                at: settings.time.monotonic()
            )
            switch directive {
            case .none: status.isPending = false
            case .wait, .awaitCommit: status.isPending = true
            case .publish: _ = try await publish(fingerprint)
            case .refuse(let error): note(error)
            }
        } catch is CancellationError {
            return
        } catch {
            note(error)
        }
    }

    /// Publishes the directory as it is now, whatever the mode is and however many files are gone.
    ///
    /// - Throws: as ``ArtifactPublisher/publish(_:to:tenant:options:)``.
    @discardableResult
    public func commitNow() async throws -> Publication {
        do {
            return try await publish(try TreeFingerprint(of: directory, limits: settings.limits))
        } catch {
            note(error)
            throw error
        }
    }

    private func publish(_ fingerprint: TreeFingerprint) async throws -> Publication {
        status.lastAttempt = settings.time.now()
        do {
            let publication = try await publisher.publish(
                directory,
                to: channel,
                tenant: tenant,
                options: options
            )
            let number = publication.release.release.number
            if publication.outcome == .published { status.lastPublished = status.lastAttempt }
            status.lastOutcome =
                publication.outcome == .published ? .published(number) : .unchanged(number)
            status.isPending = false
            core.onDealtWith(fingerprint, isPublished: true)
            return publication
        } catch let error as ArtifactStoreError where error.isAboutTheTree {
            core.onDealtWith(fingerprint, isPublished: false)
            throw error
        }
    }

    private func note(_ error: any Error) {
        let coded = error as? any CodedError
        let outcome = PublishTaskStatus.Outcome.refused(
            code: coded?.codeName ?? "artifacts.failed",
            message: coded?.message ?? "The directory could not be published."
        )
        status.lastAttempt = settings.time.now()
        guard status.lastOutcome != outcome else { return }
        status.lastOutcome = outcome
        settings.logger.warning(
            "A watched directory is not published.",
            metadata: ["channel": "\(channel)", "directory": "\(directory)", "error": "\(error)"]
        )
    }
}

extension ArtifactStoreError {
    /// Whether trying the same tree again is in vain.
    fileprivate var isAboutTheTree: Bool {
        switch code {
        case .conflict, .sourceChanged, .unavailable, .fileSystem, .locked, .dependencyMissing:
            false
        default: true
        }
    }
}

extension TreeFingerprint {
    /// Walks a directory without following links and without reading a file.
    init(of path: String, limits: TreeLimits) throws(ArtifactStoreError) {
        let root: OpenFile
        do {
            root = try OpenFile.directory(path)
        } catch {
            throw ArtifactStoreError(
                .missingSource,
                "There is no directory \(path) to publish. Nothing was changed.",
                path: path,
                cause: error
            )
        }
        var walk = Walk(limits: limits)
        try walk.visit(root)
        digest = ContentDigest(of: walk.writer.bytes)
        fileCount = walk.fileCount
        device = try root.status().device
    }

    private struct Walk {
        let limits: TreeLimits
        var writer = ByteWriter()
        var fileCount = 0
        var entryCount = 0

        mutating func visit(_ directory: OpenFile) throws(ArtifactStoreError) {
            for name in try directory.names(limit: limits.entries).sorted() {
                entryCount += 1
                guard entryCount <= limits.entries else {
                    throw ArtifactStoreError(
                        .limitExceeded,
                        "The tree has more than \(limits.entries) entries. Make it smaller, or raise the "
                            + "limit."
                    )
                }
                guard let status = try directory.status(of: name) else { continue }
                writer.write(name.bytes)
                for number in [
                    UInt64(status.kind), UInt64(status.mode), UInt64(bitPattern: status.size),
                    status.inode, UInt64(bitPattern: status.modified),
                    UInt64(bitPattern: status.changed),
                ] { writer.writeVariable(number) }
                if Int(status.kind) == Int(REEVE_KIND_FILE) { fileCount += 1 }
                guard Int(status.kind) == Int(REEVE_KIND_DIRECTORY) else { continue }
                try visit(directory.directory(beneath: name))
                writer.write(UInt8(0))
            }
        }
    }
}
