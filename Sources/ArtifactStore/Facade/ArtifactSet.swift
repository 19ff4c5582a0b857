internal import CReeveSystem
internal import ClusterRole
internal import Logging
public import ServiceLifecycle
internal import Synchronization

/// All channels of one node: kept at their newest releases side by side, each by the deployer of
/// its kind, and in the order in which they need each other.
///
/// ```swift
/// let artifacts = ArtifactSet(
///     channels: ["settings", "web/site", "web/shop"],
///     deployers: [SettingsDeployer(), SiteDeployer()],
///     source: source, directory: "/var/lib/node/channels",
///     trusted: TrustedKeys(publicKey), configuration: SyncConfiguration(node: "worker-1"))
/// // in a ServiceGroup: artifacts.run(); in each request:
/// try await artifacts.withActiveRelease(of: "web/site") { serve($0.directory) }
/// ```
///
/// A release waits while a channel it needs is not where it must be (``DependencyHold``); a release
/// that is refused, or a deployer that is stuck, leaves the other channels alone. After a restart
/// the channels come back in the same order. A channel that the configuration does not name any
/// more is undeployed, those first that need others.
public final class ArtifactSet: Service {
    private struct State {
        var syncs: [ChannelName: ArtifactSync] = [:]
        var runs: [ChannelName: Run] = [:]
        var isStarted = false
    }

    /// A channel's own work while the set runs.
    private final class Run: Sendable {
        let ending = Signal()
        let ended = Signal()
    }

    private let source: any ReleaseSource
    private let directory: String
    private let deployers: [ArtifactKind: any Deployer]
    private let own: [ChannelName: any Deployer]
    private let trusted: TrustedKeys
    private let configuration: SyncConfiguration
    private let state = Mutex(State())
    private let gate: DependencyGate
    private let wakes = ChannelWakes()
    private let nursery = Nursery()

    /// - Parameters:
    ///   - channels: the channels to keep, of the configuration's tenant.
    ///   - deployers: one for each kind; a release of another kind is refused.
    ///   - own: deployers for single channels, instead of their kind's.
    ///   - source: where releases and bundles come from.
    ///   - directory: an absolute path, made if its parent exists; each channel has a directory
    ///     within it.
    ///   - trusted: the keys whose releases are accepted.
    ///   - configuration: this node's name, its tenant, its limits and intervals.
    public init(
        channels: Set<ChannelName>,
        deployers: [any Deployer],
        own: [ChannelName: any Deployer] = [:],
        source: any ReleaseSource,
        directory: String,
        trusted: TrustedKeys,
        configuration: SyncConfiguration
    ) {
        self.source = source
        self.directory = directory
        self.deployers = Dictionary(deployers.map { ($0.kind, $0) }) { first, _ in first }
        self.own = own
        self.trusted = trusted
        self.configuration = configuration
        gate = DependencyGate { [wakes] in wakes.wake($0) }
        for channel in channels.sorted() { _ = add(channel) }
    }

    // MARK: - Serving

    /// The channels that are kept, by name.
    public var channels: [ChannelName] { state.withLock { $0.syncs.keys.sorted() } }

    /// One channel; `nil` if it is not kept.
    public func sync(of channel: ChannelName) -> ArtifactSync? {
        state.withLock { $0.syncs[channel] }
    }

    /// Runs `body` with the active release of a channel and holds it in place meanwhile.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notFound` before the first release and for a
    ///   channel that is not kept, or what `body` throws.
    public func withActiveRelease<Result>(
        of channel: ChannelName,
        isolation: isolated (any Actor)? = #isolation,
        _ body: (ActiveRelease) async throws -> Result
    ) async throws -> Result {
        guard let lease = sync(of: channel)?.lease() else {
            throw ArtifactStoreError(
                .notFound,
                "Channel \(channel) has no active release on this node yet. Publish one, or wait."
            )
        }
        defer { lease.end() }
        return try await body(lease.release)
    }

    /// How each channel stands, by name.
    public var statuses: [ChannelStatus] {
        let syncs = state.withLock { $0.syncs }
        return syncs.sorted { $0.key < $1.key }.map(\.value.status)
    }

