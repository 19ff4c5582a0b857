public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Runs this node's share of the cluster's tasks: each slot of each task on one node at a time, and once
/// for each due time.
///
/// Every few seconds it looks at the slots and at the members, takes the free slots that rendezvous
/// hashing gives to this node, and gives back those that have become another's. A run is stored as begun,
/// with the next due time, **before** its body is called, and as ended when the body has returned; both
/// writes name the slot's epoch.
///
/// - A node that shuts down gracefully lets runs finish, and gives its slots back: no due time is run
///   twice and none is lost.
/// - A node that is lost in the middle of a run leaves it begun; whoever takes the slot begins it again
///   with ``TaskRun/attempt`` one higher and the same ``TaskRun/key``. What a body does under that key
///   is done once.
/// - A node that cannot renew cancels its bodies by its own monotonic clock before the store gives the
///   slots to anybody else. A body that does not return then keeps nothing but this node from taking
///   that slot again.
///
/// A body that throws has had its run: the error is logged, and the slot is due again at its next time.
public final class ClusterTaskRunner: Service {
    /// A task and what it does.
    public struct Job: Sendable {
        public var task: ClusterTask
        public var body: @Sendable (TaskRun) async throws -> Void

        public init(
            _ task: ClusterTask,
            body: @escaping @Sendable (TaskRun) async throws -> Void
        ) {
            self.task = task
            self.body = body
        }
    }

    /// What a runner is made with; the defaults work.
    public struct Settings: Sendable {
        /// A slot's lease: how long the store keeps it, after how long this node stops by itself, and how
        /// often it looks. 15 s, 10 s and 2 s.
        public var timing = LeaseTiming.standard
        /// How long runs may go on after a graceful shutdown began, before they are cancelled. 20 s.
        public var handOverLimit = Duration.seconds(20)
        public var clock: any TimeSource = SystemTimeSource()
        public var logger = Logger(label: "reeve.cluster-tasks")

        public init() {}
    }

    private enum Event: Sendable {
        case tick(Int)
        case renewed([TaskSlot], of: [TaskSlotClaim], askedAt: Duration)
        case looked([TaskSlot], [Member])
        case lookFailed
        case acquired([TaskSlot], of: [TaskSlotID], askedAt: Duration)
        case acquireFailed([TaskSlotID])
        case released
        case advanced(TaskSlotClaim)
        case advanceFailed(TaskSlotClaim, isLost: Bool)
        case ended(TaskRun)
        case shutdown
    }

    /// The timer under way: an earlier or equal one is enough.
    private struct Timer {
        var number = 0
        var at: Duration?
    }

    private let node: NodeID
    private let storage: any TaskSlotStorage
    private let members: @Sendable () async throws -> [Member]
    private let jobs: [ClusterTaskName: Job]
    private let settings: Settings
    private let hasRun = Atomic<Bool>(false)
    private let slots = Mutex<[TaskSlotID]>([])
    /// Ends the bodies that run.
    private let bodies = Mutex<[TaskRun: AsyncStream<Never>.Continuation]>([:])

    /// - Parameters:
    ///   - node: under which name it holds slots; unique among the runners of each task.
    ///   - storage: keeps the slots.
    ///   - jobs: the tasks this node can run. The node's own ``Member/properties`` must announce them
    ///     (``ClusterTask/announcement(of:)``), or it is given none.
    ///   - settings: times, clock, logger.
    ///   - members: the members as known now, this one among them.
    /// - Throws: ``ClusterMembershipError`` with `invalidTask` for a task that cannot be kept, and for two
    ///   of one name.
    public init(
        node: NodeID,
        storage: any TaskSlotStorage,
        jobs: [Job],
        settings: Settings = Settings(),
        members: @escaping @Sendable () async throws -> [Member]
    ) throws(ClusterMembershipError) {
        var known: [ClusterTaskName: Job] = [:]
        for job in jobs {
            try job.task.validate()
            guard known.updateValue(job, forKey: job.task.name) == nil else {
                throw ClusterMembershipError(
                    .invalidTask,
                    "Two tasks are called \(job.task.name). Rename one of them."
                )
            }
        }
        let announced = ClusterTask.announcement(of: jobs.map(\.task))
        guard announced.values.allSatisfy({ $0.utf8.count <= Member.maximumTextBytes }) else {
            throw ClusterMembershipError(
                .invalidTask,
                "The names of the tasks together have at most \(Member.maximumTextBytes) bytes."
            )
        }
        self.node = node
        self.storage = storage
        self.jobs = known
        self.settings = settings
        self.members = members
    }

