public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Enqueues periodic tasks when they fall due. Runs on the coordinator.
///
/// A run is enqueued under an idempotency key made of the task's name and due time, and then the due
/// time is advanced: a crash between the two neither loses nor doubles a run.
public struct PeriodicTaskRunner: Service {
    private let tasks: any PeriodicTaskStorage
    private let enqueuer: OperationEnqueuer
    private let capability: WriteCapability
    private let settings: Settings

    /// The most runs enqueued in one step; the next follows at once.
    public static let batch = 100

    /// What a runner is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        /// How often it looks.
        public var interval = Duration.seconds(1)
        /// Whether devices are woken. They need not be: the next poll is soon enough for a task that
        /// comes again.
        public var wake = WakePolicy.none
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

    /// Adds a task or changes its definition; one that exists keeps its due time.
    ///
    /// - Throws: ``OperationQueueError`` with code `invalidRequest` or `tooLarge`.
    public func schedule(
        _ task: PeriodicTask,
        tenant: TenantID = .standard
    ) async throws(OperationQueueError) {
        do {
            _ = try PeriodicTaskID(validating: task.id.rawValue)
        } catch {
            throw OperationQueueError(.invalidRequest, error.message, cause: error)
        }
        guard task.frequency >= PeriodicTask.minimumFrequency,
            task.frequency <= EnqueueLimits().expiresAfter
        else {
            throw OperationQueueError(
                .invalidRequest,
                "A task's frequency lies between \(PeriodicTask.minimumFrequency) and ten years."
            )
        }
        try EnqueueLimits().validate(request(for: task))
        try await queueCall {
            try await self.tasks.put(
                task,
                tenant: tenant,
                epoch: self.capability.requireEpoch()
            )
        }
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

    /// Enqueues what is due at `now` and advances it.
    ///
    /// - Returns: the runs that were enqueued.
    @discardableResult
    public func tick(at now: Timestamp) async throws(OperationQueueError) -> [EnqueueReceipt] {
        let due = try await queueCall { try await self.tasks.due(at: now, limit: Self.batch) }
        var receipts: [EnqueueReceipt] = []
        for (tenant, task) in due {
            do {
                receipts.append(try await enqueuer.enqueue(request(for: task), tenant: tenant))
            } catch {
                // A run that can never be enqueued is passed by; anything else is tried again.
                guard [.invalid, .notFound, .conflict, .tooLarge].contains(error.category) else {
                    throw error
                }
                settings.logger.warning(
                    "a run of a task was refused",
                    metadata: ["task": "\(task.id)", "error": "\(error)"]
                )
            }
            try await queueCall {
                try await self.tasks.advance(
                    task.id,
                    from: task.due,
                    to: task.nextDue(at: now),
                    tenant: tenant,
                    epoch: self.capability.requireEpoch()
                )
            }
        }
        return receipts
    }

    /// A run expires when the next is due: a device that was away answers once, not once a run.
    private func request(for task: PeriodicTask) -> EnqueueRequest {
        var request = EnqueueRequest(
            task.code,
            to: .group(task.group),
            payload: task.payload,
            idempotencyKey: task.runKey
        )
        request.expiresAfter = task.frequency
        request.initiator = "task"
        request.wake = settings.wake
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
            while try await self.tick(at: self.settings.clock.now()).count == Self.batch {}
        }
    }
}
