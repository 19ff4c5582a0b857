public import ClusterRole
internal import DeviceRegistry
public import Logging
public import ServiceLifecycle

/// Asks devices what periodic tasks want of them, each when it is due. Runs on the coordinator.
///
/// Devices that are due are claimed as steps, each step is enqueued as one operation under its
/// idempotency key, and then forgotten: a crash anywhere between neither loses nor doubles a request.
/// The operation is of ``RepetitionControl/noRepeat``, so that a device that is silent does not collect
/// them.
public struct PeriodicTaskRunner: Service {
    private let tasks: any PeriodicTaskStorage
    private let enqueuer: OperationEnqueuer
    private let capability: WriteCapability
    private let settings: Settings

    /// The most devices of one claim, and of one page when a task comes to a group that is there
    /// already: it bounds memory and the length of a transaction.
    public static let batch = 1_000

    /// What a runner is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        /// How often it looks. Each look makes an operation for each task that is due for somebody: ten
        /// seconds keep a day of a large fleet at some thousand, and no task needs them more exact.
        public var interval = Duration.seconds(10)
        /// Whether devices are woken. They need not be: the next poll is soon enough for a task that
        /// comes again.
        public var wake = WakePolicy.none
        /// Whose tasks this runner looks after, where several nodes divide them.
        public var partition = TaskPartition.all
        public var logger = Logger(label: "reeve.tasks")

        public init(clock: any TimeSource = SystemTimeSource()) { self.clock = clock }
    }

    public init(
        tasks: any PeriodicTaskStorage,
        enqueuer: OperationEnqueuer,
        capability: WriteCapability,
        settings: Settings = Settings()
    ) {
        self.tasks = tasks
        self.enqueuer = enqueuer
        self.capability = capability
        self.settings = settings
    }

    /// Adds a task or changes its definition. Due times are kept unless group, frequency or what
    /// satisfies it change.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` or `tooLarge`.
    public func schedule(
        _ task: PeriodicTask,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) {
        try validate(task)
        try await queueCall {
            let known = try await self.tasks.tasks(tenant: tenant)
            guard
                known.count < PeriodicTask.maximumCount
                    || known.contains(where: { $0.id == task.id })
            else {
                throw OperationQueueError(
                    .tooLarge,
                    "A tenant has at most \(PeriodicTask.maximumCount) tasks. Remove another one first."
                )
            }
            try await self.tasks.put(
                task,
                tenant: tenant,
                epoch: self.capability.requireEpoch()
            )
        }
    }

    private func validate(_ task: PeriodicTask) throws(OperationQueueError) {
        do {
            _ = try PeriodicTaskID(validating: task.id.rawValue)
            if let kind = task.satisfiedBy { _ = try InformationKind(validating: kind.rawValue) }
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        let allowed = PeriodicTask.minimumFrequency...EnqueueLimits().expiresAfter
        guard allowed.contains(task.frequency) else {
            throw OperationQueueError(
                .invalidRequest,
                "A task's frequency lies between \(PeriodicTask.minimumFrequency) and ten years."
            )
        }
        guard allowed.contains(task.satisfaction) else {
            throw OperationQueueError(
                .invalidRequest,
                "A report satisfies a task for at least \(PeriodicTask.minimumFrequency) and at most "
                    + "ten years."
            )
        }
        try EnqueueLimits().validate(request(for: task, to: .group(task.group)))
    }

    /// Removes a task; what it has enqueued stays.
    public func remove(
        _ task: PeriodicTaskID,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) {
        try await queueCall {
            try await self.tasks.remove(
                task,
                tenant: tenant,
                epoch: self.capability.requireEpoch()
            )
        }
    }

    /// Asks every device that is due at `now`, a batch at a time.
    ///
    /// - Returns: the operations that were enqueued.
    @discardableResult
    public func tick(at now: Timestamp) async throws(OperationQueueError) -> [EnqueueReceipt] {
        try await tick(at: now, in: settings.partition)
    }

    /// Asks every device of a partition that is due at `now`, a batch at a time. Whoever divides the work
    /// among several runners calls this instead of ``run()``, one call a partition.
    ///
    /// - Returns: the operations that were enqueued.
    @discardableResult
    public func tick(
        at now: Timestamp,
        in partition: TaskPartition
    ) async throws(OperationQueueError) -> [EnqueueReceipt] {
        var isSpread = false
        while !isSpread {
            isSpread = try await queueCall {
                try Task.checkCancellation()
                return try await self.tasks.spread(
                    limit: Self.batch,
                    epoch: self.capability.requireEpoch(),
                    at: now
                )
            }
        }
        var receipts: [EnqueueReceipt] = []
        while true {
            let steps = try await queueCall {
                try Task.checkCancellation()
                return try await self.tasks.claim(
                    limit: Self.batch,
                    in: partition,
                    epoch: self.capability.requireEpoch(),
                    at: now
                )
            }
            if steps.isEmpty { return receipts }
            for step in steps {
                if let receipt = try await ask(step) { receipts.append(receipt) }
            }
        }
    }

    private func ask(_ step: TaskStep) async throws(OperationQueueError) -> EnqueueReceipt? {
        var request = request(for: step.task, to: .devices(step.devices))
        request.idempotencyKey = step.idempotencyKey
        var receipt: EnqueueReceipt?
        do {
            receipt = try await enqueuer.enqueue(request, tenant: step.tenant)
        } catch {
            // A step that can never be enqueued is passed by; anything else is tried again.
            guard [.invalid, .notFound, .conflict, .tooLarge].contains(error.category) else {
                throw error
            }
            settings.logger.warning(
                "a step of a task was refused",
                metadata: ["task": "\(step.task.id)", "error": "\(error)"]
            )
        }
        try await queueCall {
            try await self.tasks.finish(step, epoch: self.capability.requireEpoch())
        }
        return receipt
    }

    /// It expires when the next is due: a device that was away answers once, not once a period.
    private func request(for task: PeriodicTask, to target: OperationTarget) -> EnqueueRequest {
        var request = EnqueueRequest(task.code, to: target, payload: task.payload)
        request.expiresAfter = task.frequency
        request.initiator = "task"
        request.wake = settings.wake
        request.control = .noRepeat
        return request
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runTicks(
            every: settings.interval,
            capability: capability,
            clock: settings.clock,
            logger: settings.logger
        ) {
            try await self.tick(at: self.settings.clock.now())
        }
    }
}
