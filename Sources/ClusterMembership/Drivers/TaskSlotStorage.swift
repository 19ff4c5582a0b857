public import ClusterRole
internal import Synchronization

/// Keeps the slots of cluster tasks: who holds each, and how far it is.
///
/// A slot's lease is a row with an epoch of its own, which grows with each holder; it is not the
/// coordinator's, because nodes that are not the coordinator hold slots. Every write of a holder names
/// its epoch and is compared with the row's inside the same transaction.
///
/// Leases are counted by the store's own clock (a database's), never by a caller's. A store that belongs
/// to one process answers with ``Lease/unlimited``.
public protocol TaskSlotStorage: Sendable {
    /// Every slot that was ever taken, by task and number.
    func slots() async throws -> [TaskSlot]

    /// Takes those of the slots that are free, have run out, or are `holder`'s own from an earlier life;
    /// each with a higher epoch than it ever had. What the slots' progress was is kept.
    ///
    /// - Returns: the slots it took, in no particular order; the others are somebody else's.
    func acquire(
        _ slots: [TaskSlotID],
        holder: NodeID,
        duration: Duration
    ) async throws -> [TaskSlot]

    /// Renews leases, also those that have run out but were taken by nobody.
    ///
    /// - Returns: the slots that are still held; a claim that is missing is lost.
    func renew(_ claims: [TaskSlotClaim], duration: Duration) async throws -> [TaskSlot]

    /// Gives leases back, so that others may take them at once. Harmless for those no longer held.
    func release(_ claims: [TaskSlotClaim]) async throws

    /// Stores how far a slot is. Writing the same again is harmless.
    ///
    /// - Throws: ``ClusterMembershipError`` with `slotLost` if the claim's epoch is not the slot's, or
    ///   the slot was given back.
    func advance(_ claim: TaskSlotClaim, to progress: TaskProgress) async throws

    /// Forgets a task that is no more, with all its slots. Harmless if there is none.
    func remove(_ task: ClusterTaskName) async throws
}

/// A ``TaskSlotStorage`` in memory.
public final class InMemoryTaskSlotStorage: TaskSlotStorage {
    private let clock: any TimeSource
    private let table = Mutex(TaskSlotTable())

    /// - Parameter clock: the store's own; leases are counted on its monotonic time.
    public init(clock: any TimeSource) { self.clock = clock }

    public func slots() async throws -> [TaskSlot] {
        let now = clock.monotonic()
        return table.withLock { $0.slots(at: now) }
    }

    public func acquire(
        _ slots: [TaskSlotID],
        holder: NodeID,
        duration: Duration
    ) async throws -> [TaskSlot] {
        let now = clock.monotonic()
        return table.withLock { table in
            slots.compactMap { table.acquire($0, holder: holder, duration: duration, at: now) }
        }
    }

    public func renew(_ claims: [TaskSlotClaim], duration: Duration) async throws -> [TaskSlot] {
        let now = clock.monotonic()
        return table.withLock { table in
            claims.compactMap { table.renew($0, duration: duration, at: now) }
        }
    }

    public func release(_ claims: [TaskSlotClaim]) async throws {
        table.withLock { table in claims.forEach { table.release($0) } }
    }

    public func advance(_ claim: TaskSlotClaim, to progress: TaskProgress) async throws {
        try table.withLock { table throws(ClusterMembershipError) in
            try table.advance(claim, to: progress)
        }
    }

    public func remove(_ task: ClusterTaskName) async throws {
        table.withLock { $0.remove(task) }
    }
}

/// The rules of ``TaskSlotStorage`` over rows in memory.
package struct TaskSlotTable: Sendable {
    private struct Row: Sendable {
        var holder: NodeID?
        var epoch = Epoch.none
        var end = Duration.zero
        var progress: TaskProgress?

        func isHeld(by claim: TaskSlotClaim) -> Bool {
            holder == claim.holder && epoch == claim.epoch
        }
    }

    private var rows: [TaskSlotID: Row] = [:]

    package init() {}

    package func slots(at now: Duration) -> [TaskSlot] {
        rows.map { Self.slot($0.key, $0.value, at: now) }.sorted { $0.id < $1.id }
    }

    package mutating func acquire(
        _ slot: TaskSlotID,
        holder: NodeID,
        duration: Duration,
        at now: Duration
    ) -> TaskSlot? {
        var row = rows[slot] ?? Row()
        if let other = row.holder, other != holder, now < row.end { return nil }
        row.holder = holder
        row.epoch = row.epoch.next
        row.end = now + duration
        rows[slot] = row
        return Self.slot(slot, row, at: now)
    }

    package mutating func renew(
        _ claim: TaskSlotClaim,
        duration: Duration,
        at now: Duration
    ) -> TaskSlot? {
        guard var row = rows[claim.slot], row.isHeld(by: claim) else { return nil }
        row.end = now + duration
        rows[claim.slot] = row
        return Self.slot(claim.slot, row, at: now)
    }

    package mutating func release(_ claim: TaskSlotClaim) {
        guard let row = rows[claim.slot], row.isHeld(by: claim) else { return }
        rows[claim.slot]?.holder = nil
    }

    package mutating func advance(
        _ claim: TaskSlotClaim,
        to progress: TaskProgress
    ) throws(ClusterMembershipError) {
        guard let row = rows[claim.slot], row.isHeld(by: claim) else {
            throw .slotLost(claim, current: rows[claim.slot]?.epoch ?? .none)
        }
        rows[claim.slot]?.progress = progress
    }

    package mutating func remove(_ task: ClusterTaskName) {
        rows = rows.filter { $0.key.task != task }
    }

    private static func slot(_ id: TaskSlotID, _ row: Row, at now: Duration) -> TaskSlot {
        let isHeld = row.holder != nil && now < row.end
        return TaskSlot(
            id: id,
            holder: isHeld ? row.holder : nil,
            epoch: row.epoch,
            remaining: isHeld ? row.end - now : .zero,
            progress: row.progress
        )
    }
}

extension ClusterMembershipError {
    /// A write of a claim that is no longer the slot's.
    package static func slotLost(
        _ claim: TaskSlotClaim,
        current: Epoch
    ) -> ClusterMembershipError {
        ClusterMembershipError(
            .slotLost,
            "\(claim.holder) held \(claim.slot) with \(claim.epoch); it is at \(current) now. Stop the run: "
                + "another node has the slot, or may take it."
        )
    }
}
