public import ClusterRole
internal import Synchronization

/// A ``LeaseStore`` in memory; a new holder raises the epoch of the ledger it shares with the other
/// in-memory drivers, so that their guarded writes are fenced with it.
public final class InMemoryLeaseStore: LeaseStore {
    private struct State {
        var holder: NodeID?
        var epoch = Epoch.none
        var end = Duration.zero
    }

    private let ledger: InMemoryLedger
    private let clock: any TimeSource
    private let state = Mutex(State())

    /// - Parameters:
    ///   - ledger: whose epoch is raised.
    ///   - clock: the store's own clock; leases are counted on its monotonic time.
    public init(ledger: InMemoryLedger, clock: any TimeSource) {
        self.ledger = ledger
        self.clock = clock
    }

    public func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        let now = clock.monotonic()
        return state.withLock { state in
            if let other = state.holder, other != holder, now < state.end {
                return Lease(holder: other, epoch: state.epoch, remaining: state.end - now)
            }
            state.holder = holder
            state.epoch = ledger.raiseEpoch()
            state.end = now + duration
            return Lease(holder: holder, epoch: state.epoch, remaining: duration)
        }
    }

    public func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        let now = clock.monotonic()
        return try state.withLock { state in
            guard state.holder == holder, state.epoch == epoch, ledger.epoch == epoch else {
                throw ClusterRoleError.fenced(current: ledger.epoch)
            }
            state.end = now + duration
            return Lease(holder: holder, epoch: epoch, remaining: duration)
        }
    }

    public func release(holder: NodeID, epoch: Epoch) async throws {
        state.withLock { state in
            if state.holder == holder, state.epoch == epoch { state.holder = nil }
        }
    }

    public func holder() async throws -> Lease? {
        let now = clock.monotonic()
        return state.withLock { state in
            guard let holder = state.holder, now < state.end else { return nil }
            return Lease(holder: holder, epoch: state.epoch, remaining: state.end - now)
        }
    }
}

/// A ``LeaseStore`` for a store that belongs to one process: whoever opened it is the coordinator until
/// it closes it.
///
/// Every acquisition raises the epoch and lasts for ever (``Lease/unlimited``), so a ``Coordinator``
/// over it never renews.
public struct InMemoryExclusiveLease: LeaseStore {
    private let ledger: InMemoryLedger

    /// - Parameter ledger: whose epoch is raised.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        Lease(holder: holder, epoch: ledger.raiseEpoch(), remaining: Lease.unlimited)
    }

    public func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        guard ledger.epoch == epoch else { throw ClusterRoleError.fenced(current: ledger.epoch) }
        return Lease(holder: holder, epoch: epoch, remaining: Lease.unlimited)
    }

    public func release(holder: NodeID, epoch: Epoch) async throws {}
}

/// A ``RevisionLog`` over the ledger of in-memory drivers. It is never compacted.
public struct InMemoryRevisionLog: RevisionLog {
    private let ledger: InMemoryLedger

    /// - Parameter ledger: the ledger whose log is read.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func current() async throws -> Revision { ledger.revision }

    public func changes(after revision: Revision, limit: Int) async throws -> [LoggedChange] {
        guard revision.history == ledger.revision.history else {
            throw ClusterMembershipError(
                .compacted,
                "The revision \(revision) is of another history. Take a snapshot."
            )
        }
        return ledger.changes(after: revision.number).prefix(max(0, limit)).map {
            LoggedChange(number: $0.number, keys: $0.keys)
        }
    }

    public func append(_ keys: [ChangeKey], epoch: Epoch) async throws -> Revision {
        try ledger.guarded(epoch: epoch) { _ in (keys, ()) }.revision
    }
}

/// A ``MemberRegistry`` in memory.
public final class InMemoryMemberRegistry: MemberRegistry {
    private let ledger: InMemoryLedger
    private let rows = Mutex<[NodeID: Member]>([:])

    /// - Parameter ledger: compares the epoch and logs `ChangeKey.member(_:)`.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func put(_ member: Member, epoch: Epoch) async throws -> Revision {
        try ledger.guarded(epoch: epoch) { _ in
            rows.withLock { rows in
                let isNews = rows[member.node].map { !$0.isSameButForHeartbeat(as: member) } ?? true
                rows[member.node] = member
                return (isNews ? [.member(member.node)] : [], ())
            }
        }.revision
    }

    public func remove(_ node: NodeID, epoch: Epoch) async throws -> Revision {
        try ledger.guarded(epoch: epoch) { _ in
            rows.withLock { rows in
                (rows.removeValue(forKey: node) == nil ? [] : [.member(node)], ())
            }
        }.revision
    }

    public func members() async throws -> [Member] {
        rows.withLock { $0.values.sorted { $0.node < $1.node } }
    }
}

/// A ``HintBus`` inside one process. Each reader holds the newest hint only.
public final class InMemoryHintBus: HintBus {
    private struct State {
        var readers: [Int: AsyncStream<Revision>.Continuation] = [:]
        var nextReader = 0
    }

    private let state = Mutex(State())

    public init() {}

    public func publish(_ revision: Revision) {
        // Yielding may end a reader, whose handler takes the lock: so not inside it.
        let readers = state.withLock { state in state.readers.sorted { $0.key < $1.key } }
        for (_, reader) in readers { reader.yield(revision) }
    }

    public func hints() -> AsyncStream<Revision> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Revision.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let reader = state.withLock { state in
            state.nextReader += 1
            state.readers[state.nextReader] = continuation
            return state.nextReader
        }
        continuation.onTermination = { [weak self] _ in self?.forget(reader) }
        return stream
    }

    private func forget(_ reader: Int) {
        let ended = state.withLock { $0.readers.removeValue(forKey: reader) }
        _ = ended
    }
}
