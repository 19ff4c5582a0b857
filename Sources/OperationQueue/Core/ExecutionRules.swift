public import ClusterRole
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

    public var changedRow: Bool {
        // Every change counts the version up: mostly nothing else need be compared.
        before?.version != after?.version || before != after
    }
}

/// How what happens to an execution changes its row: the rule that the manager's drivers and the
/// worker's overlay share.
public enum ExecutionRules: Sendable {
    /// Applies `entry` to the execution row `row` of an activity.
    ///
    /// - Parameters:
    ///   - entry: a claim, progress, result or supersession; anything else changes nothing.
    ///   - row: the row as it stands, or `nil`; ``ActivityState/effective(_:)`` says what that means.
    ///   - operation: what was asked, with its terms.
    ///   - activity: the state of the activity the operation belongs to.
    public static func apply(
        _ entry: InboxEntry,
        to row: Execution?,
        of operation: DeviceOperation,
        in activity: ActivityState
    ) -> ExecutionChange {
        guard entry.operation == operation.id, let report = Report(entry) else {
            return ExecutionChange(before: row, after: row)
        }
        if let row, isStale(entry, attempt: report.attempt, row: row) {
            return ExecutionChange(before: row, after: row, rejection: "answer of an older attempt")
        }
        if let row, report.failure != nil, wasCounted(report.attempt, in: row, activity) {
            return ExecutionChange(before: row, after: row)
        }
        let id = ExecutionID(
            operation: operation.id,
            incarnation: entry.identity.incarnation,
            device: entry.identity.device
        )
        let happening = Happening(
            event: report.event,
            failure: report.failure,
            detail: report.detail,
            isAnswer: report.isAnswer,
            at: entry.receivedAt
        )
        return apply(happening, to: row, id, of: operation, in: activity)
    }

    /// Applies what the server does by itself: cancels, times out, supersedes.
    ///
    /// - Parameters:
    ///   - event: one of the server's.
    ///   - row: the row as it stands, or `nil`.
    ///   - id: which execution.
    ///   - operation: what was asked, with its terms.
    ///   - activity: the state of the activity the operation belongs to.
    ///   - now: the present time.
    public static func apply(
        _ event: ExecutionEvent,
        to row: Execution?,
        _ id: ExecutionID,
        of operation: DeviceOperation,
        in activity: ActivityState,
        at now: Timestamp
    ) -> ExecutionChange {
        let happening = Happening(
            event: event,
            failure: event == .timeOut ? .timedOut : nil,
            detail: row?.detail ?? [],
            isAnswer: false,
            at: now
        )
        return apply(happening, to: row, id, of: operation, in: activity)
    }

    /// Something that happens to an execution.
    private struct Happening {
        var event: ExecutionEvent
        var failure: AttemptFailure?
        var detail: [UInt8]
        /// Whether it is a device's answer, which is kept even when it comes too late.
        var isAnswer: Bool
        var at: Timestamp
    }

