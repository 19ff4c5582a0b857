import ClusterRole
import DeviceRegistry
import OperationQueue

/// Answers of devices, what time does by itself, and what administrators decide.
extension OperationModel {
    /// What a device says.
    enum Answer {
        case progress
        case outcome(ResultOutcome, detail: [UInt8])
    }

    /// How an attempt failed.
    private enum Failure: Equatable {
        case reported(String?)
        case timedOut
    }

    /// What a step lasts when neither device nor enqueuer says it.
    private static let step = Duration.seconds(300)
    /// The longest a device that puts work off again and again waits, with the queue's jitter.
    private static let longestDeferral = Duration.seconds(3_960)

    mutating func take(
        _ answer: Answer,
        on work: Int,
        from target: Target,
        attempt: AttemptID,
        at now: Timestamp
    ) {
        let present = state(of: target, in: work)
        var row = works[work].rows[target] ?? Row(state: present)
        let isOld = row.attempt != nil && row.attempt != attempt && !Self.isFinal(row.state)
        if isOld && !answer.isFinal { return }
        if Self.isFinal(present) {
            guard case .outcome(let outcome, let detail) = answer, outcome.verdict != present,
                row.lateAnswer != detail
            else { return }
            seen.insert(.lateAnswer)
            row.lateAnswer = detail
            works[work].late += 1
            works[work].rows[target] = row
            return
        }
        if let error = answer.failure {
            // A failure that was counted is not counted again when the device repeats itself.
            if row.retries > 0 && (isOld || present == .pending) {
                seen.insert(.repeatedFailure)
                return
            }
            if present != .cancelRequested, repeats(.reported(error), work, target, at: now) {
                return
            }
        }
        guard let next = answer.next(from: present) else { return }
        if Self.isFinal(next) { return end(work, on: target, as: next) }
        row.state = next
        row.until = nil
        switch answer {
        case .progress: row.until = now + (works[work].timeouts.step ?? Self.step)
        case .outcome(.notNow(let asked), _):
            row.until = asked
            row.bounds = asked...max(asked, now + Self.longestDeferral)
            row.started = nil
        case .outcome(.confirmed, _): row.hasAgreed = true
        case .outcome: break
        }
        works[work].rows[target] = row
    }

    /// Offers failed work again later, if its policy says so and the count is not used up.
    private mutating func repeats(
        _ failure: Failure,
        _ work: Int,
        _ target: Target,
        at now: Timestamp
    ) -> Bool {
        guard works[work].state == .open, let policy = works[work].retry,
            Self.matches(policy.matching, failure), var row = works[work].rows[target]
        else { return false }
        guard row.retries < policy.count else {
            seen.insert(.retriesUsedUp)
            return false
        }
        row.retries += 1
        var wait = policy.backoff
        for _ in 1..<max(2, row.retries) where row.retries > 1 { wait += wait }
        wait = min(wait, policy.longestBackoff)
        row.state = .pending
        row.started = nil
        row.until = now + wait
        row.bounds = now + wait...now + wait + .milliseconds(wait.milliseconds / 10)
        works[work].rows[target] = row
        return true
    }

    private static func matches(_ matcher: RetryMatcher, _ failure: Failure) -> Bool {
        switch matcher {
        case .any: return true
        case .timeouts: return failure == .timedOut
        case .errors(let codes):
            guard case .reported(.some(let code)) = failure else { return false }
            return codes.contains {
                $0 == code || ($0.hasSuffix("*") && code.starts(with: $0.dropLast()))
            }
        }
    }

    // MARK: Time

    /// Everything that time alone has made due.
    mutating func tick(at now: Timestamp) {
        for work in works.indices {
            for target in works[work].targets { timeOut(work, target, at: now) }
        }
        for work in works.indices { moveRollout(work, at: now) }
    }

    private mutating func timeOut(_ work: Int, _ target: Target, at now: Timestamp) {
        guard let row = works[work].rows[target], !Self.isFinal(row.state) else { return }
        let timeouts = works[work].timeouts
        let present = state(of: target, in: work)
        if Self.isFinal(present) { return }
        if present == .cancelRequested, let closedAt = works[work].closedAt,
            closedAt + timeouts.cancellation <= now
        {
            seen.insert(.cancellationTimeout)
            return end(work, on: target, as: .cancelled)
        }
        let hasPassed: HistoryTerm
        if let whole = timeouts.whole, let started = row.started, started + whole <= now {
            hasPassed = .wholeTimeout
        } else if row.state == .inProgress, timeouts.step != nil, let until = row.until,
            until <= now
        {
            hasPassed = .stepTimeout
        } else {
            return
        }
        seen.insert(hasPassed)
        if present == .cancelRequested { return end(work, on: target, as: .cancelled) }
        if !repeats(.timedOut, work, target, at: now) { end(work, on: target, as: .timedOut) }
    }

