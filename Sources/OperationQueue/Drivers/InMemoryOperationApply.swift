internal import ClusterRole
internal import DeviceRegistry

extension InMemoryOperationState {
    struct ApplyOutcome {
        var write: InMemoryWrite
        var contacts: [(InMemoryWakeTable.Key, Int64)] = []
        var mark: SpoolMark?
        var applied = 0
        var skipped = 0
        var rejected = 0
    }

    /// Applies entries in order. It throws nothing: what cannot be applied is kept as rejected.
    mutating func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        history: HistoryID,
        devices: InMemoryDeviceStorage,
        number: Int64,
        at now: Timestamp
    ) -> ApplyOutcome {
        var outcome = ApplyOutcome(write: InMemoryWrite(number: number, at: now))
        var reached: Int64 = 0
        if let spool, let known = marks[spool.node], known.incarnation == spool.incarnation {
            reached = known.number
        }
        for numbered in entries {
            if spool != nil && numbered.number <= reached {
                outcome.skipped += 1
                continue
            }
            let entry = numbered.entry
            let reason =
                rejection(of: entry, devices: devices)
                ?? apply(entry, history: history, devices: devices, to: &outcome)
            if let reason {
                outcome.rejected += 1
                reject(entry, of: spool, number: numbered.number, reason: reason)
            } else {
                outcome.applied += 1
            }
        }
        guard let spool else { return outcome }
        if spool.number > reached || marks[spool.node]?.incarnation != spool.incarnation {
            marks[spool.node] = spool
            outcome.write.log(.spoolMark(node: spool.node))
        }
        outcome.mark = marks[spool.node]
        return outcome
    }

    private mutating func reject(
        _ entry: InboxEntry,
        of spool: SpoolMark?,
        number: Int64,
        reason: String
    ) {
        var entry = entry
        // What a device told may have been erased.
        if case .information(let kind, _) = entry.body { entry.body = .information(kind, body: []) }
        let limit = InMemoryOperationStorage.keptRejections
        if rejections.count >= limit { rejections.removeFirst(limit / 10) }
        rejections.append(
            RejectedEntry(node: spool?.node, number: number, entry: entry, reason: reason)
        )
    }

    /// Why an entry is not this store's to apply, whatever it says.
    private func rejection(of entry: InboxEntry, devices: InMemoryDeviceStorage) -> String? {
        let identity = entry.identity
        guard let row = devices.row(of: identity.device, tenant: identity.tenant) else {
            return "unknown device"
        }
        if row.incarnation != identity.incarnation { return "of another enrolment" }
        if row.state != .enrolled && entry.operation == nil { return "no longer enrolled" }
        return nil
    }

    /// Applies one entry of a known device; returns the reason if it is refused.
    private mutating func apply(
        _ entry: InboxEntry,
        history: HistoryID,
        devices: InMemoryDeviceStorage,
        to outcome: inout ApplyOutcome
    ) -> String? {
        let device = entry.identity.device
        let tenant = entry.identity.tenant
        switch entry.body {
        case .contact(let answeredAt):
            devices.note(contact: entry.receivedAt, of: device, tenant: tenant)
            if let answeredAt, answeredAt.history == history {
                let key = InMemoryWakeTable.Key(tenant: tenant, device: device)
                outcome.contacts.append((key, answeredAt.number))
            }
            return nil
        case .registration(let registration):
            devices.note(
                registration: registration,
                of: device,
                tenant: tenant,
                receivedAt: entry.receivedAt
            )
            return nil
        case .information(let kind, let body):
            let information = DeviceInformation(
                kind: kind,
                body: body,
                receivedAt: entry.receivedAt
            )
            let keys = devices.note(
                information: information,
                of: device,
                tenant: tenant,
                number: outcome.write.number
            )
            for key in keys { outcome.write.log(key) }
            membershipsChanged(
                devices.drainMembershipChanges(at: outcome.write.now),
                devices: devices,
                in: &outcome.write
            )
            return nil
        case .claim(let operation, _, _), .progress(let operation, _, _, _),
            .result(let operation, _, _, _), .superseded(let operation):
            return change(operation, by: entry, devices: devices, to: &outcome)
        case .resultChunk(let operation, let chunk):
            return take(chunk, of: operation, by: entry, devices: devices)
        }
    }

    private mutating func change(
        _ operation: OperationID,
        by entry: InboxEntry,
        devices: InMemoryDeviceStorage,
        to outcome: inout ApplyOutcome
    ) -> String? {
        let identity = entry.identity
        // Of the entry only its parts are taken: while a copy of it lives, storing copies all its rows.
        guard let number = number(of: operation), let activity = activities[number]?.activity,
            activity.tenant == identity.tenant
        else { return "unknown operation" }
        let row = activities[number]?.row(identity.device, identity.incarnation)
        guard
            row != nil
                || activities[number].map({
                    addresses($0, identity.device, identity.incarnation, devices: devices)
                }) ?? false
        else { return "not addressed" }
        let change = ExecutionRules.apply(
            entry,
            to: row,
            of: activity.operation,
            in: activity.state
        )
        if let reason = change.rejection { return reason }
        store(change, of: number, devices: devices, in: &outcome.write)
        return nil
    }
}
