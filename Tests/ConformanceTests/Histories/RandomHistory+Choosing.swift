import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue

/// What the random numbers choose. Each history dwells on one thing, so that what takes several steps to
/// come about comes about often.
extension RandomHistory {
    enum Focus: UInt64, CaseIterable { case everything, retries, timeouts, rollouts, order, users }

    private var focus: Focus { Focus(rawValue: random.seed % 6) ?? .everything }

    /// Mostly one of two devices: more happens to each.
    private func name() -> DeviceID {
        focus == .everything || below(4) == 0 ? pick(Self.names) : pick(Array(Self.names[..<2]))
    }

    func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    func next() -> Step {
        if case .wait? = steps.last, below(2) == 0 { return .timers }
        switch below(29) {
        case 0: return .enrol(pick(Self.names), below(2) == 0 ? [] : [pick(Self.groups)])
        case 1: return below(2) == 0 ? .remove(pick(Self.names)) : .expire
        case 2: return .join(pick(Self.groups), pick(Self.names))
        case 3: return .leave(pick(Self.groups), pick(Self.names))
        case 4...8: return .enqueue(request())
        case 9: return below(2) == 0 ? .enqueue(request()) : sequence()
        case 10:
            guard let known = requests.last?.request, known.idempotencyKey != nil else {
                return .expire
            }
            return .repeatEnqueue(known, isSame: below(3) > 0)
        case 11: return model.works.isEmpty ? .expire : .cancel(below(model.works.count))
        case 12...16:
            return .poll(
                name(),
                limit: pick([0, 1, 2, 3, 3]),
                below(5) == 0 ? .now : .afterLease
            )
        case 17...21: return offers.isEmpty ? .timers : .answer(recentOffer(), outcome())
        case 22: return offers.isEmpty ? .timers : .progress(recentOffer())
        case 28 where focus == .timeouts && !offers.isEmpty:
            return below(3) == 0 ? .cancel(heldByDevice()) : .progress(recentOffer())
        case 23, 24:
            guard !model.works.isEmpty else { return .timers }
            return .decide(pick(OperationModel.Decision.allCases), heldWork())
        case 25, 26: return .timers
        default: return .wait(pick([.seconds(1), .seconds(20), .seconds(61), .seconds(400)]))
        }
    }

    /// Mostly one that waits for a decision.
    private func heldWork() -> Int {
        let held = model.works.indices.filter { model.works[$0].hold != .none }
        return held.isEmpty || below(3) == 0 ? below(model.works.count) : pick(held)
    }

    /// The work that was handed out last.
    private func heldByDevice() -> Int { offers[offers.count - 1].work }

    /// Mostly one of the newest; sometimes one long answered.
    private func recentOffer() -> Int {
        below(3) == 0 ? below(offers.count) : max(0, offers.count - 1 - below(3))
    }

    private func outcome() -> ResultOutcome {
        switch focus {
        case .retries where below(2) == 0, .rollouts where below(2) == 0:
            return pick([.failed, .failedBecause("E1"), .failedBecause("F1")])
        case .users where below(2) == 0: return pick([.awaitingConfirmation, .confirmed])
        default: break
        }
        return anyOutcome()
    }

    private func anyOutcome() -> ResultOutcome {
        switch below(12) {
        case 0...3: .completed
        case 4: .failed
        case 5: .failedBecause(pick(["E1", "F1"]))
        case 6, 7: .notNow(until: house.time.now() + .seconds(30))
        case 8, 9: .awaitingConfirmation
        case 10: .confirmed
        default: .cancelled
        }
    }

    private func target() -> OperationTarget {
        below(2) == 0
            ? .group(pick(Self.groups + [.everyone]))
            : .devices((0...below(3)).map { _ in name() })
    }

    private func request() -> EnqueueRequest {
        var request = EnqueueRequest(
            pick(["code", "other"]),
            to: target(),
            payload: [UInt8(below(200))]
        )
        request.priority = Int32(below(3)) - 1
        request.order = below(4) == 0 ? .strict : .skipsWaiting
        if below(4) == 0 { request.expiresAfter = .seconds(30 + below(100)) }
        if below(6) == 0 { request.notBefore = house.time.now() + .seconds(below(90)) }
        if below(3) == 0 { request.idempotencyKey = "key-\(steps.count)" }
        switch below(6) {
        case 0, 1: request.control = .noRepeat
        case 2, 3: request.control = .supersede(pick(["policy", "policy", "wallpaper"]))
        default: break
        }
        for _ in 0..<below(3) { addTerm(below(11), to: &request) }
        switch focus {
        case .everything: break
        case .retries: addTerm(6, to: &request)
        case .timeouts: addTerm(8, to: &request)
        case .rollouts: addTerm(1, to: &request)
        case .order: addTerm(below(2) == 0 ? 4 : 0, to: &request)
        case .users: addTerm(10, to: &request)
        }
        return request
    }

    private func addTerm(_ term: Int, to request: inout EnqueueRequest) {
        switch term {
        case 0: request.approval = .required
        case 1, 2: request.rollout = rollout()
        case 3: request.window = window()
        case 4, 5:
            guard !model.works.isEmpty else { return }
            let other = model.works[max(0, model.works.count - 1 - below(3))].id
            if request.after.contains(where: { $0.activity == other }) { return }
            request.after.append(
                OperationDependency(other, onFailure: below(2) == 0 ? .stop : .pause)
            )
        case 6, 7:
            request.retry = RetryPolicy(
                count: Int32(1 + below(2)),
                backoff: .seconds(pick([5, 40])),
                longestBackoff: .seconds(60),
                matching: pick([.any, .any, .timeouts, .errors(["E*"])])
            )
        case 8, 9:
            request.timeouts = ExecutionTimeouts(
                whole: pick([nil, .seconds(45), .seconds(120)]),
                step: below(3) == 0 ? nil : .seconds(15),
                cancellation: pick([.seconds(30), .seconds(30), .seconds(86_400)])
            )
        default: request.confirmation = .required
        }
    }

    private func rollout() -> RolloutPlan {
        var waves = [wave(share: pick([2_000, 4_000]))]
        if below(2) == 0 { waves.append(wave(share: pick([6_000, 10_000]))) }
        let failure = RolloutFailureThreshold(
            percent: pick([30, 60]),
            action: below(2) == 0 ? .pause : .abort
        )
        return RolloutPlan(.waves(waves), failure: below(2) == 0 ? nil : failure)
    }

    private func wave(share: Int32) -> RolloutWave {
        RolloutWave(
            share: share,
            successPercent: pick([0, 50, 100]),
            soak: pick([.zero, .seconds(30)])
        )
    }

    /// A few minutes of each day, soon or just now.
    private func window() -> MaintenanceWindow? {
        let minute = house.time.now().milliseconds / 60_000 % 1_440
        return try? MaintenanceWindow(
            days: Set(Weekday.allCases),
            start: Int32((minute + Int64(below(5)) + 1_438) % 1_440),
            duration: .seconds(60 + below(240)),
            zone: "UTC",
            offsets: [ZoneOffset(from: .distantPast, seconds: 0)]
        )
    }

    private func sequence() -> Step {
        let target = target()
        let steps = (0...below(2) + 1).map { step in
            var request = EnqueueRequest("code", to: target, payload: [UInt8(step)])
            if below(3) == 0 { request.retry = RetryPolicy(count: 1, backoff: .seconds(5)) }
            return request
        }
        return .sequence(steps, below(2) == 0 ? .stop : .pause)
    }
}
