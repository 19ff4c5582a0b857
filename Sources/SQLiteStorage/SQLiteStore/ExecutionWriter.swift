#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

/// What happens to executions and activities in one transaction, and all that follows from it: counts,
/// an activity's end, timers, wakes, and what becomes of the work that waits for it.
///
/// What becomes of an execution is decided by ``ExecutionRules``, of an activity by
/// ``Activity/on(_:at:)`` and ``Activity/recount(from:to:at:)``; this only fetches and stores rows.
/// Each activity is fetched once and stored once, by ``finish()``, however much happens to it.
struct ExecutionWriter {
    /// An activity something happened to. A reference: it is large, and asked for at every step.
    final class Touched {
        let operation: OperationRecord
        /// As it was.
        let record: ActivityRecord
        /// Without the operation's payload.
        fileprivate(set) var activity: Activity
        fileprivate(set) var isChanged: Bool
        /// Made in this transaction.
        let isNew: Bool

        var number: Int64 { record.number }

        init(_ operation: OperationRecord, _ record: ActivityRecord, new activity: Activity? = nil)
        {
            self.operation = operation
            self.record = record
            self.activity = activity ?? record.activity(of: operation)
            isChanged = activity != nil
            isNew = activity != nil
        }
    }

    let connection: SQLConnection
    /// The number this write has if it logs keys.
    let revision: Int64
    let now: Timestamp
    /// Whether quotas are set, so that open activities are counted.
    var isLimited = false
    /// The entry of the log: keys, and each transition as it is made.
    private(set) var draft: ChangeDraft
    private var touched = TouchedActivities()
    private var wakes: WakeRequests?

    init(_ connection: SQLConnection, revision: Int64, now: Timestamp) {
        self.connection = connection
        self.revision = revision
        self.now = now
        draft = ChangeDraft(at: now)
    }

    mutating func log(_ key: ChangeKey) { draft.log(key) }

    /// Stores the activities that changed. Nothing may be done afterwards.
    mutating func finish() throws {
        for change in touched.inOrder where change.isChanged {
            var record = change.record
            record.take(change.activity)
            if !change.isNew, record.differsInCountsOnly(from: change.record) {
                try connection.share(SharedActivity(record), as: record.number)
                continue
            }
            connection.unshare(record.number)
            try record.store(connection)
            let tenant = change.operation.tenant
            if !change.isNew {
                try connection.noteChanged(record, from: change.record, of: tenant)
            } else if isLimited || !record.isLive {
                try connection.noteStored(record, of: tenant)
            }
        }
        try wakes?.finish()
    }

    // MARK: Activities

    mutating func touch(_ id: OperationID) throws -> Touched? {
        if let known = touched[id] { return known }
        guard let operation = try connection.knownOperation(id) else { return nil }
        return try touched[operation.operation.number] ?? fetch(operation)
    }

    mutating func touch(_ number: Int64) throws -> Touched? {
        if let known = touched[number] { return known }
        guard let operation = try connection.operation(number) else { return nil }
        return try fetch(operation)
    }

    /// The activity with this id, if it is the tenant's.
    mutating func touch(_ id: ActivityID, tenant: TenantID) throws -> Touched? {
        guard let operation = try connection.operation(of: id, tenant: tenant) else { return nil }
        return try touched[operation.operation.number] ?? fetch(operation)
    }

    private mutating func fetch(_ operation: OperationRecord) throws -> Touched? {
        guard let record = try connection.activity(operation.operation.number) else { return nil }
        let found = Touched(operation, record)
        touched.add(found)
        return found
    }

    /// Takes in an activity that was made in this transaction.
    mutating func add(_ operation: OperationRecord, _ activity: Activity, controlKey: String?) {
        let record = ActivityRecord(
            activity,
            groupIdx: operation.groupIdx,
            controlKey: controlKey
        )
        touched.add(Touched(operation, record, new: activity))
        draft.log(activity, from: nil, at: activity.operation.createdAt)
    }

    /// One more open activity waits for this one.
    mutating func addDependent(_ dependent: Int64, to number: Int64) throws {
        guard let known = try touch(number) else { return }
        try connection.addDependency(on: number, of: dependent)
        known.activity.dependents += 1
        known.isChanged = true
    }

