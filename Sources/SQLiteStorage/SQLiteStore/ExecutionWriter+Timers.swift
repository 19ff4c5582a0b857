#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import SQLiteEngine

extension ExecutionWriter {
    /// How many executions one firing of a cancelled activity's timer ends at most.
    static let maximumSweep = 500

    /// Does what is due, oldest first.
    ///
    /// - Returns: how many timers were due; `limit` if there may be more.
    mutating func fireTimers(limit: Int) throws -> Int {
        let due = try connection.dueTimers(at: now, limit: limit)
        var count = due.count
        for timer in due {
            try connection.forgetTimer(timer.number, deviceIdx: timer.deviceIdx)
            guard let known = try touch(timer.number) else { continue }
            if timer.deviceIdx != TimerRecord.ofActivity {
                try fire(known, deviceIdx: timer.deviceIdx)
            } else if known.activity.state == .open {
                try wake(known, 0..<known.activity.gate.ceiling, due: now)
            } else if try !endCancelled(known) {
                count = limit
            }
        }
        return count
    }

    private mutating func fire(_ known: Touched, deviceIdx: Int64) throws {
        guard let device = try connection.device(at: deviceIdx),
            let row = try row(of: known, on: device)
        else { return }
        let terms = known.operation.operation.terms
        switch row.dueAttention(under: terms, at: now) {
        case nil:
            // It has changed since: another time, or none.
            if let due = row.attention(under: terms) {
                try setTimer(known.number, deviceIdx, due)
            }
        case .wake?:
            guard known.activity.state == .open, terms.wake == .push, device.isEnrolled else {
                return
            }
            // Nothing replicas hold was changed: a device answered at the newest revision has it.
            try wake(deviceIdx: deviceIdx, number: revision - 1, due: now)
        case .apply(let event)?:
            try store(change(known, on: device, by: event), of: known.number, on: device)
        }
    }

    /// Ends what devices still have in hand of a cancelled activity.
    ///
    /// - Returns: whether nothing is left; else the timer is set again.
    private mutating func endCancelled(_ known: Touched) throws -> Bool {
        let held = try connection.rows(
            """
            SELECT \(ExecutionRecord.columns) FROM execution
            WHERE number = ? AND state IN (?, ?, ?) ORDER BY device_idx LIMIT ?
            """,
            known.number,
            ExecutionState.delivered.rawValue,
            ExecutionState.inProgress.rawValue,
            ExecutionState.cancelRequested.rawValue,
            Self.maximumSweep
        ) { try ExecutionRecord($0).deviceIdx }
        for idx in held {
            guard let device = try connection.device(at: idx) else {
                throw SQLiteStorageError.corruptRow(in: "execution")
            }
            try store(change(known, on: device, by: .timeOut), of: known.number, on: device)
        }
        guard held.count == Self.maximumSweep, let left = try touch(known.number)?.activity,
            let deadline = left.cancellationDeadline
        else { return true }
        try setTimer(known.number, TimerRecord.ofActivity, deadline)
        return false
    }
}
#endif
