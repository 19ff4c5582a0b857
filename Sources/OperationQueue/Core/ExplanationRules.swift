internal import ClusterRole
internal import DeviceRegistry

/// Finds the reasons of an ``ExecutionExplanation``: pure, by the same rules the exchange decides by.
enum ExplanationRules {
    /// - Parameters:
    ///   - id: the execution asked about.
    ///   - work: what is open for its device.
    ///   - device: the device, as managers see it.
    ///   - wake: its wake-up under way, if there is one.
    ///   - liveness: how idle times are judged.
    ///   - now: the present time.
    static func reasons(
        of id: ExecutionID,
        in work: OpenWork,
        on device: Device,
        wake: WakeUp?,
        liveness: LivenessRule,
        at now: Timestamp
    ) -> (state: ExecutionState, reasons: [ExecutionExplanation.Reason])? {
        guard let item = work.items.first(where: { $0.operation.id == id.operation }) else {
            return nil
        }
        switch item.availability(on: device.id, at: now) {
        case .ended(.cancelRequested):
            return (.cancelRequested, [.cancelRequested(until: item.row?.until)])
        case .ended(let state): return (item.state, [.ended(state)])
        case .invisible(let reason): return (item.state, [.waits(reason, until: nil)])
        case .waiting(let reason, let until): return (item.state, [.waits(reason, until: until)])
        case .inHand(let until):
            return (item.state, [.inHand(until: until)] + silence(device, liveness, now))
        case .offered: break
        }
        var rest = work
        if rest.supersede(at: now).contains(id.operation) {
            let rival = rest.items.last {
                $0.operation.terms.control == item.operation.terms.control
            }
            return (item.state, [.superseded(by: rival?.operation.id ?? id.operation)])
        }
        var reasons: [ExecutionExplanation.Reason] = []
        if let blocker = blocker(of: item, in: rest, on: device.id, at: now) {
            reasons.append(.behind(blocker.operation.id, code: blocker.operation.code))
        }
        let silence = silence(device, liveness, now)
        reasons += silence
        if !silence.isEmpty { reasons += waking(device, wake) }
        return (item.state, reasons.isEmpty ? [.nextPoll] : reasons)
    }

    private static func blocker(
        of item: OpenItem,
        in work: OpenWork,
        on device: DeviceID,
        at now: Timestamp
    ) -> OpenItem? {
        for ahead in work.items {
            if ahead.operation.id == item.operation.id { return nil }
            switch ahead.availability(on: device, at: now) {
            case .inHand: return ahead
            case .waiting: if ahead.operation.order == .strict { return ahead }
            case .offered, .invisible, .ended: continue
            }
        }
        return nil
    }

    private static func silence(
        _ device: Device,
        _ rule: LivenessRule,
        _ now: Timestamp
    ) -> [ExecutionExplanation.Reason] {
        guard let seen = device.lastSeen else { return [.neverSeen] }
        let liveness = rule.liveness(of: device, at: now)
        return liveness == .active ? [] : [.offline(since: seen, liveness)]
    }

    private static func waking(
        _ device: Device,
        _ wake: WakeUp?
    ) -> [ExecutionExplanation.Reason] {
        guard device.push != nil else { return [.notReachableByPush] }
        guard let wake else { return [] }
        if wake.attempts == 0 { return [.wakeWaiting(due: wake.due)] }
        return [
            .wakeFailing(attempts: wake.attempts, lastFailure: wake.lastFailure, next: wake.due)
        ]
    }
}
