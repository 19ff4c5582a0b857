#if SQLite
public import ClusterRole
internal import DeviceRegistry
internal import Logging
internal import Metrics
public import OperationQueue
internal import SQLiteEngine
internal import Synchronization

/// The manager's side: pages downwards, entries upwards. One task calls each.
extension WorkerReplica: ReplicaStorage {
    public var position: ReplicaPosition {
        state.withLock { state in
            ReplicaPosition(
                incarnation: incarnation,
                revision: state.needsSnapshot ? nil : state.image.revision,
                epoch: state.epoch
            )
        }
    }

    /// Takes a page: into the file first, then, in one step, into what is served.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)`; `ClusterRoleError` with code `malformed` for
    ///   a page that does not follow on what the replica has: ask again without a cursor, or for a
    ///   snapshot.
    public func apply(_ page: ReplicaPage) async throws {
        try await heard(from: page.epoch)
        let isNothing = state.withLock {
            page.content == .delta && page.rows.isEmpty && page.revision == $0.image.revision
                && $0.image.isSettled
        }
        if isNothing { return }
        let plan = try plan(page)
        let receipt = try await file.write(plan.write) { [self] last in
            state.withLock { $0.onReplacing(last: last) }
        }
        let devices = page.rows.compactMap { row in
            if case .device(let device) = row { device } else { nil }
        }
        let concern = state.withLock { state in
            let concern = state.image.concern(of: page)
            state.image.apply(page)
            state.credentials.onReplicated(devices)
            state.retainedBytes = receipt.retainedBytes
            guard let position = plan.write.position else {
                state.staging = plan.write.generation
                state.stagedMark = plan.mark
                return concern
            }
            state.generation = position.generation
            if page.content != .delta {
                state.staging = nil
                state.needsSnapshot = false
                state.damage.rows = 0
            }
            if let pending = receipt.pending {
                state.onReplacedMark(plan.mark, pending)
            } else if case .advances = plan.write.mark {
                state.onMark(plan.mark, applied: receipt.applied)
            }
            // Another history has not seen what the one before had been handed.
            if page.content != .delta { state.handedOn = state.mark }
            return concern
        }
        work.send(concern)
        if page.content != .delta, page.next == nil {
            logger.info("A snapshot is complete", metadata: ["revision": "\(page.revision)"])
            signals.raise()
        }
    }

    /// What a page means for the file, and the mark once it is taken.
    private func plan(
        _ page: ReplicaPage
    ) throws -> (write: ReplicaFile.PageWrite, mark: Int64) {
        let now = time.now()
        var mark: Int64?
        for case .mark(let found) in page.rows
        where found.node == node && found.incarnation == incarnation {
            mark = found.number
        }
        return try state.withLock { state in
            var write = ReplicaFile.PageWrite(rows: page.rows, generation: state.generation)
            var newMark = state.mark
            switch page.content {
            case .delta:
                guard let revision = state.image.revision, page.revision.covers(revision) else {
                    throw Self.doesNotFollow(page)
                }
                newMark = max(newMark, mark ?? newMark)
            case .snapshotBegins:
                write.generation = state.generation + 1
                write.clearsGeneration = true
                newMark = mark ?? 0
            case .snapshotContinues:
                guard let staging = state.staging else { throw Self.doesNotFollow(page) }
                write.generation = staging
                newMark = mark ?? state.stagedMark
            }
            if page.next == nil || page.content == .delta {
                var position = ReplicaFile.Position()
                position.generation = write.generation
                position.revision = page.revision
                position.contactedAt = now
                write.position = position
                write.finishesSnapshot = page.content != .delta
                if newMark > state.mark {
                    write.mark = .advances(from: state.mark, to: newMark)
                } else if newMark < state.mark {
                    write.mark = .isReplaced(by: newMark)
                }
                write.retention = ReplicaFile.Retention(
                    cutoff: now - configuration.spoolRetention,
                    retainedBytes: state.retainedBytes,
                    maximumBytes: configuration.maximumRetainedBytes
                )
            }
            return (write, newMark)
        }
    }

    private static func doesNotFollow(_ page: ReplicaPage) -> ClusterRoleError {
        ClusterRoleError(
            .malformed,
            "The page at \(page.revision) does not follow on what this replica has. Ask for a snapshot."
        )
    }

    public func heard(from epoch: Epoch) async throws {
        let now = time.monotonic()
        let isHigher = try state.withLock { state in
            guard epoch >= state.epoch else { throw ClusterRoleError.fenced(current: state.epoch) }
            state.heardAt = now
            return epoch > state.epoch
        }
        guard isHigher else { return }
        try await file.write(epoch)
        state.withLock { $0.epoch = max($0.epoch, epoch) }
    }

    public func pendingEntries(limit: Int) async throws -> [SpooledEntry] {
        let after = state.withLock { max($0.mark, $0.handedOn) }
        let (entries, damaged) = try await file.entries(
            after: after,
            limit: max(1, limit),
            maximumBytes: Self.maximumBatchBytes
        )
        if !damaged.isEmpty {
            state.withLock { $0.damage.entries = max($0.damage.entries, damaged.count) }
            logger.error(
                "Spool entries are damaged and are passed over; they stay in the file",
                metadata: ["numbers": "\(damaged.prefix(20))"]
            )
        }
        return entries
    }

    /// What one batch of entries holds at most, unless a single one is larger. 1 MiB: a batch is one
    /// transaction of the manager.
    static let maximumBatchBytes = 1 << 20

    public func handedOn(upTo mark: Int64, at revision: Revision) {
        state.withLock { state in
            guard state.image.revision?.history == revision.history else { return }
            state.handedOn = max(state.handedOn, mark)
        }
    }

    public func spoolSignals() -> AsyncStream<Void> { signals.stream() }
}
#endif
