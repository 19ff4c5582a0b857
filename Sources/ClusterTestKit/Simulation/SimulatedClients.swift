internal import ArtifactStore
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// All devices of a simulation. Each does what it is given once, remembers what came of it, and reports
/// that until somebody has answered; it comes to whichever worker it likes.
final class SimulatedDevices: Sendable {
    struct Device: Sendable {
        let identity: DeviceIdentity
        /// What came of each operation it has done.
        var done: [OperationID: ExecutionResult] = [:]
        /// What nobody has answered yet, in the order in which it was done.
        var unreported: [ExecutionResult] = []
        var isBusy = false
    }

    private let world: SimulatedCluster
    private let devices: Mutex<[Device]>
    /// The devices that still have work, once the cluster is well again; before that all of them come.
    let wanted = Mutex<[Int]?>(nil)

    init(_ identities: [DeviceIdentity], in world: SimulatedCluster) {
        devices = Mutex(identities.map { Device(identity: $0) })
        self.world = world
    }

    /// Comes, one device after the other, on several connections at once.
    func run(_ life: SimulatedLife) async {
        await withDiscardingTaskGroup { group in
            for _ in 0..<world.plan.concurrentDevices {
                group.addTask { await self.come(life) }
            }
        }
    }

    private func come(_ life: SimulatedLife) async {
        let random = life.node.random
        while !Task.isCancelled {
            // What is left when all is well again is done without dawdling.
            let pause = random.duration(in: world.plan.exchangeInterval) / (world.isHealed ? 8 : 1)
            do { try await life.node.clock.sleep(for: pause) } catch { return }
            guard let index = choose(random) else { continue }
            await exchange(index, life)
            devices.withLock { $0[index].isBusy = false }
        }
    }

    private func choose(_ random: SeededRandomSource) -> Int? {
        let wanted = wanted.withLock { $0 }
        let count = wanted?.count ?? devices.withLock { $0.count }
        guard count > 0 else { return nil }
        let drawn = random.index(below: count)
        let index = wanted?[drawn] ?? drawn
        return devices.withLock { devices in
            if devices[index].isBusy { return nil }
            devices[index].isBusy = true
            return index
        }
    }

    private func exchange(_ index: Int, _ life: SimulatedLife) async {
        let random = life.node.random
        let device = devices.withLock { $0[index] }
        let worker = world.workerIDs[random.index(below: world.workerIDs.count)]
        var report = ExchangeReport(results: device.unreported, limit: 3)
        // A device that has restarted asks again for what it was given.
        if random.happens(world.isHealed ? 1 : 0.05) { report.redelivery = .now }
        do {
            let answer = try await life.call("exchange", to: worker) { [world, report] in
                guard let server = world.workers.withLock({ $0[worker] }) else {
                    throw SimulatedFault(.unreachable)
                }
                return try await server.exchange.exchange(
                    device: device.identity,
                    report: report
                )
            }
            let isUnmanaged = !world.hasManager
            world.witness.change { state in
                state.counts.exchanges += 1
                if isUnmanaged { state.counts.exchangesWithoutManagers += 1 }
            }
            life.node.trace.note("answered", at: worker, Int64(answer.operations.count))
            world.witness.onAcknowledged(report.results.filter { $0.outcome.isFinal })
            world.witness.onGiven(
                answer.operations.map(\.execution.operation),
                to: device.identity.device
            )
            devices.withLock { devices in
                devices[index].unreported.removeFirst(report.results.count)
                for offer in answer.operations { devices[index].take(offer, life) }
                for execution in answer.cancel { devices[index].giveUp(execution) }
            }
        } catch {
            // It comes again, perhaps elsewhere, with the same report.
        }
    }
}

extension SimulatedDevices.Device {
    /// Does what it was given, unless it has been done.
    mutating func take(_ offer: OfferedOperation, _ life: SimulatedLife) {
        let operation = offer.execution.operation
        if let before = done[operation] {
            if !unreported.contains(where: { $0.execution == before.execution }) {
                unreported.append(before)
            }
            return
        }
        let draw = life.node.random.number(below: 100)
        if draw < 8 {
            let until = life.node.clock.now() + .seconds(3)
            unreported.append(
                ExecutionResult(
                    execution: offer.execution,
                    attempt: offer.attempt,
                    outcome: .notNow(until: until)
                )
            )
            return
        }
        // The detail says which answer it was, so that a result that is not this one is noticed.
        let result = ExecutionResult(
            execution: offer.execution,
            attempt: offer.attempt,
            outcome: draw < 20 ? .failed : .completed,
            detail: Array("\(identity.device) \(draw)".utf8)
        )
        done[operation] = result
        unreported.append(result)
    }
}

