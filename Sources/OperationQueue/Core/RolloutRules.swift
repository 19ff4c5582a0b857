public import ClusterRole

/// What a rollout does next, by its plan and its counts: pure.
public enum RolloutStep: Hashable, Sendable {
    /// Nothing yet; look again then, or when counts have changed.
    case wait(until: Timestamp?)
    /// The running wave has reached its threshold.
    case noteSuccess
    /// Count the devices below `ceiling`, then release them as this wave.
    case release(ceiling: Int32, wave: Int32)
    case pauseByFailures
    case abort
}

extension Activity {
    /// The next step of this activity's rollout; `nil` for one without a plan, closed, held, or released
    /// to everybody with nothing left to watch.
    public func rolloutStep(at now: Timestamp) -> RolloutStep? {
        guard state == .open, gate.hold == .none, let plan = operation.terms.rollout else {
            return nil
        }
        if let start = operation.terms.notBefore, now < start { return .wait(until: start) }
        if let failure = plan.failure, hasFailed(failure) {
            return failure.action == .abort ? .abort : .pauseByFailures
        }
        guard gate.ceiling < RolloutPlan.everyone else {
            return plan.failure == nil ? nil : .wait(until: nil)
        }
        switch plan.pace {
        case .waves(let waves): return nextWave(of: waves, at: now)
        case .rate(let devicesPerMinute): return nextPart(devicesPerMinute, at: now)
        }
    }

    private func hasFailed(_ threshold: RolloutFailureThreshold) -> Bool {
        let failed = rowCounts[.failed] + rowCounts[.timedOut]
        guard failed > 0, failed >= Int(threshold.minimum) else { return false }
        let released = gate.ceiling == RolloutPlan.everyone ? addressed : rollout.released
        return failed * 100 >= Int(threshold.percent) * max(1, released)
    }

    private func nextWave(of waves: [RolloutWave], at now: Timestamp) -> RolloutStep {
        guard let began = rollout.began else {
            return .release(ceiling: waves.first?.share ?? RolloutPlan.everyone, wave: 0)
        }
        let index = Int(rollout.wave)
        guard waves.indices.contains(index) else {
            return .release(ceiling: RolloutPlan.everyone, wave: rollout.wave + 1)
        }
        let wave = waves[index]
        let needed = (rollout.released * Int(wave.successPercent) + 99) / 100
        guard let succeeded = rollout.succeeded else {
            return rowCounts[.completed] >= needed ? .noteSuccess : .wait(until: nil)
        }
        let end = max(succeeded, began) + wave.soak
        if now < end { return .wait(until: end) }
        let next = waves.indices.contains(index + 1) ? waves[index + 1].share : nil
        return .release(ceiling: next ?? RolloutPlan.everyone, wave: rollout.wave + 1)
    }

    /// The share of the addressed devices that the time since the beginning allows, and never less than
    /// one device a step.
    private func nextPart(_ devicesPerMinute: Int32, at now: Timestamp) -> RolloutStep {
        guard let began = rollout.began else { return .release(ceiling: 1, wave: 0) }
        let minutes = Double(max(0, now.milliseconds - began.milliseconds)) / 60_000
        let share = minutes * Double(devicesPerMinute) / Double(max(1, addressed))
        let ceiling = Int32(min(1, share) * Double(RolloutPlan.everyone))
        return ceiling > gate.ceiling
            ? .release(ceiling: ceiling, wave: 0)
            : .wait(until: nil)
    }
}
