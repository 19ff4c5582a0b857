public import ClusterRole
internal import Synchronization

/// How one node stands, and how it is to end: the usual ``NodeControl``.
///
/// It ends nothing by itself. Whoever owns the process waits for ``ended()`` and ends it, gracefully
/// or at once, with `NodeEnding.status`. Maintenance is kept in a ``NodeRecord`` and survives a restart.
public final class StandingControl: NodeControl {
    private struct State {
        var mode = MemberMode.active
        var ending: NodeEnding?
    }

    private let state = Mutex(State())
    private let signal = ChangeSignal()
    private let record: any NodeRecord
    private let clock: any TimeSource
    private let drainFor: Duration

    /// - Parameters:
    ///   - record: keeps maintenance over restarts.
    ///   - drainFor: how long a graceful end says "not ready" before it ends, so that load balancers
    ///     send nobody any more. 2 s by default: one look of most of them.
    ///   - clock: counts that.
    public init(
        record: any NodeRecord,
        drainFor: Duration = .seconds(2),
        clock: any TimeSource = SystemTimeSource()
    ) {
        self.record = record
        self.drainFor = drainFor
        self.clock = clock
    }

    /// Whether the node takes work, as it was commanded: its word to the cluster. A restart ends draining;
    /// only an operator ends maintenance.
    public var mode: MemberMode { state.withLock { $0.mode } }

    /// How the node is to end; `nil` while it goes on.
    public var ending: NodeEnding? { state.withLock { $0.ending } }

    /// Reads what was before the restart.
    public func restore() async throws {
        let bytes = try await record.load() ?? []
        let mode = MemberMode(rawValue: String(decoding: bytes, as: UTF8.self))
        state.withLock { $0.mode = mode ?? .active }
    }

    public func setMaintenance(_ isOn: Bool) async throws {
        let mode = isOn ? MemberMode.maintenance : .active
        try await record.save(Array(mode.rawValue.utf8))
        state.withLock { $0.mode = mode }
        signal.send()
    }

    public func drain() async throws {
        state.withLock { state in
            state.mode = max(state.mode, .draining)
        }
        signal.send()
    }

    /// The first ending counts; a graceful one may be overtaken by one at once.
    public func end(_ ending: NodeEnding) async {
        if ending.isGraceful { try? await drain() }
        state.withLock { state in
            if state.ending == nil || !ending.isGraceful { state.ending = ending }
        }
        signal.send()
    }

    /// Waits until the node is told to end, and drains first if it is to end gracefully.
    ///
    /// - Returns: how; `nil` once the task is cancelled.
    public func ended() async -> NodeEnding? {
        guard let first = await next(other: nil) else { return nil }
        guard first.isGraceful, drainFor > .zero else { return first }
        let (clock, pause) = (clock, drainFor)
        return await withTaskGroup(of: NodeEnding?.self) { group in
            group.addTask {
                try? await clock.sleep(for: pause)
                return first
            }
            // One at once overtakes it.
            group.addTask { await self.next(other: first) ?? first }
            defer { group.cancelAll() }
            return await group.next() ?? first
        }
    }

    private func next(other: NodeEnding?) async -> NodeEnding? {
        let signals = signal.signals()
        if let ending = state.withLock({ $0.ending }), ending != other { return ending }
        for await _ in signals {
            if let ending = state.withLock({ $0.ending }), ending != other { return ending }
        }
        return nil
    }
}
