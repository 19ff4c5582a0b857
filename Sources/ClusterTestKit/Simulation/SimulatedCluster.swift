internal import ArtifactStore
internal import ClusterRole
internal import DeviceRegistry
internal import OperationQueue
internal import Synchronization

/// Everything in one simulation.
final class SimulatedCluster: Sendable {
    let plan: SimulationPlan
    let scheduler: SimulatedScheduler
    let trace: SimulationTrace
    let network: SimulatedNetwork
    let witness: SimulationWitness
    let store: SimulatedStore
    let random: SeededRandomSource
    let managerIDs: [NodeID]
    let workerIDs: [NodeID]
    /// In the order in which they were made: stores, managers, workers, clients.
    let nodes: [SimulatedNode]
    /// The present life of each; looked up by calls that arrive.
    let managers = Mutex<[NodeID: SimulatedManager]>([:])
    let workers = Mutex<[NodeID: SimulatedWorker]>([:])
    let disks: [SimulatedDisk<SpoolFile>]
    let directory: SimulatedDirectory?
    private let healed = Mutex(false)

    init(seed: UInt64, plan: SimulationPlan) throws {
        self.plan = plan
        // Each part draws from a sequence of its own, so that a change in one moves no other.
        func stream(_ number: UInt64) -> SeededRandomSource {
            let mixed = SeededRandomSource(seed: seed &* 1_000_003 &+ number)
            return SeededRandomSource(seed: mixed.next())
        }
        let scheduler = SimulatedScheduler(random: stream(1))
        let trace = SimulationTrace(scheduler)
        let network = SimulatedNetwork(scheduler, trace, random: stream(2))
        let choices = stream(3)
        var made: [SimulatedNode] = []
        func node(_ id: NodeID) -> SimulatedNode {
            let skew = Duration.milliseconds(Int64(choices.number(below: 4_000)) - 2_000)
            let node = SimulatedNode(
                id,
                scheduler,
                trace,
                network,
                random: stream(100 + UInt64(made.count)),
                skew: skew
            )
            made.append(node)
            return node
        }
        store = SimulatedStore(node: node(SimulationPlan.store), random: choices)
        managerIDs = (1...max(1, plan.managers)).map { SimulationPlan.manager($0) }
        workerIDs = (1...max(1, plan.workers)).map { SimulationPlan.worker($0) }
        for id in managerIDs + workerIDs { _ = node(id) }
        _ = node(SimulationPlan.devices)
        _ = node(SimulationPlan.administrators)
        nodes = made
        disks = workerIDs.map { _ in
            SimulatedDisk(SpoolFile(incarnation: IncarnationID(from: choices)))
        }
        directory = plan.releases == nil ? nil : try SimulatedDirectory()
        witness = SimulationWitness(trace)
        random = choices
        self.scheduler = scheduler
        self.trace = trace
        self.network = network
    }

    /// Whether faults are over.
    var isHealed: Bool { healed.withLock { $0 } }
    var storeErrors: Double { isHealed ? 0 : plan.faults.storeErrors }

    static func group(_ number: Int) -> GroupID { GroupID(rawValue: "group-\(number)") }

    func node(_ id: NodeID) -> SimulatedNode? { nodes.first { $0.id == id } }

    /// Whether some manager's process runs.
    var hasManager: Bool { managerIDs.contains { node($0)?.isRunning == true } }

    // MARK: - The beginning

    /// Enrols the devices; nothing is simulated yet.
    func enrolDevices() async throws -> [DeviceIdentity] {
        let epoch = store.ledger.raiseEpoch()
        var identities: [DeviceIdentity] = []
        for number in 0..<plan.devices {
            let record = EnrolmentRecord(
                device: DeviceID(rawValue: "device-\(number)"),
                incarnation: IncarnationID(from: random),
                credential: CredentialDigest(
                    high: UInt128(random.next()),
                    low: UInt128(random.next())
                ),
                groups: [Self.group(number % 8)]
            )
            let receipt = try await store.devices.commit(
                .enrol(record),
                tenant: .standard,
                epoch: epoch,
                at: ManualTimeSource.standardStart
            )
            if let row = receipt.row { identities.append(row.identity) }
        }
        return identities
    }

    /// Starts every node.
    func start(_ identities: [DeviceIdentity]) -> SimulatedDevices {
        network.weather = plan.faults.weather
        store.node.start { _ in
            // The drivers run in their callers' tasks; only that the machine is up matters.
        }
        for id in managerIDs {
            node(id)?.start { [unowned self] life in
                await SimulatedManager(life, in: self).run()
            }
        }
        for (index, id) in workerIDs.enumerated() {
            node(id)?.diskFaults.withLock { $0 = plan.faults.disk }
            node(id)?.start { [unowned self] life in
                await SimulatedWorker(
                    life,
                    in: self,
                    disk: disks[index],
                    directory: directory(of: id, life)
                ).run()
            }
        }
        let devices = SimulatedDevices(identities, in: self)
        node(SimulationPlan.devices)?.start { life in await devices.run(life) }
        let administrators = SimulatedAdministrators(world: self, identities: identities)
        node(SimulationPlan.administrators)?.start { life in await administrators.run(life) }
        return devices
    }

    /// Each life of a worker has a directory of its own: the image of the one before, taken when that
    /// died.
    private func directory(of id: NodeID, _ life: SimulatedLife) -> String? {
        guard let directory else { return nil }
        let (now, next) = ("\(id)-\(life.number)", "\(id)-\(life.number + 1)")
        life.onCrash { directory.copy(now, to: next) }
        return "\(directory.path)/\(now)"
    }

