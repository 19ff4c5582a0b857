public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Who competes for the lease, and how patiently.
public struct CoordinatorConfiguration: Sendable {
    /// The name under which this node holds the lease; unique in the cluster.
    public var node: NodeID
    public var timing: LeaseTiming
    /// How long the gain callback may take before the lease is given up, and how long a shutdown waits
    /// for the loss callback before it gives the lease back without it. 30 s: longer than opening a
    /// store takes, short enough that a stuck node does not paralyse the cluster.
    public var callbackLimit: Duration
    /// How far this node is from being the preferred coordinator; 0 is preferred. Each step waits one and
    /// a half ``LeaseTiming/retry`` longer before it takes a lease that is free, so that a preferred node
    /// that is there comes first.
    public var rank: Int
    /// Asked at each renewal: whether a preferred manager is there to which this one should hand over;
    /// see ``ClusterMembers/hasCandidate(preferredTo:of:)``. `nil` keeps the lease until it is lost.
    public var shouldHandOver: (@Sendable () async -> Bool)?
    /// How long this node leaves the lease to others after it handed it over. 30 s, two leases.
    public var holdOff: Duration
    public var logger: Logger

    public init(
        node: NodeID,
        timing: LeaseTiming = .standard,
        callbackLimit: Duration = .seconds(30),
        rank: Int = 0,
        shouldHandOver: (@Sendable () async -> Bool)? = nil,
        holdOff: Duration = .seconds(30),
        logger: Logger = Logger(label: "reeve.coordinator")
    ) {
        self.node = node
        self.timing = timing
        self.callbackLimit = callbackLimit
        self.rank = rank
        self.shouldHandOver = shouldHandOver
        self.holdOff = holdOff
        self.logger = logger
    }
}

/// Competes for the coordinator's lease and tells the node when it has it and when it has it no more.
///
/// - **Gain**: the callback gets a fresh `WriteCapability` of the epoch. It makes the node ready to
///   coordinate and returns; if it throws, or takes longer than the limit, the lease is given up.
/// - **Loss**: the capability is revoked first, then the callback is told why. Callbacks run one at a
///   time, in order; a callback that never returns keeps this node from competing again, and nobody else.
/// - A holder that cannot renew stops itself by its own monotonic clock, also while the store hangs,
///   before the store gives the lease to anybody else.
/// - Over a store whose lease never runs out (``Lease/unlimited``) there is no renewal.
///
/// What makes all of this safe is not this class but the store, which refuses writes of older epochs.
public final class Coordinator: Service {
    /// Called when this node has become the coordinator.
    public typealias GainCallback = @Sendable (WriteCapability) async throws -> Void
    /// Called when this node is no longer the coordinator; the capability is revoked already.
    public typealias LossCallback = @Sendable (LeaseLoss) async -> Void

    private struct State {
        var hasRun = false
        var capability: WriteCapability?
        /// Monotonic; `nil` for ever.
        var holdUntil: Duration?
        /// A gain callback was begun whose loss callback was not.
        var owesLoss = false
        var lastLoss: LeaseLoss?
        var isEligible = true
        /// Where events go while it runs.
        var sink: AsyncStream<Event>.Continuation?
    }

    private enum Event: Sendable {
        case tick(Int)
        case leased(Lease, askedAt: Duration)
        case failed(CoordinatorCore.StoreFailure)
        case released
        case gainHandled(succeeded: Bool)
        case lossHandled
        case held(Lease?)
        case eligible(Bool)
        case handOver
        case shutdown
    }

    private enum Job: Sendable {
        case gain(WriteCapability)
        case loss(LeaseLoss)
    }

    private let configuration: CoordinatorConfiguration
    private let store: any LeaseStore
    private let clock: any TimeSource
    private let random: any RandomSource
    private let onGain: GainCallback
    private let onLoss: LossCallback
    private let state = Mutex(State())
    private let gains = Counter(label: "reeve_coordinator_gains")
    private let losses = Counter(label: "reeve_coordinator_losses")

    /// - Parameters:
    ///   - configuration: who, and how patiently.
    ///   - store: keeps the lease.
    ///   - clock: its monotonic time decides when this node stops itself.
    ///   - random: lengthens pauses by chance.
    ///   - onGain: see above.
    ///   - onLoss: see above.
    public init(
        _ configuration: CoordinatorConfiguration,
        store: any LeaseStore,
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        onGain: @escaping GainCallback,
        onLoss: @escaping LossCallback
    ) {
        self.configuration = configuration
        self.store = store
        self.clock = clock
        self.random = random
        self.onGain = onGain
        self.onLoss = onLoss
    }