    /// The slots this node held when it last looked.
    public var heldSlots: [TaskSlotID] { slots.withLock { $0 } }

    /// Runs until graceful shutdown, which hands the slots over, or cancellation, which cancels the bodies
    /// and lets the slots run out. Returns when every body has returned.
    ///
    /// - Throws: ``ClusterMembershipError`` with `invalidConfiguration` when called twice.
    public func run() async throws {
        guard !hasRun.exchange(true, ordering: .relaxed) else {
            throw ClusterMembershipError(
                .invalidConfiguration,
                "This runner of tasks has run already. Make another one."
            )
        }
        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        await withDiscardingTaskGroup { group in
            await withGracefulShutdownHandler {
                await self.obey(events, sink, &group)
            } onGracefulShutdown: {
                sink.yield(.shutdown)
            }
            self.slots.withLock { $0 = [] }
            group.cancelAll()
        }
    }

    private func obey(
        _ events: AsyncStream<Event>,
        _ sink: AsyncStream<Event>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) async {
        var core = ClusterTaskCore(
            node: node,
            tasks: jobs.values.map(\.task).sorted { $0.name < $1.name },
            timing: settings.timing,
            handOverLimit: settings.handOverLimit
        )
        var timer = Timer()
        var directives = core.onStart(at: moment)
        var iterator = events.makeAsyncIterator()
        while true {
            let held = core.heldSlots
            slots.withLock { $0 = held }
            for directive in directives {
                if directive == .stop { return }
                perform(directive, &timer, sink, &group)
            }
            guard let event = await iterator.next() else { return }
            directives = take(event, &core, &timer)
        }
    }

    private var moment: ClusterTaskCore.Moment {
        .init(wall: settings.clock.now(), monotonic: settings.clock.monotonic())
    }

    private func take(
        _ event: Event,
        _ core: inout ClusterTaskCore,
        _ timer: inout Timer
    ) -> [ClusterTaskCore.Directive] {
        let now = moment
        switch event {
        case .tick(let number):
            guard number == timer.number else { return [] }
            timer.at = nil
            return core.onTick(at: now)
        case .renewed(let slots, let claims, let askedAt):
            return core.onRenewed(slots, of: claims, askedAt: askedAt, at: now)
        case .looked(let slots, let members): return core.onLooked(slots, members, at: now)
        case .lookFailed: return core.onLookFailed(at: now)
        case .acquired(let slots, let asked, let askedAt):
            return core.onAcquired(slots, of: asked, askedAt: askedAt, at: now)
        case .acquireFailed(let asked): return core.onAcquireFailed(asked, at: now)
        case .released: return core.onReleased(at: now)
        case .advanced(let claim): return core.onAdvanced(claim, at: now)
        case .advanceFailed(let claim, let isLost):
            return core.onAdvanceFailed(claim, isLost: isLost, at: now)
        case .ended(let run): return core.onRunEnded(run, at: now)
        case .shutdown: return core.onShutdown(at: now)
        }
    }

