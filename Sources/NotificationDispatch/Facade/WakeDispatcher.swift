public import ClusterRole
internal import DeviceRegistry
public import Logging
internal import OperationQueue
public import ServiceLifecycle
internal import Tracing

/// How devices are woken.
public struct WakeDispatchConfiguration: Sendable {
    public var rate: WakeRate
    public var backoff: BackoffSchedule
    /// The most outbox rows a group expansion writes in one transaction. 1,000.
    public var expansionLimit: Int
    /// Due wake-ups read, and outcomes stored, at once. 256.
    public var batchLimit: Int
    /// How long a transport may take; then the attempt is cancelled and counts as `unknown`. 30 s, above
    /// the time limits of any transport.
    public var attemptLimit: Duration
    /// How often the outbox is looked at without a hint. 1 s.
    public var idleInterval: Duration
    /// Told of each registration a transport calls dead, before its row is settled. It must not block.
    public var onDeadRegistration: @Sendable (DeadRegistration) -> Void
    public var logger: Logger

    public init(
        rate: WakeRate = .standard,
        backoff: BackoffSchedule = .standard,
        onDeadRegistration: @escaping @Sendable (DeadRegistration) -> Void = { _ in },
        logger: Logger = Logger(label: "reeve.wake")
    ) {
        self.rate = rate
        self.backoff = backoff
        expansionLimit = 1_000
        batchLimit = 256
        attemptLimit = .seconds(30)
        idleInterval = .seconds(1)
        self.onDeadRegistration = onDeadRegistration
        self.logger = logger
    }
}

