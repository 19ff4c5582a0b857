public import ClusterRole
internal import Synchronization

/// Keeps the replicated state: a small versioned map.
public protocol SharedStateStorage: Sendable {
    /// What a reader at `revision` lacks: changes, or everything for `nil`, another history, or one that
    /// is too far behind; `nil` when it lacks nothing. Before the first change the state is at revision 0
    /// of its history.
    func state(after revision: Revision?) async throws -> SharedStateDelta?

    /// Makes one change and takes a revision for it. Expectation and limits are compared in the same
    /// transaction. Removing what is not there changes nothing and answers `nil`.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)`; ``ClusterMembershipError`` with `stateConflict`,
    ///   `stateFull` or `invalidState`.
    func change(
        _ change: SharedStateChange,
        limits: SharedStateLimits,
        epoch: Epoch
    ) async throws -> SharedStateEntry?
}

/// A ``SharedStateStorage`` in memory.
public final class InMemorySharedStateStorage: SharedStateStorage {
    private let ledger: InMemoryLedger
    private let image: Mutex<SharedStateImage>

    /// - Parameter ledger: compares the epoch and logs `ChangeKey.sharedState(namespace:key:)`.
    public init(ledger: InMemoryLedger) {
        self.ledger = ledger
        let start = Revision(history: ledger.revision.history, number: 0)
        image = Mutex(SharedStateImage(revision: start, floor: 0, entries: []))
    }

    public func state(after revision: Revision?) async throws -> SharedStateDelta? {
        image.withLock { $0.delta(after: revision) }
    }

    public func change(
        _ change: SharedStateChange,
        limits: SharedStateLimits,
        epoch: Epoch
    ) async throws -> SharedStateEntry? {
        let history = ledger.revision.history
        return try ledger.guarded(epoch: epoch) { number in
            try image.withLock { image -> (keys: [ChangeKey], result: SharedStateEntry?) in
                try image.check(change, limits)
                if change.value == nil, image.entry(change.key) == nil { return ([], nil) }
                let entry = image.onChanged(
                    change,
                    at: Revision(history: history, number: number),
                    limits
                ).entry
                let key = ChangeKey.sharedState(
                    namespace: change.key.namespace,
                    key: change.key.key
                )
                return ([key], entry)
            }
        }.result
    }
}
