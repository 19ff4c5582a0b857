public import ClusterRole
public import ServiceLifecycle
internal import Synchronization

/// How lazily a ``LazyDeployer`` loads.
public struct LazyLoadLimits: Hashable, Sendable {
    /// How long a release without requests stays loaded. 10 minutes.
    public var idleTime: Duration = .seconds(600)
    /// How many requests may wait for one release to be loaded. 1,024; more are refused at once.
    public var waitingRequests = 1_024
    /// How long a request waits for it. 30 s.
    public var waitingTime: Duration = .seconds(30)

    /// The defaults.
    public init() {}
}

/// Loads a release when it is first asked for and unloads it when nobody asks for a while: for nodes
/// that keep many artifacts and use few.
///
/// ```swift
/// let lazy = LazyDeployer(SiteDeployer())
/// // lazy is the channel's deployer, and a service: lazy.run() unloads what idles
/// try await sync.withActiveRelease { release in
///     try await lazy.withLoaded(release) { try await site.answer(request) }
/// }
/// ```
///
/// The base is asked to `prepare`, `checkHealth` and `activate` a release at its first request, and
/// to `drain` it when it has idled. While a release is loaded, its successor is prepared and checked
/// before the switch as without this decorator, so that a hot artifact is updated without a gap; a
/// release that nobody uses costs nothing, and a defect in it is found at its first request.
public final class LazyDeployer: Deployer, Service {
    private let base: any Deployer
    private let limits: LazyLoadLimits
    private let time: any TimeSource
    private let core: Mutex<LazyLoadCore>
    private let waiters = Mutex<[ActiveRelease: [Waiter]]>([:])
    /// The base is asked for one thing at a time.
    private let turn = Turn()

    /// - Parameters:
    ///   - base: does the loading.
    ///   - limits: how long and how many.
    ///   - time: the clock that idling is measured by.
    public init(
        _ base: any Deployer,
        limits: LazyLoadLimits = LazyLoadLimits(),
        time: any TimeSource = SystemTimeSource()
    ) {
        self.base = base
        self.limits = limits
        self.time = time
        core = Mutex(LazyLoadCore(limits: limits))
    }

    public var kind: ArtifactKind { base.kind }

    /// Whether the release is in memory now.
    public func isLoaded(_ release: ActiveRelease) -> Bool {
        core.withLock { $0.isLoaded(release) }
    }

    // MARK: - Requests