    /// Releases may be there: look soon.
    public func hint() { state.withLock { $0.syncs.values.forEach { $0.hint() } } }

    // MARK: - Running

    /// Brings back the last good releases, those first that others need, without the source; then
    /// undeploys the channels the configuration does not name any more. ``run()`` does it itself.
    ///
    /// A configuration that names no channel at all undeploys nothing: one that was emptied by
    /// mistake must not delete what is served.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `locked` if another process uses the directory.
    ///   A channel that cannot be opened otherwise is logged, and tried again by ``run()``.
    public func start() async throws {
        let isFirst = state.withLock { state in
            defer { state.isStarted = true }
            return !state.isStarted
        }
        guard isFirst else { return }
        try WorkerDirectory.makeParent(directory)
        let syncs = state.withLock { $0.syncs }
        var needs: [ChannelName: [ReleaseDependency]] = [:]
        for channel in syncs.keys.sorted() {
            guard let sync = syncs[channel] else { continue }
            do {
                needs[channel] = try await sync.remembered()?.dependencies ?? []
            } catch let error as ArtifactStoreError where error.code == .locked {
                throw error
            } catch {
                log("A channel cannot be opened; the others go on.", channel, error)
            }
        }
        for group in DependencyGraph(needs).startGroups() {
            await withDiscardingTaskGroup { tasks in
                for channel in group {
                    guard let sync = syncs[channel] else { continue }
                    tasks.addTask { [self] in
                        do {
                            try await sync.start()
                        } catch {
                            log("A channel's last good release cannot be restored.", channel, error)
                        }
                    }
                }
            }
        }
        try await undeployUnnamed(beside: Set(syncs.keys))
    }

