import ArtifactStore
import ClusterRole
import ClusterTestKit
import XCTest

/// Rows of the table for rollouts of releases.
extension TenantCrossingTests.Scene {
    static let channel: ChannelName = "web/site"

    var rollout: ReleaseRollout {
        ReleaseRollout(
            id: ReleaseRolloutID(bits: 0x50),
            tenant: victim,
            channel: Self.channel,
            plan: ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.nodes(1))]),
            initiator: "tester",
            startedAt: now,
            candidate: .first,
            baseline: nil
        )
    }

    private var block: ReleaseBlock {
        ReleaseBlock(
            channel: Self.channel,
            root: TreeID(ContentDigest(of: [1])),
            number: .first,
            rollout: rollout.id,
            at: now,
            by: "tester",
            reason: "it burns"
        )
    }

    func health(_ state: ReleaseHealth.State) -> ReleaseHealth {
        ReleaseHealth(
            node: "worker-1",
            channel: Self.channel,
            number: .first,
            root: TreeID(ContentDigest(of: [1])),
            state: state,
            at: now
        )
    }

    func populateRollouts() async throws {
        let transition = ReleaseRolloutTransition(
            rollout: rollout.id,
            number: 1,
            event: .started,
            state: .awaitingRelease,
            wave: 0,
            at: now,
            by: "tester",
            reason: ""
        )
        _ = try await store.rollouts?.write(
            ReleaseRolloutChange(
                channel: Self.channel,
                rollout: rollout,
                transitions: [transition],
                blocks: [block]
            ),
            tenant: victim,
            epoch: epoch
        )
        _ = try await store.rollouts?.record(health(.healthy), tenant: victim, epoch: epoch)
    }

    func rolloutPicture() async throws -> [String] {
        guard let rollouts = store.rollouts else { return [] }
        return [
            "\(try await rollouts.standing(of: Self.channel, tenant: victim))",
            "\(try await rollouts.rollouts(.all, tenant: victim, before: nil, limit: 9))",
            "\(try await rollouts.transitions(of: rollout.id, tenant: victim))",
            "\(try await rollouts.health(of: Self.channel, tenant: victim))",
        ]
    }
}

extension TenantCrossingTests {
    static let rolloutAttempts: [String: Attempt] = [
        "RolloutStorage.write": { scene in
            // The victim's rollout under the thief's name, and the victim's block lifted by the thief.
            var stolen = scene.rollout
            stolen.reason = "stolen"
            stolen.version = 2
            let changes = [
                ReleaseRolloutChange(channel: Scene.channel, rollout: stolen, version: 1),
                ReleaseRolloutChange(
                    channel: Scene.channel,
                    unblocked: [TreeID(ContentDigest(of: [1]))]
                ),
            ]
            for change in changes {
                do {
                    _ = try await scene.store.rollouts?.write(
                        change,
                        tenant: scene.thief,
                        epoch: scene.epoch
                    )
                } catch let error as ArtifactStoreError {
                    if error.code != .conflict { return "\(error)" }
                }
            }
            return nil
        },
        "RolloutStorage.standing": { scene in
            let found = try await scene.store.rollouts?.standing(
                of: Scene.channel,
                tenant: scene.thief
            )
            return found ?? ChannelStanding() == ChannelStanding()
                ? nil : "\(String(describing: found))"
        },
        "RolloutStorage.rollouts": { scene in
            var found: [ReleaseRollout] = []
            for filter in [ReleaseRolloutFilter.all, .open, .channel(Scene.channel)] {
                found +=
                    try await scene.store.rollouts?.rollouts(
                        filter,
                        tenant: scene.thief,
                        before: nil,
                        limit: 9
                    ) ?? []
            }
            found +=
                try await scene.store.rollouts?.rollouts(
                    .id(scene.rollout.id),
                    tenant: scene.thief,
                    before: scene.rollout.id,
                    limit: 9
                ) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "RolloutStorage.transitions": { scene in
            let found =
                try await scene.store.rollouts?.transitions(
                    of: scene.rollout.id,
                    tenant: scene.thief
                ) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        "RolloutStorage.record": { scene in
            _ = try await scene.store.rollouts?.record(
                scene.health(.unhealthy),
                tenant: scene.thief,
                epoch: scene.epoch
            )
            return nil
        },
        "RolloutStorage.health": { scene in
            let found =
                try await scene.store.rollouts?.health(
                    of: Scene.channel,
                    tenant: scene.thief
                ) ?? []
            return found.isEmpty ? nil : "\(found)"
        },
        // It hands a worker's own report on; the store's part is tried above.
        "ReleaseHealthSink.report": { scene in
            guard let rollouts = scene.store.rollouts else { return nil }
            try await InProcessHealthSink(
                storage: rollouts,
                capability: WriteCapability(epoch: scene.epoch)
            ).report(scene.health(.unhealthy), tenant: scene.thief)
            return nil
        },
    ]
}
