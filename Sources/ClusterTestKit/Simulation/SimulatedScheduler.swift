internal import CReeveSimulation
internal import ClusterRole
internal import Synchronization

/// The one run loop of a simulation: which job runs next, what time it is, and who is woken then.
///
/// Everything runs on the thread that calls ``step()``. Of the jobs that are ready one is drawn; when
/// none is, time goes on to the next timer, and of those due at one moment one is drawn as well. So the
/// seed decides every order that real threads and clocks would decide.
final class SimulatedScheduler: Sendable {
    private struct ReadyJob {
        var job: UnownedJob
        var lane: SimulatedLane
        var serial: SimulatedSerialExecutor?
    }

    private struct Timer {
        var due: Duration
        var tie: UInt64
        var id: UInt64

        func isBefore(_ other: Timer) -> Bool {
            due == other.due ? tie < other.tie : due < other.due
        }
    }

    private struct State {
        var ready: [ReadyJob] = []
        var timers: [Timer] = []
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextTimer: UInt64 = 0
        var now = Duration.zero
        var jobsAtThisTime = 0
        var foreignJobs = 0
    }

    /// More jobs than this without time going on is a loop that never waits: far more than all nodes
    /// of a large simulation do in one moment.
    static let maximumJobsWithoutTime = 2_000_000

    private let random: SeededRandomSource
    private let state = Mutex(State())

    init(random: SeededRandomSource) { self.random = random }

    /// The true time of the simulation: what no node knows.
    var now: Duration { state.withLock { $0.now } }

    /// Jobs that came from another thread: work that had left the simulation.
    var foreignJobs: Int { state.withLock { $0.foreignJobs } }

    /// Whether somebody runs without ever waiting.
    var isSpinning: Bool {
        state.withLock { $0.jobsAtThisTime > Self.maximumJobsWithoutTime }
    }

    func enqueue(_ job: UnownedJob, on lane: SimulatedLane, _ serial: SimulatedSerialExecutor?) {
        let isForeign = !reeve_simulation_is_running()
        state.withLock { state in
            if isForeign { state.foreignJobs += 1 }
            state.ready.append(ReadyJob(job: job, lane: lane, serial: serial))
        }
    }

    /// Calls `action` on the run loop once `delay` has passed. It must return at once.
    @discardableResult
    func after(_ delay: Duration, _ action: @escaping @Sendable () -> Void) -> UInt64 {
        let tie = random.next()
        return state.withLock { state in
            state.nextTimer += 1
            let timer = Timer(due: state.now + max(.zero, delay), tie: tie, id: state.nextTimer)
            state.actions[timer.id] = action
            state.timers.append(timer)
            Self.siftUp(&state.timers)
            return timer.id
        }
    }

    func cancel(_ timer: UInt64) {
        let action = state.withLock { $0.actions.removeValue(forKey: timer) }
        _ = action
    }

    /// Runs one job, or moves time on to the next timer.
    ///
    /// - Parameter mayWait: whether time may go on.
    /// - Returns: whether there was anything to do.
    func step(mayWait: Bool = true) -> Bool {
        while let next = takeReady() {
            if next.lane.park(next.job, next.serial) { continue }
            if let serial = next.serial {
                next.job.runSynchronously(on: serial.asUnownedSerialExecutor())
            } else {
                next.job.runSynchronously(on: next.lane.asUnownedTaskExecutor())
            }
            return true
        }
        guard mayWait, let action = takeDue() else { return false }
        action()
        return true
    }

    private func takeReady() -> ReadyJob? {
        let draw = random.next()
        return state.withLock { state in
            let count = state.ready.count
            guard count > 0 else { return nil }
            let index = Int(draw.multipliedFullWidth(by: UInt64(count)).high)
            state.ready.swapAt(index, count - 1)
            state.jobsAtThisTime += 1
            return state.ready.removeLast()
        }
    }

    private func takeDue() -> (@Sendable () -> Void)? {
        state.withLock { state in
            while let timer = Self.popFirst(&state.timers) {
                guard let action = state.actions.removeValue(forKey: timer.id) else { continue }
                if timer.due > state.now {
                    state.now = timer.due
                    state.jobsAtThisTime = 0
                }
                return action
            }
            return nil
        }
    }

    // MARK: - A binary heap

    private static func siftUp(_ heap: inout [Timer]) {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].isBefore(heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private static func popFirst(_ heap: inout [Timer]) -> Timer? {
        guard !heap.isEmpty else { return nil }
        heap.swapAt(0, heap.count - 1)
        let first = heap.removeLast()
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < heap.count else { return first }
            if child + 1 < heap.count, heap[child + 1].isBefore(heap[child]) { child += 1 }
            guard heap[child].isBefore(heap[parent]) else { return first }
            heap.swapAt(child, parent)
            parent = child
        }
    }
}

/// The tasks of one life of one node. A lane can stand still: its jobs then wait, as the threads of a
/// process that is stopped or dead do, wherever they are.
final class SimulatedLane: TaskExecutor {
    private struct State {
        var isStopped = false
        var parked: [(job: UnownedJob, serial: SimulatedSerialExecutor?)] = []
    }

    private let scheduler: SimulatedScheduler
    private let state = Mutex(State())

    init(_ scheduler: SimulatedScheduler) { self.scheduler = scheduler }

    func enqueue(_ job: consuming ExecutorJob) {
        scheduler.enqueue(UnownedJob(job), on: self, nil)
    }

    /// Keeps a job if the lane stands still.
    func park(_ job: UnownedJob, _ serial: SimulatedSerialExecutor?) -> Bool {
        state.withLock { state in
            if state.isStopped { state.parked.append((job, serial)) }
            return state.isStopped
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }

    func goOn() {
        let parked = state.withLock { state in
            state.isStopped = false
            defer { state.parked = [] }
            return state.parked
        }
        for (job, serial) in parked { scheduler.enqueue(job, on: self, serial) }
    }

    /// An executor for an actor of this life.
    func makeSerialExecutor() -> SimulatedSerialExecutor {
        SimulatedSerialExecutor(lane: self, scheduler)
    }
}

/// Runs an actor's jobs on its node's lane.
final class SimulatedSerialExecutor: SerialExecutor {
    private let lane: SimulatedLane
    private let scheduler: SimulatedScheduler

    init(lane: SimulatedLane, _ scheduler: SimulatedScheduler) {
        self.lane = lane
        self.scheduler = scheduler
    }

    func enqueue(_ job: consuming ExecutorJob) {
        scheduler.enqueue(UnownedJob(job), on: lane, self)
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    func checkIsolated() {
        precondition(reeve_simulation_is_running(), "This runs outside of the simulation.")
    }
}

/// One value that a task waits for and the run loop, or another task, brings. The first one counts.
final class SimulatedWait<Value: Sendable>: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Value, any Error>)
        case done(Result<Value, any Error>)
    }

    private let state = Mutex(State.open)

    func resolve(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            switch state {
            case .done: return nil
            case .open:
                state = .done(result)
                return nil
            case .waiting(let continuation):
                state = .done(result)
                return continuation
            }
        }
        waiting?.resume(with: result)
    }

    /// - Throws: what it was resolved with, or `CancellationError`.
    func value() async throws -> Value {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let known = state.withLock { state -> Result<Value, any Error>? in
                    if case .done(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let known { continuation.resume(with: known) }
            }
        } onCancel: {
            resolve(.failure(CancellationError()))
        }
    }
}
