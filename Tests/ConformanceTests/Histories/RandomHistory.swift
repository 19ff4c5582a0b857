import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue

/// A random life of a few devices through the façades, compared with ``OperationModel`` after every
/// step. The same seed gives the same life.
struct RandomHistory {
    /// One step, as it is printed when it breaks something.
    enum Step {
        case enrol(DeviceID, [GroupID])
        case remove(DeviceID)
        case join(GroupID, DeviceID)
        case leave(GroupID, DeviceID)
        case enqueue(EnqueueRequest)
        case sequence([EnqueueRequest], DependencyFailureRule)
        case repeatEnqueue(EnqueueRequest, isSame: Bool)
        case cancel(Int)
        case decide(OperationModel.Decision, Int)
        case poll(DeviceID, limit: Int, RedeliveryRule)
        case answer(Int, ResultOutcome)
        case progress(Int)
        case expire
        case timers
        case wait(Duration)
    }

    /// A step after which the queue and the model differ.
    struct Difference: Error, CustomStringConvertible {
        var seed: UInt64
        var steps: [Step]
        var message: String

        var description: String {
            "seed \(seed), step \(steps.count): \(message)\n"
                + steps.enumerated().map { "  \($0 + 1). \($1)" }.joined(separator: "\n")
        }
    }

    struct Broken: Error { var message: String }

    /// An operation some device was handed, and may answer at any time, more than once.
    struct Offer {
        var target: DeviceIdentity
        var offer: OfferedOperation
        var work: Int
    }

    static let names: [DeviceID] = ["a", "b", "c", "d"]
    static let groups: [GroupID] = ["red", "blue"]

    let house: QueueHouse
    let random: SeededRandomSource
    var model = OperationModel()
    var offers: [Offer] = []
    var requests: [(request: EnqueueRequest, receipt: EnqueueReceipt)] = []
    var steps: [Step] = []
    private var answers: UInt8 = 0

    init(seed: UInt64, house: QueueHouse) {
        self.house = house
        random = SeededRandomSource(seed: seed)
    }

    /// Runs the history.
    ///
    /// - Throws: ``Difference`` at the first step after which something is not as promised.
    mutating func run(steps count: Int) async throws {
        do {
            for name in Self.names { try await perform(.enrol(name, [pick(Self.groups)])) }
            for _ in 0..<count { try await perform(next()) }
            try await house.settle()
            for work in model.works.indices { try await check(work) }
        } catch let error as Broken {
            throw Difference(seed: random.seed, steps: steps, message: error.message)
        } catch {
            throw Difference(seed: random.seed, steps: steps, message: "threw \(error)")
        }
    }

