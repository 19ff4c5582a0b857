public import ArtifactStore
public import Configuration
internal import Synchronization

/// The newest configuration a manager published, as a provider of swift-configuration: running code
/// that watches a key sees the new value, without a restart.
///
/// ```swift
/// let published = ArtifactConfigurationProvider()
/// let config = ConfigReader(providers: [EnvironmentVariablesProvider(), published])
/// let settings = ArtifactSync(channel: "settings", deployer: published, …)   // in a ServiceGroup
/// try await config.watchInt(forKey: "cache.size", default: 100) { sizes in
///     for await size in sizes { cache.resize(to: size) }
/// }
/// ```
///
/// It is the `Deployer` of its channel: `prepare` parses every `.json` and `.env` file of the
/// tree, `checkHealth` runs the check it was given, and either of them refuses a bad release, so
/// that the values before stay. `activate` swaps all values at once; a snapshot never mixes two
/// releases. Before the first release it has no value for any key; after a restart it has the last
/// good ones before any manager answers.
///
/// Keys are found as swift-configuration spells them: `cache.size` is `{"cache": {"size": 1}}` in
/// JSON and `CACHE_SIZE=1` in an `.env` file.
public final class ArtifactConfigurationProvider: ConfigProvider, Deployer {
    /// Looks at a configuration before it is used.
    public typealias Check = @Sendable (ConfigReader) async throws -> Void

    private struct Watchers {
        var next = 0
        var snapshots: [Int: AsyncStream<PublishedSnapshot>.Continuation] = [:]
    }

    private struct State {
        var current: PublishedSnapshot
        var prepared: [ActiveRelease: PublishedSnapshot] = [:]
        var watchers = Watchers()
    }

    public let kind: ArtifactKind
    public let providerName: String
    private let limits: ConfigurationLimits
    private let check: Check?
    private let state: Mutex<State>

    /// - Parameters:
    ///   - kind: the kind of releases it takes.
    ///   - name: what access reports call it.
    ///   - limits: what an artifact must keep to.
    ///   - check: refuses a configuration by throwing, such as when a value that is required is
    ///     missing. It is handed a reader of that configuration alone.
    public init(
        kind: ArtifactKind = .configuration,
        name: String = "ArtifactConfigurationProvider",
        limits: ConfigurationLimits = ConfigurationLimits(),
        check: Check? = nil
    ) {
        self.kind = kind
        self.limits = limits
        self.check = check
        providerName = name
        state = Mutex(
            State(current: PublishedSnapshot(providerName: name, release: nil, files: []))
        )
    }

    /// The release whose values are used; `nil` before the first.
    public var release: Release? { state.withLock { $0.current.release } }

    // MARK: - Deployer

