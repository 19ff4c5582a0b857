internal import ArtifactStore
internal import ClusterRole

/// The contract of `RolloutStorage`, and of `ReleaseStorage` beside an open rollout.
public struct RolloutStorageConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("RolloutStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("a rollout reads back as it was written, with a revision of its own", readsBack),
        .init("a change counts once, from the version it was made at", comparesVersions),
        .init("a channel has one open rollout at most", keepsOneOpen),
        .init("rollouts are listed newest first, by page and by filter", lists),
        .init("state, history and blocks are written together or not at all", isAtomic),
        .init("an armed rollout does not close beside its release", comparesTheRelease),
        .init("nothing is published beside an open rollout", guardsTheChannel),
        .init("a blocked tree is not published until the block is lifted", blocksTrees),
        .init("of each node the newest health is kept", keepsNewestHealth),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("rollouts, history, blocks and health are there after a restart", survivesReopening),
    ]

    private static let channel: ChannelName = "web/site"

    private static func storage(_ scene: StoreScene) throws -> any RolloutStorage {
        try scene.needs(\.rollouts, "RolloutStorage")
    }

    private static func rollout(
        _ scene: StoreScene,
        channel: ChannelName = channel,
        tenant: TenantID? = nil,
        candidate: Int64 = 2
    ) -> ReleaseRollout {
        ReleaseRollout(
            id: ReleaseRolloutID(from: scene.random),
            tenant: tenant ?? scene.tenant,
            channel: channel,
            plan: ReleaseRolloutPlan(
                waves: [
                    ReleaseRolloutWave(
                        ReleaseAudience(labels: ["zone": "eu"], count: 2),
                        acknowledgedPercent: 80,
                        health: .reportedHealthy,
                        soak: .seconds(60),
                        timeout: .seconds(600)
                    ),
                    ReleaseRolloutWave(.percent(25)),
                ],
                failure: ReleaseFailureThreshold(percent: 5, minimum: 2, action: .abort)
            ),
            initiator: "conformance",
            startedAt: scene.now,
            candidate: ReleaseNumber(candidate),
            baseline: (try? ReleaseStorageConformance.sample(1)).map {
                .init(number: .first, root: $0.release.root)
            }
        )
    }

    private static func transition(
        _ rollout: ReleaseRollout,
        _ event: ReleaseRolloutTransition.Event,
        reason: String = "why"
    ) -> ReleaseRolloutTransition {
        ReleaseRolloutTransition(
            rollout: rollout.id,
            number: rollout.version,
            event: event,
            state: rollout.state,
            wave: rollout.wave,
            at: rollout.startedAt,
            by: "somebody",
            reason: reason
        )
    }

    private static func block(_ rollout: ReleaseRollout, _ root: TreeID) -> ReleaseBlock {
        ReleaseBlock(
            channel: rollout.channel,
            root: root,
            number: rollout.candidate,
            rollout: rollout.id,
            at: rollout.startedAt,
            by: "somebody",
            reason: "it burns"
        )
    }

    @discardableResult
    private static func start(
        _ rollout: ReleaseRollout,
        _ scene: StoreScene,
        epoch: Epoch? = nil
    ) async throws -> Revision {
        try await storage(scene).write(
            ReleaseRolloutChange(
                channel: rollout.channel,
                rollout: rollout,
                transitions: [transition(rollout, .started)]
            ),
            tenant: rollout.tenant,
            epoch: epoch ?? scene.epoch
        )
    }

    /// The rollout in another state.
    private static func moved(
        _ rollout: ReleaseRollout,
        to state: ReleaseRolloutState
    ) -> ReleaseRollout {
        var rollout = rollout
        rollout.state = state
        rollout.version += 1
        if state.isClosed { rollout.closedAt = rollout.startedAt }
        return rollout
    }

    @discardableResult
    private static func move(
        _ before: ReleaseRollout,
        to state: ReleaseRolloutState,
        _ scene: StoreScene,
        unpublished: ReleaseNumber? = nil,
        blocks: [ReleaseBlock] = [],
        epoch: Epoch? = nil
    ) async throws -> ReleaseRollout {
        let after = moved(before, to: state)
        _ = try await storage(scene).write(
            ReleaseRolloutChange(
                channel: before.channel,
                rollout: after,
                version: before.version,
                unpublished: unpublished,
                transitions: [transition(after, .paused)],
                blocks: blocks
            ),
            tenant: before.tenant,
            epoch: epoch ?? scene.epoch
        )
        return after
    }

    /// Expects an `ArtifactStoreError` with this code.
    private static func refused(
        _ code: ArtifactStoreError.Code,
        _ scene: StoreScene,
        _ what: String,
        _ body: () async throws -> Void
    ) async throws {
        do {
            try await body()
        } catch let error as ArtifactStoreError where error.code == code {
            return
        }
        throw scene.check.failure("\(what) was taken, and should be refused as \(code.rawValue)")
    }

    private static func all(
        _ scene: StoreScene,
        _ filter: ReleaseRolloutFilter = .all,
        before: ReleaseRolloutID? = nil,
        limit: Int = 10
    ) async throws -> [ReleaseRollout] {
        try await storage(scene).rollouts(
            filter,
            tenant: scene.tenant,
            before: before,
            limit: limit
        )
    }

    // MARK: - Steps

    private static func readsBack(_ scene: StoreScene) async throws {
        let first = rollout(scene)
        let revision = try await start(first, scene)
        try scene.check.equal(try await all(scene), [first], "the rollouts")
        var next = moved(first, to: .running)
        next.candidateRoot = TreeID(ContentDigest(of: [2]))
        next.waveBegan = scene.now
        next.satisfiedSince = scene.now + .seconds(1)
        next.named = ["worker-1", "worker-2"]
        next.reason = "because"
        let later = try await storage(scene).write(
            ReleaseRolloutChange(channel: channel, rollout: next, version: first.version),
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        try scene.check.isTrue(
            later.covers(revision) && later != revision,
            "each change takes a revision, so that waiting workers look again"
        )
        try scene.check.equal(try await all(scene), [next], "the rollouts")
        let standing = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        try scene.check.equal(standing.rollout, next, "the open rollout")
    }

    private static func comparesVersions(_ scene: StoreScene) async throws {
        let first = rollout(scene)
        try await start(first, scene)
        let second = try await move(first, to: .running, scene)
        try await refused(.conflict, scene, "a change of an old version") {
            try await move(first, to: .paused, scene)
        }
        try await refused(.conflict, scene, "a change of an unknown rollout") {
            try await move(rollout(scene), to: .paused, scene)
        }
        try await refused(.conflict, scene, "a second beginning") { try await start(first, scene) }
        try scene.check.equal(try await all(scene), [second], "the rollouts")
    }

    private static func keepsOneOpen(_ scene: StoreScene) async throws {
        let first = rollout(scene)
        try await start(first, scene)
        try await refused(.rolloutOpen, scene, "a second open rollout") {
            try await start(rollout(scene), scene)
        }
        try await start(rollout(scene, channel: "api"), scene)
        try await move(first, to: .completed, scene)
        try await start(rollout(scene), scene)
        let standing = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        try scene.check.isTrue(
            standing.rollout != nil && standing.rollout?.id != first.id,
            "the new rollout is the open one"
        )
    }

    private static func lists(_ scene: StoreScene) async throws {
        var made: [ReleaseRollout] = []
        for index in 0..<5 {
            let next = rollout(scene, channel: index == 2 ? "api" : channel)
            try await start(next, scene)
            made.append(index == 4 ? next : try await move(next, to: .aborted, scene))
        }
        let newest = Array(made.reversed())
        try scene.check.equal(try await all(scene), newest, "all")
        try scene.check.equal(try await all(scene, limit: 2), Array(newest[..<2]), "a page")
        try scene.check.equal(
            try await all(scene, before: newest[1].id),
            Array(newest[2...]),
            "the pages behind it"
        )
        try scene.check.equal(try await all(scene, .open), [made[4]], "open ones")
        try scene.check.equal(try await all(scene, .channel("api")), [made[2]], "of a channel")
        try scene.check.equal(try await all(scene, .id(made[1].id)), [made[1]], "by id")
    }

    private static func isAtomic(_ scene: StoreScene) async throws {
        let first = rollout(scene)
        try await start(first, scene)
        let root = TreeID(ContentDigest(of: [7]))
        try await refused(.conflict, scene, "a change of an old version") {
            try await move(
                moved(first, to: .running),
                to: .aborted,
                scene,
                blocks: [block(first, root)]
            )
        }
        var standing = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        try scene.check.equal(standing, ChannelStanding(rollout: first), "after a refusal")
        let closed = try await move(first, to: .aborted, scene, blocks: [block(first, root)])
        standing = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        try scene.check.equal(standing, ChannelStanding(blocks: [block(first, root)]), "standing")
        try scene.check.equal(
            try await storage(scene).transitions(of: first.id, tenant: scene.tenant),
            [transition(first, .started), transition(closed, .paused)],
            "the history"
        )
    }

    private static func comparesTheRelease(_ scene: StoreScene) async throws {
        let releases = try scene.needs(\.releases, "ReleaseStorage")
        let first = rollout(scene, candidate: 1)
        try await start(first, scene)
        _ = try await releases.append(
            try sample(1, scene),
            after: nil,
            epoch: scene.epoch
        )
        try await refused(.conflict, scene, "closing beside the release") {
            try await move(first, to: .aborted, scene, unpublished: .first)
        }
        try await move(first, to: .aborted, scene, unpublished: ReleaseNumber(2))
    }

    private static func sample(
        _ number: Int64,
        _ scene: StoreScene,
        tree: Int64? = nil
    ) throws -> PublishedRelease {
        try ReleaseStorageConformance.sample(
            number,
            channel: channel,
            tenant: scene.tenant,
            tree: tree
        )
    }

    private static func guardsTheChannel(_ scene: StoreScene) async throws {
        let releases = try scene.needs(\.releases, "ReleaseStorage")
        func append(_ number: Int64, tree: Int64? = nil) async throws {
            _ = try await releases.append(
                try sample(number, scene, tree: tree),
                after: number == 1 ? nil : ReleaseNumber(number - 1),
                epoch: scene.epoch
            )
        }
        try await append(1)
        var open = rollout(scene, candidate: 2)
        try await start(open, scene)
        try await append(2)
        try await refused(.rolloutOpen, scene, "a second release of an armed rollout") {
            try await append(3)
        }
        for state in [ReleaseRolloutState.running, .paused, .reverting] {
            open = try await move(open, to: state, scene)
            try await refused(.rolloutOpen, scene, "a release while it is \(state)") {
                try await append(3)
            }
        }
        // What a revert publishes is the tree before.
        try await append(3, tree: 1)
        try await move(open, to: .reverted, scene)
        try await append(4)
    }

    private static func blocksTrees(_ scene: StoreScene) async throws {
        let releases = try scene.needs(\.releases, "ReleaseStorage")
        let bad = try sample(1, scene)
        let first = rollout(scene)
        try await start(first, scene)
        try await move(first, to: .aborted, scene, blocks: [block(first, bad.release.root)])
        try await refused(.blocked, scene, "a blocked tree") {
            _ = try await releases.append(bad, after: nil, epoch: scene.epoch)
        }
        _ = try await storage(scene).write(
            ReleaseRolloutChange(channel: channel, unblocked: [bad.release.root]),
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        _ = try await releases.append(bad, after: nil, epoch: scene.epoch)
    }

    private static func health(_ node: NodeID, _ number: Int64, at: Int64) -> ReleaseHealth {
        ReleaseHealth(
            node: node,
            channel: channel,
            number: ReleaseNumber(number),
            root: TreeID(ContentDigest(of: [UInt8(number)])),
            state: number == 1 ? .healthy : .unhealthy,
            message: "it is warm",
            at: Timestamp(milliseconds: at)
        )
    }

    private static func keepsNewestHealth(_ scene: StoreScene) async throws {
        let reports = [
            health("worker-2", 1, at: 5), health("worker-1", 2, at: 7),
            health("worker-1", 1, at: 9), health("worker-1", 2, at: 6),
        ]
        let before = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        for report in reports {
            _ = try await storage(scene).record(report, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.equal(
            try await storage(scene).health(of: channel, tenant: scene.tenant),
            [reports[1], reports[0]],
            "what is kept"
        )
        let after = try await storage(scene).standing(of: channel, tenant: scene.tenant)
        try scene.check.equal(after, before, "the standing")
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let own = rollout(scene)
        try await start(own, scene)
        let root = TreeID(ContentDigest(of: [7]))
        let closed = try await move(own, to: .aborted, scene, blocks: [block(own, root)])
        _ = try await storage(scene).record(
            health("worker-1", 1, at: 1),
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        let (storage, other) = (try storage(scene), scene.otherTenant)
        try scene.check.equal(
            try await storage.standing(of: channel, tenant: other),
            ChannelStanding(),
            "another tenant's standing"
        )
        for filter in [ReleaseRolloutFilter.all, .open, .channel(channel), .id(own.id)] {
            let found = try await storage.rollouts(filter, tenant: other, before: nil, limit: 9)
            try scene.check.equal(found, [], "another tenant's rollouts (\(filter))")
        }
        try scene.check.equal(
            try await storage.transitions(of: own.id, tenant: other),
            [],
            "another tenant's history"
        )
        try scene.check.equal(
            try await storage.health(of: channel, tenant: other),
            [],
            "another tenant's health"
        )
        let everybody = try await storage.rollouts(.all, tenant: nil, before: nil, limit: 9)
        try scene.check.equal(everybody, [closed], "rollouts of all tenants")
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let first = rollout(scene)
        try await start(first, scene)
        try await scene.expectFenced("write") {
            try await move(first, to: .aborted, scene, epoch: $0)
        }
        try await scene.expectFenced("record") {
            _ = try await storage(scene).record(
                health("worker-1", 1, at: 1),
                tenant: scene.tenant,
                epoch: $0
            )
        }
        try scene.check.equal(try await all(scene), [first], "the rollouts")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let first = rollout(scene)
        try await start(first, scene)
        let root = TreeID(ContentDigest(of: [7]))
        let second = try await move(first, to: .paused, scene, blocks: [block(first, root)])
        let report = health("worker-1", 1, at: 1)
        _ = try await storage(scene).record(report, tenant: scene.tenant, epoch: scene.epoch)
        let store = try await reopen()
        do {
            let again = try scene.check.some(store.rollouts, "the reopened store's rollouts")
            try scene.check.equal(
                try await again.standing(of: channel, tenant: scene.tenant),
                ChannelStanding(rollout: second, blocks: [block(first, root)]),
                "the standing"
            )
            try scene.check.equal(
                try await again.transitions(of: first.id, tenant: scene.tenant).map(\.event),
                [.started, .paused],
                "the history"
            )
            try scene.check.equal(
                try await again.health(of: channel, tenant: scene.tenant),
                [report],
                "the health"
            )
        } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
    }
}
