#if SQLite
import ArtifactStore
import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import Logging
import XCTest

@testable import SQLiteStore

/// A rollout on the embedded store goes on where it was after each restart of its manager.
final class RolloutRestartTests: XCTestCase {
    private let channel: ChannelName = "web/site"
    private let time = ManualTimeSource()

    /// One life of a manager on the file.
    private struct Life {
        let store: EmbeddedStore
        let publisher: ArtifactPublisher
        let rollouts: ReleaseRollouts
        let offers: ReleaseOffers
        let epoch: Epoch
    }

    private func open(
        _ directory: String,
        _ objects: InMemoryObjectStorage,
        _ signer: Ed25519Signer
    ) async throws -> Life {
        let store = try await EmbeddedStore.open(
            path: directory + "/store.sqlite",
            node: "manager-1",
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize))
        )
        let epoch = try await store.acquire(holder: "manager-1", duration: .seconds(30)).epoch
        let capability = WriteCapability(epoch: epoch)
        var publishing = PublisherConfiguration()
        publishing.scratchDirectory = directory
        publishing.time = time
        publishing.logger.logLevel = .critical
        let publisher = ArtifactPublisher(
            storage: store,
            objects: objects,
            signer: signer,
            capability: capability,
            configuration: publishing
        )
        let nodes = FixedReleaseNodes {
            (0..<20).map { ReleaseNode(NodeID(rawValue: "worker-\($0)"), channels: ["web/site"]) }
        }
        var settings = ReleaseRollouts.Settings(clock: time)
        settings.random = SeededRandomSource(seed: 9)
        settings.logger.logLevel = .critical
        return Life(
            store: store,
            publisher: publisher,
            rollouts: ReleaseRollouts(
                releases: store,
                storage: store,
                publisher: publisher,
                nodes: nodes,
                capability: capability,
                settings: settings
            ),
            offers: ReleaseOffers(releases: store, rollouts: store, nodes: nodes),
            epoch: epoch
        )
    }

    /// Every worker applies what it is offered.
    private func sync(_ life: Life) async throws -> [Int64: Int] {
        var result: [Int64: Int] = [:]
        for index in 0..<20 {
            let node = NodeID(rawValue: "worker-\(index)")
            let answer = try await life.offers.offer(
                to: node,
                of: channel,
                tenant: .standard,
                unlessAt: nil
            )
            guard case .release(let stored) = answer else { continue }
            result[stored.release.number.rawValue, default: 0] += 1
            _ = try await life.store.record(
                AppliedRelease(node: node, release: stored.release, at: time.now()),
                tenant: .standard,
                epoch: life.epoch
            )
        }
        return result
    }

    func test_rollout_restartedAtEveryStep_goesOnWhereItWas() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory + "/tree",
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let objects = InMemoryObjectStorage()
        let signer = try Ed25519Signer()
        var life = try await open(directory, objects, signer)
        func restart() async throws {
            try await life.store.close()
            life = try await open(directory, objects, signer)
        }
        func publish(_ text: String) async throws {
            try text.write(
                toFile: directory + "/tree/index.html",
                atomically: true,
                encoding: .utf8
            )
            _ = try await life.publisher.publish(directory + "/tree", to: channel)
        }
        try await publish("one")
        var counts = try await sync(life)
        XCTAssertEqual(counts, [1: 20])
        let plan = ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.nodes(2), soak: .seconds(60))])
        let id = try await life.rollouts.start(plan, of: channel, by: "alice").id
        try await restart()
        try await publish("two")
        try await restart()
        counts = try await sync(life)
        XCTAssertEqual(counts, [1: 20], "armed, also over restarts")
        try await life.rollouts.tick()
        try await restart()
        counts = try await sync(life)
        XCTAssertEqual(counts, [1: 18, 2: 2])
        try await life.rollouts.command(.pause, id, by: "bob", reason: "night")
        try await restart()
        time.advance(by: .seconds(3_600))
        try await life.rollouts.tick()
        counts = try await sync(life)
        XCTAssertEqual(counts, [1: 18, 2: 2], "paused, also over restarts")
        try await life.rollouts.command(.resume, id, by: "bob")
        try await life.rollouts.tick()
        try await restart()
        time.advance(by: .seconds(60))
        try await life.rollouts.tick()
        counts = try await sync(life)
        XCTAssertEqual(counts, [2: 20])
        try await restart()
        try await life.rollouts.tick()
        let rollout = try await life.rollouts.rollout(id)
        XCTAssertEqual(rollout.state, .completed)
        let events = try await life.rollouts.history(of: id).map(\.event)
        XCTAssertEqual(
            events,
            [
                .started, .waveBegan, .paused, .resumed, .satisfied, .waveBegan, .completed,
            ]
        )
        try await life.store.close()
    }

    func test_revert_whoseManagerDiedBeforeItPublished_isFinishedByTheNext() async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory + "/tree",
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let objects = InMemoryObjectStorage()
        let signer = try Ed25519Signer()
        var life = try await open(directory, objects, signer)
        for text in ["one", "two"] {
            try text.write(
                toFile: directory + "/tree/index.html",
                atomically: true,
                encoding: .utf8
            )
            if text == "two" {
                _ = try await life.rollouts.start(
                    ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.nodes(1))]),
                    of: channel,
                    by: "alice"
                )
            }
            _ = try await life.publisher.publish(directory + "/tree", to: channel)
        }
        try await life.rollouts.tick()
        let running = try await life.store.standing(of: channel, tenant: .standard).rollout
        let before = try XCTUnwrap(running)
        // What the manager wrote before it died: the state and the block, and no release.
        var after = before
        let root = try XCTUnwrap(before.candidateRoot)
        after.state = .reverting
        after.version += 1
        _ = try await life.store.write(
            ReleaseRolloutChange(
                channel: channel,
                rollout: after,
                version: before.version,
                blocks: [
                    ReleaseBlock(
                        channel: channel,
                        root: root,
                        number: before.candidate,
                        rollout: before.id,
                        at: time.now(),
                        by: "rollout",
                        reason: "it burns"
                    )
                ]
            ),
            tenant: .standard,
            epoch: life.epoch
        )
        try await life.store.close()
        life = try await open(directory, objects, signer)
        try await life.rollouts.tick()
        let newest = try await life.store.latest(of: channel, tenant: .standard)
        XCTAssertEqual(newest?.release.number, ReleaseNumber(3))
        XCTAssertEqual(newest?.release.root, before.baseline?.root)
        let closed = try await life.rollouts.rollout(before.id)
        XCTAssertEqual(closed.state, .reverted)
        try await life.store.close()
    }
}
#endif
