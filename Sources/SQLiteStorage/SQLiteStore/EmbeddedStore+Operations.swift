#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine
internal import Synchronization

extension EmbeddedStore: OperationStorage {
    public func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        let (outcome, revision) = try await guarded(epoch: epoch, isRepeatable: true) {
            [self]
            connection,
            number,
            draft in
            var enqueue = OperationEnqueue(
                connection,
                tenant: tenant,
                number: number,
                now: plan.operation.createdAt,
                isLimited: hasQuotas.load(ordering: .acquiring)
            )
            let outcome = try enqueue.enqueue(plan)
            draft = enqueue.draft
            return outcome
        }
        return EnqueueReceipt(
            activity: outcome.activity,
            number: outcome.number,
            revision: revision,
            addressed: outcome.addressed,
            unknown: outcome.unknown,
            wasRepeated: outcome.wasRepeated
        )
    }

    public func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        let (result, revision) = try await guarded(epoch: epoch) { connection, number, draft in
            var writer = ExecutionWriter(connection, revision: number, now: now)
            var result = try writer.change(activity, change, tenant: tenant)
            result.operation.payload = try connection.payload(result.operation.number)
            try writer.finish()
            draft = writer.draft
            return result
        }
        return (result, revision)
    }

    public func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> ApplyReceipt {
        let history = history
        let secrets = secrets
        let (outcome, revision) = try await guarded(epoch: epoch, isRepeatable: true) {
            connection,
            number,
            draft in
            var application = EntryApplication(
                connection: connection,
                secrets: secrets,
                history: history,
                spool: spool,
                revision: number,
                now: now
            )
            try application.apply(entries)
            draft = application.draft
            return application.outcome
        }
        return ApplyReceipt(
            revision: revision,
            mark: outcome.mark,
            applied: outcome.applied,
            skipped: outcome.skipped,
            rejected: outcome.rejected
        )
    }

    public func expired(
        at now: Timestamp,
        limit: Int
    ) async throws -> [(tenant: TenantID, id: ActivityID)] {
        try await file.read { connection in
            let numbers = try connection.rows(
                """
                SELECT \(ActivityRecord.columns) FROM activity
                WHERE state = 0 AND expires IS NOT NULL AND expires <= ? ORDER BY number LIMIT ?
                """,
                now.rawValue,
                max(0, limit)
            ) { try ActivityRecord($0).number }
            return try numbers.compactMap { number in
                try connection.operation(number).map { ($0.tenant, $0.operation.activity) }
            }
        }
    }

    public func exchange<Answer: Sendable>(
        with device: DeviceID,
        tenant: TenantID,
        seen: OpenWork?,
        epoch: Epoch,
        at now: Timestamp,
        _ decide: @escaping @Sendable (OpenWork?) throws -> ExchangeDecision<Answer>
    ) async throws -> Answer {
        let history = history
        let secrets = secrets
        return try await guarded(epoch: epoch, isRepeatable: true) {
            [self] connection, number, draft in
            var record: DeviceRecord?
            let work: OpenWork?
            if let seen, isTrue(seen, of: tenant, as: number - 1) {
                work = seen
            } else {
                record = try connection.knownDevice(device, tenant: tenant)
                work = try connection.openWork(of: record, in: history)
            }
            let decision = try decide(work)
            guard !decision.entries.isEmpty else { return decision.answer }
            var application = EntryApplication(
                connection: connection,
                secrets: secrets,
                history: history,
                spool: nil,
                revision: number,
                now: now
            )
            if let work { application.take(work, of: record) }
            try application.apply(decision.entries)
            draft = application.draft
            return decision.answer
        }.result
    }

    /// Whether what was read of a device is still so at revision `present`.
    private func isTrue(_ seen: OpenWork, of tenant: TenantID, as present: Int64) -> Bool {
        guard seen.revision.history == history else { return false }
        return recent.withLock {
            $0.leaveAlone(
                seen.device.id,
                of: tenant,
                from: seen.revision.number,
                to: present
            )
        }
    }

    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        let history = history
        return try await file.readBriefly { connection in
            let record = try connection.knownDevice(device, tenant: tenant)
            return try connection.openWork(of: record, in: history)
        }
    }
}

extension SQLConnection {
    /// What is open for a device, as this connection sees it; `nil` if it is not enrolled.
    fileprivate func openWork(of record: DeviceRecord?, in history: HistoryID) throws -> OpenWork? {
        guard let record, record.isEnrolled else { return nil }
        var work = OpenWork(
            revision: Revision(history: history, number: try revisionNumber()),
            device: record.row,
            items: try openItems(of: record)
        )
        work.groupPollingFrequency = try groupPollingFrequency(ofDeviceAt: record.idx)
        return work
    }
}
#endif