    /// The right to write, while this node holds the lease by its own clock; else `nil`.
    public var capability: WriteCapability? {
        let now = clock.monotonic()
        return state.withLock { state in
            if let until = state.holdUntil, now >= until { return nil }
            return state.capability
        }
    }

    /// Whether this node may be the coordinator; at first it may. One that may not, because it drains or is
    /// in maintenance, hands the lease over if it has it, and asks for it no more.
    public func setEligible(_ isEligible: Bool) {
        let sink = state.withLock { state in
            state.isEligible = isEligible
            return state.sink
        }
        sink?.yield(.eligible(isEligible))
    }

    /// Gives the lease up, if this node has it, as a graceful stop does: the loss callback first, then the
    /// lease. The node goes on competing after ``CoordinatorConfiguration/holdOff``.
    public func handOver() {
        let sink = state.withLock { $0.sink }
        sink?.yield(.handOver)
    }

    /// Competes until graceful shutdown, which gives the lease back, or cancellation, which lets it run
    /// out. Returns when every callback has returned.
    ///
    /// - Throws: ``ClusterMembershipError`` with `invalidConfiguration` when called twice.
    public func run() async throws {
        let isFirst = state.withLock { state in
            defer { state.hasRun = true }
            return !state.hasRun
        }
        guard isFirst else {
            throw ClusterMembershipError(
                .invalidConfiguration,
                "This coordinator has run already. Make another one."
            )
        }
        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        let (jobs, jobSink) = AsyncStream.makeStream(of: Job.self)
        state.withLock { $0.sink = sink }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.runCallbacks(jobs, sink) }
            await withGracefulShutdownHandler {
                await self.obey(events, sink, jobSink, &group)
            } onGracefulShutdown: {
                sink.yield(.shutdown)
            }
            self.endHold(.cancelled)
            self.state.withLock { $0.sink = nil }
            jobSink.finish()
            group.cancelAll()
        }
        let owed = state.withLock { state in
            defer { state.owesLoss = false }
            return state.owesLoss ? state.lastLoss ?? .cancelled : nil
        }
        if let owed { await onLoss(owed) }
    }

    private func obey(
        _ events: AsyncStream<Event>,
        _ sink: AsyncStream<Event>.Continuation,
        _ jobs: AsyncStream<Job>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) async {
        var core = CoordinatorCore(
            node: configuration.node,
            timing: configuration.timing,
            callbackLimit: configuration.callbackLimit,
            rank: configuration.rank
        )
        if !state.withLock({ $0.isEligible }) {
            _ = core.onEligibility(false, at: clock.monotonic())
        }
        var timer = 0
        var directives = core.onStart(at: clock.monotonic())
        var iterator = events.makeAsyncIterator()
        while true {
            for directive in directives {
                if directive == .stop { return }
                perform(directive, &timer, sink, jobs, &group)
            }
            guard let event = await iterator.next() else { return }
            let now = clock.monotonic()
            directives =
                switch event {
                case .tick(let number): number == timer ? core.onTick(at: now) : []
                case .leased(let lease, let askedAt):
                    core.onLease(lease, askedAt: askedAt, at: now)
                case .failed(let failure): core.onStoreFailure(failure, at: now)
                case .released: core.onReleased(at: now)
                case .gainHandled(let succeeded):
                    core.onGainHandled(succeeded: succeeded, at: now)
                case .lossHandled: core.onLossHandled(at: now)
                case .held(let lease): core.onHolder(lease, at: now)
                case .eligible(let isEligible): core.onEligibility(isEligible, at: now)
                case .handOver: core.onHandOver(holdOff: configuration.holdOff, at: now)
                case .shutdown: core.onShutdown(at: now)
                }
        }
    }

    private func perform(
        _ directive: CoordinatorCore.Directive,
        _ timer: inout Int,
        _ sink: AsyncStream<Event>.Continuation,
        _ jobs: AsyncStream<Job>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) {
        let (node, duration) = (configuration.node, configuration.timing.duration)
        switch directive {
        case .acquire:
            call(&group, sink) { [store] in
                try await store.acquire(holder: node, duration: duration)
            }
        case .look:
            group.addTask {
                do {
                    sink.yield(.held(try await self.store.holder()))
                } catch {
                    sink.yield(.failed(.unavailable))
                }
            }
        case .renew(let epoch):
            considerHandingOver(&group, sink)
            call(&group, sink) { [store] in
                try await store.renew(holder: node, epoch: epoch, duration: duration)
            }
        case .release(let epoch):
            group.addTask {
                do {
                    try await self.store.release(holder: node, epoch: epoch)
                } catch {
                    self.configuration.logger.warning(
                        "lease not given back; it will run out",
                        metadata: ["error": "\(error)"]
                    )
                }
                sink.yield(.released)
            }
        case .hold(_, let until):
            state.withLock { $0.holdUntil = until }
        case .gained(let epoch):
            let capability = WriteCapability(epoch: epoch)
            state.withLock { $0.capability = capability }
            gains.increment()
            configuration.logger.info(
                "became coordinator",
                metadata: ["epoch": "\(epoch.rawValue)"]
            )
            jobs.yield(.gain(capability))
        case .lost(let epoch, let reason):
            endHold(reason)
            losses.increment()
            configuration.logger.notice(
                "no longer coordinator",
                metadata: ["epoch": "\(epoch.rawValue)", "reason": "\(reason)"]
            )
            jobs.yield(.loss(reason))
        case .scheduleNext(let delay):
            schedule(after: delay, &timer, sink, &group)
        case .scheduleRetry(let delay):
            let spread = Double(delay.milliseconds) * (LeaseTiming.jitterFactor - 1)
            let extra = random.number(below: UInt64(max(0, spread)) + 1)
            schedule(after: delay + .milliseconds(Int64(extra)), &timer, sink, &group)
        case .stop:
            break
        }
    }

    private func call(
        _ group: inout DiscardingTaskGroup,
        _ sink: AsyncStream<Event>.Continuation,
        _ ask: @escaping @Sendable () async throws -> Lease
    ) {
        // From before asking: an answer that took long has used up part of the lease.
        let askedAt = clock.monotonic()
        group.addTask {
            do {
                sink.yield(.leased(try await ask(), askedAt: askedAt))
            } catch {
                if let refusal = error as? ClusterRoleError, refusal.code == .fenced {
                    sink.yield(.failed(.fenced(current: refusal.currentEpoch ?? .none)))
                } else {
                    // A coordinator that is cancelled cancels its question; that is no trouble.
                    let level: Logger.Level = Task.isCancelled ? .debug : .warning
                    self.configuration.logger.log(
                        level: level,
                        "the lease could not be asked for",
                        metadata: ["error": "\(error)"]
                    )
                    sink.yield(.failed(.unavailable))
                }
            }
        }
    }

    private func considerHandingOver(
        _ group: inout DiscardingTaskGroup,
        _ sink: AsyncStream<Event>.Continuation
    ) {
        guard let shouldHandOver = configuration.shouldHandOver else { return }
        group.addTask { if await shouldHandOver() { sink.yield(.handOver) } }
    }

    private func schedule(
        after delay: Duration,
        _ timer: inout Int,
        _ sink: AsyncStream<Event>.Continuation,
        _ group: inout DiscardingTaskGroup
    ) {
        timer += 1
        group.addTask { [clock, timer] in
            if (try? await clock.sleep(for: delay)) != nil { sink.yield(.tick(timer)) }
        }
    }

    /// Runs callbacks one at a time, in order, so that a loss is never told before its gain.
    private func runCallbacks(
        _ jobs: AsyncStream<Job>,
        _ sink: AsyncStream<Event>.Continuation
    ) async {
        for await job in jobs {
            switch job {
            case .gain(let capability):
                state.withLock { $0.owesLoss = true }
                do {
                    try await onGain(capability)
                    sink.yield(.gainHandled(succeeded: true))
                } catch {
                    configuration.logger.error(
                        "the callback for the gained lease failed; giving it up",
                        metadata: ["error": "\(error)"]
                    )
                    sink.yield(.gainHandled(succeeded: false))
                }
            case .loss(let reason):
                state.withLock { $0.owesLoss = false }
                await onLoss(reason)
                sink.yield(.lossHandled)
            }
        }
    }

    private func endHold(_ reason: LeaseLoss) {
        state.withLock { state in
            guard let capability = state.capability else { return }
            capability.revoke()
            state.capability = nil
            state.lastLoss = reason
        }
    }
}