    private static func apply(
        _ happening: Happening,
        to row: Execution?,
        _ id: ExecutionID,
        of operation: DeviceOperation,
        in activity: ActivityState
    ) -> ExecutionChange {
        let state = activity.effective(row?.state)
        var event = happening.event
        if let failure = happening.failure, !state.isFinal, state != .cancelRequested,
            activity == .open, let retry = operation.terms.retry,
            retry.repeats(failure, after: row?.retries ?? 0)
        {
            let wait = retry.wait(
                before: (row?.retries ?? 0) + 1,
                rank: operation.activity.rank(of: id.device)
            )
            event = .retry(until: happening.at + wait)
        }
        var after = row ?? Execution(id: id, state: state, version: 0, updatedAt: happening.at)
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
            if row?.lateAnswer == happening.detail {
                return ExecutionChange(before: row, after: row)
            }
            after.version += 1
            after.updatedAt = happening.at
            if happening.isAnswer { after.lateAnswer = happening.detail }
            return ExecutionChange(before: row, after: after, wasLate: happening.isAnswer)
        case .move(let next):
            after.state = next
            after.version += 1
            after.updatedAt = happening.at
            update(&after, for: event, happening, operation, previous: row)
            return ExecutionChange(before: row, after: after)
        }
    }

    /// The first wait after a NotNow that asks for none of its own; each further one doubles it.
    static let firstDeferral = Duration.seconds(60)
    /// The longest wait that grows by itself.
    static let longestDeferral = Duration.seconds(3_600)

    private static func update(
        _ row: inout Execution,
        for event: ExecutionEvent,
        _ happening: Happening,
        _ operation: DeviceOperation,
        previous: Execution?
    ) {
        switch event {
        case .claim(let attempt, let leaseEnd):
            row.attempt = attempt
            row.until = leaseEnd
            if row.startedAt == nil { row.startedAt = happening.at }
            if let previous, previous.state == .delivered { row.redeliveries += 1 }
        case .progress(let stepEnd):
            row.until = stepEnd
            row.detail = happening.detail
        case .deferred(let until):
            // A device that always wants to be asked again at once is asked less and less often.
            let wait = Backoff.wait(
                before: row.deferrals,
                first: firstDeferral,
                longest: longestDeferral,
                rank: operation.activity.rank(of: row.id.device)
            )
            row.until = row.deferrals == 0 ? until : max(until, happening.at + wait)
            row.deferrals += 1
            // The device has given it back: the time of the next attempt begins when it is handed out.
            row.startedAt = nil
            row.detail = happening.detail
        case .retry(let until):
            row.until = until
            row.retries += 1
            row.startedAt = nil
            row.detail = happening.detail
        case .requestCancel where row.state == .cancelRequested:
            row.until = happening.at + operation.terms.timeouts.cancellation
        case .confirm:
            row.confirmedAt = happening.at
            row.until = nil
            row.detail = happening.detail
        default:
            row.until = nil
            row.detail = happening.detail
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
            case .completed, .failed, .failedBecause, .cancelled: return false
            }
        default: return false
        }
    }

    /// Whether a failure was counted already: a device that repeats its answer, because it never heard
    /// that it had arrived, uses up one repetition, not two. Once work was repeated, only what the device
    /// has in hand can fail again.
    private static func wasCounted(
        _ attempt: AttemptID?,
        in row: Execution,
        _ activity: ActivityState
    ) -> Bool {
        let state = activity.effective(row.state)
        guard row.retries > 0, !state.isFinal else { return false }
        return state == .pending || attempt.map { $0 != row.attempt } ?? false
    }

    /// What an entry reports about an operation.
    private struct Report {
        var event: ExecutionEvent
        var attempt: AttemptID?
        var detail: [UInt8] = []
        var failure: AttemptFailure?
        var isAnswer = false

        init?(_ entry: InboxEntry) {
            switch entry.body {
            case .contact, .registration, .information, .resultChunk: return nil
            case .claim(_, let attempt, let leaseEnd):
                event = .claim(attempt: attempt, leaseEnd: leaseEnd)
            case .progress(_, let attempt, let detail, let stepEnd):
                event = .progress(stepEnd: stepEnd)
                self.attempt = attempt
                self.detail = detail
            case .superseded: event = .supersede
            case .result(_, let attempt, let outcome, let detail):
                self.attempt = attempt
                self.detail = detail
                isAnswer = true
                switch outcome {
                case .completed: event = .complete
                case .failed:
                    event = .fail
                    failure = .reported(nil)
                case .failedBecause(let code):
                    event = .fail
                    failure = .reported(code)
                case .notNow(let until): event = .deferred(until: until)
                case .awaitingConfirmation: event = .awaitConfirmation
                case .confirmed: event = .confirm
                case .cancelled: event = .acknowledgeCancel
                }
            }
        }
    }
}

extension Execution {
    /// When the server must look at this execution by itself: to time it out, or to wake its device
    /// because a wait ends. `nil` when only the device can change it.
    public func attention(under terms: OperationTerms) -> Timestamp? {
        switch state {
        case .delivered, .awaitingConfirmation, .confirmed: deadline(under: terms)
        case .inProgress:
            [deadline(under: terms), terms.timeouts.step == nil ? nil : until]
                .compactMap { $0 }.min()
        case .deferred, .pending, .cancelRequested: until
        case .completed, .failed, .timedOut, .expired, .cancelled, .superseded: nil
        }
    }

    private func deadline(under terms: OperationTerms) -> Timestamp? {
        guard let startedAt, let whole = terms.timeouts.whole else { return nil }
        return startedAt + whole
    }

    /// What is due at `now`: an event the server applies, or a wake-up because a wait has ended.
    public func dueAttention(under terms: OperationTerms, at now: Timestamp) -> ExecutionAttention?
    {
        guard let due = attention(under: terms), due <= now else { return nil }
        return switch state {
        case .deferred, .pending: .wake
        default: .apply(.timeOut)
        }
    }
}

/// What the server does about an execution whose time has come.
public enum ExecutionAttention: Hashable, Sendable {
    case wake
    case apply(ExecutionEvent)
}
