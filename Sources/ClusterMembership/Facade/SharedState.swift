public import ClusterRole
internal import Metrics
internal import Synchronization

/// Reads the replicated state: a small map that every node holds in memory.
///
/// On a manager it follows the storage; on a worker it is a copy that the link brings up to date and a
/// ``NodeRecord`` keeps over restarts, so it can be read with every manager gone. It never goes back:
/// a delta of an older revision is left alone, and only another history (a restored store) replaces it.
///
/// ```swift
/// let flags = node.state
/// let entry = flags.entry(SharedStateKey("dark-mode", in: "feature-flags"))
/// for await changes in flags.changes(in: "feature-flags") { apply(changes) }
/// ```
public final class SharedState: Sendable {
    /// Wakes watchers, and on a manager the members that wait for changes.
    public let signal: ChangeSignal
    private let storage: (any SharedStateStorage)?
    private let record: (any NodeRecord)?
    private let image = Mutex(SharedStateImage())

    /// A manager's: call ``refresh()`` once before it is read.
    ///
    /// - Parameters:
    ///   - storage: whose content it follows.
    ///   - signal: shared with the messenger, so that one wait serves both.
    public init(storage: any SharedStateStorage, signal: ChangeSignal = ChangeSignal()) {
        self.storage = storage
        self.signal = signal
        record = nil
    }

    /// A worker's: call ``restore()`` once before it is read.
    ///
    /// - Parameter record: where the copy survives a restart; `nil` to fetch it again.
    public init(record: (any NodeRecord)?) {
        storage = nil
        signal = ChangeSignal()
        self.record = record
    }

    // MARK: Reading

    /// The revision of the newest change known here; `nil` before the first.
    public var revision: Revision? { image.withLock { $0.revision } }

    /// A value with its version; `nil` if there is none.
    public func entry(_ key: SharedStateKey) -> SharedStateEntry? {
        image.withLock { $0.entry(key) }
    }

    /// All values of a namespace, by key.
    public func entries(in namespace: String) -> [SharedStateEntry] {
        image.withLock { $0.entries(in: namespace) }
    }

    /// What changed in a namespace from now on. A slow reader gets the newest value of each key, not every
    /// one in between; after a snapshot it gets every value there is, and a removal for each that went.
    public func changes(in namespace: String) -> SharedStateChanges {
        SharedStateChanges(state: self, namespace: namespace)
    }

    /// What a reader at `position` lacks; `nil` if nothing.
    public func delta(after position: Revision?) -> SharedStateDelta? {
        image.withLock { $0.delta(after: position) }
    }

    // MARK: Following

    /// Takes what the storage has and this does not.
    ///
    /// - Throws: ``ClusterMembershipError`` with `storage`.
    public func refresh() async throws(ClusterMembershipError) {
        guard let storage else { return }
        do {
            if let delta = try await storage.state(after: revision) { take(delta) }
        } catch {
            throw ClusterMembershipError.storage(error)
        }
    }

    /// Reads the copy of an earlier life. One that is damaged counts as none: it is fetched again.
    public func restore() async throws {
        guard let bytes = try await record?.load() else { return }
        var reader = ByteReader(bytes)
        if let delta = try? SharedStateCoding.decode(&reader) { take(delta) }
    }

    /// Takes what a manager sent, and keeps it.
    public func apply(_ delta: SharedStateDelta) async throws {
        guard take(delta) else { return }
        guard let record, let all = image.withLock({ $0.delta(after: nil) }) else { return }
        try await record.save(SharedStateCoding.encode(all))
    }

    @discardableResult
    func take(_ delta: SharedStateDelta) -> Bool {
        let isNews = image.withLock { $0.onDelta(delta) }
        guard isNews else { return false }
        Gauge(label: "reeve_shared_state_revision").record(delta.revision.number)
        signal.send()
        return true
    }

    /// Mints the coordinator's writer.
    ///
    /// - Parameters:
    ///   - capability: the right to write.
    ///   - limits: how much the state may hold.
    public func writer(
        for capability: WriteCapability,
        limits: SharedStateLimits = SharedStateLimits()
    ) -> SharedStateWriter {
        SharedStateWriter(state: self, storage: storage, capability: capability, limits: limits)
    }
}

/// Changes the replicated state: the coordinator's.
public struct SharedStateWriter: Sendable {
    /// Where the changes can be read.
    public let state: SharedState
    private let storage: (any SharedStateStorage)?
    private let capability: WriteCapability
    private let limits: SharedStateLimits