    private mutating func moveRollout(_ index: Int, at now: Timestamp) {
        guard case .waves(let waves) = works[index].rollout?.pace else { return }
        while works[index].state == .open, works[index].hold == .none,
            works[index].notBefore.map({ $0 <= now }) ?? true
        {
            if stopsRollout(index, at: now) { return }
            let work = works[index]
            if work.ceiling == 10_000 { return }
            if waves.indices.contains(work.wave) {
                let wave = waves[work.wave]
                let done = work.rows.values.count { $0.state == .completed }
                guard done * 100 >= work.released * Int(wave.successPercent) else { return }
                let succeeded = work.waveSucceeded ?? now
                works[index].waveSucceeded = succeeded
                guard max(succeeded, work.waveBegan ?? now) + wave.soak <= now else { return }
                seen.insert(.laterWave)
            }
            let next = work.wave + 1
            let ceiling = waves.indices.contains(next) ? waves[next].share : 10_000
            works[index].wave = next
            works[index].ceiling = ceiling
            works[index].released = work.targets.count { work.id.rank(of: $0.device) < ceiling }
            works[index].waveBegan = now
            works[index].waveSucceeded = nil
        }
    }

    private mutating func stopsRollout(_ index: Int, at now: Timestamp) -> Bool {
        let work = works[index]
        guard let failure = work.rollout?.failure else { return false }
        let failed = work.rows.values.count { $0.state == .failed || $0.state == .timedOut }
        let asked = work.ceiling == 10_000 ? work.targets.count : work.released
        guard failed > 0, failed >= failure.minimum,
            failed * 100 >= Int(failure.percent) * max(1, asked)
        else { return false }
        if failure.action == .abort {
            seen.insert(.rolloutAbort)
            close(index, as: .cancelled, at: now)
        } else {
            works[index].hold = .failures
        }
        return true
    }

    // MARK: Administrators

    /// What an administrator does with an activity.
    enum Decision: CaseIterable { case approve, reject, pause, resume }

    /// - Returns: whether it is possible.
    mutating func decide(_ decision: Decision, on work: Int, at now: Timestamp) -> Bool {
        guard works[work].state == .open else { return false }
        switch (decision, works[work].hold) {
        case (.approve, .approval): works[work].hold = .none
        case (.reject, .approval):
            seen.insert(.rejection)
            close(work, as: .cancelled, at: now)
        case (.reject, _), (.pause, .approval): return false
        case (.pause, _): works[work].hold = .paused
        case (.resume, .paused), (.resume, .failures):
            seen.insert(.resumption)
            works[work].hold = .none
        case (.approve, _), (.resume, _): break
        }
        return true
    }
}

extension OperationModel.Answer {
    fileprivate var isFinal: Bool {
        if case .outcome(let outcome, _) = self { outcome.verdict != nil } else { false }
    }

    /// The error of a failure, itself `nil` if it has none; `nil` for any other answer.
    fileprivate var failure: String?? {
        switch self {
        case .outcome(.failed, _): .some(nil)
        case .outcome(.failedBecause(let code), _): .some(code)
        case .progress, .outcome: nil
        }
    }

    /// Where an answer takes work that is not final; `nil` if nowhere.
    fileprivate func next(from state: ExecutionState) -> ExecutionState? {
        let isEnding = state == .cancelRequested
        switch self {
        case .progress: return isEnding ? nil : .inProgress
        case .outcome(.completed, _): return .completed
        case .outcome(.failed, _), .outcome(.failedBecause, _): return .failed
        case .outcome(.notNow, _): return isEnding ? .cancelled : .deferred
        case .outcome(.awaitingConfirmation, _):
            return isEnding ? .cancelled : .awaitingConfirmation
        case .outcome(.confirmed, _): return state == .awaitingConfirmation ? .confirmed : nil
        case .outcome(.cancelled, _): return isEnding ? .cancelled : nil
        }
    }
}

extension ResultOutcome {
    /// The final state it says, if it says one.
    fileprivate var verdict: ExecutionState? {
        switch self {
        case .completed: .completed
        case .failed, .failedBecause: .failed
        case .cancelled: .cancelled
        case .notNow, .awaitingConfirmation, .confirmed: nil
        }
    }
}