    /// Stores what a rule made of an activity, and lets go of it when it is no longer live.
    mutating func store(_ activity: Activity) throws {
        let number = activity.operation.number
        guard let known = touched[number] else { return }
        let before = known.activity
        known.activity = activity
        known.isChanged = true
        let isLive = activity.isLive
        let wasLive = before.isLive
        if activity.state != before.state {
            draft.log(activity, from: before.state, at: now)
        } else if isLive != wasLive || activity.gate != before.gate {
            log(.activity(tenant: activity.tenant, number: number))
        }
        if activity.state != .open {
            try setTimer(of: activity, before: before)
            if before.state == .open { try releaseDependencies(of: activity) }
        }
        if wasLive, !isLive, activity.group == nil { try connection.forgetTargets(number) }
    }

    /// The timer of a closed activity: until when what is in hand may answer its cancellation. While it
    /// was open it had one only if its terms name a time.
    private func setTimer(of activity: Activity, before: Activity) throws {
        let number = activity.operation.number
        let deadline = activity.cancellationDeadline
        if before.state == .open, let deadline {
            try setTimer(number, TimerRecord.ofActivity, deadline)
            return
        }
        let terms = activity.operation.terms
        let mayHaveOne =
            before.state == .open
            ? terms.notBefore != nil || terms.window != nil : before.cancellationDeadline != nil
        if deadline == nil && mayHaveOne {
            try connection.forgetTimer(number, deviceIdx: TimerRecord.ofActivity)
        }
    }

    func setTimer(_ number: Int64, _ deviceIdx: Int64, _ due: Timestamp) throws {
        try TimerRecord(number: number, deviceIdx: deviceIdx, due: due).store(connection)
    }

    /// What a closed activity waited for need not be kept for its sake.
    private mutating func releaseDependencies(of activity: Activity) throws {
        for dependency in activity.operation.terms.after {
            guard let other = try touch(dependency.activity, tenant: activity.tenant) else {
                continue
            }
            try connection.forgetDependency(on: other.number, of: activity.operation.number)
            var after = other.activity
            after.dependents -= 1
            try store(after)
        }
    }

    // MARK: Executions

    /// Stores what a rule made of an execution, and all that follows from it.
    mutating func store(
        _ change: ExecutionChange,
        of number: Int64,
        on device: DeviceRecord
    ) throws {
        guard change.changedRow else { return }
        var waiting = try take(change, of: number, on: device)
        while let next = waiting.popLast() {
            guard let stopped = try stop(next, on: device) else { continue }
            waiting += try take(stopped, of: next.number, on: device)
        }
    }

    /// Work that may have to be stopped because another, failed one was to be done before it.
    private struct Stop {
        var number: Int64
        var behind: ActivityID
    }

    /// - Returns: what waits for the execution, if it has just ended without success.
    private mutating func take(
        _ change: ExecutionChange,
        of number: Int64,
        on device: DeviceRecord
    ) throws -> [Stop] {
        guard change.changedRow, let after = change.after, let known = try touch(number) else {
            return []
        }
        try ExecutionRecord(after, number: number, deviceIdx: device.idx).store(connection)
        draft.log(after, from: change.before?.state, of: known.activity)
        let terms = known.operation.operation.terms
        if let due = after.attention(under: terms) {
            try setTimer(number, device.idx, due)
        } else if change.before?.attention(under: terms) != nil {
            try connection.forgetTimer(number, deviceIdx: device.idx)
        }
        var activity = known.activity
        activity.recount(from: change.before?.state, to: after.state, at: now)
        if change.wasLate { activity.answeredLate += 1 }
        try store(activity)
        guard activity.dependents > 0, after.state.isFinal, after.state != .completed,
            !(change.before?.state.isFinal ?? false)
        else { return [] }
        return try connection.dependents(on: number).map { Stop(number: $0, behind: activity.id) }
    }

    private mutating func stop(_ next: Stop, on device: DeviceRecord) throws -> ExecutionChange? {
        guard let waiting = try touch(next.number), waiting.activity.state == .open,
            waiting.activity.operation.terms.after.contains(where: {
                $0.activity == next.behind && $0.onFailure == .stop
            }), try addresses(waiting, device)
        else { return nil }
        return try change(waiting, on: device, by: .requestCancel)
    }

