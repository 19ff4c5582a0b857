public import ClusterRole
internal import Logging
public import ServiceLifecycle

/// A manager's objects over time: copies it keeps for other managers, garbage, damage.
///
/// Each manager cares for its own objects, also while it is not the coordinator. A collection leaves what
/// this manager's releases, rollouts and pins need, what the bundle maker remembers, and what any of the
/// other managers needs; if one of them does not answer, nothing of that tenant is removed.
public struct ObjectCare: Sendable {
    /// The most objects of one tenant that are told to another manager. 1,000,000: 32 MB.
    public static let maximumNeeded = 1_000_000

    let objects: TenantObjects
    let peers: [any ObjectPeer]
    let copies: Int
    private let storage: any ReleaseStorage
    private let rollouts: (any RolloutStorage)?
    private let maker: BundleMaker?
    private let settings: Settings
    let configuration: PublisherConfiguration

    /// What is left, and what a person wants kept; the defaults work.
    public struct Settings: Hashable, Sendable {
        /// What a collection leaves.
        public var policy = ObjectCollectionPolicy()
        /// Releases whose bytes are kept however old they are.
        public var pins: Set<ObjectCollector.Pin> = []

        /// The defaults.
        public init() {}
    }

    /// - Parameters:
    ///   - objects: what is cared for.
    ///   - peers: the other managers.
    ///   - copies: on how many managers an object is kept; 1 is this one alone.
    ///   - storage: the releases.
    ///   - rollouts: of the same store; open ones need what they roll out and what they would go back to.
    ///   - maker: its bundles are in use.
    ///   - settings: what is left.
    ///   - configuration: the publisher's: limits, codec, scratch directory, clock, log.
    public init(
        _ objects: TenantObjects,
        peers: [any ObjectPeer] = [],
        copies: Int = 1,
        storage: any ReleaseStorage,
        rollouts: (any RolloutStorage)? = nil,
        maker: BundleMaker? = nil,
        settings: Settings = Settings(),
        configuration: PublisherConfiguration = PublisherConfiguration()
    ) {
        self.objects = objects
        self.peers = peers
        self.copies = copies
        self.storage = storage
        self.rollouts = rollouts
        self.maker = maker
        self.settings = settings
        self.configuration = configuration
    }

    // MARK: - What is needed

    /// The objects of a tenant that this manager's records need.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `limitExceeded` beyond ``maximumNeeded``.
    public func needed(of tenant: TenantID) async throws -> Set<ContentDigest> {
        var needed = try await ObjectCensus(storage: storage, policy: settings.policy)
            .taken(of: [tenant], pins: try await pins(of: tenant)).named
        if let maker { needed.formUnion(await maker.objectsInUse) }
        guard needed.count <= Self.maximumNeeded else {
            throw ArtifactStoreError(
                .limitExceeded,
                "Tenant \(tenant) needs more than \(Self.maximumNeeded) objects. Keep fewer releases."
            )
        }
        return needed
    }

    // MARK: - Now and then

    /// Removes what nobody needs, of every tenant.
    ///
    /// - Throws: the first failure, after every tenant had its turn. What failed removed nothing more.
    public func collect() async throws -> ObjectCollector.Report {
        var sum = ObjectCollector.Report()
        try await forEachTenant { tenant, own in
            var inUse: Set<ContentDigest> = []
            if let maker { inUse = await maker.objectsInUse }
            for peer in peers {
                inUse.formUnion(try await peer.needed(of: tenant))
            }
            let collector = ObjectCollector(
                storage: storage,
                objects: own,
                policy: settings.policy,
                time: configuration.time
            )
            let report = try await collector.collect(
                tenants: [tenant],
                pins: try await pins(of: tenant),
                inUse: inUse
            )
            sum.examined += report.examined
            sum.removed += report.removed
            sum.removedBytes += report.removedBytes
            sum.keptReleases += report.keptReleases
        }
        return sum
    }

