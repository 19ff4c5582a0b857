internal import ClusterRole
internal import DeviceRegistry

/// What applying one entry to one execution did.
public struct ExecutionChange: Hashable, Sendable {
    /// The row before; `nil` if there was none.
    public var before: Execution?
    /// The row after; equal to `before` if nothing changed.
    public var after: Execution?
    /// Whether the answer came after the server had closed the execution.
    public var wasLate: Bool
    /// Whether the entry was refused and must be kept as rejected.
    public var rejection: String?

    public init(
        before: Execution?,
        after: Execution?,
        wasLate: Bool = false,
        rejection: String? = nil
    ) {
        self.before = before
        self.after = after
        self.wasLate = wasLate
        self.rejection = rejection
    }

    public var changedRow: Bool { before != after }
}

/// How an entry about an operation changes the row of its execution: the rule that the manager's
/// drivers and the worker's overlay share.
public enum ExecutionRules: Sendable {
    /// Applies `entry` to the execution row `row` of an activity.
    ///
    /// - Parameters:
    ///   - row: the row as it stands, or `nil`; ``ActivityState/effective(_:)`` says what that means.
    ///   - activity: the state of the activity the operation belongs to.
    ///   - entry: a claim, progress or result; anything else changes nothing.
    public static func apply(
        _ entry: InboxEntry,
        to row: Execution?,
        in activity: ActivityState
    ) -> ExecutionChange {
        guard let operation = entry.operation, let (event, attempt, detail) = event(of: entry)
        else {
            return ExecutionChange(before: row, after: row)
        }
        let id = ExecutionID(
            operation: operation,
            incarnation: entry.identity.incarnation,
            device: entry.identity.device
        )
        let state = activity.effective(row?.state)
        if let row, isStale(entry, attempt: attempt, row: row) {
            return ExecutionChange(before: row, after: row, rejection: "answer of an older attempt")
        }
        var after =
            row ?? Execution(id: id, state: state, version: 0, updatedAt: entry.receivedAt)
        switch state.on(event) {
        case .unchanged:
            return ExecutionChange(before: row, after: row)
        case .refuse:
            return ExecutionChange(
                before: row,
                after: row,
                rejection: "\(event) is not possible in state \(state.name)"
            )
        case .late:
            // A repeated late answer, or a claim of closed work, leaves one trace.
            if case .claim = event, row != nil { return ExecutionChange(before: row, after: row) }
            if row?.lateAnswer == detail { return ExecutionChange(before: row, after: row) }
            after.version += 1
            after.updatedAt = entry.receivedAt
            var isAnswer = false
            if case .result = entry.body {
                after.lateAnswer = detail
                isAnswer = true
            }
            return ExecutionChange(before: row, after: after, wasLate: isAnswer)
        case .move(let next):
            after.state = next
            after.version += 1
            after.updatedAt = entry.receivedAt
            update(&after, for: event, detail: detail, previous: row)
            return ExecutionChange(before: row, after: after)
        }
    }

    private static func update(
        _ row: inout Execution,
        for event: ExecutionEvent,
        detail: [UInt8],
        previous: Execution?
    ) {
        switch event {
        case .claim(let attempt, let leaseEnd):
            row.attempt = attempt
            row.until = leaseEnd
            if let previous, previous.state == .delivered { row.redeliveries += 1 }
        case .progress(let stepEnd):
            row.until = stepEnd
            row.detail = detail
        case .deferred(let until):
            row.until = until
            row.detail = detail
        default:
            row.until = nil
            row.detail = detail
        }
    }

    /// Non-final reports count only for the newest attempt; the first final one counts always.
    private static func isStale(_ entry: InboxEntry, attempt: AttemptID?, row: Execution) -> Bool {
        guard let attempt, let newest = row.attempt, attempt != newest, !row.state.isFinal else {
            return false
        }
        switch entry.body {
        case .progress: return true
        case .result(_, _, let outcome, _):
            switch outcome {
            case .notNow, .awaitingConfirmation, .confirmed: return true
            case .completed, .failed, .cancelled: return false
            }
        default: return false
        }
    }

    private static func event(
        of entry: InboxEntry
    ) -> (event: ExecutionEvent, attempt: AttemptID?, detail: [UInt8])? {
        switch entry.body {
        case .contact, .registration, .information, .resultChunk: nil
        case .claim(_, let attempt, let leaseEnd):
            (.claim(attempt: attempt, leaseEnd: leaseEnd), nil, [])
        case .progress(_, let attempt, let detail, let stepEnd):
            (.progress(stepEnd: stepEnd), attempt, detail)
        case .result(_, let attempt, let outcome, let detail):
            (event(of: outcome), attempt, detail)
        }
    }

    private static func event(of outcome: ResultOutcome) -> ExecutionEvent {
        switch outcome {
        case .completed: .complete
        case .failed: .fail
        case .notNow(let until): .deferred(until: until)
        case .awaitingConfirmation: .awaitConfirmation
        case .confirmed: .confirm
        case .cancelled: .acknowledgeCancel
        }
    }
}
