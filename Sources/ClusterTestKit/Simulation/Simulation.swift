internal import CReeveSimulation
internal import ClusterRole
internal import DeviceRegistry
internal import Synchronization

/// A whole cluster under faults, in one thread and in no time: three managers that compete for the
/// lease, five workers with replica, spool and releases, and two hundred devices, on clocks, a network
/// and disks that fail as a seed decides.
///
/// ```swift
/// for seed in 1...500 {
///     let report = try Simulation(seed: UInt64(seed)).run()
///     XCTAssertTrue(report.isGood, "\(report)")
/// }
/// ```
///
/// What runs is the library's own code: the coordinator, the writers with their epoch, exchanges,
/// image and overlay of a replica, the fetching and activation of releases. What is simulated is what
/// it runs on. The same seed and plan give the same events, in this process and in any other.
///
/// A product takes part with its deployer, its requests and its drivers, see ``SimulationParts``.
public struct Simulation: Sendable {
    public let seed: UInt64
    public let plan: SimulationPlan

    /// - Parameters:
    ///   - seed: decides everything that is left to chance.
    ///   - plan: what there is, and what happens.
    public init(seed: UInt64, plan: SimulationPlan = SimulationPlan()) {
        self.seed = seed
        self.plan = plan
    }

    /// Runs it on this thread, which it keeps busy: call it from a synchronous test or a thread of its
    /// own, one at a time on a thread.
    ///
    /// - Returns: what it came to. Invariants that did not hold stand in it.
    /// - Throws: if a directory for releases cannot be made.
    public func run() throws -> SimulationReport {
        reeve_simulation_begin()
        var isRunning = true
        defer { if isRunning { _ = reeve_simulation_end() } }
        let cluster = try SimulatedCluster(seed: seed, plan: plan)
        defer { cluster.directory?.remove() }
        let observer = SimulatedLane(cluster.scheduler)

        let identities = Self.complete(on: observer, cluster) {
            (try? await cluster.enrolDevices()) ?? []
        }
        cluster.witness.change { $0.extra = plan.invariants }
        cluster.trace.observe { [witness = cluster.witness] in witness.check() }
        let devices = cluster.start(identities ?? [])
        cluster.begin(SeededRandomSource(seed: cluster.random.next()))
        while cluster.trace.count < plan.events, Self.step(cluster) {}

        Self.converge(cluster, devices, on: observer)
        var report = SimulationReport(
            seed: seed,
            events: cluster.trace.count,
            hash: cluster.trace.hash,
            duration: cluster.scheduler.now,
            escapedJobs: 0,
            counts: cluster.witness.counts,
            failures: []
        )
        report.counts.restarts = cluster.nodes.reduce(0) { $0 + $1.lives - 1 }
        report.failures = cluster.witness.failures
        // What comes now is no part of the run: the tasks of the dead end too, one after the other.
        cluster.trace.observe(nil)
        let unended = Self.end(cluster)
        report.escapedJobs = Int(reeve_simulation_end()) + cluster.scheduler.foreignJobs
        isRunning = false
        if report.escapedJobs > 0 {
            report.note(
                "\(report.escapedJobs) jobs left the simulated executor. Look for unstructured tasks, "
                    + "actors with executors of their own, and waits on the system's clocks."
            )
        }
        if unended > 0 {
            report.note("\(unended) processes did not end when they were cancelled.")
        }
        return report
    }

    /// - Returns: whether it can go on.
    private static func step(_ cluster: SimulatedCluster) -> Bool {
        if cluster.scheduler.isSpinning {
            cluster.witness.fail(.convergence, "Something runs without ever waiting.")
            return false
        }
        return cluster.scheduler.step()
    }

    /// Runs something that needs no time to its end.
    private static func complete<Value: Sendable>(
        on lane: SimulatedLane,
        _ cluster: SimulatedCluster,
        _ body: @escaping @Sendable () async -> Value
    ) -> Value? {
        let box = Box<Value>()
        _ = Task(executorPreference: lane) {
            let value = await body()
            box.value.withLock { $0 = value }
        }
        while box.value.withLock({ $0 == nil }), cluster.scheduler.step(mayWait: false) {}
        return box.value.withLock { $0 }
    }

    /// Ends the faults, waits until everything agrees, and compares.
    private static func converge(
        _ cluster: SimulatedCluster,
        _ devices: SimulatedDevices,
        on lane: SimulatedLane
    ) {
        cluster.heal()
        let checker = SimulationChecker(cluster, devices)
        let deadline = cluster.scheduler.now + cluster.plan.patience
        var reason: String? = "nothing was looked at"
        while reason != nil, cluster.scheduler.now < deadline {
            // Looking takes no time, but other jobs that are ready run in between.
            let next = cluster.scheduler.now + .seconds(1)
            while cluster.scheduler.now < next, step(cluster) {}
            if cluster.scheduler.isSpinning { return }
            reason = complete(on: lane, cluster) { await checker.whatDiffers() }?.first
        }
        if let reason { cluster.witness.fail(.convergence, reason) }
        _ = complete(on: lane, cluster) { await checker.compare() }
    }

    /// Ends every task, so that nothing is left in memory.
    ///
    /// - Returns: how many did not end.
    private static func end(_ cluster: SimulatedCluster) -> Int {
        cluster.endAll()
        var steps = 0
        while cluster.aliveTasks > 0, steps < maximumEndSteps, cluster.scheduler.step() {
            steps += 1
        }
        return cluster.aliveTasks
    }

    /// Far more than ending takes.
    private static let maximumEndSteps = 1_000_000
}

/// What a task has come to.
private final class Box<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
}
