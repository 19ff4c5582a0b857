public import Logging
public import ServiceLifecycle

/// How long audit entries are kept.
public struct AuditRetention: Hashable, Sendable {
    /// 400 days: a year, and the month in which somebody asks for it.
    public var keepFor: Duration
    /// The most entries. 1,000,000: about 400 MB of the store.
    public var keepAtMost: Int
    /// How often it is looked at.
    public var interval: Duration

    public init(
        keepFor: Duration = .seconds(400 * 86_400),
        keepAtMost: Int = 1_000_000,
        interval: Duration = .seconds(3_600)
    ) {
        self.keepFor = keepFor
        self.keepAtMost = keepAtMost
        self.interval = interval
    }
}

/// Purges the oldest entries of the audit log by and by.
public struct AuditPurgeTask: Service {
    /// Entries removed in one transaction.
    public static let entriesInBatch = 1_000

    private let log: any AuditLog
    private let retention: AuditRetention
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let logger: Logger

    public init(
        log: any AuditLog,
        retention: AuditRetention = AuditRetention(),
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.audit")
    ) {
        self.log = log
        self.retention = retention
        self.capability = capability
        self.clock = clock
        self.logger = logger
    }

    /// Purges what is not kept at `now`.
    ///
    /// - Returns: how many entries went.
    @discardableResult
    public func tick(at now: Timestamp) async throws -> Int {
        var purged = 0
        while true {
            let count = try await log.purgeAudit(
                before: now - retention.keepFor,
                keepingAtMost: retention.keepAtMost,
                limit: Self.entriesInBatch,
                epoch: capability.requireEpoch()
            )
            purged += count
            if count < Self.entriesInBatch { return purged }
        }
    }

    /// Purges every interval until shut down, cancelled, or no longer the coordinator.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled, !capability.isRevoked {
                do {
                    try await tick(at: clock.now())
                } catch {
                    logger.warning(
                        "the audit log could not be purged",
                        metadata: ["error": "\(error)"]
                    )
                }
                do { try await clock.sleep(for: retention.interval) } catch { return }
            }
        }
        // A service that ends early would take its group down with it.
        try? await gracefulShutdown()
    }
}