extension SimulatedDevices.Device {
    /// Ends what it was asked to end, or says what came of it.
    mutating func giveUp(_ execution: ExecutionID) {
        let result =
            done[execution.operation]
            ?? ExecutionResult(execution: execution, outcome: .cancelled)
        done[execution.operation] = result
        if !unreported.contains(where: { $0.execution == execution }) { unreported.append(result) }
    }
}

extension ResultOutcome {
    var isFinal: Bool {
        switch self {
        case .completed, .failed, .failedBecause, .cancelled: true
        case .notNow, .awaitingConfirmation, .confirmed: false
        }
    }
}

/// Administrators: they enqueue, cancel and publish, each request until it is answered, at whichever
/// manager takes it.
struct SimulatedAdministrators: Sendable {
    let world: SimulatedCluster
    let identities: [DeviceIdentity]

    func run(_ life: SimulatedLife) async {
        await withDiscardingTaskGroup { group in
            // Two, so that one that waits for a coordinator does not silence the other.
            group.addTask { await self.enqueue(life, "a") }
            group.addTask { await self.enqueue(life, "b") }
            group.addTask { await self.publish(life) }
        }
    }

    private func enqueue(_ life: SimulatedLife, _ name: String) async {
        let random = life.node.random
        var number = 0
        while !Task.isCancelled {
            let pause = random.duration(in: world.plan.enqueueInterval)
            do { try await life.node.clock.sleep(for: pause) } catch { return }
            if world.isHealed { continue }
            number += 1
            let key = "\(name)-\(number)"
            let request = request(key, random)
            let receipt = await untilAnswered(life) { try await $0.enqueue(request) }
            guard let receipt else { return }
            world.witness.change { state in
                state.counts.enqueued += 1
                state.enqueued[key] = SimulationWitness.Enqueued(activity: receipt.activity)
            }
            guard random.happens(0.1) else { continue }
            // Before anybody may have heard of it the order of the others must not depend on it.
            world.witness.change { state in
                state.enqueued[key]?.isCancelled = true
                state.cancelled.insert(receipt.number)
            }
            _ = await untilAnswered(life) { try await $0.cancel(receipt.activity) }
        }
    }

    private func request(_ key: String, _ random: SeededRandomSource) -> EnqueueRequest {
        let target: OperationTarget
        if random.happens(0.3) {
            target = .group(SimulatedCluster.group(random.index(below: 8)))
        } else {
            let first = random.index(below: identities.count)
            let count = 1 + random.index(below: 6)
            let named = (0..<count).map { identities[(first + $0 * 7) % identities.count].device }
            target = .devices(named)
        }
        var request = EnqueueRequest(
            "simulate",
            to: target,
            payload: Array(key.utf8),
            idempotencyKey: key
        )
        request.deliveryLease = .seconds(10)
        request.wake = WakePolicy.none
        return request
    }

    private func publish(_ life: SimulatedLife) async {
        guard let releases = world.plan.releases else { return }
        for release in releases.published {
            let pause = life.node.random.duration(in: world.plan.publishInterval)
            do { try await life.node.clock.sleep(for: pause) } catch { return }
            if world.isHealed { return }
            _ = await untilAnswered(life) { try await $0.publish(release) }
        }
    }

    private func untilAnswered<Answer: Sendable>(
        _ life: SimulatedLife,
        _ body: @escaping @Sendable (SimulatedManager) async throws -> Answer
    ) async -> Answer? {
        let choice = ManagerChoice(life, world)
        while !Task.isCancelled {
            do {
                return try await choice.ask("admin", body)
            } catch {
                let pause = life.node.random.duration(in: .milliseconds(500)...(.seconds(2)))
                try? await life.node.clock.sleep(for: pause)
            }
        }
        return nil
    }
}