    init(
        state: SharedState,
        storage: (any SharedStateStorage)?,
        capability: WriteCapability,
        limits: SharedStateLimits
    ) {
        self.state = state
        self.storage = storage
        self.capability = capability
        self.limits = limits
    }

    /// Sets a value, if what is there is what is expected.
    ///
    /// - Returns: the entry with its version.
    /// - Throws: ``ClusterMembershipError``: `stateConflict`, `stateFull`, `invalidState`, `storage`.
    @discardableResult
    public func set(
        _ value: [UInt8],
        for key: SharedStateKey,
        expecting expected: SharedStateChange.Expectation = .anything
    ) async throws(ClusterMembershipError) -> SharedStateEntry {
        let change = SharedStateChange(key: key, value: value, expected: expected)
        // Setting a value always writes an entry.
        return try await commit(change) ?? SharedStateEntry(key: key, value: value, version: 0)
    }

    /// Removes a value, if what is there is what is expected. Removing nothing is harmless.
    ///
    /// - Throws: ``ClusterMembershipError``: `stateConflict`, `invalidState`, `storage`.
    public func remove(
        _ key: SharedStateKey,
        expecting expected: SharedStateChange.Expectation = .anything
    ) async throws(ClusterMembershipError) {
        _ = try await commit(SharedStateChange(key: key, value: nil, expected: expected))
    }

    /// Makes every member drop what it holds of a cache: those that are connected at once, the others
    /// when they come back.
    ///
    /// - Returns: the cache's new generation.
    /// - Throws: ``ClusterMembershipError``: `stateFull`, `invalidState`, `storage`.
    @discardableResult
    public func invalidate(cache: String) async throws(ClusterMembershipError) -> Int64 {
        try await set([], for: SharedStateKey(cache, in: CacheInvalidation.namespace)).version
    }

    private func commit(
        _ change: SharedStateChange
    ) async throws(ClusterMembershipError) -> SharedStateEntry? {
        guard let storage else {
            throw ClusterMembershipError(
                .noCoordinator,
                "This node holds a copy of the replicated state. Change it on the coordinator."
            )
        }
        let entry: SharedStateEntry?
        do {
            entry = try await storage.change(
                change,
                limits: limits,
                epoch: try capability.requireEpoch()
            )
        } catch {
            throw ClusterMembershipError.storage(error)
        }
        try await state.refresh()
        return entry
    }
}

/// Changes of one namespace, as ``SharedState/changes(in:)`` gives them.
public struct SharedStateChanges: AsyncSequence, Sendable {
    let state: SharedState
    let namespace: String

    public func makeAsyncIterator() -> Iterator { Iterator(state, namespace) }

    /// Gives one batch of changed entries after the other.
    public struct Iterator: AsyncIteratorProtocol {
        private let state: SharedState
        private let namespace: String
        private var signals: AsyncStream<Void>.Iterator
        private var known: [SharedStateKey: SharedStateEntry]
        private var history: HistoryID?

        init(_ state: SharedState, _ namespace: String) {
            self.state = state
            self.namespace = namespace
            signals = state.signal.signals().makeAsyncIterator()
            known = [:]
            history = state.revision?.history
            for entry in state.entries(in: namespace) { known[entry.key] = entry }
        }

        /// The next batch, by key; `nil` once the task is cancelled.
        public mutating func next() async -> [SharedStateEntry]? {
            while true {
                let changed = look()
                if !changed.isEmpty { return changed }
                if Task.isCancelled { return nil }
                guard await signals.next() != nil else { return nil }
            }
        }

        private mutating func look() -> [SharedStateEntry] {
            let (revision, present) = (state.revision, state.entries(in: namespace))
            // Versions compare within one history only: behind another everything is new.
            if revision?.history != history {
                history = revision?.history
                for key in known.keys.sorted() { known[key]?.version = -1 }
            }
            var changed: [SharedStateEntry] = []
            var gone = known
            for entry in present {
                gone[entry.key] = nil
                if known[entry.key]?.version != entry.version { changed.append(entry) }
            }
            for key in gone.keys.sorted() {
                known[key] = nil
                changed.append(
                    SharedStateEntry(key: key, value: nil, version: revision?.number ?? 0)
                )
            }
            for entry in changed where entry.value != nil { known[entry.key] = entry }
            return changed.sorted { $0.key < $1.key }
        }
    }
}

@available(*, unavailable)
extension SharedStateChanges.Iterator: Sendable {}
