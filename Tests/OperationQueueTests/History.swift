import ClusterRole
import DeviceRegistry
import OperationQueue

/// A random life of a small fleet; the same seed gives the same life.
final class History {
    let house: House
    let random: SeededRandom
    let names = (0..<12).map { DeviceID(rawValue: "device-\($0)") }
    private let groups = [GroupID(rawValue: "red"), GroupID(rawValue: "blue"), .everyone]
    private var activities: [ActivityID] = []
    private var offers: [(device: DeviceIdentity, offer: OfferedOperation)] = []

    init(seed: UInt64) {
        house = House(seed: seed)
        random = SeededRandom(seed &* 7_919)
    }

    func step() async throws {
        house.clock.advance(by: .seconds(Int(random.number(below: 40))))
        let name = random.pick(names)
        switch random.number(below: 24) {
        case 0, 1: _ = try await house.administration.enrol(name, groups: [random.pick(groups)])
        case 2:
            if random.number(below: 3) == 0 { _ = try? await house.administration.remove(name) }
        case 3, 4: try await house.administration.join(random.pick(Array(groups[..<2])), [name])
        case 5, 6: try await house.administration.leave(random.pick(Array(groups[..<2])), [name])
        case 7:
            _ = try? await house.administration.setPollingFrequency(.seconds(30), of: name)
        case 8, 9, 10, 11: try await enqueue()
        case 12:
            if !activities.isEmpty { try await close(random.pick(activities)) }
        case 13, 14, 15: try await poll(name)
        case 16, 17: if !activities.isEmpty { try await change(random.pick(activities)) }
        case 18: try await house.timers.tick(at: house.clock.now())
        case 19: _ = try? await house.enqueuer.cancelAll(of: name)
        default: try await report()
        }
    }

    private func enqueue() async throws {
        let isNamed = random.number(below: 2) == 0
        let target: OperationTarget =
            isNamed
            ? .devices((0..<3).map { _ in random.pick(names) }) : .group(random.pick(groups))
        var request = EnqueueRequest(OperationCode(rawValue: "code"), to: target)
        request.priority = Int32(random.number(below: 3))
        request.order = random.number(below: 4) == 0 ? .strict : .skipsWaiting
        if random.number(below: 2) == 0 { setTerms(of: &request) }
        if let receipt = try? await house.enqueuer.enqueue(request) {
            activities.append(receipt.activity)
        }
    }

    private func setTerms(of request: inout EnqueueRequest) {
        func once(in chances: UInt64) -> Bool { random.number(below: chances) == 0 }
        if request.target.group != nil {
            request.scope = random.pick([.membersNow, .membersAndJoiners, .joinersOnly])
        }
        if once(in: 4) { request.approval = .required }
        if once(in: 4), !request.scope.isStanding {
            request.rollout = RolloutPlan(.waves([RolloutWave(share: 4_000, successPercent: 50)]))
        }
        if once(in: 3), !activities.isEmpty {
            let rule: DependencyFailureRule = once(in: 2) ? .stop : .pause
            request.after = [OperationDependency(random.pick(activities), onFailure: rule)]
        }
        if once(in: 3) { request.retry = RetryPolicy(count: 2, backoff: .seconds(30)) }
        if once(in: 3) {
            request.timeouts = ExecutionTimeouts(
                whole: .seconds(90),
                step: .seconds(20),
                cancellation: .seconds(60)
            )
        }
        switch random.number(below: 4) {
        case 0: request.control = .noRepeat
        case 1: request.control = .supersede("key")
        default: break
        }
        if once(in: 4) { request.notBefore = house.clock.now() + .seconds(60) }
    }

    private func change(_ activity: ActivityID) async throws {
        switch random.number(below: 4) {
        case 0: _ = try? await house.enqueuer.approve(activity, by: "ann")
        case 1: _ = try? await house.enqueuer.pause(activity, by: "ann")
        case 2: _ = try? await house.enqueuer.resume(activity, by: "ann")
        default: _ = try? await house.enqueuer.release(activity, toShare: 7_000)
        }
    }

    private func close(_ activity: ActivityID) async throws {
        _ = try await house.storage.close(
            activity,
            as: random.pick([.cancelled, .expired, .superseded]),
            tenant: .standard,
            epoch: house.capability.epoch,
            at: house.clock.now()
        )
    }

    private func poll(_ name: DeviceID) async throws {
        guard let row = try await house.devices.device(name, tenant: .standard)?.row,
            row.state == .enrolled
        else { return }
        let answer = try await house.poll(row.identity, limit: 3)
        offers += answer.operations.map { (row.identity, $0) }
    }

    private func report() async throws {
        guard !offers.isEmpty else { return }
        let (device, offer) = random.pick(offers)
        let until = house.clock.now() + .seconds(60)
        let outcome = random.pick([
            ResultOutcome.completed, .completed, .completed, .failed, .notNow(until: until),
            .awaitingConfirmation, .confirmed, .cancelled,
        ])
        let isProgress = random.number(below: 6) == 0
        let body: InboxEntry.Body =
            isProgress
            ? .progress(
                offer.execution.operation,
                attempt: offer.attempt,
                detail: [1],
                stepEnd: until
            )
            : .result(
                offer.execution.operation,
                attempt: offer.attempt,
                outcome: outcome,
                detail: [2]
            )
        try await house.inbox.accept([
            InboxEntry(identity: device, receivedAt: house.clock.now(), body: body)
        ])
    }
}
