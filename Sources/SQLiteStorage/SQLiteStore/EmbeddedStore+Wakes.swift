#if SQLite
public import ClusterRole
internal import DeviceRegistry
public import NotificationDispatch
internal import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: WakeStorage {
    public func expand(
        limit: Int,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> WakeExpansionReceipt {
        try await guarded(epoch: epoch) { connection, _ in
            var requests = try WakeRequests(connection)
            while requests.added + requests.coalesced < limit,
                let next = try connection.firstExpansion(at: now)
            {
                let room = limit - requests.added - requests.coalesced
                try connection.expand(next, limit: room, into: &requests)
            }
            try requests.finish()
            let isFinished =
                try connection.row("SELECT number FROM expansion LIMIT 1") { $0.int64(0) } == nil
            let receipt = WakeExpansionReceipt(
                added: requests.added,
                coalesced: requests.coalesced,
                isFinished: isFinished
            )
            return ([], receipt)
        }.result
    }

    public func due(at now: Timestamp, limit: Int) async throws -> [DueWakeUp] {
        let secrets = secrets
        return try await file.read { connection in
            let wakes = try connection.rows(
                """
                SELECT \(WakeRecord.columns) FROM wake WHERE due <= ? ORDER BY due, generation LIMIT ?
                """,
                now.rawValue,
                max(0, limit)
            ) { try WakeRecord($0) }
            return try wakes.compactMap { wake in
                guard let device = try connection.device(at: wake.deviceIdx) else { return nil }
                return DueWakeUp(
                    wake: wake.wake(device.row),
                    registration: try connection.push(of: device, secrets: secrets)
                )
            }
        }
    }

    public func settle(
        _ outcomes: [WakeSettlement],
        epoch: Epoch,
        at now: Timestamp
    ) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            for outcome in outcomes { try connection.settle(outcome) }
            return ([], ())
        }
    }

    public func nextDue() async throws -> Timestamp? {
        try await file.read { connection in
            let wake = try connection.row("SELECT due FROM wake ORDER BY due LIMIT 1") {
                $0.int64(0)
            }
            let expansion = try connection.row("SELECT min(due) FROM expansion") {
                $0.optionalInt64(0)
            }
            return [wake, expansion ?? nil].compactMap { $0 }.min().map { Timestamp(rawValue: $0) }
        }
    }

    public func counters() async throws -> WakeCounters {
        try await file.read { connection in
            var counters = WakeCounters()
            counters.sent = try connection.count(.sent)
            counters.coalesced = try connection.count(.coalesced)
            counters.retried = try connection.count(.retried)
            counters.abandoned = try connection.count(.abandoned)
            counters.foundByPolling = try connection.count(.foundByPolling)
            counters.deadTokens = try connection.count(.deadTokens)
            return counters
        }
    }
}

extension SQLConnection {
    fileprivate func firstExpansion(at now: Timestamp) throws -> ExpansionRecord? {
        try row(
            """
            SELECT \(ExpansionRecord.columns) FROM expansion
            WHERE due <= ? ORDER BY number, operation LIMIT 1
            """,
            now.rawValue
        ) { try ExpansionRecord($0) }
    }

    /// Looks at the next `limit` members and asks for the wakes of those that need one.
    fileprivate func expand(
        _ expansion: ExpansionRecord,
        limit: Int,
        into requests: inout WakeRequests
    ) throws {
        let covers = try coverage(of: expansion)
        let intervals = try rows(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id > ? ORDER BY device_id, joined LIMIT ?
            """,
            expansion.groupIdx,
            expansion.after?.rawValue ?? "",
            limit
        ) { try MembershipRecord($0) }
        for interval in intervals where covers(interval) {
            try request(interval, for: expansion, into: &requests)
        }
        guard let last = intervals.last, intervals.count == limit else {
            return try expansion.forget(self)
        }
        try finish(last, of: expansion, covers, into: &requests)
    }

    /// Which stays are to be woken for: of the operation's time, with a rank that was released.
    private func coverage(
        of expansion: ExpansionRecord
    ) throws -> (MembershipRecord) -> Bool {
        let number = expansion.operation
        let ranks = expansion.ranks
        if ranks == 0..<RolloutPlan.everyone { return { $0.contains(number) } }
        guard let activity = try operation(number)?.operation.activity else {
            throw SQLiteStorageError.corruptRow(in: "operation")
        }
        return { $0.contains(number) && ranks.contains(activity.rank(of: $0.device)) }
    }

    /// Asks for a member's wake, unless it has been answered since or is gone.
    private func request(
        _ interval: MembershipRecord,
        for expansion: ExpansionRecord,
        into requests: inout WakeRequests
    ) throws {
        guard let device = try device(at: interval.deviceIdx), device.isEnrolled else { return }
        let contact = try contact(ofDeviceAt: device.idx)
        if let contact, contact.answered >= expansion.number { return }
        try requests.request(
            deviceIdx: device.idx,
            number: expansion.number,
            due: expansion.due
        )
    }

    /// A page ends between devices, not between the intervals of one: looks at what is left of the last
    /// one, and moves the cursor behind it.
    private func finish(
        _ last: MembershipRecord,
        of expansion: ExpansionRecord,
        _ covers: (MembershipRecord) -> Bool,
        into requests: inout WakeRequests
    ) throws {
        let rest = try rows(
            """
            SELECT \(MembershipRecord.columns) FROM membership
            WHERE group_idx = ? AND device_id = ? AND joined > ?
            """,
            expansion.groupIdx,
            last.device.rawValue,
            last.joined
        ) { try MembershipRecord($0) }
        for interval in rest where covers(interval) {
            try request(interval, for: expansion, into: &requests)
        }
        let more = try row(
            "SELECT 1 FROM membership WHERE group_idx = ? AND device_id > ? LIMIT 1",
            expansion.groupIdx,
            last.device.rawValue
        ) { _ in true }
        if more == nil {
            try expansion.forget(self)
        } else {
            var next = expansion
            next.after = last.device
            try next.store(self)
        }
    }

    /// Stores what became of one attempt.
    fileprivate func settle(_ outcome: WakeSettlement) throws {
        let device = try device(outcome.device, tenant: outcome.tenant)
        var isUnregistered = device == nil
        switch outcome.verdict {
        case .sent: try count(.sent, 1)
        case .retry: try count(.retried, 1)
        case .abandon: try count(.abandoned, 1)
        case .deadToken(let since):
            if let device { isUnregistered = try dropRegistration(of: device, since: since) }
            try count(.deadTokens, isUnregistered ? 1 : 0)
        }
        // A newer wish than the one that was attempted stays due.
        guard let device, var wake = try wake(ofDeviceAt: device.idx),
            wake.generation == outcome.generation
        else { return }
        switch outcome.verdict {
        case .sent, .abandon: try forgetWake(ofDeviceAt: device.idx)
        case .deadToken:
            if isUnregistered { try forgetWake(ofDeviceAt: device.idx) }
        case .retry(let time, let failure):
            wake.due = time
            wake.attempts += 1
            wake.failure = failure
            try wake.store(self)
        }
    }

    /// Drops a dead registration if it is no newer than `since`.
    ///
    /// - Returns: whether the device has no registration afterwards.
    private func dropRegistration(of device: DeviceRecord, since: Timestamp) throws -> Bool {
        guard var known = try registration(ofDeviceAt: device.idx), known.sealed != nil else {
            return true
        }
        if known.registeredAt > since { return false }
        known.sealed = nil
        try store(known, ofDeviceAt: device.idx)
        return true
    }
}
#endif
