public import ClusterRole
public import Logging

/// Rolls releases out to workers in waves: the manager's half of rollouts.
///
/// ```swift
/// let plan = ReleaseRolloutPlan(waves: [
///     ReleaseRolloutWave(.nodes(1), soak: .seconds(600)),
///     ReleaseRolloutWave(.percent(25), soak: .seconds(1_800)),
/// ])
/// let rollout = try await rollouts.start(plan, of: "web/site", by: "alice")
/// _ = try await publisher.publish("/srv/site", to: "web/site")
/// ```
///
/// A rollout is armed first and waits for the channel's next release, so that no worker sees that release
/// before its wave. All state is in the store: ``ReleaseRolloutTask`` goes on with it after a restart, on
/// whichever manager is the coordinator.
///
/// Errors are ``ArtifactStoreError``; a `ClusterRoleError` with code `revoked` or `fenced` when this node
/// is no longer the coordinator; or what a driver throws.
public struct ReleaseRollouts: Sendable {
    let releases: any ReleaseStorage
    let storage: any RolloutStorage
    let publisher: any ReleaseWriter
    let nodes: any ReleaseNodeReader
    let capability: WriteCapability
    let settings: Settings
    /// A command and a tick that look at one rollout at once would publish the tree before twice.
    let looks = SingleFlight<ReleaseRolloutID>()

    /// What it is made with; the defaults work.
    public struct Settings: Sendable {
        public var clock: any TimeSource = SystemTimeSource()
        /// For ids, and so for ranks.
        public var random: any RandomSource = SystemRandomSource()
        /// How often ``awaitApplied(_:of:quorum:within:tenant:)`` looks.
        public var lookInterval = Duration.milliseconds(250)
        public var logger = Logger(label: "reeve.artifacts.rollout")

        public init(clock: any TimeSource = SystemTimeSource()) { self.clock = clock }
    }

    /// The most rows one call returns; `limit` is held below it.
    public static let maximumPage = 1_000

    /// - Parameters:
    ///   - releases: the channels.
    ///   - storage: of the same store.
    ///   - publisher: publishes the tree before again when a rollout is reverted.
    ///   - nodes: the workers.
    ///   - capability: the coordinator's right to write.
    ///   - settings: the clock and the rest.
    public init(
        releases: any ReleaseStorage,
        storage: any RolloutStorage,
        publisher: any ReleaseWriter,
        nodes: any ReleaseNodeReader,
        capability: WriteCapability,
        settings: Settings = Settings()
    ) {
        self.releases = releases
        self.storage = storage
        self.publisher = publisher
        self.nodes = nodes
        self.capability = capability
        self.settings = settings
    }

    // MARK: - Commands

    /// Begins a rollout.
    ///
    /// - Parameters:
    ///   - plan: the waves, and what happens when too many fail.
    ///   - channel: the channel; it has one open rollout at most.
    ///   - release: the channel's newest release, to bring it to those who do not have it yet; `nil` arms
    ///     the rollout for the next one that is published.
    ///   - initiator: who begins it, for the history.
    ///   - tenant: the tenant the channel belongs to.
    /// - Throws: ``ArtifactStoreError``: `invalidPlan`; `rolloutOpen` while the channel has another;
    ///   `conflict` if `release` is not the newest; `blocked` if its tree is.
    @discardableResult
    public func start(
        _ plan: ReleaseRolloutPlan,
        of channel: ChannelName,
        release: ReleaseNumber? = nil,
        by initiator: String,
        tenant: TenantID = .standard
    ) async throws -> ReleaseRollout {
        try plan.validate()
        _ = try ChannelName(validating: channel.rawValue)
        let epoch = try capability.requireEpoch()
        let newest = try await releases.latest(of: channel, tenant: tenant)
        let standing = try await storage.standing(of: channel, tenant: tenant)
        if let release {
            guard newest?.release.number == release else {
                throw ArtifactStoreError.conflict(
                    channel: channel,
                    expected: release,
                    actual: newest?.release.number
                )
            }
            if let root = newest?.release.root, let block = standing.block(of: root) {
                throw ArtifactStoreError(
                    .blocked,
                    "Release \(release) is blocked: \(block.reason). Lift the block first."
                )
            }
        }
        let candidate = release ?? newest?.release.number.next ?? .first
        let older = try await releases.releases(
            of: channel,
            tenant: tenant,
            before: candidate,
            limit: ReleaseOffers.lookBack
        )
        let baseline = older.first { standing.block(of: $0.release.root) == nil }?.release
        let now = settings.clock.now()
        let rollout = ReleaseRollout(
            id: ReleaseRolloutID(from: settings.random),
            tenant: tenant,
            channel: channel,
            plan: plan,
            initiator: initiator,
            startedAt: now,
            candidate: candidate,
            baseline: baseline.map { .init(number: $0.number, root: $0.root) }
        )
        _ = try await storage.write(
            ReleaseRolloutChange(
                channel: channel,
                rollout: rollout,
                unpublished: release == nil ? candidate : nil,
                transitions: [
                    ReleaseRolloutTransition(
                        rollout: rollout.id,
                        number: rollout.version,
                        event: .started,
                        state: rollout.state,
                        wave: 0,
                        at: now,
                        by: initiator,
                        reason: ""
                    )
                ]
            ),
            tenant: tenant,
            epoch: epoch
        )
        settings.logger.info(
            "A rollout begins.",
            metadata: [
                "channel": "\(channel)", "rollout": "\(rollout.id)", "release": "\(candidate)",
            ]
        )
        return try await look(at: rollout)
    }

    // MARK: - Reading

    /// One rollout.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `unknownRollout`.
    public func rollout(
        _ id: ReleaseRolloutID,
        tenant: TenantID = .standard
    ) async throws -> ReleaseRollout {
        let found = try await storage.rollouts(.id(id), tenant: tenant, before: nil, limit: 1).first
        guard let found else {
            throw ArtifactStoreError(
                .unknownRollout,
                "There is no rollout \(id) in this tenant."
            )
        }
        return found
    }

    /// Rollouts, newest first.
    ///
    /// - Parameters:
    ///   - filter: which.
    ///   - before: only rollouts behind this one in the list.
    ///   - limit: at most so many.
    ///   - tenant: the tenant.
    public func rollouts(
        _ filter: ReleaseRolloutFilter = .all,
        before: ReleaseRolloutID? = nil,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws -> [ReleaseRollout] {
        try await storage.rollouts(
            filter,
            tenant: tenant,
            before: before,
            limit: max(1, min(limit, Self.maximumPage))
        )
    }

    /// What happened in a rollout, oldest first: who, when and why.
    public func history(
        of id: ReleaseRolloutID,
        tenant: TenantID = .standard
    ) async throws -> [ReleaseRolloutTransition] {
        try await storage.transitions(of: id, tenant: tenant)
    }

    /// The trees that are blocked in a channel, by root.
    ///
    /// - Parameters:
    ///   - channel: the channel.
    ///   - tenant: the tenant the channel belongs to.
    /// - Throws: ``ArtifactStoreError`` with code `notFound` for a channel without a release.
    public func blocks(
        of channel: ChannelName,
        tenant: TenantID = .standard
    ) async throws -> [ReleaseBlock] {
        guard try await releases.latest(of: channel, tenant: tenant) != nil else {
            throw ArtifactStoreError(
                .notFound,
                "There is no channel \(channel) in this tenant. It begins with a release."
            )
        }
        return try await storage.standing(of: channel, tenant: tenant).blocks
    }
}
