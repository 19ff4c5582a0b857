public import ClusterRole
internal import Synchronization

/// A machine in a simulation: a clock, a disk's bad luck, and a process that is started, stopped,
/// killed and started again.
public final class SimulatedNode: Sendable {
    /// What the process does. It returns when its task is cancelled.
    public typealias Program = @Sendable (SimulatedLife) async -> Void

    private struct State {
        var program: Program?
        var life: SimulatedLife?
        var lives = 0
        var isPaused = false
        var points = 0
        var crashPoint: (number: Int, restart: Duration)?
        var pausePoint: (number: Int, length: Duration)?
    }

    public let id: NodeID
    public let clock: SimulatedClock
    /// The node's own randomness: what it draws does not depend on what others do.
    public let random: SeededRandomSource
    let scheduler: SimulatedScheduler
    let trace: SimulationTrace
    let network: SimulatedNetwork
    /// Faults of its disk.
    let diskFaults = Mutex(DiskFaults.none)
    /// Every life's root task, so that the simulation can end them all.
    private let tasks = Mutex<(all: [Task<Void, Never>], lanes: [SimulatedLane], alive: Int)>(
        ([], [], 0)
    )
    private let state = Mutex(State())

    init(
        _ id: NodeID,
        _ scheduler: SimulatedScheduler,
        _ trace: SimulationTrace,
        _ network: SimulatedNetwork,
        random: SeededRandomSource,
        skew: Duration
    ) {
        self.id = id
        self.scheduler = scheduler
        self.trace = trace
        self.network = network
        self.random = random
        clock = SimulatedClock(
            scheduler,
            boot: .milliseconds(Int64(random.number(below: 1_000_000))),
            skew: skew
        )
    }

    /// Whether its process runs or is paused.
    public var isUp: Bool { state.withLock { $0.life != nil } }

    /// Whether its process runs.
    public var isRunning: Bool { state.withLock { $0.life != nil && !$0.isPaused } }

    /// How often its process was started.
    public var lives: Int { state.withLock { $0.lives } }

    /// Starts the process; a second call changes only what the next start runs.
    public func start(_ program: @escaping Program) {
        state.withLock { $0.program = program }
        start()
    }

    func start() {
        let begun = state.withLock { state -> (SimulatedLife, Program)? in
            guard state.life == nil, let program = state.program else { return nil }
            state.lives += 1
            let life = SimulatedLife(self, SimulatedLane(scheduler), number: state.lives)
            state.life = life
            state.isPaused = false
            return (life, program)
        }
        guard let (life, program) = begun else { return }
        trace.note("started", at: id, Int64(life.number))
        let task = Task(executorPreference: life.lane) {
            await program(life)
            self.tasks.withLock { $0.alive -= 1 }
        }
        tasks.withLock { tasks in
            tasks.all.append(task)
            tasks.lanes.append(life.lane)
            tasks.alive += 1
        }
    }

    /// Kills the process: what it has not made durable is gone, and nothing it had begun goes on.
    ///
    /// - Parameter restart: after this time it is started again; `nil` for never.
    public func crash(restartAfter restart: Duration?) {
        let life = state.withLock { state -> SimulatedLife? in
            defer {
                state.life = nil
                state.isPaused = false
            }
            return state.life
        }
        guard let life else { return }
        trace.note("crashed", at: id, Int64(life.number), isFault: true)
        life.end()
        network.close(id)
        if let restart { scheduler.after(restart) { [weak self] in self?.start() } }
    }

    /// Kills the process at the `number`th call or write from now on, before that has had any effect.
    public func crash(atPoint number: Int, restartAfter restart: Duration) {
        state.withLock { $0.crashPoint = ($0.points + max(1, number), restart) }
    }

    /// Stops the process for a while, as SIGSTOP, a virtual machine's migration or a long collection of
    /// garbage do. Its clocks go on.
    public func pause(for duration: Duration) {
        let life = state.withLock { state -> SimulatedLife? in
            guard !state.isPaused else { return nil }
            state.isPaused = state.life != nil
            return state.life
        }
        guard let life else { return }
        trace.note("paused", at: id, duration.milliseconds, isFault: true)
        life.lane.stop()
        scheduler.after(duration) { [weak self] in self?.goOn(life) }
    }