    /// Runs `body` once the release is loaded, and keeps it loaded meanwhile. The first request
    /// loads it; others wait for that.
    ///
    /// - Parameters:
    ///   - release: what ``ArtifactSync/withActiveRelease(isolation:_:)`` or a lease holds in place.
    ///   - isolation: where `body` runs: where the caller does.
    ///   - body: the request; the release stays loaded until it returns.
    /// - Throws: ``ArtifactStoreError`` with code `unavailable` when too many wait, or loading takes
    ///   too long; what the base throws when it cannot load it; or what `body` throws. The next
    ///   request tries to load it again.
    public func withLoaded<Result>(
        _ release: ActiveRelease,
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async throws -> Result {
        try await enter(release)
        defer { core.withLock { $0.onRequestEnded(release, at: time.monotonic()) } }
        return try await body()
    }

    private func enter(_ release: ActiveRelease) async throws {
        let deadline = time.monotonic() + limits.waitingTime
        while true {
            try Task.checkCancellation()
            let waiter = Waiter()
            // Whoever is told to wait is registered before anybody can be told that it is over.
            let directive = core.withLock { core in
                let directive = core.onRequest(release, at: time.monotonic())
                if directive == .wait {
                    waiters.withLock { $0[release, default: []].append(waiter) }
                }
                return directive
            }
            switch directive {
            case .serve: return
            case .load: try await load(release)
            case .refuse:
                throw ArtifactStoreError(
                    .unavailable,
                    "Too many requests wait for release \(release.release.number) of "
                        + "\(release.release.channel) to be loaded. Try again soon."
                )
            case .wait: try await wait(waiter, for: release, until: deadline)
            }
        }
    }

    private func wait(
        _ waiter: Waiter,
        for release: ActiveRelease,
        until deadline: Duration
    ) async throws {
        let rest = deadline - time.monotonic()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await waiter.signal.wait() }
            group.addTask { [time] in try? await time.sleep(for: max(.zero, rest)) }
            await group.next()
            group.cancelAll()
        }
        core.withLock { $0.onWaitEnded(release) }
        waiters.withLock { $0[release]?.removeAll { $0 === waiter } }
        if let failure = waiter.failure { throw failure }
        if time.monotonic() >= deadline {
            throw ArtifactStoreError(
                .unavailable,
                "Release \(release.release.number) of \(release.release.channel) is not loaded yet. Try "
                    + "again soon."
            )
        }
    }

    private func load(_ release: ActiveRelease) async throws {
        do {
            try await turn.taking {
                try await base.prepare(release, replacing: nil)
                try await base.checkHealth(of: release)
                try await base.activate(release)
            }
            core.withLock { $0.onLoaded(release, at: time.monotonic()) }
            wakeWaiters(of: release)
        } catch {
            core.withLock { $0.onLoadFailed(release) }
            // A request that went away says nothing about the release: the next one tries.
            wakeWaiters(of: release, error is CancellationError ? nil : error)
            throw error
        }
    }

    private func wakeWaiters(of release: ActiveRelease, _ failure: (any Error)? = nil) {
        let woken = waiters.withLock { $0.removeValue(forKey: release) ?? [] }
        woken.forEach { $0.end(failure) }
    }

    /// A request that waits for somebody else's loading.
    private final class Waiter: Sendable {
        private struct Result { var failure: (any Error)? }

        let signal = Signal()
        private let result = Mutex(Result())

        var failure: (any Error)? { result.withLock { $0.failure } }

        func end(_ failure: (any Error)?) {
            result.withLock { $0.failure = failure }
            signal.raise()
        }
    }

    // MARK: - Idling

    /// Unloads what idles, until cancellation or graceful shutdown.
    public func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { [self] in
                while true {
                    try await time.sleep(for: limits.idleTime / 4)
                    await unloadIdle()
                }
            }
        } catch is CancellationError {
            return
        }
    }

    /// Unloads what has idled for long enough. ``run()`` does it.
    public func unloadIdle() async {
        for release in core.withLock({ $0.onTick(at: time.monotonic()) }) {
            await turn.taking { await base.drain(release) }
            core.withLock { $0.onUnloaded(release) }
            wakeWaiters(of: release)
        }
    }

    // MARK: - Deployer

    public func prepare(_ new: ActiveRelease, replacing old: ActiveRelease?) async throws {
        guard let old, isLoaded(old) else { return }
        try await turn.taking { try await base.prepare(new, replacing: old) }
        core.withLock { $0.onLoaded(new, at: time.monotonic()) }
    }

    public func checkHealth(of new: ActiveRelease) async throws {
        guard isLoaded(new) else { return }
        try await turn.taking { try await base.checkHealth(of: new) }
    }

    public func activate(_ new: ActiveRelease) async throws {
        guard isLoaded(new) else { return }
        try await turn.taking { try await base.activate(new) }
    }

    public func drain(_ old: ActiveRelease) async {
        guard isLoaded(old) else { return }
        await turn.taking { await base.drain(old) }
        core.withLock { $0.onUnloaded(old) }
    }

    public func remove(_ old: ActiveRelease) async {
        await turn.taking { await base.remove(old) }
        core.withLock { $0.onRemoved(old) }
    }
}

/// Lets one task at a time do something asynchronous, in the order in which they come.
final class Turn: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func taking<Result>(
        isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        await withCheckedContinuation { continuation in
            let isMine = state.withLock { state in
                if state.isTaken {
                    state.waiting.append(continuation)
                    return false
                }
                state.isTaken = true
                return true
            }
            if isMine { continuation.resume() }
        }
        defer { giveBack() }
        return try await body()
    }

    private func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.waiting.isEmpty {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume()
    }
}
