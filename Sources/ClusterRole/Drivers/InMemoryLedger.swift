internal import Synchronization

/// What a revision changed: keys only. A reader fetches the *current* rows of the keys.
public enum ChangeKey: Hashable, Sendable {
    /// A device's identity, state, credential or polling frequency.
    case device(tenant: TenantID, id: String)
    /// A device's membership of a group.
    case membership(tenant: TenantID, group: String, device: String)
    /// What holds for a group as a whole, such as its polling frequency.
    case group(tenant: TenantID, name: String)
    /// An activity: enqueued, closed, or its options changed. The number is its operation's.
    case activity(tenant: TenantID, number: Int64)
    /// One execution: its operation's number and its device.
    case execution(tenant: TenantID, number: Int64, device: String)
    /// A channel got a release.
    case channel(tenant: TenantID, name: String)
    /// The manager applied a worker's spool up to a mark.
    case spoolMark(node: NodeID)
    /// A member joined, left or changed.
    case member(NodeID)
    /// A value of the replicated state.
    case sharedState(namespace: String, key: String)
}

/// What a revision's writer noted beside the keys, for readers of its own module: opaque here.
///
/// OperationQueue notes the transitions it made, from which its events are read. A note is written with
/// the revision, in the same transaction, and is cut from the log with it.
public struct ChangeNote: Hashable, Sendable {
    public var bytes: [UInt8]

    public init(bytes: [UInt8]) { self.bytes = bytes }
}

/// One revision in a log: what it changed, and what its writer noted.
public struct LedgerEntry: Hashable, Sendable {
    public var number: Int64
    public var keys: [ChangeKey]
    public var note: ChangeNote?

    public init(number: Int64, keys: [ChangeKey], note: ChangeNote? = nil) {
        self.number = number
        self.keys = keys
        self.note = note
    }
}

/// The epoch, the revision counter and the log that all in-memory drivers of one store share.
///
/// In-memory drivers of several modules are atomic with each other because each of their guarded
/// writes runs inside ``guarded(epoch:_:)`` of the same ledger. Make one, pass it to each.
public final class InMemoryLedger: Sendable {
    private struct State {
        var history: HistoryID
        var epoch = Epoch.none
        var number: Int64 = 0
        var log: [LedgerEntry] = []
    }

    private let state: Mutex<State>
    private let observers = Mutex<[@Sendable ([ChangeKey]) -> Void]>([])

    /// - Parameter history: the history id; pass a fixed one where a test compares revisions.
    public init(history: HistoryID = HistoryID(bits: 1)) {
        state = Mutex(State(history: history))
    }

    public var revision: Revision {
        state.withLock { Revision(history: $0.history, number: $0.number) }
    }

    public var epoch: Epoch { state.withLock { $0.epoch } }

    /// Begins a new epoch and returns it.
    public func raiseEpoch() -> Epoch {
        state.withLock {
            $0.epoch = $0.epoch.next
            return $0.epoch
        }
    }

    /// Runs one guarded write: compares the epoch, gives the write its number, logs its keys.
    ///
    /// - Parameters:
    ///   - epoch: the writer's epoch.
    ///   - body: gets the number this write will have; returns the keys it changed and its result. No
    ///     keys means that nothing a replica holds was changed, and no revision is taken. If it throws,
    ///     nothing is logged and the number is not taken; it must then have changed nothing.
    /// - Returns: the result and the revision after the write.
    /// - Throws: ``ClusterRoleError/fenced(current:)`` for an epoch that is not the newest.
    public func guarded<Result>(
        epoch: Epoch,
        _ body: (_ number: Int64) throws -> (keys: [ChangeKey], result: Result)
    ) throws -> (result: Result, revision: Revision) {
        try guardedNoting(epoch: epoch) { number in
            let (keys, result) = try body(number)
            return (keys, nil, result)
        }
    }

    /// As ``guarded(epoch:_:)``, for a write that notes something beside its keys.
    ///
    /// - Parameters:
    ///   - epoch: the writer's epoch.
    ///   - body: returns the keys, the note and the result. A note without keys is not logged: it has no
    ///     revision.
    public func guardedNoting<Result>(
        epoch: Epoch,
        _ body: (_ number: Int64) throws -> (
            keys: [ChangeKey], note: ChangeNote?, result: Result
        )
    ) throws -> (result: Result, revision: Revision) {
        let (keys, result, revision) = try state.withLock { state in
            guard epoch == state.epoch else { throw ClusterRoleError.fenced(current: state.epoch) }
            let number = state.number + 1
            let (keys, note, result) = try body(number)
            if !keys.isEmpty {
                state.number = number
                state.log.append(LedgerEntry(number: number, keys: keys, note: note))
            }
            return (keys, result, Revision(history: state.history, number: state.number))
        }
        if !keys.isEmpty {
            for observer in observers.withLock({ $0 }) { observer(keys) }
        }
        return (result, revision)
    }

    /// Calls `observer` with the keys of every write from now on, once reads show it and outside of the
    /// ledger's lock.
    package func observe(_ observer: @escaping @Sendable ([ChangeKey]) -> Void) {
        observers.withLock { $0.append(observer) }
    }

    /// The keys changed after `number`, oldest first.
    public func changes(after number: Int64) -> [(number: Int64, keys: [ChangeKey])] {
        state.withLock { state in
            let first = state.log.partitioningIndex { $0.number > number }
            return state.log[first...].map { ($0.number, $0.keys) }
        }
    }

    /// The entries after `number`, oldest first, at most `limit`; and the newest revision, as of the same
    /// moment.
    public func entries(
        after number: Int64,
        limit: Int
    ) -> (entries: [LedgerEntry], newest: Revision) {
        state.withLock { state in
            let first = state.log.partitioningIndex { $0.number > number }
            let newest = Revision(history: state.history, number: state.number)
            return (Array(state.log[first...].prefix(max(0, limit))), newest)
        }
    }
}

extension Array {
    /// The first index whose element matches, in an array where all that match come last.
    fileprivate func partitioningIndex(_ matches: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if matches(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