    private func perform(
        _ directive: ClusterTaskCore.Directive,
        _ timer: inout Timer,
        _ sink: AsyncStream<Event>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) {
        switch directive {
        case .look(let claims):
            group.addTask { await self.look(renewing: claims, sink) }
        case .acquire(let slots):
            group.addTask { await self.acquire(slots, sink) }
        case .release(let claims):
            group.addTask {
                do {
                    try await self.storage.release(claims)
                } catch {
                    self.warn("slots not given back; they will run out", error)
                }
                sink.yield(.released)
            }
        case .advance(let claim, let progress):
            group.addTask { await self.advance(claim, to: progress, sink) }
        case .start(let run):
            let (end, ending) = AsyncStream.makeStream(of: Never.self)
            bodies.withLock { $0[run] = ending }
            group.addTask {
                await self.runBody(run, until: end)
                sink.yield(.ended(run))
            }
        case .cancel(let run):
            let ending = bodies.withLock { $0.removeValue(forKey: run) }
            ending?.finish()
            warn("a slot was lost in the middle of a run: \(run.slot)", nil)
        case .scheduleNext(let delay):
            schedule(after: delay, &timer, sink, &group)
        case .stop:
            break
        }
    }

    private func look(
        renewing claims: [TaskSlotClaim],
        _ sink: AsyncStream<Event>.Continuation
    ) async {
        do {
            if !claims.isEmpty {
                // From before asking: an answer that took long has used up part of the lease.
                let askedAt = settings.clock.monotonic()
                let renewed = try await storage.renew(claims, duration: settings.timing.duration)
                sink.yield(.renewed(renewed, of: claims, askedAt: askedAt))
            }
            let slots = try await storage.slots()
            sink.yield(.looked(slots, try await members()))
        } catch {
            warn("the slots of tasks could not be read or renewed", error)
            sink.yield(.lookFailed)
        }
    }

    private func acquire(
        _ slots: [TaskSlotID],
        _ sink: AsyncStream<Event>.Continuation
    ) async {
        let askedAt = settings.clock.monotonic()
        do {
            let taken = try await storage.acquire(
                slots,
                holder: node,
                duration: settings.timing.duration
            )
            sink.yield(.acquired(taken, of: slots, askedAt: askedAt))
        } catch {
            warn("slots of tasks could not be taken", error)
            sink.yield(.acquireFailed(slots))
        }
    }

    private func advance(
        _ claim: TaskSlotClaim,
        to progress: TaskProgress,
        _ sink: AsyncStream<Event>.Continuation
    ) async {
        do {
            try await storage.advance(claim, to: progress)
            sink.yield(.advanced(claim))
        } catch {
            let isLost = (error as? ClusterMembershipError)?.code == .slotLost
            warn("the progress of \(claim.slot) was not stored", error)
            sink.yield(.advanceFailed(claim, isLost: isLost))
        }
    }

    private func runBody(_ run: TaskRun, until end: AsyncStream<Never>) async {
        guard let job = jobs[run.slot.task] else { return }
        let dimensions = [("task", run.slot.task.rawValue)]
        Counter(label: "reeve_cluster_task_runs", dimensions: dimensions).increment()
        if run.skipped > 0 {
            Counter(label: "reeve_cluster_task_skipped", dimensions: dimensions)
                .increment(by: run.skipped)
        }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await job.body(run) }
                group.addTask { for await _ in end {} }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch {
            Counter(label: "reeve_cluster_task_failures", dimensions: dimensions).increment()
            warn("a run of \(run.slot) failed", error)
        }
        let ending = bodies.withLock { $0.removeValue(forKey: run) }
        ending?.finish()
    }

    private func schedule(
        after delay: Duration,
        _ timer: inout Timer,
        _ sink: AsyncStream<Event>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) {
        let clock = settings.clock
        let at = clock.monotonic() + delay
        if let pending = timer.at, pending <= at { return }
        timer.number += 1
        timer.at = at
        group.addTask { [number = timer.number] in
            if (try? await clock.sleep(for: delay)) != nil { sink.yield(.tick(number)) }
        }
    }

    private func warn(_ what: String, _ error: (any Error)?) {
        // A runner that is cancelled cancels its calls; that is no trouble.
        settings.logger.log(
            level: Task.isCancelled ? .debug : .warning,
            "\(what)",
            metadata: error.map { ["error": "\($0)"] } ?? [:]
        )
    }
}
