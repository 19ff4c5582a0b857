public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle

/// Records which devices fell silent: walks all contacts and writes what changed to the devices'
/// histories. Runs on the coordinator.
///
/// Only a device's own contact counts. A contact turns a device active in the very transaction that
/// applies it; this task never does so for one that was not heard. There is no index on last contacts,
/// which every contact would have to pay for: the walk reads, in pages, beside the writer.
public struct LivenessTask: Service {
    private let storage: any DeviceStorage
    private let capability: WriteCapability
    private let rule: LivenessRule
    private let clock: any TimeSource
    private let interval: Duration
    private let logger: Logger

    /// - Parameters:
    ///   - storage: where contacts are read and silences recorded.
    ///   - capability: the coordinator's right to write.
    ///   - rule: from when on a silent device is unreachable or inactive.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - interval: how often it walks; what it records is late by as much.
    ///   - logger: where it logs.
    public init(
        storage: any DeviceStorage,
        capability: WriteCapability,
        rule: LivenessRule = LivenessRule(),
        clock: any TimeSource = SystemTimeSource(),
        interval: Duration = .seconds(60),
        logger: Logger = Logger(label: "reeve.liveness")
    ) {
        self.storage = storage
        self.capability = capability
        self.rule = rule
        self.clock = clock
        self.interval = interval
        self.logger = logger
    }

    /// Walks all contacts once.
    ///
    /// - Returns: how many changes were recorded.
    @discardableResult
    public func tick(at now: Timestamp) async throws(DeviceRegistryError) -> Int {
        var recorded = 0
        var after: Int64?
        repeat {
            let position = after
            let page = try await wrapped {
                try await self.storage.contacts(after: position, limit: maximumPageSize)
            }
            recorded += try await record(page.contacts, at: now)
            after = page.next
        } while after != nil && !Task.isCancelled
        return recorded
    }

    private func record(
        _ contacts: [RecordedContact],
        at now: Timestamp
    ) async throws(DeviceRegistryError) -> Int {
        var changes: [TenantID: [LivenessChange]] = [:]
        for contact in contacts {
            let liveness = rule.liveness(lastSeen: contact.lastSeen, at: now)
            guard liveness != contact.liveness else { continue }
            changes[contact.identity.tenant, default: []].append(
                LivenessChange(
                    identity: contact.identity,
                    lastSeen: contact.lastSeen,
                    liveness: liveness
                )
            )
        }
        var recorded = 0
        for tenant in changes.keys.sorted() {
            let found = changes[tenant] ?? []
            let receipt = try await wrapped {
                try await self.storage.commit(
                    .recordLiveness(found),
                    tenant: tenant,
                    epoch: self.capability.requireEpoch(),
                    at: now
                )
            }
            recorded += receipt.changed
        }
        if recorded > 0 {
            Counter(label: "reeve_devices_liveness_changes_total").increment(by: Int64(recorded))
        }
        return recorded
    }

    /// Walks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runSteps(every: interval, capability: capability, clock: clock, logger: logger) {
            try await self.tick(at: self.clock.now())
        }
    }
}

/// Goes on comparing devices with groups whose definition was left half way: by a crash, or by a
/// coordinator that lost its lease. Runs on the coordinator.
public struct DynamicGroupTask: Service {
    private let storage: any DeviceStorage
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let interval: Duration
    private let logger: Logger

    /// The most groups looked up in one step; the next follows at once.
    public static let batch = 100

    /// - Parameters:
    ///   - storage: where unfinished groups are found and finished.
    ///   - capability: the coordinator's right to write.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - interval: how often it looks.
    ///   - logger: where it logs.
    public init(
        storage: any DeviceStorage,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        interval: Duration = .seconds(10),
        logger: Logger = Logger(label: "reeve.groups")
    ) {
        self.storage = storage
        self.capability = capability
        self.clock = clock
        self.interval = interval
        self.logger = logger
    }

    /// Finishes what is unfinished.
    ///
    /// - Returns: how many groups.
    @discardableResult
    public func tick(at now: Timestamp) async throws(DeviceRegistryError) -> Int {
        try await wrapped {
            let unfinished = try await self.storage.unsettledGroups(limit: Self.batch)
            for (tenant, group) in unfinished {
                var isSettled = false
                while !isSettled && !Task.isCancelled {
                    isSettled = try await self.storage.commit(
                        .evaluate(group, limit: DeviceAdministration.devicesPerEvaluation),
                        tenant: tenant,
                        epoch: self.capability.requireEpoch(),
                        at: now
                    ).isSettled
                }
            }
            return unfinished.count
        }
    }

    /// Looks every interval until cancelled, shut down, or no longer the coordinator.
    public func run() async throws {
        await runSteps(every: interval, capability: capability, clock: clock, logger: logger) {
            while try await self.tick(at: self.clock.now()) == Self.batch, !Task.isCancelled {}
        }
    }
}

/// Calls `step` every `interval` until cancelled, shut down, or the capability is revoked. A step that
/// throws is logged and tried again.
private func runSteps(
    every interval: Duration,
    capability: WriteCapability,
    clock: any TimeSource,
    logger: Logger,
    _ step: @escaping @Sendable () async throws -> Void
) async {
    await cancelWhenGracefulShutdown {
        while !Task.isCancelled && !capability.isRevoked {
            do {
                try await step()
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
