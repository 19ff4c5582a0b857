#if SQLite
public import ClusterMembership
public import ClusterRole
internal import SQLiteEngine

/// The file belongs to this process, so its node gets every slot and keeps it until it gives it back;
/// anybody else gets none. Epochs grow across restarts.
extension EmbeddedStore: TaskSlotStorage {
    public func slots() async throws -> [TaskSlot] {
        try await file.read { try $0.taskSlots() }
    }

    public func acquire(
        _ slots: [TaskSlotID],
        holder: NodeID,
        duration: Duration
    ) async throws -> [TaskSlot] {
        guard holder == node, !slots.isEmpty else { return [] }
        return try await file.write { connection in
            try slots.map { id in
                var slot =
                    try connection.taskSlot(id)
                    ?? TaskSlot(id: id, holder: nil, epoch: .none, remaining: .zero, progress: nil)
                slot.holder = holder
                slot.epoch = slot.epoch.next
                slot.remaining = EmbeddedLease.remaining
                try connection.store(slot)
                return slot
            }
        }
    }

    public func renew(_ claims: [TaskSlotClaim], duration: Duration) async throws -> [TaskSlot] {
        try await file.read { connection in
            try claims.compactMap { claim in
                try connection.taskSlot(claim.slot).flatMap { $0.isHeld(by: claim) ? $0 : nil }
            }
        }
    }

    public func release(_ claims: [TaskSlotClaim]) async throws {
        if claims.isEmpty { return }
        try await file.write { connection in
            for claim in claims {
                guard var slot = try connection.taskSlot(claim.slot), slot.isHeld(by: claim) else {
                    continue
                }
                slot.holder = nil
                try connection.store(slot)
            }
        }
    }

    public func advance(_ claim: TaskSlotClaim, to progress: TaskProgress) async throws {
        try await file.write { connection in
            let known = try connection.taskSlot(claim.slot)
            guard var slot = known, slot.isHeld(by: claim) else {
                throw ClusterMembershipError.slotLost(claim, current: known?.epoch ?? .none)
            }
            slot.progress = progress
            try connection.store(slot)
        }
    }

    public func remove(_ task: ClusterTaskName) async throws {
        try await file.write { connection in
            try connection.run("DELETE FROM cluster_task_slot WHERE task = ?", task.rawValue)
        }
    }
}

extension TaskSlot {
    fileprivate static let columns =
        "task, number, holder, epoch, next, frequency, run_due, run_attempt, run_skipped, last, sum"

    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("cluster_task_slot", sum: 10)
        let holder = row.optionalText(2).map { NodeID(rawValue: $0) }
        let progress = row.optionalInt64(4).map { next in
            TaskProgress(
                next: Timestamp(rawValue: next),
                frequency: .milliseconds(row.int64(5)),
                running: row.optionalInt64(6).map { due in
                    TaskProgress.Begun(
                        due: Timestamp(rawValue: due),
                        attempt: Int(row.int64(7)),
                        skipped: Int(row.int64(8))
                    )
                },
                last: row.optionalInt64(9).map { Timestamp(rawValue: $0) }
            )
        }
        self.init(
            id: TaskSlotID(
                task: ClusterTaskName(rawValue: row.text(0)),
                number: Int(row.int64(1))
            ),
            holder: holder,
            epoch: Epoch(rawValue: row.int64(3)),
            remaining: holder == nil ? .zero : EmbeddedLease.remaining,
            progress: progress
        )
    }

    fileprivate func isHeld(by claim: TaskSlotClaim) -> Bool {
        holder == claim.holder && epoch == claim.epoch
    }
}

extension SQLConnection {
    fileprivate func taskSlots() throws -> [TaskSlot] {
        try rows(
            "SELECT \(TaskSlot.columns) FROM cluster_task_slot ORDER BY task, number"
        ) { try TaskSlot(stored: $0) }
    }

    fileprivate func taskSlot(_ id: TaskSlotID) throws -> TaskSlot? {
        try row(
            "SELECT \(TaskSlot.columns) FROM cluster_task_slot WHERE task = ? AND number = ?",
            id.task.rawValue,
            id.number
        ) { try TaskSlot(stored: $0) }
    }

    fileprivate func store(_ slot: TaskSlot) throws {
        try run(
            sealedFor: "cluster_task_slot",
            """
            INSERT OR REPLACE INTO cluster_task_slot (\(TaskSlot.columns))
            VALUES (?,?,?,?,?,?,?,?,?,?,?)
            """,
            slot.id.task.rawValue,
            slot.id.number,
            slot.holder?.rawValue,
            slot.epoch.rawValue,
            slot.progress?.next.rawValue,
            slot.progress?.frequency.milliseconds ?? 0,
            slot.progress?.running?.due.rawValue,
            slot.progress?.running?.attempt ?? 0,
            slot.progress?.running?.skipped ?? 0,
            slot.progress?.last?.rawValue
        )
    }
}
#endif