    public func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        let tree = try ConfigurationTree(directory: new.directory, limits: limits)
        let snapshot = PublishedSnapshot(
            providerName: providerName,
            release: new.release,
            files: tree.snapshots
        )
        state.withLock { $0.prepared[new] = snapshot }
    }

    public func checkHealth(of new: ActiveRelease) async throws {
        guard let check, let snapshot = state.withLock({ $0.prepared[new] }) else { return }
        try await check(ConfigReader(provider: FixedConfiguration(fixed: snapshot)))
    }

    public func activate(_ new: ActiveRelease) async throws {
        guard let snapshot = state.withLock({ $0.prepared[new] }) else {
            // Back to a release that was active before: it was parsed then.
            return try await reactivate(new)
        }
        use(snapshot)
    }

    private func reactivate(_ release: ActiveRelease) async throws {
        try await prepare(release, replacing: nil)
        if let snapshot = state.withLock({ $0.prepared[release] }) { use(snapshot) }
    }

    /// Watchers are told under the lock, so that none sees an older release after a newer one.
    private func use(_ snapshot: PublishedSnapshot) {
        state.withLock { state in
            state.current = snapshot
            for watcher in state.watchers.snapshots.values { watcher.yield(snapshot) }
        }
    }

    public func remove(_ old: ActiveRelease) async {
        state.withLock { _ = $0.prepared.removeValue(forKey: old) }
    }

    // MARK: - ConfigProvider

    public func value(forKey key: AbsoluteConfigKey, type: ConfigType) throws -> LookupResult {
        try state.withLock { $0.current }.value(forKey: key, type: type)
    }

    /// The same as ``value(forKey:type:)``: releases come by themselves.
    public func fetchValue(
        forKey key: AbsoluteConfigKey,
        type: ConfigType
    ) async throws -> LookupResult {
        try value(forKey: key, type: type)
    }

    public func snapshot() -> any ConfigSnapshot { state.withLock { $0.current } }

    public nonisolated(nonsending) func watchValue<Return: ~Copyable>(
        forKey key: AbsoluteConfigKey,
        type: ConfigType,
        updatesHandler:
            nonisolated(nonsending) (
                _ updates: ConfigUpdatesAsyncSequence<Result<LookupResult, any Error>, Never>
            ) async throws -> Return
    ) async throws -> Return {
        let (stream, id) = watch()
        defer { endWatch(id) }
        let values = stream.map { snapshot in
            Result { try snapshot.value(forKey: key, type: type) }
        }
        return try await updatesHandler(ConfigUpdatesAsyncSequence(values))
    }

    public nonisolated(nonsending) func watchSnapshot<Return: ~Copyable>(
        updatesHandler:
            nonisolated(nonsending) (
                _ updates: ConfigUpdatesAsyncSequence<any ConfigSnapshot, Never>
            ) async throws -> Return
    ) async throws -> Return {
        let (stream, id) = watch()
        defer { endWatch(id) }
        let snapshots = stream.map { $0 as any ConfigSnapshot }
        return try await updatesHandler(ConfigUpdatesAsyncSequence(snapshots))
    }

    /// A watcher that is slow sees the newest release next, and misses those between.
    private func watch() -> (AsyncStream<PublishedSnapshot>, Int) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: PublishedSnapshot.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let id = state.withLock { state in
            let id = state.watchers.next
            state.watchers.next += 1
            state.watchers.snapshots[id] = continuation
            continuation.yield(state.current)
            return id
        }
        return (stream, id)
    }

    private func endWatch(_ id: Int) {
        state.withLock { $0.watchers.snapshots.removeValue(forKey: id) }?.finish()
    }
}

/// The values of one release.
struct PublishedSnapshot: ConfigSnapshot {
    let providerName: String
    let release: Release?
    let files: [any ConfigSnapshot]

    func value(forKey key: AbsoluteConfigKey, type: ConfigType) throws -> LookupResult {
        var result = LookupResult(encodedKey: key.description, value: nil)
        for file in files.reversed() {
            result = try file.value(forKey: key, type: type)
            if result.value != nil { break }
        }
        return result
    }
}

/// One snapshot as a provider, for checks.
private struct FixedConfiguration: ConfigProvider {
    let fixed: PublishedSnapshot

    var providerName: String { fixed.providerName }

    func value(forKey key: AbsoluteConfigKey, type: ConfigType) throws -> LookupResult {
        try fixed.value(forKey: key, type: type)
    }

    func fetchValue(
        forKey key: AbsoluteConfigKey,
        type: ConfigType
    ) async throws -> LookupResult { try value(forKey: key, type: type) }

    func snapshot() -> any ConfigSnapshot { fixed }

    nonisolated(nonsending) func watchValue<Return: ~Copyable>(
        forKey key: AbsoluteConfigKey,
        type: ConfigType,
        updatesHandler:
            nonisolated(nonsending) (
                _ updates: ConfigUpdatesAsyncSequence<Result<LookupResult, any Error>, Never>
            ) async throws -> Return
    ) async throws -> Return {
        try await watchValueFromValue(forKey: key, type: type, updatesHandler: updatesHandler)
    }

    nonisolated(nonsending) func watchSnapshot<Return: ~Copyable>(
        updatesHandler:
            nonisolated(nonsending) (
                _ updates: ConfigUpdatesAsyncSequence<any ConfigSnapshot, Never>
            ) async throws -> Return
    ) async throws -> Return {
        try await watchSnapshotFromSnapshot(updatesHandler: updatesHandler)
    }
}