    /// Reads every object of every tenant, and mends what is damaged, or needed and missing: from another
    /// manager, or from the releases beside it.
    ///
    /// - Throws: the first failure, after every tenant had its turn.
    public func scrub() async throws -> ObjectScrubber.Report {
        var sum = ObjectScrubber.Report()
        try await forEachTenant { tenant, own in
            let scrubber = ObjectScrubber(
                objects: own,
                peers: peers,
                tenant: tenant,
                storage: storage,
                configuration: configuration
            )
            let report = try await scrubber.scrub(
                try await channels(of: tenant).map { (tenant, $0) },
                needed: try await needed(of: tenant)
            )
            sum.examined += report.examined
            sum.examinedBytes += report.examinedBytes
            sum.damaged += report.damaged
        }
        return sum
    }

    func forEachTenant(
        _ body: (TenantID, any ObjectInventory) async throws -> Void
    ) async throws {
        var failure: (any Error)?
        for tenant in objects.tenants {
            guard let own = try objects.own(of: tenant) as? any ObjectInventory else { continue }
            do {
                try await body(tenant, own)
            } catch let error as CancellationError {
                throw error
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    private func channels(of tenant: TenantID) async throws -> [ChannelName] {
        var all: [ChannelName] = []
        while true {
            let page = try await storage.channels(of: tenant, after: all.last, limit: 1_000)
            guard !page.isEmpty else { return all }
            all += page
        }
    }

    /// What a person pinned, and what open rollouts need.
    private func pins(of tenant: TenantID) async throws -> Set<ObjectCollector.Pin> {
        var pins = settings.pins.filter { $0.tenant == tenant }
        guard let rollouts else { return pins }
        var last: ReleaseRolloutID?
        while true {
            let page = try await rollouts.rollouts(
                .open,
                tenant: tenant,
                before: last,
                limit: 1_000
            )
            guard let end = page.last else { return pins }
            last = end.id
            for rollout in page {
                for number in [rollout.candidate, rollout.baseline?.number].compactMap({ $0 }) {
                    pins.insert(
                        ObjectCollector.Pin(number, of: rollout.channel, tenant: tenant)
                    )
                }
            }
        }
    }
}

/// Collects, scrubs or copies a manager's objects now and then.
public struct ObjectCareTask: Service {
    /// What is done.
    public enum Work: String, Hashable, Sendable {
        case collection
        case scrub
        case replication
    }

    private let care: ObjectCare
    private let work: Work
    private let interval: Duration

    /// - Parameters:
    ///   - care: of what.
    ///   - work: what is done.
    ///   - interval: how often. The first time is a tenth of it after the start, so that a node that is
    ///     often restarted gets to it too.
    public init(_ care: ObjectCare, _ work: Work, every interval: Duration) {
        self.care = care
        self.work = work
        self.interval = interval
    }

    /// Works until cancelled or shut down. What fails is logged and tried again the next time.
    public func run() async throws {
        let (time, logger) = (care.configuration.time, care.configuration.logger)
        await cancelWhenGracefulShutdown {
            var pause = interval / 10
            while !Task.isCancelled {
                do { try await time.sleep(for: pause) } catch { return }
                pause = interval
                do {
                    try await once(logger)
                } catch {
                    if Task.isCancelled { return }
                    logger.warning(
                        "Objects could not be cared for; it is tried again.",
                        metadata: ["work": "\(work.rawValue)", "error": "\(error)"]
                    )
                }
            }
        }
    }

    private func once(_ logger: Logger) async throws {
        switch work {
        case .collection:
            let report = try await care.collect()
            guard !report.removed.isEmpty else { return }
            logger.info(
                "Objects that nobody needs were removed.",
                metadata: [
                    "objects": "\(report.removed.count)", "bytes": "\(report.removedBytes)",
                ]
            )
        case .scrub:
            let report = try await care.scrub()
            logger.info(
                "Objects were read and compared.",
                metadata: [
                    "objects": "\(report.examined)", "bytes": "\(report.examinedBytes)",
                    "damaged": "\(report.damaged.count)",
                ]
            )
        case .replication:
            let report = try await care.replicate()
            guard !report.copied.isEmpty || !report.lacking.isEmpty else { return }
            logger.notice(
                "Copies that other managers had lost were made again.",
                metadata: [
                    "objects": "\(report.examined)", "copied": "\(report.copied.count)",
                    "lacking": "\(report.lacking.count)",
                ]
            )
        }
    }
}