    /// Stops the process just after the `number`th call or write from now on was sent: what is under
    /// way then is done when it goes on.
    public func pause(atPoint number: Int, for duration: Duration) {
        state.withLock { $0.pausePoint = ($0.points + max(1, number), duration) }
    }

    /// Forgets what was to come.
    func spare() {
        state.withLock { state in
            state.crashPoint = nil
            state.pausePoint = nil
        }
    }

    /// Ends a pause.
    func goOn() { state.withLock { $0.life }.map(goOn) }

    private func goOn(_ life: SimulatedLife) {
        let isIt = state.withLock { state in
            guard state.life === life, state.isPaused else { return false }
            state.isPaused = false
            return true
        }
        guard isIt else { return }
        trace.note("goes on", at: id, Int64(life.number))
        life.lane.goOn()
    }

    /// Moves its wall clock.
    public func jumpClock(by duration: Duration) {
        trace.note("clock jumps", at: id, duration.milliseconds, isFault: true)
        clock.jump(by: duration)
    }

    /// Counts what the process is about to do to the world.
    ///
    /// - Throws: ``SimulatedFault`` `crashed` in a process that died at this very point.
    func point(of life: SimulatedLife) async throws {
        let (restart, pause) = state.withLock { state -> (Duration?, Duration?) in
            guard state.life === life else { return (nil, nil) }
            state.points += 1
            let crash = state.crashPoint.flatMap { $0.number == state.points ? $0.restart : nil }
            let pause = state.pausePoint.flatMap { $0.number == state.points ? $0.length : nil }
            if crash != nil { state.crashPoint = nil }
            if pause != nil { state.pausePoint = nil }
            return (crash, pause)
        }
        if let pause {
            scheduler.after(.milliseconds(1)) { [weak self] in self?.pause(for: pause) }
        }
        if let restart {
            crash(restartAfter: restart)
            // Its lane stands still: nothing behind this line happens before the simulation is over.
            await Task.yield()
        }
        if life.isOver { throw SimulatedFault(.crashed) }
    }

    // MARK: - The end

    /// Root tasks that have not returned.
    var aliveTasks: Int { tasks.withLock { $0.alive } }

    /// Cancels everything and lets every lane run, so that all tasks end.
    func endAll() {
        state.withLock { $0.program = nil }
        state.withLock { $0.life }?.isOver = true
        let (all, lanes) = tasks.withLock { ($0.all, $0.lanes) }
        for task in all { task.cancel() }
        for lane in lanes { lane.goOn() }
    }
}

/// One life of a process on a ``SimulatedNode``.
public final class SimulatedLife: Sendable {
    public let node: SimulatedNode
    /// Counted from 1.
    public let number: Int
    let lane: SimulatedLane
    private let over = Mutex(false)
    private let endings = Mutex<[@Sendable () -> Void]>([])

    init(_ node: SimulatedNode, _ lane: SimulatedLane, number: Int) {
        self.node = node
        self.lane = lane
        self.number = number
    }

    /// Whether the process is dead.
    var isOver: Bool {
        get { over.withLock { $0 } }
        set { over.withLock { $0 = newValue } }
    }

    /// An executor on this node for an actor that would otherwise have a thread of its own.
    public func makeExecutor() -> any SerialExecutor { lane.makeSerialExecutor() }

    /// Calls `body` in the moment in which the process dies, on the run loop: to take the image of its
    /// disk, say.
    func onCrash(_ body: @escaping @Sendable () -> Void) { endings.withLock { $0.append(body) } }

    func end() {
        lane.stop()
        isOver = true
        let endings = endings.withLock { endings in
            defer { endings = [] }
            return endings
        }
        for ending in endings { ending() }
    }

    /// Calls another node, see ``SimulatedNetwork/call(_:from:to:within:_:)``. It is a point at which the
    /// process can be made to crash.
    public func call<Answer: Sendable>(
        _ what: StaticString,
        to other: NodeID,
        within limit: Duration = .seconds(3),
        _ body: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer {
        try await node.point(of: self)
        return try await node.network.call(what, from: node.id, to: other, within: limit, body)
    }
}
