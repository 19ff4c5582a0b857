public import ClusterRole
public import Logging
public import ServiceLifecycle

/// Where a worker's health reports go: a store in the same process, or a manager over the link.
public protocol ReleaseHealthSink: Sendable {
    /// Hands a node's report to the managers.
    func report(_ health: ReleaseHealth, tenant: TenantID) async throws
}

/// Looks after the release that is active on a worker, and tells the managers how it is.
///
/// After each activation, and whenever the answer changes, a ``ReleaseHealth`` is reported; one that could
/// not be sent is sent with the next look. A rollout counts an unhealthy node as a failed one.
public struct ReleaseHealthMonitor: Service {
    /// Looks whether the active release works; what it throws is the reason why not.
    public typealias Check = @Sendable (ActiveRelease) async throws -> Void

    private let node: NodeID
    private let tenant: TenantID
    private let active: @Sendable () -> ActiveRelease?
    private let check: Check
    private let sink: any ReleaseHealthSink
    private let interval: Duration
    private let clock: any TimeSource
    private let logger: Logger

    /// - Parameters:
    ///   - node: who reports.
    ///   - tenant: whose channel it is.
    ///   - active: the release that is served now, such as `{ sync.active }`.
    ///   - check: such as the deployer's `checkHealth(of:)`.
    ///   - sink: where reports go.
    ///   - interval: how often it looks. 10 s: well within a usual soak.
    ///   - clock: tells the time.
    ///   - logger: where it logs.
    public init(
        node: NodeID,
        tenant: TenantID = .standard,
        active: @escaping @Sendable () -> ActiveRelease?,
        check: @escaping Check,
        sink: any ReleaseHealthSink,
        interval: Duration = .seconds(10),
        clock: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.artifacts.health")
    ) {
        self.node = node
        self.tenant = tenant
        self.active = active
        self.check = check
        self.sink = sink
        self.interval = interval
        self.clock = clock
        self.logger = logger
    }

    /// Looks every interval until cancelled or shut down.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            var told: ReleaseHealth?
            while !Task.isCancelled {
                told = await look(told: told)
                do { try await clock.sleep(for: interval) } catch { return }
            }
        }
    }

    /// Looks once and reports what is news.
    ///
    /// - Parameter told: what the managers were last told.
    /// - Returns: what they are told now.
    public func look(told: ReleaseHealth?) async -> ReleaseHealth? {
        guard let release = active() else { return told }
        var failure: String?
        do { try await check(release) } catch {
            if Task.isCancelled { return told }
            failure = "\(error)"
        }
        let health = ReleaseHealth(
            node: node,
            channel: release.release.channel,
            number: release.release.number,
            root: release.release.root,
            state: failure == nil ? .healthy : .unhealthy,
            message: failure ?? "",
            at: clock.now()
        )
        if let told, told.saysTheSame(as: health) { return told }
        do {
            try await sink.report(health, tenant: tenant)
            return health
        } catch {
            logger.debug(
                "A health report could not be sent; the next look sends it.",
                metadata: ["channel": "\(health.channel)", "error": "\(error)"]
            )
            return told
        }
    }
}

extension ReleaseHealth {
    fileprivate func saysTheSame(as other: ReleaseHealth) -> Bool {
        (number, root, state, message) == (other.number, other.root, other.state, other.message)
    }
}

/// The sink of a `combined` node, and of tests: the store itself.
public struct InProcessHealthSink: ReleaseHealthSink {
    private let storage: any RolloutStorage
    private let capability: WriteCapability

    /// - Parameters:
    ///   - storage: where reports are kept.
    ///   - capability: they are written with its epoch.
    public init(storage: any RolloutStorage, capability: WriteCapability) {
        self.storage = storage
        self.capability = capability
    }

    public func report(_ health: ReleaseHealth, tenant: TenantID) async throws {
        _ = try await storage.record(
            health,
            tenant: tenant,
            epoch: try capability.requireEpoch()
        )
    }
}
