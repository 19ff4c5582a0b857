internal import ClusterRole
internal import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization
internal import Tracing

/// Keeps a worker at its channel's newest release: the worker's half of deployment synchronization.
///
/// ```swift
/// let sync = ArtifactSync(
///     channel: "web/site", source: source, directory: "/var/lib/site", deployer: SiteDeployer(),
///     trusted: TrustedKeys(publicKey), configuration: SyncConfiguration(node: "worker-1"))
/// // in a ServiceGroup: sync.run(); in each request:
/// let page = try await sync.withActiveRelease { try read($0.path(of: "index.html")) }
/// ```
///
/// ``run()`` first brings back what was active before a restart, without asking anybody, then looks
/// for releases at intervals and on each ``hint()``. A release is fetched, verified and laid out
/// beside the active one, prepared by the ``Deployer``, and switched to in one step; whatever
/// fails, the active one goes on being served.
public actor ArtifactSync: Service {
    /// Where this worker takes its releases from; the channel of ``SyncConfiguration/tenant``.
    public nonisolated let channel: ChannelName
    let source: any ReleaseSource
    let path: String
    let deployers: [ArtifactKind: any Deployer]
    let trusted: TrustedKeys
    let configuration: SyncConfiguration
    /// Asked before a release goes ahead; `nil` for a channel that stands alone.
    let gate: DependencyGate?
    nonisolated let served = ServedReleases()
    nonisolated let current: Mutex<ChannelStatus>
    let calls: DeployerCalls
    /// Where deployers' steps run; `nil` if whoever made this object runs it.
    private let nursery: Nursery?
    nonisolated let hints = Signal()
    /// Raised when the files of the active release are to be looked at now.
    nonisolated let watch = Signal()
    private let executor: any SerialExecutor

    var opened: (directory: WorkerDirectory, core: ActivationCore)?
    var isRestored = false
    /// What the files under the active release looked like when they were last proved.
    var proof: TreeProof?
    /// Trees that were lately found to be whole.
    var kept: KeptTrees
    /// How many paths differ between two trees: going back changes as many as going there did.
    var lastChange: (between: Set<TreeID>, count: Int)?
    /// When every file was last read.
    var lastDigested: Duration?
    /// What the source was last seen at, once that was dealt with.
    var seen: Revision?
    /// A release that was seen in manual mode and not taken; it waits over further looks.
    var waiting: Release?
    /// The active tree does not match its digests.
    var isDamaged = false
    /// What is noted for people, and which life of the node this is.
    var diary = WorkerDiary()
    /// How many words were said in this life.
    var wordCount: Int64 = 0
    /// Words the source has not taken yet, the oldest first.
    var unsent: [AppliedRelease] = []
    /// Whom this node believes; `nil` until the directory is open.
    var trust: TrustCore?
    /// Until when a pointer confirms the active release.
    nonisolated let confirmed = Mutex<Timestamp?>(nil)
    /// Whether it was said that this time is over.
    var saysExpired = false
    /// The releases whose trees were kept when trees were last removed.
    var removable: [ActiveRelease] = []
    /// Old releases that requests went on using after the drain timeout.
    var lingering: [ServedReleases.Slot] = []
    private var isBusy = false
    private var queue: [CheckedContinuation<Void, Never>] = []

    /// A thread of its own unless the configuration names another: the work blocks on files.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - channel: the channel that is followed.
    ///   - source: where releases and bundles come from.
    ///   - directory: an absolute path; the directory belongs to this object alone and is made if
    ///     its parent exists. It needs room for three trees.
    ///   - deployer: loads each release and takes it into use.
    ///   - trusted: the keys whose releases are accepted.
    ///   - configuration: this node's name, its tenant, its limits and intervals.
    public init(
        channel: ChannelName,
        source: any ReleaseSource,
        directory: String,
        deployer: any Deployer,
        trusted: TrustedKeys,
        configuration: SyncConfiguration
    ) {
        self.init(
            channel: channel,
            source: source,
            directory: directory,
            deployers: [deployer],
            trusted: trusted,
            configuration: configuration,
            within: nil
        )
    }

    /// - Parameter within: the set of channels it belongs to, which runs its deployers' steps.
    init(
        channel: ChannelName,
        source: any ReleaseSource,
        directory: String,
        deployers: [any Deployer],
        trusted: TrustedKeys,
        configuration: SyncConfiguration,
        within: (gate: DependencyGate, nursery: Nursery)?
    ) {
        self.channel = channel
        self.source = source
        path = directory
        self.deployers = Dictionary(deployers.map { ($0.kind, $0) }) { first, _ in first }
        self.trusted = trusted
        self.configuration = configuration
        kept = KeptTrees(configuration)
        executor = configuration.executor ?? FileWorkExecutor(label: "reeve.artifacts.sync")
        gate = within?.gate
        nursery = within == nil ? Nursery() : nil
        calls = DeployerCalls(
            timeouts: configuration.deployerTimeouts,
            time: configuration.time,
            nursery: within?.nursery ?? nursery ?? Nursery()
        )
        current = Mutex(ChannelStatus(channel: channel, mode: configuration.mode))
    }

    // MARK: - Serving

    /// The release that is served now; `nil` before the first.
    public nonisolated var active: ActiveRelease? { served.active }

    /// Holds the active release in place until the lease ends: for a request whose answer is still
    /// being sent after its handler returned. `nil` before the first release.
    public nonisolated func lease() -> ReleaseLease? { served.lease() }

    /// Runs `body` with the active release and holds that release in place meanwhile.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notFound` before the first release, or what
    ///   `body` throws.
    public func withActiveRelease<Result>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ActiveRelease) async throws -> Result
    ) async throws -> Result {
        guard let lease = served.lease() else {
            throw ArtifactStoreError(
                .notFound,
                "This node has no release of \(channel) yet. Publish one, or wait."
            )
        }
        defer { lease.end() }
        return try await body(lease.release)
    }

    /// A release may be there: look soon. It may be called from anywhere, as often as one likes.
    public nonisolated func hint() { hints.raise() }

    /// How the channel stands on this node.
    public nonisolated var status: ChannelStatus {
        var status = current.withLock { $0 }
        status.active = active?.release.number
        status.freshness = freshness
        return status
    }

    // MARK: - Running

    /// Works until the task is cancelled or the service group shuts down gracefully.
    ///
    /// - Throws: ``ArtifactStoreError`` if the directory cannot be used (`locked`, `fileSystem`,
    ///   `wrongChannel`). Failures of the source are logged and tried again.
    public func run() async throws {
        nursery?.open()
        do {
            try await cancelWhenGracefulShutdown { try await self.work() }
        } catch is CancellationError {
            return
        }
    }

    /// As ``run()``, until cancelled: what a simulation runs, since waiting for a graceful shutdown
    /// leaves its executor.
    package func runUntilCancelled() async throws {
        nursery?.open()
        do { try await work() } catch is CancellationError { return }
    }

    private func work() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let nursery { group.addTask { await nursery.run() } }
            group.addTask {
                try await self.start()
                try await self.poll()
            }
            group.addTask { try await self.watchFiles() }
            defer { group.cancelAll() }
            for try await _ in group { try Task.checkCancellation() }
        }
    }

    private func poll() async throws {
        var retry = configuration.retryInterval
        while true {
            let pause: Duration
            do {
                let report = try await syncOnce()
                if case .refused = report.outcome, seen == nil {
                    // The same bytes will hardly be better soon; and they cost the source each
                    // time.
                    pause = min(retry, configuration.maximumRetryInterval)
                    retry = pause * 2
                } else {
                    pause = configuration.pollInterval
                    retry = configuration.retryInterval
                }
            } catch let error as CancellationError {
                throw error
            } catch {
                pause = min(retry, configuration.pollInterval)
                retry = min(retry * 2, configuration.maximumRetryInterval)
                configuration.logger.warning(
                    "Releases could not be looked for; it is tried again.",
                    metadata: ["channel": "\(channel)", "error": "\(error)"]
                )
            }
            try await waitForHint(upTo: pause)
        }
    }

    private func waitForHint(upTo pause: Duration) async throws {
        try await wait(upTo: pause, for: hints)
    }

    private func wait(upTo pause: Duration, for signal: Signal) async throws {
        let jittered = configuration.random.jittered(pause, by: configuration.pollJitter)
        let time = configuration.time
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await time.sleep(for: jittered) }
            group.addTask { await signal.wait() }
            await group.next()
            group.cancelAll()
        }
        try Task.checkCancellation()
    }

    private func watchFiles() async throws {
        guard let interval = configuration.verifyInterval else { return }
        while true {
            try await wait(upTo: interval, for: watch)
            do {
                try await verifyFiles()
            } catch let error as CancellationError {
                throw error
            } catch {
                configuration.logger.warning(
                    "The files of the active release could not be verified or mended.",
                    metadata: ["channel": "\(channel)", "error": "\(error)"]
                )
            }
        }
    }

    /// Opens the directory and brings back the last good release, without the source. ``run()`` and
    /// ``syncOnce()`` do it themselves; doing it twice is harmless.
    public func start() async throws {
        await takeTurn()
        defer { endTurn() }
        try await open()
    }

    /// Looks at the source once and does what is to be done; in manual mode it only looks.
    ///
    /// One at a time: a second call waits for the first.
    ///
    /// - Returns: what it came to, a refusal included.
    /// - Throws: what the source throws, or ``ArtifactStoreError`` when the release could not be
    ///   fetched or laid out now (`unavailable`, `notFound`, `fileSystem`). What was active stays.
    @discardableResult
    public func syncOnce() async throws -> SyncReport {
        try await sync(applying: status.mode == .automatic)
    }

    /// Looks at the source and takes what is there, whatever the mode says.
    ///
    /// - Returns: what it came to, a refusal included.
    /// - Throws: as ``syncOnce()``.
    @discardableResult
    public func applyNow() async throws -> SyncReport { try await sync(applying: true) }

    /// From now on releases are taken as `mode` says. What was seen and waits is looked at again.
    public func setMode(_ mode: SyncMode) {
        current.withLock { $0.mode = mode }
        seen = nil
        hint()
    }

    private func sync(applying: Bool) async throws -> SyncReport {
        await takeTurn()
        defer { endTurn() }
        do {
            try await open()
            return try await withSpan("artifacts.sync", ofKind: .internal) { span in
                span.attributes["reeve.channel"] = channel.rawValue
                let began = configuration.time.monotonic()
                await sendUnsent()
                var report = try await look(applying: applying)
                report.duration = configuration.time.monotonic() - began
                observe(report, span)
                let now = configuration.time.now()
                current.withLock { $0.onReport(report, at: now) }
                note(status, at: now)
                return report
            }
        } catch {
            current.withLock { $0.onFailure(error) }
            throw error
        }
    }

    // MARK: - One at a time

    func takeTurn() async {
        if isBusy {
            await withCheckedContinuation { queue.append($0) }
        } else {
            isBusy = true
        }
    }

    func endTurn() {
        if queue.isEmpty { isBusy = false } else { queue.removeFirst().resume() }
    }
}