/// Wakes devices: expands group operations, takes due wake-ups in due order, sends them within the rate,
/// and stores what became of them.
///
/// The coordinator runs one. Run ``run()`` in production; in a test call ``step()`` and move the clock.
/// A wake-up may be sent twice (after a crash, after a new wish), never silently lost: whatever a push
/// misses, polling finds.
public actor WakeDispatcher: Service {
    private struct Key: Hashable {
        var tenant: TenantID
        var device: DeviceID
    }

    private enum Happening: Sendable {
        case attempt(DueWakeUp, PushRegistration, PushOutcome)
        case nudge
    }

    /// The state of one drive: what is under way and what is to be stored.
    private struct Drive {
        var inFlight: Set<Key> = []
        var queue: ArraySlice<DueWakeUp> = []
        var settled: [WakeSettlement] = []
        /// The last read found nothing more.
        var isExhausted = false
        var mayExpand = true
        var isNudgeWaiting = false
        var report = WakeStep()
    }

    private let storage: any WakeStorage
    private let transports: TransportTable
    private let capability: WriteCapability
    private let configuration: WakeDispatchConfiguration
    private let clock: any TimeSource
    private let random: any RandomSource
    private let signal = WakeSignal()
    private let meters = WakeMeters()
    private var core: DispatchCore
    private var isDriving = false

    /// - Parameters:
    ///   - storage: the outbox.
    ///   - transports: by name.
    ///   - capability: the coordinator's right to write; its epoch goes with every wake-up.
    ///   - configuration: rates and limits.
    ///   - clock: decides what is due.
    ///   - random: the jitter of retries.
    public init(
        storage: any WakeStorage,
        transports: TransportTable,
        capability: WriteCapability,
        configuration: WakeDispatchConfiguration = WakeDispatchConfiguration(),
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource()
    ) {
        self.storage = storage
        self.transports = transports
        self.capability = capability
        self.configuration = configuration
        self.clock = clock
        self.random = random
        core = DispatchCore(
            rate: configuration.rate,
            backoff: configuration.backoff,
            transports: Set(transports.names)
        )
    }

    /// Something was enqueued: look at once. Cheap, callable from anywhere, harmless when repeated.
    public nonisolated func hint() { signal.signal() }

    /// Does what is due now, within the rate, and returns when it is done and stored.
    ///
    /// While another step or ``run()`` is under way it does nothing.
    ///
    /// - Throws: ``NotificationDispatchError`` with `notCoordinator` or `storage`.
    @discardableResult
    public func step() async throws(NotificationDispatchError) -> WakeStep {
        guard !isDriving else { return WakeStep() }
        var report = try await drive(isEndless: false)
        do {
            report.nextDue = try await storage.nextDue()
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
        return report
    }

    /// Wakes devices until graceful shutdown, which lets attempts under way end and stores their
    /// outcomes, until cancellation, or until this node is no longer the coordinator. A failing store is
    /// tried again.
    public func run() async throws {
        while !isStopping {
            do {
                if !isDriving { _ = try await drive(isEndless: true) }
            } catch {
                if error.code == .notCoordinator {
                    configuration.logger.info("no longer waking devices: not the coordinator")
                    return
                }
                configuration.logger.warning("wake dispatch failed", metadata: ["error": "\(error)"])
            }
            // After a failure, or while a step is under way.
            let (clock, pause) = (clock, configuration.idleInterval)
            _ = try? await cancelWhenGracefulShutdown { try await clock.sleep(for: pause) }
        }
    }

    // MARK: Driving

    private var isStopping: Bool { Task.isShuttingDownGracefully || Task.isCancelled }

    private func drive(isEndless: Bool) async throws(NotificationDispatchError) -> WakeStep {
        isDriving = true
        defer { isDriving = false }
        do {
            return try await withThrowingTaskGroup(of: Happening.self) { group in
                var drive = Drive()
                while true {
                    try await refill(&drive, &group)
                    if drive.inFlight.isEmpty {
                        try await flush(&drive)
                        if !isEndless || isStopping { break }
                    }
                    if isEndless && !drive.isNudgeWaiting && !isStopping {
                        try await waitForNudge(&drive, &group)
                    }
                    switch try await group.next() {
                    case .attempt(let due, let registration, let outcome):
                        take(outcome, of: due, registration, &drive)
                        if drive.settled.count >= configuration.batchLimit { try await flush(&drive) }
                    case .nudge:
                        drive.isNudgeWaiting = false
                        drive.isExhausted = false
                        drive.mayExpand = true
                    case nil:
                        break
                    }
                }
                group.cancelAll()
                return drive.report
            }
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    /// Starts as many attempts as slots, permits and due wake-ups allow.
    private func refill(
        _ drive: inout Drive,
        _ group: inout ThrowingTaskGroup<Happening, any Error>
    ) async throws {
        while !isStopping {
            let permits = core.permits(at: clock.monotonic())
            let slots = configuration.rate.maximumConcurrent - drive.inFlight.count
            guard permits > 0, slots > 0 else { return }
            if drive.queue.isEmpty {
                if drive.isExhausted { return }
                try await fetch(&drive, permits: permits)
                if drive.queue.isEmpty { return }
            }
            let epoch = try capability.requireEpoch()
            let due = drive.queue.removeFirst()
            switch core.onDue(due, at: clock.now(), monotonic: clock.monotonic()) {
            case .settle(let verdict):
                note(verdict, of: due.wake, &drive)
            case .attempt(let registration):
                guard let transport = transports[registration.transport] else { continue }
                drive.inFlight.insert(Key(tenant: due.wake.tenant, device: due.wake.device))
                drive.report.attempted += 1
                start(due, registration, on: transport, epoch: epoch, &group)
            }
        }
    }

    /// Expands groups by what may be sent now, and reads what is due.
    private func fetch(_ drive: inout Drive, permits: Int) async throws {
        let epoch = try capability.requireEpoch()
        // Rows whose outcome is not stored would be read as due again.
        try await flush(&drive)
        if drive.mayExpand {
            let receipt = try await storage.expand(
                limit: min(configuration.expansionLimit, permits),
                epoch: epoch,
                at: clock.now()
            )
            drive.report.expanded += receipt.added
            drive.report.coalesced += receipt.coalesced
            drive.mayExpand = !receipt.isFinished && receipt.added + receipt.coalesced > 0
        }
        let limit = configuration.batchLimit + drive.inFlight.count
        let due = try await storage.due(at: clock.now(), limit: limit)
        drive.queue =
            due.filter {
                !drive.inFlight.contains(Key(tenant: $0.wake.tenant, device: $0.wake.device))
            }[...]
        drive.isExhausted = due.count < limit && !drive.mayExpand
    }

    private func start(
        _ due: DueWakeUp,
        _ registration: PushRegistration,
        on transport: any PushTransport,
        epoch: Epoch,
        _ group: inout ThrowingTaskGroup<Happening, any Error>
    ) {
        let request = PushRequest(
            tenant: due.wake.tenant,
            device: due.wake.device,
            registration: registration,
            epoch: epoch
        )
        group.addTask { [clock, limit = configuration.attemptLimit] in
            let outcome = await withSpan("reeve.wake", ofKind: .client) { span in
                span.attributes["reeve.transport"] = registration.transport
                let outcome = await attempt(request, on: transport, limit: limit, clock: clock)
                span.attributes["reeve.outcome"] = outcome.name
                return outcome
            }
            return .attempt(due, registration, outcome)
        }
    }

    private func take(
        _ outcome: PushOutcome,
        of due: DueWakeUp,
        _ registration: PushRegistration,
        _ drive: inout Drive
    ) {
        drive.inFlight.remove(Key(tenant: due.wake.tenant, device: due.wake.device))
        meters.count(outcome)
        configuration.logger.debug(
            "wake-up attempted",
            metadata: [
                "tenant": "\(due.wake.tenant)", "device": "\(due.wake.device)",
                "transport": "\(registration.transport)", "outcome": "\(outcome.name)",
            ]
        )
        let directives = core.onOutcome(
            outcome,
            of: due.wake,
            registration: registration,
            random: random,
            at: clock.now(),
            monotonic: clock.monotonic()
        )
        for directive in directives {
            switch directive {
            case .settle(let verdict):
                note(verdict, of: due.wake, &drive)
            case .announceDead(let dead):
                configuration.onDeadRegistration(dead)
            case .reportPause(let transport, let pause):
                configuration.logger.warning(
                    "a push transport rests",
                    metadata: ["transport": "\(transport)", "for": "\(pause)"]
                )
            }
        }
    }

    private func note(
        _ verdict: WakeSettlement.Verdict,
        of wake: WakeUp,
        _ drive: inout Drive
    ) {
        switch verdict {
        case .sent: drive.report.sent += 1
        case .retry: drive.report.retried += 1
        case .abandon: drive.report.abandoned += 1
        case .deadToken: drive.report.dead += 1
        }
        drive.settled.append(
            WakeSettlement(
                tenant: wake.tenant,
                device: wake.device,
                generation: wake.generation,
                verdict: verdict
            )
        )
    }

    private func flush(_ drive: inout Drive) async throws {
        guard !drive.settled.isEmpty else { return }
        try await storage.settle(
            drive.settled,
            epoch: capability.requireEpoch(),
            at: clock.now()
        )
        drive.settled = []
    }

    /// Sleeps until something may be due, a hint, or shutdown.
    private func waitForNudge(
        _ drive: inout Drive,
        _ group: inout ThrowingTaskGroup<Happening, any Error>
    ) async throws {
        _ = try capability.requireEpoch()
        var delay = configuration.idleInterval
        if core.permits(at: clock.monotonic()) == 0 {
            delay = core.delayToPermits()
        } else if drive.inFlight.isEmpty, let next = try await storage.nextDue() {
            // With attempts under way the earliest row is one of theirs and says nothing.
            delay = max(.milliseconds(10), min(delay, next - clock.now()))
        }
        drive.isNudgeWaiting = true
        group.addTask { [clock, signal, delay] in
            await cancelWhenGracefulShutdown {
                await withTaskGroup { race in
                    race.addTask { await signal.wait() }
                    race.addTask { try? await clock.sleep(for: delay) }
                    await race.next()
                    race.cancelAll()
                }
            }
            return .nudge
        }
    }
}

/// One attempt within its time limit.
private func attempt(
    _ request: PushRequest,
    on transport: any PushTransport,
    limit: Duration,
    clock: any TimeSource
) async -> PushOutcome {
    await withTaskGroup(of: PushOutcome?.self) { race in
        race.addTask { await transport.wake(request) }
        race.addTask {
            try? await clock.sleep(for: limit)
            return nil
        }
        let first = await race.next() ?? nil
        race.cancelAll()
        return first ?? .unknown(reason: "no answer within \(limit)")
    }
}