    func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        if !condition { throw Broken(message: message()) }
    }

    // MARK: Doing

    private mutating func perform(_ step: Step) async throws {
        steps.append(step)
        if !step.isOfDevice { try await house.settle() }
        let now = house.time.now()
        switch step {
        case .enrol(let name, let groups): try await enrol(name, groups)
        case .remove(let name):
            guard model.enrolled[name] != nil else { return }
            _ = try await house.administration.remove(name, tenant: house.tenant)
            model.enrolled[name] = nil
            for group in model.members.keys { model.members[group]?.remove(name) }
        case .join(let group, let name):
            guard model.enrolled[name] != nil else { return }
            _ = try await house.administration.join(group, [name], tenant: house.tenant)
            model.members[group, default: []].insert(name)
        case .leave(let group, let name):
            guard model.enrolled[name] != nil else { return }
            _ = try await house.administration.leave(group, [name], tenant: house.tenant)
            model.members[group]?.remove(name)
        case .enqueue(let request): try await enqueue(request)
        case .sequence(let requests, let rule): try await enqueue(sequence: requests, rule)
        case .repeatEnqueue(let request, let isSame): try await repeated(request, isSame)
        case .cancel(let work):
            _ = try await house.enqueuer.cancel(model.works[work].id, tenant: house.tenant)
            model.close(work, as: .cancelled, at: now)
            try await check(work)
        case .decide(let decision, let work): try await decide(decision, work)
        case .poll(let name, let limit, let rule): try await poll(name, limit, rule)
        case .answer(let index, let outcome):
            answers &+= 1
            try await report(index, .outcome(outcome, detail: [answers]))
            if below(4) == 0 { try await report(index, .outcome(outcome, detail: [answers])) }
        case .progress(let index): try await report(index, .progress)
        case .expire:
            try await house.expiry.tick(at: now)
            model.expire(at: now)
        case .timers: try await fireTimers()
        case .wait(let duration): house.time.advance(by: duration)
        }
    }

    private mutating func enrol(_ name: DeviceID, _ groups: [GroupID]) async throws {
        let made = try await house.administration.enrol(name, groups: groups, tenant: house.tenant)
        for group in model.members.keys { model.members[group]?.remove(name) }
        for group in groups + [.everyone] { model.members[group, default: []].insert(name) }
        model.enrolled[name] = made.identity
    }

    private mutating func decide(_ decision: OperationModel.Decision, _ work: Int) async throws {
        let (id, tenant, enqueuer) = (model.works[work].id, house.tenant, house.enqueuer)
        let isPossible = model.decide(decision, on: work, at: house.time.now())
        do {
            switch decision {
            case .approve: try await enqueuer.approve(id, by: "ann", tenant: tenant)
            case .reject: try await enqueuer.reject(id, by: "ann", tenant: tenant)
            case .pause: try await enqueuer.pause(id, by: "ann", tenant: tenant)
            case .resume: try await enqueuer.resume(id, by: "ann", tenant: tenant)
            }
            try expect(isPossible, "\(decision) was possible")
        } catch let error as OperationQueueError {
            try expect(!isPossible && error.code == .invalidRequest, "\(decision) threw \(error)")
        }
        try await check(work)
    }

    private mutating func fireTimers() async throws {
        let now = house.time.now()
        var rounds = 0
        while try await house.timers.tick(at: now) > 0 {
            rounds += 1
            try expect(rounds < 100, "timers that never end")
        }
        model.tick(at: now)
        try await learnWaits()
        for work in model.works.indices { try await check(work) }
    }

    private mutating func poll(
        _ name: DeviceID,
        _ limit: Int,
        _ rule: RedeliveryRule
    ) async throws {
        guard let target = model.enrolled[name] else { return }
        try await house.followManager()
        let answer = try await house.exchange.exchange(
            device: target,
            report: ExchangeReport(limit: limit, redelivery: rule)
        )
        try take(answer, limit: limit, again: rule == .now, by: target)
        if answer.operations.isEmpty { return }
        guard try await looksAtOnce() else { return }
        for work in model.works.indices where model.works[work].targets.contains(target) {
            try await check(work)
        }
    }

    /// Whether the manager's view is compared after this step. On a replica that is done now and then
    /// only: between, devices are served from what has not been handed on yet.
    private func looksAtOnce() async throws -> Bool {
        if house.isReplicated && below(3) > 0 { return false }
        try await house.settle()
        return true
    }

    /// Compares what was handed out with what should have been.
    private mutating func take(
        _ answer: ExchangeAnswer,
        limit: Int,
        again: Bool,
        by target: DeviceIdentity
    ) throws {
        let now = house.time.now()
        model.noteStandings(of: target, at: now)
        model.supersede(for: target, at: now)
        let cancels = model.cancellations(of: target).compactMap { model.works[$0].operation }
        try expect(
            answer.cancel.map(\.operation) == cancels,
            "told to cancel \(answer.cancel), not \(cancels)"
        )
        let expected = model.offered(to: target, limit: limit, again: again, at: now)
        try expect(
            answer.operations.count == expected.count,
            "\(answer.operations.count) operations were handed out, not \(expected)"
        )
        for (work, offer) in zip(expected, answer.operations) {
            try check(offer, of: work, to: target)
            model.hand(
                work,
                to: target,
                attempt: offer.attempt,
                until: offer.leaseEnd,
                operation: offer.execution.operation,
                at: now
            )
            offers.append(Offer(target: target, offer: offer, work: work))
        }
    }

    private mutating func report(_ index: Int, _ answer: OperationModel.Answer) async throws {
        let (target, offer, work) = (offers[index].target, offers[index].offer, offers[index].work)
        var report = ExchangeReport(limit: 0)
        switch answer {
        case .progress:
            report.progress = [
                ExecutionProgress(execution: offer.execution, attempt: offer.attempt, detail: [0])
            ]
        case .outcome(let outcome, let detail):
            report.results = [
                ExecutionResult(
                    execution: offer.execution,
                    attempt: offer.attempt,
                    outcome: outcome,
                    detail: detail
                )
            ]
        }
        try await house.followManager()
        do {
            let answered = try await house.exchange.exchange(device: target, report: report)
            try expect(model.enrolled[target.device] == target, "an ended enrolment was served")
            model.take(
                answer,
                on: work,
                from: target,
                attempt: offer.attempt,
                at: house.time.now()
            )
            try await learnWaits()
            try take(answered, limit: 0, again: false, by: target)
        } catch let error as OperationQueueError {
            try expect(
                error.code == .unknownDevice && model.enrolled[target.device] != target,
                "a report threw \(error)"
            )
        }
        guard try await looksAtOnce() else { return }
        for other in model.works.indices
        where other == work || model.works[other].after.contains(where: { $0.work == work }) {
            try await check(other)
        }
    }
}

extension RandomHistory.Step {
    /// Whether only a device and the node that serves it take part.
    fileprivate var isOfDevice: Bool {
        switch self {
        case .poll, .answer, .progress, .wait: true
        default: false
        }
    }
}