    /// What one of the server's events makes of an execution.
    func change(
        _ touched: Touched,
        on device: DeviceRecord,
        by event: ExecutionEvent
    ) throws -> ExecutionChange {
        let operation = touched.operation.operation
        return ExecutionRules.apply(
            event,
            to: try row(of: touched, on: device),
            ExecutionID(
                operation: operation.id,
                incarnation: device.row.incarnation,
                device: device.row.id
            ),
            of: operation,
            in: touched.activity.state,
            at: now
        )
    }

    func row(of touched: Touched, on device: DeviceRecord) throws -> Execution? {
        try connection.execution(touched.number, deviceIdx: device.idx)?
            .execution(of: touched.operation.operation.id, on: device.row)
    }

    /// Whether an activity asks this enrolment of a device.
    func addresses(_ touched: Touched, _ device: DeviceRecord) throws -> Bool {
        try connection.addresses(touched.operation, device)
    }

    // MARK: Wakes

    /// Wakes the addressed devices with these ranks: at `due`, or, if that is later, when the operation's
    /// time has come.
    ///
    /// - Parameters:
    ///   - touched: whose devices.
    ///   - ranks: which of them.
    ///   - due: when, if it may be handed out now.
    ///   - named: the devices, where they are known.
    mutating func wake(
        _ touched: Touched,
        _ ranks: Range<Int32>,
        due: Timestamp,
        named: [NamedTarget]? = nil
    ) throws {
        let activity = touched.activity
        guard activity.operation.terms.wake == .push, activity.addressed > 0, !ranks.isEmpty else {
            return
        }
        let isEverybody = ranks == 0..<RolloutPlan.everyone
        let offered = activity.offerTime(at: now)
        guard offered <= now else {
            return try setTimer(touched.number, TimerRecord.ofActivity, offered)
        }
        // The revision that a wake names exists: it is this one.
        log(.activity(tenant: activity.tenant, number: touched.number))
        if activity.group != nil {
            guard let groupIdx = touched.operation.groupIdx else { return }
            return try ExpansionRecord(
                number: revision,
                operation: touched.number,
                ranks: ranks,
                groupIdx: groupIdx,
                due: due
            ).store(connection)
        }
        if let named {
            for target in named
            where isEverybody || ranks.contains(activity.id.rank(of: target.device)) {
                try wake(deviceIdx: target.idx, number: revision, due: due)
            }
            return
        }
        for page in try connection.targetPages(touched.number, from: 0, limit: .max) {
            for idx in page.devices {
                guard let device = try connection.device(at: idx), device.isEnrolled,
                    isEverybody || ranks.contains(activity.id.rank(of: device.row.id))
                else { continue }
                try wake(deviceIdx: idx, number: revision, due: due)
            }
        }
    }

    /// Wakes a device that must be answered at `number` for it.
    mutating func wake(deviceIdx: Int64, number: Int64, due: Timestamp) throws {
        if wakes == nil { wakes = try WakeRequests(connection) }
        try wakes?.request(deviceIdx: deviceIdx, number: number, due: due)
    }
}

/// The activities of one transaction. Most touch one, which no table is made for.
private struct TouchedActivities {
    private var first: ExecutionWriter.Touched?
    private var others: [Int64: ExecutionWriter.Touched] = [:]
    private var numbers: [OperationID: Int64] = [:]

    subscript(number: Int64) -> ExecutionWriter.Touched? {
        first?.number == number ? first : others[number]
    }

    subscript(id: OperationID) -> ExecutionWriter.Touched? {
        if first?.operation.operation.id == id { return first }
        return numbers[id].flatMap { others[$0] }
    }

    mutating func add(_ activity: ExecutionWriter.Touched) {
        if first == nil {
            first = activity
        } else {
            others[activity.number] = activity
            numbers[activity.operation.operation.id] = activity.number
        }
    }

    /// By their numbers.
    var inOrder: [ExecutionWriter.Touched] {
        guard let first else { return [] }
        if others.isEmpty { return [first] }
        return ([first] + others.values).sorted { $0.number < $1.number }
    }
}

extension SQLConnection {
    /// Whether an operation asks this enrolment of a device.
    func addresses(_ operation: OperationRecord, _ device: DeviceRecord) throws -> Bool {
        let number = operation.operation.number
        if operation.group == nil {
            return try isTarget(device, of: number)
        }
        guard let group = operation.groupIdx else { return false }
        let scope = operation.operation.terms.scope
        return try memberships(ofDeviceAt: device.idx).contains {
            $0.groupIdx == group && scope.addresses(number, joined: $0.joined, left: $0.ended)
        }
    }
}
#endif
