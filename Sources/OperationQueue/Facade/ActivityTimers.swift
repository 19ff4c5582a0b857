public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Does by itself what time alone makes due: ends what has timed out, repeats it if its policy says so,
/// wakes devices whose wait is over, and moves rollouts on. Runs on the coordinator.
public struct ActivityTimers: Service {
    private let storage: any OperationStorage
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let interval: Duration
    private let logger: Logger

    /// The most timers fired in one transaction; the next follows at once.
    public static let batch = 500
    /// The most rollouts looked at in one step.
    public static let rolloutBatch = 100

    /// - Parameters:
    ///   - storage: where timers and rollouts are kept.
    ///   - capability: the coordinator's right to write.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - interval: how often it looks.
    ///   - logger: where it logs.
    public init(
        storage: any OperationStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        interval: Duration = .seconds(1),
        logger: Logger = Logger(label: "reeve.timers")
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.interval = interval
        self.logger = logger
    }

    /// Does everything that is due at `now`.
    ///
    /// - Returns: how many timers fired and rollouts moved.
    @discardableResult
    public func tick(at now: Timestamp) async throws(OperationQueueError) -> Int {
        var count = 0
        while true {
            let fired = try await queueCall {
                try await self.storage.fireTimers(
                    at: now,
                    limit: Self.batch,
                    epoch: self.capability.requireEpoch()
                )
            }
            count += fired
            if fired < Self.batch { break }
        }
        return try await count + moveRollouts(at: now)
    }

    private func moveRollouts(at now: Timestamp) async throws(OperationQueueError) -> Int {
        var moved = 0
        var after: Int64?
        while true {
            let position = after
            let page = try await queueCall {
                try await self.storage.rollouts(after: position, limit: Self.rolloutBatch)
            }
            for activity in page where try await move(activity, at: now) { moved += 1 }
            guard page.count == Self.rolloutBatch else { return moved }
            after = page.last?.operation.number
        }
    }

    private func move(
        _ activity: Activity,
        at now: Timestamp
    ) async throws(OperationQueueError) -> Bool {
        let change: ActivityChange
        switch activity.rolloutStep(at: now) {
        case nil, .wait?: return false
        case .noteSuccess?: change = .noteSuccess
        case .pauseByFailures?: change = .pauseByFailures
        case .abort?: change = .close(.cancelled)
        case .release(let ceiling, let wave)?:
            let released = try await queueCall {
                try await self.storage.addressedCount(
                    of: activity.id,
                    below: ceiling,
                    tenant: activity.tenant
                )
            }
            change = .release(ceiling: ceiling, released: released, wave: wave)
        }
        logger.debug(
            "rollout moves",
            metadata: ["activity": "\(activity.id)", "change": "\(change)"]
        )
        _ = try await queueCall {
            try await self.storage.change(
                activity.id,
                change,
                tenant: activity.tenant,
                epoch: self.capability.requireEpoch(),
                at: now
            )
        }
        return true
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runTicks(every: interval, capability: capability, clock: clock, logger: logger) {
            try await self.tick(at: self.clock.now())
        }
    }
}
