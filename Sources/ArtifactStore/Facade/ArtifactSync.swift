internal import ClusterRole
internal import Logging
internal import Metrics
public import ServiceLifecycle
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
/// for releases at intervals and on each ``hint()``. A release is fetched, verified and laid out beside
/// the active one, prepared by the ``Deployer``, and switched to in one step; whatever fails, the
/// active one goes on being served.
public actor ArtifactSync: Service {
    /// Where this worker takes its releases from; the channel of ``SyncConfiguration/tenant``.
    public nonisolated let channel: ChannelName
    let source: any ReleaseSource
    let path: String
    let deployer: any Deployer
    let trusted: TrustedKeys
    let configuration: SyncConfiguration
    nonisolated let served = ServedReleases()
    private nonisolated let hints = Signal()
    private let executor = FileWorkExecutor(label: "reeve.artifacts.sync")

    private var opened: (directory: WorkerDirectory, core: ActivationCore)?
    /// What the source was last seen at, once that was dealt with.
    private var seen: Revision?
    /// The active tree does not match its digests.
    private var isDamaged = false
    private var unsent: AppliedRelease?
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - directory: an absolute path; the directory belongs to this object alone and is made if its
    ///     parent exists. It needs room for three trees.
    ///   - trusted: the keys whose releases are accepted.
    public init(
        channel: ChannelName,
        source: any ReleaseSource,
        directory: String,
        deployer: any Deployer,
        trusted: TrustedKeys,
        configuration: SyncConfiguration
    ) {
        self.channel = channel
        self.source = source
        path = directory
        self.deployer = deployer
        self.trusted = trusted
        self.configuration = configuration
    }

    // MARK: - Serving

    /// The release that is served now; `nil` before the first.
    public nonisolated var active: ActiveRelease? { served.active }

    /// Holds the active release in place until the lease ends: for a request whose answer is still
    /// being sent after its handler returned. `nil` before the first release.
    public nonisolated func lease() -> ReleaseLease? { served.lease() }

    /// Runs `body` with the active release and holds that release in place meanwhile.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notFound` before the first release, or what `body`
    ///   throws.
    public func withActiveRelease<Result>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ActiveRelease) async throws -> Result
    ) async throws -> Result {
        guard let lease = served.lease() else {
            throw ArtifactStoreError(
                .notFound, "This node has no release of \(channel) yet. Publish one, or wait.")
        }
        defer { lease.end() }
        return try await body(lease.release)
    }

    /// A release may be there: look soon. It may be called from anywhere, as often as one likes.
    public nonisolated func hint() { hints.raise() }

    // MARK: - Running

    /// Works until the task is cancelled or the service group shuts down gracefully.
    ///
    /// - Throws: ``ArtifactStoreError`` if the directory cannot be used (`locked`, `fileSystem`,
    ///   `wrongChannel`). Failures of the source are logged and tried again.
    public func run() async throws {
        try await start()
        do {
            try await cancelWhenGracefulShutdown { try await self.poll() }
        } catch is CancellationError {
            return
        }
    }

    private func poll() async throws {
        var pause = configuration.pollInterval
        while true {
            let isSettled: Bool
            do {
                let report = try await syncOnce()
                if case .refused = report.outcome { isSettled = seen != nil } else { isSettled = true }
            } catch let error as CancellationError {
                throw error
            } catch {
                configuration.logger.warning(
                    "Releases could not be looked for; it is tried again.",
                    metadata: ["channel": "\(channel)", "error": "\(error)"]
                )
                isSettled = false
            }
            pause = isSettled ? configuration.pollInterval : min(pause * 2, longestPause)
            try await waitForHint(upTo: pause)
        }
    }

    private var longestPause: Duration {
        max(configuration.maximumRetryInterval, configuration.pollInterval)
    }

    private func waitForHint(upTo pause: Duration) async throws {
        let jittered = configuration.random.jittered(pause, by: configuration.pollJitter)
        let time = configuration.time
        let hints = hints
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await time.sleep(for: jittered) }
            group.addTask { await hints.wait() }
            await group.next()
            group.cancelAll()
        }
        try Task.checkCancellation()
    }

    /// Opens the directory and brings back the last good release, without the source. ``run()`` and
    /// ``syncOnce()`` do it themselves; doing it twice is harmless.
    public func start() async throws {
        await takeTurn()
        defer { endTurn() }
        try await open()
    }

    /// Looks at the source once and does what is to be done.
    ///
    /// One at a time: a second call waits for the first.
    ///
    /// - Returns: what it came to, a refusal included.
    /// - Throws: what the source throws, or ``ArtifactStoreError`` when the release could not be
    ///   fetched or laid out now (`unavailable`, `notFound`, `fileSystem`). What was active stays.
    @discardableResult
    public func syncOnce() async throws -> SyncReport {
        await takeTurn()
        defer { endTurn() }
        try await open()
        return try await withSpan("artifacts.sync", ofKind: .internal) { span in
            span.attributes["reeve.channel"] = channel.rawValue
            let began = configuration.time.monotonic()
            await sendUnsent()
            var report = try await look()
            report.duration = configuration.time.monotonic() - began
            observe(report, span)
            return report
        }
    }

    // MARK: - One at a time

    private func takeTurn() async {
        if isBusy {
            await withCheckedContinuation { waiting.append($0) }
        } else {
            isBusy = true
        }
    }

    private func endTurn() {
        if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
    }

    // MARK: - Last good

    private func open() async throws {
        guard opened == nil else { return }
        let directory = try WorkerDirectory(path: path)
        let (state, damage) = try directory.loadState(
            tenant: configuration.tenant, channel: channel)
        if let damage {
            configuration.logger.error(
                "The remembered state is damaged and was set aside; this node begins anew.",
                metadata: ["channel": "\(channel)", "error": "\(damage)"]
            )
        }
        let core = ActivationCore(
            tenant: configuration.tenant, channel: channel, kind: deployer.kind, state: state)
        opened = (directory, core)
        guard let active = state.active?.release else { return }
        if configuration.startCheck == .digests,
            !directory.isWhole(active, limits: configuration.limits)
        {
            isDamaged = true
            configuration.logger.error(
                "The active tree does not match its digests; it is not served but fetched again.",
                metadata: ["channel": "\(channel)", "number": "\(active.number)"]
            )
            return
        }
        if !directory.isCurrent(active) { try directory.pointCurrent(to: active) }
        await restore(handle(active, in: directory))
    }

    private func restore(_ release: ActiveRelease) async {
        do {
            try await deployer.prepare(release, replacing: nil)
            try await deployer.activate(release)
            _ = served.activate(release)
            configuration.logger.info(
                "The last good release is active again.",
                metadata: ["channel": "\(channel)", "number": "\(release.release.number)"]
            )
        } catch {
            isDamaged = true
            configuration.logger.error(
                "The last good release could not be loaded again.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
        }
    }

    private func handle(_ release: Release, in directory: WorkerDirectory) -> ActiveRelease {
        ActiveRelease(release: release, directory: directory.treePath(release.root))
    }

    // MARK: - Looking

    private func look() async throws -> SyncReport {
        let answer = try await source.latestRelease(
            of: channel, tenant: configuration.tenant, unlessAt: isDamaged ? nil : seen)
        switch answer {
        case .unchanged: return SyncReport(.unchanged, served.active?.release)
        case .empty: return SyncReport(.empty)
        case .release(let stored):
            seen = nil
            let (report, isSettled) = try await consider(stored.published)
            if isSettled { seen = stored.revision }
            return report
        }
    }

    /// - Returns: the report, and whether looking at the same revision again would be in vain.
    private func consider(
        _ published: PublishedRelease
    ) async throws -> (SyncReport, isSettled: Bool) {
        guard let (directory, core) = opened else { return (SyncReport(.empty), false) }
        let signed = published.signed
        let release = signed.release
        do {
            try trusted.verify(signed)
        } catch {
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), false)
        }
        switch core.onOffer(signed, at: configuration.time.now()) {
        case .keep:
            if isDamaged { return (try await repair(published, in: directory), true) }
            await acknowledge(signed, nil)
            return (SyncReport(.unchanged, release), true)
        case .keepRefused(let refusal):
            let error = ArtifactStoreError(.init(rawValue: refusal.code), refusal.message)
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), true)
        case .refuse(let error):
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), true)
        case .adopt where !isDamaged:
            var next = core
            let directives = next.onAdopted(signed)
            opened = (directory, next)
            try await perform(directives, in: directory)
            if let active = served.active {
                served.rename(ActiveRelease(release: release, directory: active.directory))
            }
            return (SyncReport(.adopted, release), true)
        case .adopt, .fetch:
            return try await advance(to: published, in: directory)
        }
    }

    /// Fetches, prepares and activates a release, or refuses it.
    private func advance(
        to published: PublishedRelease, in directory: WorkerDirectory
    ) async throws -> (SyncReport, isSettled: Bool) {
        guard var core = opened?.core else { return (SyncReport(.empty), false) }
        let signed = published.signed
        let before = core.state
        let old = isDamaged ? nil : before.active?.release
        let fetcher = ReleaseFetcher(
            source: source, directory: directory, configuration: configuration)
        do {
            let tree = try await fetcher.obtain(
                published, from: [old, before.previous?.release].compactMap { $0 })
            try await prepare(handle(signed.release, in: directory))
            var report = SyncReport(.activated, signed.release)
            report.transfer = tree.transfer
            report.bytesReceived = fetcher.bytesReceived
            let oldTree = old.flatMap { directory.tree($0, limits: configuration.limits) }
            report.filesChanged =
                TreeDifference(from: oldTree?.manifest, to: tree.manifest).count
            let directives = core.onPrepared(signed)
            opened = (directory, core)
            do {
                try await perform(directives, in: directory)
            } catch let error as DeploymentFailure {
                let undo = core.onActivationFailed(signed, before: before, error.error)
                opened = (directory, core)
                try await perform(undo, in: directory)
                return (SyncReport(.refused(error.error), signed.release), true)
            }
            isDamaged = false
            return (report, true)
        } catch let failure as DeploymentFailure {
            return (try await refuse(signed, failure.error, fetcher, in: directory), true)
        } catch let error as ArtifactStoreError where error.isRefusal {
            guard error.isLasting else {
                await acknowledge(signed, error)
                var report = SyncReport(.refused(error), signed.release)
                report.bytesReceived = fetcher.bytesReceived
                return (report, false)
            }
            return (try await refuse(signed, error, fetcher, in: directory), true)
        }
    }

    private func refuse(
        _ signed: SignedRelease, _ error: ArtifactStoreError, _ fetcher: ReleaseFetcher,
        in directory: WorkerDirectory
    ) async throws -> SyncReport {
        guard var core = opened?.core else { return SyncReport(.empty) }
        let directives = core.onRefused(signed, error)
        opened = (directory, core)
        await deployer.remove(handle(signed.release, in: directory))
        try await perform(directives, in: directory)
        var report = SyncReport(.refused(error), signed.release)
        report.bytesReceived = fetcher.bytesReceived
        return report
    }

    /// Fetches the active release once more, whole, because its files were damaged.
    private func repair(
        _ published: PublishedRelease, in directory: WorkerDirectory
    ) async throws -> SyncReport {
        let fetcher = ReleaseFetcher(
            source: source, directory: directory, configuration: configuration)
        let tree = try await fetcher.obtain(published, from: [])
        try directory.pointCurrent(to: published.release)
        await restore(handle(published.release, in: directory))
        isDamaged = served.active?.release.root != published.release.root
        await acknowledge(published.signed, nil)
        var report = SyncReport(.activated, published.release)
        report.transfer = tree.transfer
        report.bytesReceived = fetcher.bytesReceived
        return report
    }

    // MARK: - Directives

    private struct DeploymentFailure: Error { let error: ArtifactStoreError }

    private func failure(_ step: String, _ cause: any Error) -> DeploymentFailure {
        DeploymentFailure(
            error: ArtifactStoreError(
                .deploymentFailed,
                "The deployer refused to \(step) the release: \(cause). Mend it and publish again.",
                cause: cause
            )
        )
    }

    private func prepare(_ new: ActiveRelease) async throws {
        do {
            try await deployer.prepare(new, replacing: served.active)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw failure("prepare", error)
        }
        do {
            try await deployer.checkHealth(of: new)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw failure("pass as healthy", error)
        }
    }

    private func perform(
        _ directives: [ActivationDirective], in directory: WorkerDirectory
    ) async throws {
        var retired: ServedReleases.Slot?
        for directive in directives {
            switch directive {
            case .pointCurrent(let signed): try directory.pointCurrent(to: signed.release)
            case .persist: try persist(in: directory)
            case .activate(let signed):
                let new = handle(signed.release, in: directory)
                do { try await deployer.activate(new) } catch { throw failure("activate", error) }
                if served.active != new { retired = served.activate(new) }
            case .drain:
                guard let slot = retired else { continue }
                await drain(slot)
            case .removeOthers: await removeOthers(in: directory)
            case .acknowledge(let signed, let error): await acknowledge(signed, error)
            }
        }
    }

    private func persist(in directory: WorkerDirectory) throws {
        guard let state = opened?.core.state else { return }
        try directory.saveState(state, tenant: configuration.tenant, channel: channel)
    }

    private func drain(_ slot: ServedReleases.Slot) async {
        let isFree = await slot.retire(
            timeout: configuration.drainTimeout, time: configuration.time)
        if !isFree {
            configuration.logger.warning(
                "Requests still use the old release after the drain timeout.",
                metadata: ["channel": "\(channel)", "number": "\(slot.release.release.number)"]
            )
        }
        await deployer.drain(slot.release)
    }

    /// Removes trees that are neither active nor the one before. Failing to is no failure: the next
    /// release tries again.
    private func removeOthers(in directory: WorkerDirectory) async {
        guard let state = opened?.core.state else { return }
        let kept = Set([state.active, state.previous].compactMap { $0?.release.root })
        for gone in removable where !kept.contains(gone.release.root) {
            await deployer.remove(gone)
        }
        removable = [state.active, state.previous].compactMap {
            $0.map { handle($0.release, in: directory) }
        }
        do {
            try directory.removeTrees(except: kept)
        } catch {
            configuration.logger.warning(
                "Old trees could not be removed.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
        }
    }

    /// The releases whose trees were kept when trees were last removed.
    private var removable: [ActiveRelease] = []

    // MARK: - Acknowledging

    private func acknowledge(_ signed: SignedRelease, _ error: ArtifactStoreError?) async {
        let floor = error?.code == .belowFloor ? opened?.core.state.floor?.encoded : nil
        unsent = AppliedRelease(
            node: configuration.node,
            release: signed.release,
            error: error,
            at: configuration.time.now(),
            floorRecord: floor
        )
        await sendUnsent()
    }

    /// An acknowledgement that gets lost is sent again with the next look.
    private func sendUnsent() async {
        guard let applied = unsent else { return }
        do {
            try await source.acknowledge(applied, tenant: configuration.tenant)
            unsent = nil
        } catch {
            configuration.logger.debug(
                "An acknowledgement could not be sent; it is kept.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
        }
    }
}
