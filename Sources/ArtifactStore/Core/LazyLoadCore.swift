/// Decides when releases are loaded for their first request, and unloaded when they idle. It knows
/// a monotonic time, and nothing of what loading means.
struct LazyLoadCore {
    private enum Phase {
        case unloaded
        case loading
        case loaded(users: Int, idleSince: Duration)
        case unloading
    }

    private struct Entry {
        var phase = Phase.unloaded
        var waiting = 0
    }

    private let limits: LazyLoadLimits
    private var entries: [ActiveRelease: Entry] = [:]

    init(limits: LazyLoadLimits) { self.limits = limits }

    /// What a request does first.
    enum RequestDirective: Hashable {
        /// It is loaded: serve, then ``onRequestEnded(_:at:)``.
        case serve
        /// Load it: ``onLoaded(_:at:)`` or ``onLoadFailed(_:)``, then ask again.
        case load
        /// Somebody loads or unloads it: wait, then ``onWaitEnded(_:)`` and ask again.
        case wait
        /// Too many wait already.
        case refuse
    }

    mutating func onRequest(_ release: ActiveRelease, at now: Duration) -> RequestDirective {
        var entry = entries[release] ?? Entry()
        defer { entries[release] = entry }
        switch entry.phase {
        case .unloaded:
            entry.phase = .loading
            return .load
        case .loaded(let users, _):
            entry.phase = .loaded(users: users + 1, idleSince: now)
            return .serve
        case .loading, .unloading:
            guard entry.waiting < limits.waitingRequests else { return .refuse }
            entry.waiting += 1
            return .wait
        }
    }

    mutating func onWaitEnded(_ release: ActiveRelease) {
        guard let waiting = entries[release]?.waiting, waiting > 0 else { return }
        entries[release]?.waiting = waiting - 1
    }

    mutating func onRequestEnded(_ release: ActiveRelease, at now: Duration) {
        guard case .loaded(let users, _)? = entries[release]?.phase else { return }
        entries[release]?.phase = .loaded(users: max(0, users - 1), idleSince: now)
    }

    mutating func onLoaded(_ release: ActiveRelease, at now: Duration) {
        entries[release, default: Entry()].phase = .loaded(users: 0, idleSince: now)
    }

    mutating func onLoadFailed(_ release: ActiveRelease) {
        entries[release]?.phase = .unloaded
    }

    /// Whether the release is in memory.
    func isLoaded(_ release: ActiveRelease) -> Bool {
        if case .loaded? = entries[release]?.phase { true } else { false }
    }

    /// Time has passed.
    ///
    /// - Returns: the releases to unload now, each followed by ``onUnloaded(_:)``.
    mutating func onTick(at now: Duration) -> [ActiveRelease] {
        var idle: [ActiveRelease] = []
        for (release, entry) in entries {
            if case .loaded(0, let since) = entry.phase, now - since >= limits.idleTime {
                idle.append(release)
            }
        }
        idle.sort { $0.release.number < $1.release.number }
        for release in idle { entries[release]?.phase = .unloading }
        return idle
    }

    mutating func onUnloaded(_ release: ActiveRelease) { entries[release]?.phase = .unloaded }

    /// Its tree goes away; nobody asks for it any more.
    mutating func onRemoved(_ release: ActiveRelease) { entries[release] = nil }
}
