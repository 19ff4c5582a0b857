public import ClusterRole

/// What an administrator, or a rollout by its plan, does to an activity as a whole.
public enum ActivityChange: Hashable, Sendable {
    /// It becomes visible to devices.
    case approve(by: String)
    /// It is cancelled instead.
    case reject(by: String)
    /// Nobody new gets it; what devices have in hand goes on.
    case pause(by: String)
    /// It goes on after a pause, by hand or by failures.
    case resume(by: String)
    /// Its failures reached the threshold.
    case pauseByFailures
    /// The running wave has succeeded; its soak time begins.
    case noteSuccess
    /// Ranks below `ceiling` may have it; `released` devices have such a rank.
    case release(ceiling: Int32, released: Int, wave: Int32)
    /// Closed as a whole: cancelled, expired or superseded.
    case close(ActivityState)
}

/// What a change asks the storage to do in the same transaction.
public enum ActivityDirective: Hashable, Sendable {
    /// Wake addressed devices with these ranks.
    case wake(Range<Int32>)
    /// It is closed: what waits for it, its targets and its timers are looked at.
    case closed
}

extension Activity {
    /// Makes a change: the rule all drivers share.
    ///
    /// - Parameters:
    ///   - change: what is to be done.
    ///   - now: when.
    /// - Returns: what else is to be done; empty, with `self` unchanged, for a change that is made
    ///   already (approved, paused, closed before).
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` for a change that makes no sense: of
    ///   a closed activity, but for closing it again.
    public mutating func on(
        _ change: ActivityChange,
        at now: Timestamp
    ) throws(OperationQueueError) -> [ActivityDirective] {
        if case .close(let final) = change { return try close(as: final, at: now) }
        guard state == .open else {
            throw OperationQueueError(
                .invalidRequest,
                "The activity \(id) is closed (\(state)). Enqueue the operation again."
            )
        }
        let before = self
        switch change {
        case .close: break
        case .approve(let who):
            guard gate.hold == .awaitingApproval else { return [] }
            gate.hold = .none
            decidedBy = who
            beginRollout(at: now)
        case .reject(let who):
            guard gate.hold == .awaitingApproval else {
                throw OperationQueueError(
                    .invalidRequest,
                    "The activity \(id) does not wait for approval. Cancel it instead."
                )
            }
            decidedBy = who
            return try close(as: .cancelled, at: now)
        case .pause(let who):
            guard gate.hold != .paused else { return [] }
            guard gate.hold != .awaitingApproval else {
                throw OperationQueueError(
                    .invalidRequest,
                    "The activity \(id) waits for approval: nobody gets it anyway."
                )
            }
            gate.hold = .paused
            decidedBy = who
        case .pauseByFailures:
            guard gate.hold == .none else { return [] }
            gate.hold = .pausedByFailures
        case .resume(let who):
            guard gate.hold == .paused || gate.hold == .pausedByFailures else { return [] }
            gate.hold = .none
            decidedBy = who
        case .noteSuccess:
            guard rollout.succeeded == nil else { return [] }
            rollout.succeeded = now
        case .release(let ceiling, let released, let wave):
            let ceiling = max(gate.ceiling, min(ceiling, RolloutPlan.everyone))
            gate.ceiling = ceiling
            if wave != rollout.wave || rollout.began == nil {
                rollout.wave = wave
                rollout.began = now
                rollout.succeeded = nil
            }
            rollout.released = max(released, rollout.released)
        }
        return wakes(since: before)
    }

    /// Begins with the gate its terms ask for.
    package mutating func open(at now: Timestamp) {
        if operation.terms.approval == .required { gate.hold = .awaitingApproval }
        // Nobody until the first step is counted and released.
        if operation.terms.rollout != nil { gate.ceiling = 0 }
        if gate.hold == .none { beginRollout(at: now) }
    }

    private mutating func beginRollout(at now: Timestamp) {
        if operation.terms.rollout != nil { rollout.began = nil }
    }

    private mutating func close(
        as final: ActivityState,
        at now: Timestamp
    ) throws(OperationQueueError) -> [ActivityDirective] {
        guard final != .open, final != .finished else {
            throw OperationQueueError(
                .invalidRequest,
                "An activity is closed as cancelled, expired or superseded."
            )
        }
        guard state == .open else { return [] }
        state = final
        closedAt = now
        return [.closed]
    }

    private func wakes(since before: Activity) -> [ActivityDirective] {
        guard gate.hold == .none, gate.ceiling > 0 else { return [] }
        let from = before.gate.hold == .none ? before.gate.ceiling : 0
        return from < gate.ceiling ? [.wake(from..<gate.ceiling)] : []
    }
}

extension Activity {
    /// From when on it may be handed out at all, by its terms: `now` or earlier means at once.
    public func offerTime(at now: Timestamp) -> Timestamp {
        let start = max(now, operation.terms.notBefore ?? now)
        guard let window = operation.terms.window, case .closed(let opens) = window.state(at: start)
        else { return start }
        return opens
    }

    /// When what was cancelled as a whole and is still in hand counts as cancelled without an answer;
    /// `nil` if there is nothing of the kind.
    public var cancellationDeadline: Timestamp? {
        guard state == .cancelled, let closedAt, isLive else { return nil }
        return closedAt + operation.terms.timeouts.cancellation
    }

    /// Whether a newer operation under the same key and with the same target closes this one as a
    /// whole: it does so when it may be handed out to everybody at once.
    public func replacesOlder(at now: Timestamp) -> Bool {
        guard case .supersede = operation.terms.control else { return false }
        return state == .open && gate == OfferGate() && operation.terms.after.isEmpty
            && offerTime(at: now) <= now
    }
}