    /// Works until the task is cancelled or the service group shuts down gracefully.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `locked` if another process uses the directory.
    ///   Everything else concerns one channel, is logged, and tried again.
    public func run() async throws {
        nursery.open()
        do {
            try await cancelWhenGracefulShutdown { [self] in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { [nursery] in await nursery.run() }
                    try await start()
                    for channel in channels { begin(channel) }
                    try await group.waitForAll()
                }
            }
        } catch is CancellationError {
            return
        }
    }

    /// Keeps exactly these channels from now on. New ones begin at once; those that are gone are
    /// undeployed, those first that need others.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem` or `locked` if one cannot be
    ///   undeployed; it is then neither kept nor served, and tried again at the next start.
    public func keep(_ channels: Set<ChannelName>) async throws {
        let gone = state.withLock { $0.syncs.filter { !channels.contains($0.key) } }
        for channel in channels.sorted() where add(channel) { begin(channel) }
        try await undeploy(gone)
    }

    // MARK: - Channels

    /// - Returns: whether it is new.
    private func add(_ channel: ChannelName) -> Bool {
        let sync = makeSync(channel, own[channel].map { [$0] } ?? Array(deployers.values))
        let isNew = state.withLock { state in
            guard state.syncs[channel] == nil else { return false }
            state.syncs[channel] = sync
            return true
        }
        if isNew {
            wakes.add(sync)
            gate.onConfigured(channel)
        }
        return isNew
    }

    private func makeSync(_ channel: ChannelName, _ deployers: [any Deployer]) -> ArtifactSync {
        ArtifactSync(
            channel: channel,
            source: source,
            directory: "\(directory)/\(channel.pathComponent)",
            deployers: deployers,
            trusted: trusted,
            configuration: configuration,
            within: (gate, nursery)
        )
    }

    /// Lets a channel work, if the set runs.
    private func begin(_ channel: ChannelName) {
        let run = Run()
        let sync = state.withLock { state -> ArtifactSync? in
            guard state.runs[channel] == nil else { return nil }
            state.runs[channel] = run
            return state.syncs[channel]
        }
        guard let sync else { return }
        let isTaken = nursery.start { [self] in
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.work(sync) }
                group.addTask { await run.ending.wait() }
                await group.next()
                group.cancelAll()
            }
            run.ended.raise()
        }
        if !isTaken { state.withLock { $0.runs[channel] = nil } }
    }

    private func work(_ sync: ArtifactSync) async {
        var pause = configuration.retryInterval
        while !Task.isCancelled {
            do {
                try await sync.run()
                return
            } catch {
                log("A channel cannot work; it is tried again.", sync.channel, error)
            }
            try? await configuration.time.sleep(for: pause)
            pause = min(pause * 2, configuration.maximumRetryInterval)
        }
    }

    private func undeployUnnamed(beside named: Set<ChannelName>) async throws {
        let found = try WorkerDirectory.channels(in: directory).filter { !named.contains($0) }
        guard !found.isEmpty else { return }
        guard !named.isEmpty else {
            configuration.logger.warning(
                "The configuration names no channel; what was deployed is left where it is.",
                metadata: ["channels": "\(found.map(\.rawValue))"]
            )
            return
        }
        var loaders = deployers
        for deployer in own.values where loaders[deployer.kind] == nil {
            loaders[deployer.kind] = deployer
        }
        let gone = found.map { ($0, makeSync($0, Array(loaders.values))) }
        try await undeploy(Dictionary(gone) { first, _ in first })
    }

    private func undeploy(_ gone: [ChannelName: ArtifactSync]) async throws {
        var needs: [ChannelName: [ReleaseDependency]] = [:]
        for (channel, sync) in gone {
            let release: Release?
            do { release = try await sync.remembered() } catch { release = nil }
            needs[channel] = release?.dependencies ?? []
        }
        var failure: (any Error)?
        for channel in DependencyGraph(needs).startGroups().joined().reversed() {
            guard let sync = gone[channel] else { continue }
            await end(channel)
            gate.onRemoved(channel)
            do {
                try await sync.undeploy()
            } catch {
                log("A channel cannot be undeployed.", channel, error)
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Stops a channel's work and forgets it.
    private func end(_ channel: ChannelName) async {
        let run = state.withLock { state in
            state.syncs[channel] = nil
            return state.runs.removeValue(forKey: channel)
        }
        wakes.remove(channel)
        guard let run else { return }
        run.ending.raise()
        await run.ended.wait()
    }

    private func log(_ message: Logger.Message, _ channel: ChannelName, _ error: any Error) {
        configuration.logger.error(
            message,
            metadata: ["channel": "\(channel)", "error": "\(error)"]
        )
    }
}

/// Who is to be woken for a channel. It does not hold the channels themselves: they hold the gate
/// that wakes them.
private final class ChannelWakes: Sendable {
    private let signals = Mutex<[ChannelName: Signal]>([:])

    func add(_ sync: ArtifactSync) { signals.withLock { $0[sync.channel] = sync.hints } }
    func remove(_ channel: ChannelName) { signals.withLock { $0[channel] = nil } }
    func wake(_ channel: ChannelName) { signals.withLock { $0[channel] }?.raise() }
}

extension ChannelName {
    /// The name as one component of a path: a channel never lies inside another's directory.
    package var pathComponent: String {
        var result = ""
        for character in rawValue {
            switch character {
            case "%": result += "%25"
            case "/": result += "%2F"
            default: result.append(character)
            }
        }
        return result
    }

    /// The channel that has this ``pathComponent``; `nil` for anything else.
    init?(pathComponent: String) {
        var name = ""
        var rest = pathComponent[...]
        while let character = rest.popFirst() {
            guard character == "%" else {
                name.append(character)
                continue
            }
            switch rest.prefix(2) {
            case "25": name.append("%")
            case "2F": name.append("/")
            default: return nil
            }
            rest = rest.dropFirst(2)
        }
        do { try self.init(validating: name) } catch { return nil }
    }
}

extension WorkerDirectory {
    /// Makes the directory that holds the channels' directories; one that exists is fine.
    static func makeParent(_ path: String) throws(ArtifactStoreError) {
        let made = reeve_make_directory(reeve_current_directory, path, 0o755)
        if made != -reeve_error_exists { try check(made, "make the directory", path) }
    }

    /// The channels that have a directory within `path`, by name.
    static func channels(in path: String) throws(ArtifactStoreError) -> [ChannelName] {
        try OpenFile.directory(path).names(limit: .max)
            .compactMap { ChannelName(pathComponent: $0.description) }.sorted()
    }
}
