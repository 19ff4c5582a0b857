public import ClusterRole

/// Keeps a worker's replica and spool: what the link fills from one end and drains at the other.
///
/// The same object answers devices as a ``PendingWorkReader`` and takes their reports as a
/// ``DeviceInbox``; this protocol is the side that faces the manager. One task follows, another
/// drains; both may run while devices are served.
public protocol ReplicaStorage: Sendable {
    /// Where it stands now.
    var position: ReplicaPosition { get }

    /// Takes a page, durably, in order. Pages of a snapshot are put aside until its last one, and the
    /// old state is served until then.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)` for a page of a lower epoch than one seen
    ///   before; nothing of it is taken.
    func apply(_ page: ReplicaPage) async throws

    /// Notes that a manager of this epoch answered, which is what the replica's age counts from.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)` for a lower epoch than one seen before.
    func heard(from epoch: Epoch) async throws

    /// The oldest entries that are still to be handed on, at most `limit`.
    func pendingEntries(limit: Int) async throws -> [SpooledEntry]

    /// Notes that the manager has entries up to `mark`, so that ``pendingEntries(limit:)`` goes on
    /// behind it. They go on being overlaid until a page carries the mark.
    ///
    /// - Parameters:
    ///   - mark: the number of the last entry the manager has.
    ///   - revision: of the transaction that stored the mark. One of another history than the
    ///     replica's says nothing and is ignored.
    func handedOn(upTo mark: Int64, at revision: Revision)

    /// Says when there may be something to hand on: an entry was accepted, or a snapshot has moved the
    /// mark. A slow reader gets one signal for many.
    func spoolSignals() -> AsyncStream<Void>
}

/// How far a worker's replica and spool have come.
public struct ReplicaPosition: Hashable, Sendable {
    /// The life of the file.
    public var incarnation: IncarnationID
    /// The revision the replica answers at; `nil` before the first snapshot, and when the next page
    /// must be one.
    public var revision: Revision?
    /// The highest epoch seen.
    public var epoch: Epoch

    public init(incarnation: IncarnationID, revision: Revision?, epoch: Epoch) {
        self.incarnation = incarnation
        self.revision = revision
        self.epoch = epoch
    }
}
