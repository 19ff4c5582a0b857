public import ClusterRole

/// What may happen to an execution.
public enum ExecutionEvent: Hashable, Sendable {
    /// Handed out.
    case claim(attempt: AttemptID, leaseEnd: Timestamp)
    case progress(stepEnd: Timestamp)
    case deferred(until: Timestamp)
    case awaitConfirmation
    case confirm
    case complete
    case fail
    /// It failed or timed out and is offered again at `until`.
    case retry(until: Timestamp)
    /// The device ended it on request.
    case acknowledgeCancel
    /// The server closes it.
    case requestCancel, timeOut, expire, supersede
}

/// The answer of ``ExecutionState/on(_:)``.
public enum ExecutionTransition: Hashable, Sendable {
    /// The state becomes this one.
    case move(ExecutionState)
    /// The event repeats what already is; nothing changes.
    case unchanged
    /// The state is final: the event is kept as evidence, and nothing else changes.
    case late
    /// The event makes no sense here and is refused.
    case refuse
}

extension ExecutionState {
    /// The one transition function: total, pure, and the same on managers and workers.
    ///
    /// - A final state never changes; a device's answer to it is `late`, except that the answer that
    ///   made it is `unchanged`.
    /// - The first final answer of an open execution wins, whatever its attempt.
    public func on(_ event: ExecutionEvent) -> ExecutionTransition {
        if isFinal { return answerWhenFinal(event) }
        return switch event {
        case .claim: self == .cancelRequested ? .refuse : .move(.delivered)
        case .progress: self == .cancelRequested ? .unchanged : .move(.inProgress)
        case .deferred: self == .cancelRequested ? .move(.cancelled) : .move(.deferred)
        case .awaitConfirmation:
            self == .cancelRequested ? .move(.cancelled) : .move(.awaitingConfirmation)
        case .confirm:
            switch self {
            case .awaitingConfirmation: .move(.confirmed)
            case .confirmed: .unchanged
            default: .refuse
            }
        case .complete: .move(.completed)
        case .fail: .move(.failed)
        case .retry: self == .cancelRequested ? .refuse : .move(.pending)
        case .acknowledgeCancel: self == .cancelRequested ? .move(.cancelled) : .refuse
        case .requestCancel: answerCancelRequest()
        case .timeOut: self == .cancelRequested ? .move(.cancelled) : .move(.timedOut)
        case .expire: isHeldByDevice ? .unchanged : .move(.expired)
        case .supersede: isHeldByDevice ? .unchanged : .move(.superseded)
        }
    }

    /// Whether the device has the work in hand, so that only it (or a timeout) can end it.
    public var isHeldByDevice: Bool {
        switch self {
        case .delivered, .inProgress, .cancelRequested: true
        default: false
        }
    }

    private func answerCancelRequest() -> ExecutionTransition {
        switch self {
        case .delivered, .inProgress: .move(.cancelRequested)
        case .cancelRequested: .unchanged
        default: .move(.cancelled)
        }
    }

    private func answerWhenFinal(_ event: ExecutionEvent) -> ExecutionTransition {
        switch (event, self) {
        case (.complete, .completed), (.fail, .failed), (.acknowledgeCancel, .cancelled),
            (.requestCancel, _), (.timeOut, _), (.expire, _), (.supersede, _):
            .unchanged
        case (.claim, _), (.progress, _), (.deferred, _), (.awaitConfirmation, _), (.confirm, _),
            (.complete, _), (.fail, _), (.retry, _), (.acknowledgeCancel, _):
            .late
        }
    }
}
