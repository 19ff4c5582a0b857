#if SQLite
import ArtifactStore
import ClusterRole
import ClusterTestKit
import SQLiteEngine
import SQLiteStore
import XCTest

/// What a power cut at any write leaves of rollouts: a state with its history and its blocks, or nothing of
/// the change.
final class RolloutCrashTests: XCTestCase {
    private struct Fact {
        let events: Int64
        let rollout: ReleaseRollout
    }

    private static let steps: [(ReleaseRolloutTransition.Event, ReleaseRolloutState)] = [
        (.started, .awaitingRelease), (.waveBegan, .running), (.paused, .paused),
        (.resumed, .running), (.aborted, .aborted),
    ]

    private static func root(_ number: Int) -> TreeID {
        TreeID(ContentDigest(of: [UInt8(number)]))
    }

    private static func change(
        _ rollout: ReleaseRollout,
        _ event: ReleaseRolloutTransition.Event,
        blocking root: TreeID
    ) -> ReleaseRolloutChange {
        let line = ReleaseRolloutTransition(
            rollout: rollout.id,
            number: rollout.version,
            event: event,
            state: rollout.state,
            wave: 0,
            at: rollout.startedAt,
            by: "alice",
            reason: "because"
        )
        let block = ReleaseBlock(
            channel: rollout.channel,
            root: root,
            number: rollout.candidate,
            rollout: rollout.id,
            at: rollout.startedAt,
            by: "alice",
            reason: "it burns"
        )
        return ReleaseRolloutChange(
            channel: rollout.channel,
            rollout: rollout,
            version: rollout.version == 1 ? nil : rollout.version - 1,
            transitions: [line],
            blocks: rollout.state.isClosed ? [block] : []
        )
    }

    func test_rollouts_powerCutAtAnyWrite_areWhole_andNoAcknowledgedStepIsLost() async throws {
        let recording = try await CrashRecording()
        let house = try await StoreHouse.open(recording.path, seed: 3) { $0.checkpointPages = 40 }
        try recording.acknowledge()
        var facts: [Fact] = []
        for number in 1...4 {
            var rollout = ReleaseRollout(
                id: ReleaseRolloutID(bits: UInt128(number)),
                tenant: .standard,
                channel: ChannelName(rawValue: "channel-\(number)"),
                plan: ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.percent(25))]),
                initiator: "alice",
                startedAt: house.time.now(),
                candidate: .first,
                baseline: nil
            )
            for (index, step) in Self.steps.enumerated() {
                rollout.version = Int64(index + 1)
                rollout.state = step.1
                _ = try await house.store.write(
                    Self.change(rollout, step.0, blocking: Self.root(number)),
                    tenant: .standard,
                    epoch: house.epoch
                )
                try recording.acknowledge()
                facts.append(Fact(events: recording.events, rollout: rollout))
                let health = ReleaseHealth(
                    node: "worker-1",
                    channel: rollout.channel,
                    number: .first,
                    root: Self.root(number),
                    state: index % 2 == 0 ? .healthy : .unhealthy,
                    message: "step \(index)",
                    at: house.time.now()
                )
                _ = try await house.store.record(
                    health,
                    tenant: .standard,
                    epoch: house.epoch
                )
                try recording.acknowledge()
                house.time.advance(by: .seconds(1))
            }
        }
        try await house.store.close()
        try recording.acknowledge()
        let known = facts
        let found = try await recording.explore(seed: 3, reopenEvery: 12) { path, events in
            try await Self.reopen(path, known.filter { $0.events <= events })
        }
        XCTAssertGreaterThan(found.images, 200)
        XCTAssertGreaterThan(found.reopened, 15)
        XCTAssertEqual(found.losses, 0)
        XCTAssertEqual(found.foreign, 0, "an image is of no moment: a change came in parts")
        XCTAssertEqual(found.unreadable, [])
    }

    private struct Missing: Error { var rollout: ReleaseRolloutID }

    private static func reopen(_ path: String, _ facts: [Fact]) async throws {
        let house = try await StoreHouse.open(path)
        do {
            for fact in facts { try await check(fact.rollout, house.store) }
        } catch {
            try? await house.store.close()
            throw error
        }
        try await house.store.close()
    }

    private static func check(_ told: ReleaseRollout, _ store: EmbeddedStore) async throws {
        let found = try await store.rollouts(
            .id(told.id),
            tenant: .standard,
            before: nil,
            limit: 1
        ).first
        guard let found, found.version >= told.version else { throw Missing(rollout: told.id) }
        let lines = try await store.transitions(of: told.id, tenant: .standard)
        let standing = try await store.standing(of: told.channel, tenant: .standard)
        let isBlocked = standing.blocks.contains { $0.rollout == told.id }
        guard lines.map(\.number) == Array(1...found.version),
            isBlocked == found.state.isClosed
        else { throw Missing(rollout: told.id) }
    }
}
#endif
