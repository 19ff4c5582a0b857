internal import ClusterRole
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Drops a member's caches when the coordinator says so.
///
/// Each cache has a **generation**, the version of an entry of the replicated state. A member compares
/// it with the one it dropped the cache at last; so an invalidation that it missed while cut off is
/// made up for as soon as the state arrives, however many there were, and the first state a process sees
/// invalidates whatever it had cached before. Invalidating again is harmless.
///
/// ```swift
/// node.caches.onInvalidation(of: "prices") { await prices.removeAll() }
/// try await manager.stateWriter.invalidate(cache: "prices")
/// ```
public final class CacheInvalidation: Service {
    /// Where generations are kept.
    public static let namespace = "reeve.caches"

    private struct Cache {
        var applied: Generation?
        var isKnown = false
        let drop: @Sendable () async -> Void
    }

    private struct Generation: Equatable {
        var history: HistoryID
        var version: Int64
    }

    private let state: SharedState
    private let caches = Mutex<[String: Cache]>([:])

    /// - Parameter state: the node's replicated state.
    public init(state: SharedState) { self.state = state }

    /// Registers a cache, once for each name; a later registration replaces the one before.
    ///
    /// - Parameters:
    ///   - cache: its name, as the coordinator says it.
    ///   - drop: empties it. It should not take long: caches are dropped one after the other.
    public func onInvalidation(of cache: String, _ drop: @escaping @Sendable () async -> Void) {
        caches.withLock { $0[cache] = Cache(drop: drop) }
        state.signal.send()
    }

    /// Compares all generations now and drops what is stale.
    ///
    /// - Returns: the names of the caches that were dropped.
    @discardableResult
    public func apply() async -> [String] {
        guard let history = state.revision?.history else { return [] }
        var dropped: [String] = []
        for name in caches.withLock({ $0.keys.sorted() }) {
            let entry = state.entry(SharedStateKey(name, in: Self.namespace))
            let present = entry.map { Generation(history: history, version: $0.version) }
            let drop = caches.withLock { caches -> (@Sendable () async -> Void)? in
                guard let cache = caches[name], !cache.isKnown || cache.applied != present else {
                    return nil
                }
                return cache.drop
            }
            guard let drop else { continue }
            await drop()
            // Noted afterwards: a process that is killed in between drops it again.
            caches.withLock { caches in
                caches[name]?.applied = present
                caches[name]?.isKnown = true
            }
            dropped.append(name)
            Counter(label: "reeve_cache_invalidations", dimensions: [("cache", name)]).increment()
        }
        return dropped
    }

    /// Drops what becomes stale, until graceful shutdown or cancellation.
    public func run() async throws {
        let signals = state.signal.signals()
        await apply()
        for await _ in signals.cancelOnGracefulShutdown() { await apply() }
    }
}
