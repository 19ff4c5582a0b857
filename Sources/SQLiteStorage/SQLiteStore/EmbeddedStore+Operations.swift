#if SQLite
public import ClusterRole
public import DeviceRegistry
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: OperationStorage {
    public func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> EnqueueReceipt {
        let concern = plan.concern(of: tenant)
        let (outcome, revision) = try await guarded(
            epoch: epoch,
            concern: { _ in concern }
        ) { connection, number in
            let outcome = try connection.enqueue(plan, tenant: tenant, number: number)
            let key = ChangeKey.activity(tenant: tenant, number: outcome.number)
            return (outcome.wasRepeated ? [] : [key], outcome)
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

    public func close(
        _ activity: ActivityID,
        as closed: ActivityState,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        guard closed != .open, closed != .finished else {
            throw OperationQueueError(
                .invalidRequest,
                "An activity is closed as cancelled, expired or superseded."
            )
        }
        let (result, revision) = try await guarded(epoch: epoch) { connection, _ in
            guard var operation = try connection.operation(of: activity, tenant: tenant),
                var record = try connection.activity(operation.operation.number)
            else {
                throw OperationQueueError(
                    .unknownActivity,
                    "There is no activity \(activity) in this tenant. Use an id that enqueue returned."
                )
            }
            operation.operation.payload = try connection.payload(record.number)
            var result = record.activity(of: operation)
            guard result.state == .open else { return ([], result) }
            result.state = closed
            result.closedAt = now
            record.take(result)
            try record.store(connection)
            if !record.isLive && record.groupIdx == nil {
                try connection.forgetTargets(record.number)
            }
            return ([.activity(tenant: tenant, number: record.number)], result)
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
        // An activity that finishes by an answer concerns only who answered.
        let (outcome, revision) = try await guarded(
            epoch: epoch,
            concern: { WorkConcern($0) { _, _ in [] } }
        ) { connection, number in
            var application = EntryApplication(
                connection: connection,
                secrets: secrets,
                history: history,
                spool: spool,
                revision: number,
                now: now
            )
            try application.apply(entries)
            return (application.keys, application.outcome)
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

    public func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        let history = history
        return try await file.read { connection in
            guard let record = try connection.device(device, tenant: tenant), record.isEnrolled
            else { return nil }
            let number = try connection.revisionNumber()
            var work = OpenWork(
                revision: Revision(history: history, number: number),
                device: record.row,
                items: try connection.openItems(of: record)
            )
            work.groupPollingFrequency = try connection.groupPollingFrequency(
                ofDeviceAt: record.idx
            )
            return work
        }
    }
}

extension EnqueuePlan {
    /// Whom it addresses: the named devices, or whoever is in the group.
    fileprivate func concern(of tenant: TenantID) -> WorkConcern {
        guard case .devices(let named) = target else { return .everybody }
        return .devices(named.map { ConcernedDevice(tenant: tenant, device: $0) })
    }
}

/// What an enqueue did, without its revision.
struct EnqueueOutcome: Sendable {
    var activity: ActivityID
    var number: Int64
    var addressed: Int
    var unknown: Int
    var wasRepeated: Bool
}

extension SQLConnection {
    fileprivate func enqueue(
        _ plan: EnqueuePlan,
        tenant: TenantID,
        number: Int64
    ) throws -> EnqueueOutcome {
        if let repeated = try repeated(plan, tenant: tenant) { return repeated }
        var operation = OperationRecord(plan, tenant: tenant, number: number)
        var targets: [NamedTarget] = []
        let addressed: Int
        switch plan.target {
        case .group(let group):
            let known = try self.group(group, tenant: tenant)
            guard known != nil || group == .everyone else {
                throw OperationQueueError(
                    .unknownGroup,
                    "There is no group \(group). Add a device to it first."
                )
            }
            operation.groupIdx = known?.idx
            addressed = known?.members ?? 0
        case .devices(let named):
            (targets, operation.unknown) = try resolve(named, tenant: tenant)
            addressed = targets.count
            guard addressed > 0 else {
                throw OperationQueueError(
                    .noTarget,
                    "None of the \(named.count) devices named is enrolled. Enrol them first."
                )
            }
        }
        try operation.store(self)
        try ActivityRecord(operation, addressed: addressed).store(self)
        try store(targets, number: number)
        if let due = plan.wakeAt, addressed > 0 {
            try requestWakes(for: operation, targets: targets, due: due)
        }
        return EnqueueOutcome(
            activity: operation.operation.activity,
            number: number,
            addressed: addressed,
            unknown: operation.unknown,
            wasRepeated: false
        )
    }

    private func repeated(_ plan: EnqueuePlan, tenant: TenantID) throws -> EnqueueOutcome? {
        guard let key = plan.idempotencyKey else { return nil }
        let found = try row(
            """
            SELECT \(OperationRecord.columns) FROM operation WHERE tenant = ? AND request_key = ?
            """,
            tenant.rawValue,
            key
        ) { try OperationRecord($0) }
        guard let found else { return nil }
        guard found.requestDigest == plan.requestDigest else {
            throw OperationQueueError(
                .keyConflict,
                "The idempotency key was used for another request (activity "
                    + "\(found.operation.activity)). Use a new key for a new request."
            )
        }
        guard let activity = try activity(found.operation.number) else {
            throw SQLiteStorageError.corruptRow(in: "activity")
        }
        return EnqueueOutcome(
            activity: found.operation.activity,
            number: found.operation.number,
            addressed: activity.addressed,
            unknown: found.unknown,
            wasRepeated: true
        )
    }

    /// The enrolled ones among the named devices, each once, in order; and how many are not enrolled.
    private func resolve(
        _ named: [DeviceID],
        tenant: TenantID
    ) throws -> (found: [NamedTarget], unknown: Int) {
        var found: [NamedTarget] = []
        found.reserveCapacity(named.count)
        var seen: Set<DeviceID> = []
        seen.reserveCapacity(named.count)
        var unknown = 0
        for device in named where seen.insert(device).inserted {
            if let record = try self.device(device, tenant: tenant), record.isEnrolled {
                found.append(NamedTarget(device: record.row.id, idx: record.idx))
            } else {
                unknown += 1
            }
        }
        found.sort(by: NamedTarget.precedes)
        return (found, unknown)
    }

    private func requestWakes(
        for operation: OperationRecord,
        targets: [NamedTarget],
        due: Timestamp
    ) throws {
        let number = operation.operation.number
        if let group = operation.groupIdx {
            try ExpansionRecord(number: number, groupIdx: group, due: due).store(self)
            return
        }
        var requests = try WakeRequests(self)
        for target in targets {
            try requests.request(deviceIdx: target.idx, number: number, due: due)
        }
        try requests.finish()
    }

    // MARK: Open work

    fileprivate func openItems(of device: DeviceRecord) throws -> [OpenItem] {
        var items: [OpenItem] = []
        let named = try rows(
            "SELECT device_idx, number, sum FROM target WHERE device_idx = ? ORDER BY number",
            device.idx
        ) {
            try $0.verify("target", sum: 2)
            return $0.int64(1)
        }
        for number in named {
            if let item = try openItem(number, on: device) { items.append(item) }
        }
        for membership in try memberships(ofDeviceAt: device.idx) {
            let numbers = try rows(
                """
                SELECT number FROM activity
                WHERE live = 1 AND group_idx = ? AND number >= ? AND number < ?
                """,
                membership.groupIdx,
                membership.joined,
                membership.ended ?? .max
            ) { $0.int64(0) }
            for number in numbers {
                if let item = try openItem(number, on: device) { items.append(item) }
            }
        }
        return items
    }

    /// `nil` when nothing is left to do.
    private func openItem(_ number: Int64, on device: DeviceRecord) throws -> OpenItem? {
        let row = try execution(number, deviceIdx: device.idx)
        if let row, row.state.isFinal { return nil }
        guard let activity = try activity(number), activity.isLive,
            !activity.state.effective(row?.state).isFinal,
            var operation = try operation(number)?.operation
        else { return nil }
        operation.payload = try payload(number)
        return OpenItem(
            operation: operation,
            activityState: activity.state,
            row: row?.execution(of: operation.id, on: device.row)
        )
    }
}
#endif