    // MARK: - Faults

    /// Begins the script, and the faults that the seed draws.
    func begin(_ random: SeededRandomSource) {
        for step in plan.script { scheduler.after(step.at) { [weak self] in self?.do(step) } }
        scheduleFault(random)
    }

    private func scheduleFault(_ random: SeededRandomSource) {
        let faults = plan.faults
        let total = faults.partitions + faults.pauses + faults.crashes + faults.clockJumps
        guard total > 0 else { return }
        let pause = Duration.milliseconds(
            Int64(random.number(below: UInt64(max(1, faults.interval.milliseconds * 2))))
        )
        scheduler.after(pause) { [weak self] in
            guard let self, !isHealed else { return }
            drawFault(random, total)
            scheduleFault(random)
        }
    }

    private func drawFault(_ random: SeededRandomSource, _ total: Int) {
        let faults = plan.faults
        // Clients are not harmed: what becomes of them is not this library's.
        let harmed = Array(nodes.dropLast(2))
        let node = harmed[random.index(below: harmed.count)]
        let length = random.duration(in: faults.length)
        var draw = random.index(below: total)
        if draw < faults.partitions { return partition(node, random, for: length) }
        draw -= faults.partitions
        if draw < faults.pauses {
            if random.happens(0.5) {
                return node.pause(atPoint: 1 + random.index(below: 40), for: length)
            }
            return node.pause(for: length)
        }
        draw -= faults.pauses
        if draw < faults.crashes {
            // A database's machine comes back with what was committed: to its clients it was paused.
            if node === store.node { return node.pause(for: length) }
            if random.happens(0.5) {
                return node.crash(atPoint: 1 + random.index(below: 40), restartAfter: length)
            }
            return node.crash(restartAfter: length)
        }
        let jumps: [Duration] = [
            .seconds(3_600), .seconds(-3_600), .seconds(-86_400), .seconds(5), .seconds(-5),
        ]
        node.jumpClock(by: jumps[random.index(below: jumps.count)])
    }

    private func partition(
        _ node: SimulatedNode,
        _ random: SeededRandomSource,
        for length: Duration
    ) {
        let others = nodes.filter { $0 !== node }.map(\.id)
        let all = random.happens(0.5) ? others : [others[random.index(below: others.count)]]
        let ways: [PartitionWay] = [.both, .outgoing, .incoming, .flapping(every: .seconds(2))]
        cut([node.id], all, ways[random.index(below: ways.count)], for: length)
    }

    /// Does one step of a script.
    func `do`(_ step: SimulationStep) {
        switch step.action {
        case .partition(let nodes, let others, let way, let length):
            cut(nodes, others, way, for: length)
        case .weather(let weather, let length):
            let before = network.weather
            network.weather = weather
            trace.note("the weather turns", at: SimulationPlan.store, 0, isFault: true)
            scheduler.after(length) { [weak self] in
                guard let self, !isHealed else { return }
                network.weather = before
            }
        case .disk(let id, let faults, let length):
            let before = node(id)?.diskFaults.withLock { $0 } ?? .none
            node(id)?.diskFaults.withLock { $0 = faults }
            scheduler.after(length) { [weak self] in
                guard let self, !isHealed else { return }
                self.node(id)?.diskFaults.withLock { $0 = before }
            }
        case .jump(let id, let duration): node(id)?.jumpClock(by: duration)
        case .pause(let id, let length): node(id)?.pause(for: length)
        case .pauseAtPoint(let id, let number, let length):
            node(id)?.pause(atPoint: number, for: length)
        case .crash(let id, let restart): node(id)?.crash(restartAfter: restart)
        case .crashAtPoint(let id, let number, let restart):
            node(id)?.crash(atPoint: number, restartAfter: restart)
        }
    }

    private func cut(
        _ nodes: [NodeID],
        _ others: [NodeID],
        _ way: PartitionWay,
        for length: Duration
    ) {
        guard length > .zero, !isHealed else { return }
        for node in nodes {
            trace.note("cut off", at: node, length.milliseconds, isFault: true)
        }
        let shut = if case .flapping(let period) = way { min(length, period) } else { length }
        var pairs: [(NodeID, NodeID)] = []
        for node in nodes {
            for other in others {
                if way != .incoming { pairs.append((node, other)) }
                if way != .outgoing { pairs.append((other, node)) }
            }
        }
        for (from, to) in pairs { network.cut(from: from, to: to) }
        scheduler.after(shut) { [weak self, pairs] in
            guard let self else { return }
            for (from, to) in pairs { network.mend(from: from, to: to) }
            guard case .flapping(let period) = way, length > shut + period else { return }
            scheduler.after(period) { [weak self] in
                self?.cut(nodes, others, way, for: length - shut - period)
            }
        }
    }

    // MARK: - The end

    /// Ends every fault: what the cluster does now it does undisturbed.
    func heal() {
        healed.withLock { $0 = true }
        trace.note("all is well again", at: SimulationPlan.store)
        network.heal()
        for node in nodes {
            node.diskFaults.withLock { $0 = .none }
            node.clock.setRight()
            node.spare()
            node.goOn()
            node.start()
        }
    }

    /// Ends every task.
    func endAll() { for node in nodes { node.endAll() } }
    var aliveTasks: Int { nodes.reduce(0) { $0 + $1.aliveTasks } }
}
