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
        case repeatEnqueue(EnqueueRequest, isSame: Bool)
        case cancel(Int)
        case poll(DeviceID, limit: Int, RedeliveryRule)
        case answer(Int, ResultOutcome)
        case progress(Int)
        case expire
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

    /// An operation some device was handed, and may answer at any time, more than once.
    private struct Offer {
        var target: DeviceIdentity
        var offer: OfferedOperation
        var work: Int
    }

    static let names: [DeviceID] = ["a", "b", "c", "d"]
    static let groups: [GroupID] = ["red", "blue"]

    let house: QueueHouse
    private let random: SeededRandomSource
    private var model = OperationModel()
    private var offers: [Offer] = []
    private var requests: [(request: EnqueueRequest, receipt: EnqueueReceipt)] = []
    private var steps: [Step] = []
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
            for work in model.works.indices { try await check(work) }
        } catch let error as Broken {
            throw Difference(seed: random.seed, steps: steps, message: error.message)
        } catch {
            throw Difference(seed: random.seed, steps: steps, message: "threw \(error)")
        }
    }

    // MARK: Choosing

    private func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    private func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    private func next() -> Step {
        switch below(24) {
        case 0: return .enrol(pick(Self.names), below(2) == 0 ? [] : [pick(Self.groups)])
        case 1: return below(2) == 0 ? .remove(pick(Self.names)) : .expire
        case 2: return .join(pick(Self.groups), pick(Self.names))
        case 3: return .leave(pick(Self.groups), pick(Self.names))
        case 4...8: return .enqueue(request())
        case 9:
            guard let known = requests.last?.request, known.idempotencyKey != nil else {
                return .expire
            }
            return .repeatEnqueue(known, isSame: below(3) > 0)
        case 10: return model.works.isEmpty ? .expire : .cancel(below(model.works.count))
        case 11...15:
            return .poll(
                pick(Self.names),
                limit: below(4),
                below(5) == 0 ? .now : .afterLease
            )
        case 16...20: return offers.isEmpty ? .expire : .answer(recentOffer(), outcome())
        case 21: return offers.isEmpty ? .expire : .progress(recentOffer())
        default: return .wait(pick([.seconds(1), .seconds(20), .seconds(61), .seconds(400)]))
        }
    }

    /// Mostly one of the newest; sometimes one long answered.
    private func recentOffer() -> Int {
        below(3) == 0 ? below(offers.count) : max(0, offers.count - 1 - below(3))
    }

    private func outcome() -> ResultOutcome {
        switch below(10) {
        case 0...3: .completed
        case 4: .failed
        case 5, 6: .notNow(until: house.time.now() + .seconds(30))
        case 7: .awaitingConfirmation
        case 8: .confirmed
        default: .cancelled
        }
    }

    private func request() -> EnqueueRequest {
        let target: OperationTarget =
            below(2) == 0
            ? .group(pick(Self.groups + [.everyone]))
            : .devices((0...below(3)).map { _ in pick(Self.names) })
        var request = EnqueueRequest("code", to: target, payload: [UInt8(below(200))])
        request.priority = Int32(below(3)) - 1
        request.order = below(4) == 0 ? .strict : .skipsWaiting
        if below(4) == 0 { request.expiresAfter = .seconds(30 + below(100)) }
        if below(6) == 0 { request.notBefore = house.time.now() + .seconds(below(90)) }
        if below(3) == 0 { request.idempotencyKey = "key-\(steps.count)" }
        return request
    }

    // MARK: Doing

    struct Broken: Error { var message: String }

    private func expect(_ condition: Bool, _ message: @autoclosure () -> String) throws {
        if !condition { throw Broken(message: message()) }
    }

    private mutating func perform(_ step: Step) async throws {
        steps.append(step)
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
        case .repeatEnqueue(let request, let isSame): try await repeated(request, isSame)
        case .cancel(let work):
            _ = try await house.enqueuer.cancel(model.works[work].id, tenant: house.tenant)
            model.close(work, as: .cancelled)
            try await check(work)
        case .poll(let name, let limit, let rule): try await poll(name, limit, rule)
        case .answer(let index, let outcome):
            answers &+= 1
            try await report(index, .outcome(outcome, detail: [answers]))
            if below(4) == 0 { try await report(index, .outcome(outcome, detail: [answers])) }
        case .progress(let index):
            try await report(index, .progress(until: house.time.now() + .seconds(300)))
        case .expire:
            try await house.expiry.tick(at: house.time.now())
            model.expire(at: house.time.now())
        case .wait(let duration): house.time.advance(by: duration)
        }
    }

    private mutating func enrol(_ name: DeviceID, _ groups: [GroupID]) async throws {
        let made = try await house.administration.enrol(name, groups: groups, tenant: house.tenant)
        for group in model.members.keys { model.members[group]?.remove(name) }
        for group in groups + [.everyone] { model.members[group, default: []].insert(name) }
        model.enrolled[name] = made.identity
    }

    private mutating func enqueue(_ request: EnqueueRequest) async throws {
        let names: [DeviceID]?
        switch request.target {
        case .group(let group): names = model.members[group].map(Array.init)
        case .devices(let named): names = named.contains { model.enrolled[$0] != nil } ? named : nil
        }
        let receipt: EnqueueReceipt
        do {
            receipt = try await house.enqueuer.enqueue(request, tenant: house.tenant)
        } catch {
            try expect(
                names == nil && [.unknownGroup, .noTarget].contains(error.code),
                "enqueue threw \(error)"
            )
            return
        }
        let targets = Set(names ?? []).sorted().compactMap { model.enrolled[$0] }
        try expect(receipt.addressed == targets.count, "\(receipt.addressed) are addressed")
        let known = model.works.last?.number ?? 0
        try expect(receipt.number > known, "the number did not grow")
        model.works.append(
            OperationModel.Work(
                id: receipt.activity,
                number: receipt.number,
                priority: request.priority,
                isStrict: request.order == .strict,
                expiresAt: request.expiresAfter.map { house.time.now() + $0 },
                notBefore: request.notBefore,
                targets: targets,
                state: targets.isEmpty ? .finished : .open
            )
        )
        requests.append((request, receipt))
        try await check(model.works.count - 1)
    }

    private func repeated(_ request: EnqueueRequest, _ isSame: Bool) async throws {
        var request = request
        if !isSame { request.payload.append(1) }
        do {
            let receipt = try await house.enqueuer.enqueue(request, tenant: house.tenant)
            try expect(isSame, "another request was taken under the same key")
            try expect(
                receipt.wasRepeated && receipt.activity == requests.last?.receipt.activity,
                "a repeated request was enqueued again"
            )
        } catch let error as OperationQueueError {
            try expect(!isSame && error.code == .keyConflict, "a repeated request threw \(error)")
        }
    }

    private mutating func poll(
        _ name: DeviceID,
        _ limit: Int,
        _ rule: RedeliveryRule
    ) async throws {
        guard let target = model.enrolled[name] else { return }
        let answer = try await house.exchange.exchange(
            device: target,
            report: ExchangeReport(limit: limit, redelivery: rule)
        )
        try take(answer, limit: limit, again: rule == .now, by: target)
        for work in model.works.indices where model.works[work].targets.contains(target) {
            if answer.operations.isEmpty { break }
            try await check(work)
        }
    }

    /// Compares what was handed out with what should have been.
    private mutating func take(
        _ answer: ExchangeAnswer,
        limit: Int,
        again: Bool,
        by target: DeviceIdentity
    ) throws {
        let now = house.time.now()
        let cancels = model.cancellations(of: target).compactMap { model.works[$0].operation }
        try expect(
            answer.cancel.map(\.operation) == cancels,
            "told to cancel \(answer.cancel), not \(cancels)"
        )
        let expected = model.offered(to: target, limit: limit, again: again, at: now)
        try expect(
            answer.operations.count == expected.count,
            "\(answer.operations.count) operations were handed out, not \(expected.count)"
        )
        for (work, offer) in zip(expected, answer.operations) {
            let known = model.works[work].operation
            try expect(
                offer.priority == model.works[work].priority
                    && (known == nil || known == offer.execution.operation)
                    && !model.works.indices.contains {
                        $0 != work && model.works[$0].operation == offer.execution.operation
                    },
                "operation \(offer.execution) was handed out in the place of \(work)"
            )
            model.hand(
                work,
                to: target,
                attempt: offer.attempt,
                until: offer.leaseEnd,
                operation: offer.execution.operation
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
        do {
            let answered = try await house.exchange.exchange(device: target, report: report)
            try expect(model.enrolled[target.device] == target, "an ended enrolment was served")
            model.take(answer, on: work, from: target, attempt: offer.attempt)
            if case .outcome(.notNow(let asked), _) = answer {
                try await learnWait(of: target, in: work, asked: asked)
            }
            try take(answered, limit: 0, again: false, by: target)
        } catch let error as OperationQueueError {
            try expect(
                error.code == .unknownDevice && model.enrolled[target.device] != target,
                "a report threw \(error)"
            )
        }
        try await check(work)
    }

    /// A device that puts work off again and again waits longer than it asked; how long is up to the
    /// queue, within limits.
    private mutating func learnWait(
        of target: DeviceIdentity,
        in work: Int,
        asked: Timestamp
    ) async throws {
        guard model.works[work].rows[target]?.state == .deferred else { return }
        let page = try await house.browser.executions(
            of: model.works[work].id,
            tenant: house.tenant
        )
        let found = page.executions.first { $0.id.device == target.device }?.until
        if model.state(of: target, in: work) == .deferred {
            let latest = house.time.now() + .seconds(3_600)
            try expect(
                found.map { $0 >= asked && $0 <= max(asked, latest) } ?? false,
                "put off until \(String(describing: found)), asked for \(asked)"
            )
        }
        model.works[work].rows[target]?.until = found
    }

    // MARK: Checking

    /// One activity: its state, every execution, and its counters, which must be their recount.
    private func check(_ index: Int) async throws {
        let work = model.works[index]
        let activity = try await house.browser.activity(work.id, tenant: house.tenant)
        try expect(activity.state == work.state, "activity \(index) is \(activity.state)")
        try expect(activity.answeredLate == work.late, "\(activity.answeredLate) late answers")
        let page = try await house.browser.executions(of: work.id, tenant: house.tenant)
        let found = page.executions
        try expect(found.count == work.targets.count, "\(found.count) executions of \(index)")
        var recount = StateCounts()
        for (execution, target) in zip(found, work.targets) {
            recount[execution.state] += 1
            let state = model.state(of: target, in: index)
            try expect(
                execution.id.device == target.device
                    && execution.id.incarnation == target.incarnation && execution.state == state,
                "\(target.device) has \(index) \(execution.state), not \(state)"
            )
        }
        try expect(activity.counts == recount, "the counters of \(index) are not their recount")
    }
}
