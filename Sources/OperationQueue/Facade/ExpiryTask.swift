public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Closes activities whose operation has expired, and forgets uploads of large results that were never
/// finished. Runs on the coordinator.
public struct ExpiryTask: Service {
    private let storage: any OperationStorage
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let interval: Duration
    private let logger: Logger

    /// The most activities closed in one step; the next follows at once.
    public static let batch = 100
    /// How long an upload may take before it counts as given up: a day, so that a worker that was cut off
    /// can still hand it on.
    public static let uploadLifetime = Duration.seconds(86_400)

    /// - Parameters:
    ///   - storage: where expired operations are found and ended.
    ///   - capability: the coordinator's right to write.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - interval: how often it looks; an expired operation is handed out no more anyway.
    ///   - logger: where it logs.
    public init(
        storage: any OperationStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        interval: Duration = .seconds(5),
        logger: Logger = Logger(label: "reeve.expiry")
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.interval = interval
        self.logger = logger
    }

    /// Closes what has expired at `now`.
    ///
    /// - Returns: how many activities; ``batch`` means that there may be more.
    @discardableResult
    public func tick(at now: Timestamp) async throws(OperationQueueError) -> Int {
        try await queueCall {
            let epoch = try self.capability.requireEpoch()
            let expired = try await self.storage.expired(at: now, limit: Self.batch)
            for (tenant, id) in expired {
                _ = try await self.storage.close(
                    id,
                    as: .expired,
                    tenant: tenant,
                    epoch: epoch,
                    at: now
                )
            }
            _ = try await self.storage.clearUploads(
                begunBefore: now - Self.uploadLifetime,
                limit: Self.batch,
                epoch: epoch
            )
            return expired.count
        }
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runTicks(every: interval, capability: capability, clock: clock, logger: logger) {
            while try await self.tick(at: self.clock.now()) == Self.batch {}
        }
    }
}

/// Calls `tick` every `interval` until cancelled, shut down, or the capability is revoked. A tick that
/// throws is logged and tried again.
func runTicks(
    every interval: Duration,
    capability: WriteCapability,
    clock: any TimeSource,
    logger: Logger,
    _ tick: @escaping @Sendable () async throws -> Void
) async {
    await cancelWhenGracefulShutdown {
        while !Task.isCancelled && !capability.isRevoked {
            do {
                try await tick()
            } catch {
                logger.warning(
                    "a step failed and will be repeated",
                    metadata: ["error": "\(error)"]
                )
            }
            do { try await clock.sleep(for: interval) } catch { return }
        }
    }
}
