import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import Synchronization
import XCTest

/// Rollouts over 24 workers with real disks.
final class RolloutClusterTests: XCTestCase {
    private static let plan = ReleaseRolloutPlan(waves: [
        ReleaseRolloutWave(.nodes(1), soak: .seconds(60)),
        ReleaseRolloutWave(.percent(25), soak: .seconds(60)),
    ])

    /// 24 workers on release 1, and a rollout that waits for release 2.
    private func armed(
        _ plan: ReleaseRolloutPlan = plan,
        workers: Int = 24
    ) async throws -> (RolloutScene, ReleaseRolloutID) {
        let scene = try RolloutScene(workers: workers)
        try await scene.publish("one")
        try await scene.step()
        XCTAssertEqual(scene.on(1), scene.everybody)
        let rollout = try await scene.rollouts.start(plan, of: RolloutScene.channel, by: "alice")
        return (scene, rollout.id)
    }

    func test_goodRelease_goesFromTheCanaryToAQuarterToAll() async throws {
        let (scene, id) = try await armed()
        try await scene.step()
        let waiting = try await scene.rollouts.rollout(id)
        XCTAssertEqual(waiting.state, .awaitingRelease)
        try await scene.publish("two")
        try await scene.step()
        XCTAssertEqual(scene.offered(2), [], "a release is held before the rollout has seen it")
        try await scene.step()
        let canary = scene.on(2)
        XCTAssertEqual(canary.count, 1)
        let ranks = Dictionary(uniqueKeysWithValues: scene.everybody.map { ($0, id.rank(of: $0)) })
        XCTAssertEqual(canary.first, ranks.min { $0.value < $1.value }?.key)

        try await scene.step(59)
        XCTAssertEqual(scene.offered(2), canary, "the canary soaks")
        try await scene.step(1)
        try await scene.step()
        let quarter = Set(ranks.filter { $0.value < 2_500 }.keys).union(canary)
        XCTAssertGreaterThan(quarter.count, 1)
        XCTAssertEqual(scene.on(2), quarter)
        XCTAssertEqual(scene.offered(2), quarter)
        let status = try await scene.rollouts.status(of: id)
        XCTAssertEqual(status.waves.map(\.applied), [1, quarter.count - 1])
        XCTAssertEqual(status.progress.applied, quarter.count)
        XCTAssertEqual(status.progress.nodes, 24)
        XCTAssertEqual(
            status.progress.laggards.map(\.standing),
            Array(repeating: .held(id, isPaused: false), count: 24 - quarter.count)
        )

        try await scene.step(60)
        try await scene.step()
        XCTAssertEqual(scene.on(2), scene.everybody)
        let done = try await scene.rollouts.rollout(id)
        XCTAssertEqual(done.state, .completed)
        let history = try await scene.rollouts.history(of: id)
        XCTAssertEqual(
            history.map(\.event),
            [.started, .waveBegan, .satisfied, .waveBegan, .satisfied, .waveBegan, .completed]
        )
        XCTAssertEqual(history.first?.by, "alice")
        XCTAssertEqual(history.last?.by, "rollout")
        // Nothing stands in the way of the next release.
        try await scene.publish("three")
        try await scene.step()
        XCTAssertEqual(scene.on(3), scene.everybody)
    }

    func test_badRelease_endsAtTheCanary_andEverybodyIsOnTheOldTree() async throws {
        let (scene, id) = try await armed()
        try await scene.publish("two", broken: true)
        for _ in 0..<4 { try await scene.step(1) }
        let rollout = try await scene.rollouts.rollout(id)
        XCTAssertEqual(rollout.state, .reverted)
        XCTAssertTrue(rollout.reason.contains("release 3"), rollout.reason)
        let seen = scene.offered(2)
        XCTAssertEqual(seen, rollout.named)
        XCTAssertEqual(seen.count, 1, "only the canary has seen the bad release")
        XCTAssertEqual(scene.on(3), scene.everybody)
        XCTAssertTrue(scene.workers.allSatisfy { $0.text == "one" })
        let history = try await scene.rollouts.history(of: id)
        XCTAssertEqual(history.map(\.event), [.started, .waveBegan, .reverting, .reverted])
        XCTAssertTrue(history[2].reason.contains("artifacts.deployment-failed"), history[2].reason)
        try await assertIsBlocked(scene, id)
    }

    /// The reverted tree is not published again by whoever publishes on a schedule, until somebody
    /// says so.
    private func assertIsBlocked(_ scene: RolloutScene, _ id: ReleaseRolloutID) async throws {
        let blocks = try await scene.rollouts.blocks(of: RolloutScene.channel)
        XCTAssertEqual(blocks.map(\.number), [ReleaseNumber(2)])
        let root = try XCTUnwrap(blocks.first).root
        for attempt in ["publish", "rollback"] {
            do {
                if attempt == "publish" {
                    try await scene.publish("two", broken: true)
                } else {
                    _ = try await scene.publisher.rollback(
                        RolloutScene.channel,
                        to: ReleaseNumber(2)
                    )
                }
                XCTFail("\(attempt) of a blocked tree")
            } catch let error as ArtifactStoreError {
                XCTAssertEqual(error.code, .blocked, attempt)
            }
        }
        try await scene.rollouts.unblock(
            root,
            in: RolloutScene.channel,
            by: "bob",
            reason: "the disk was full"
        )
        let history = try await scene.rollouts.history(of: id)
        XCTAssertEqual(history.last?.event, .unblocked)
        XCTAssertEqual(history.last?.by, "bob")
        let again = try await scene.publish("two", broken: true)
        XCTAssertEqual(again.release.release.number, ReleaseNumber(4))
        do {
            try await scene.rollouts.unblock(root, in: RolloutScene.channel, by: "bob")
            XCTFail("nothing is blocked any more")
        } catch let error as ArtifactStoreError {
            XCTAssertEqual(error.code, .unknownRollout)
        }
    }

    func test_unhealthyCanary_isTakenBackToTheOldTree() async throws {
        let (scene, id) = try await armed()
        for worker in scene.workers { worker.health.withLock { $0 = "answers 500" } }
        try await scene.publish("two")
        for _ in 0..<4 { try await scene.step(1) }
        let rollout = try await scene.rollouts.rollout(id)
        XCTAssertEqual(rollout.state, .reverted)
        XCTAssertEqual(scene.offered(2).count, 1)
        XCTAssertEqual(scene.on(3), scene.everybody, "the canary too")
        XCTAssertTrue(scene.workers.allSatisfy { $0.text == "one" })
        let reasons = try await scene.rollouts.history(of: id).map(\.reason)
        XCTAssertTrue(reasons.contains { $0.contains("answers 500") }, "\(reasons)")
    }

    func test_pause_overAManagersRestart_holdsUntilItIsResumed() async throws {
        let (scene, id) = try await armed()
        try await scene.publish("two")
        try await scene.step()
        try await scene.step()
        let canary = scene.on(2)
        XCTAssertEqual(canary.count, 1)
        try await scene.rollouts.command(.pause, id, by: "alice", reason: "lunch")
        try scene.restart()
        for _ in 0..<5 { try await scene.step(3_600) }
        XCTAssertEqual(scene.offered(2), canary)
        XCTAssertEqual(scene.on(2), canary, "who has it keeps it")
        let paused = try await scene.rollouts.rollout(id)
        XCTAssertEqual(paused.state, .paused)
        XCTAssertEqual(paused.reason, "lunch")
        let held = try await scene.rollouts.progress(of: RolloutScene.channel)
        XCTAssertTrue(held.laggards.allSatisfy { $0.standing == .held(id, isPaused: true) })
        try await scene.rollouts.command(.resume, id, by: "bob")
        try scene.restart()
        for _ in 0..<6 { try await scene.step(60) }
        XCTAssertEqual(scene.on(2), scene.everybody)
        let history = try await scene.rollouts.history(of: id)
        XCTAssertEqual(history.map(\.by).filter { $0 != "rollout" }, ["alice", "alice", "bob"])
    }

    func test_abort_leavesTheCanaryAlone_andNobodyElseGetsIt() async throws {
        let (scene, id) = try await armed()
        try await scene.publish("two")
        try await scene.step()
        try await scene.step()
        let canary = scene.on(2)
        try await scene.rollouts.command(.abort, id, by: "alice", reason: "no")
        for _ in 0..<3 { try await scene.step(600) }
        XCTAssertEqual(scene.on(2), canary)
        XCTAssertEqual(scene.offered(2), canary)
        XCTAssertEqual(scene.on(1), scene.everybody.subtracting(canary))
        let progress = try await scene.rollouts.progress(of: RolloutScene.channel)
        XCTAssertEqual(progress.applied, 1)
        XCTAssertTrue(progress.laggards.allSatisfy { $0.standing == .blocked(reason: "no") })
    }

    /// A restarted worker shows no revision, so that the manager offers as to one that lost its disk.
    func test_canary_restartingAfterAnAbort_keepsWhatItHas_andItsWordStands() async throws {
        let (scene, id) = try await armed()
        try await scene.publish("two")
        try await scene.step()
        try await scene.step()
        let node = try XCTUnwrap(scene.on(2).first)
        try await scene.rollouts.command(.abort, id, by: "alice", reason: "no")
        let canary = try XCTUnwrap(scene.workers.first { $0.node == node })
        // The same disk, in another process.
        let copy = scene.directory.path("restarted")
        try FileManager.default.copyItem(
            atPath: scene.directory.path(node.rawValue),
            toPath: copy
        )
        scene.time.advance(by: .seconds(1))
        var configuration = SyncConfiguration(node: node)
        configuration.time = scene.time
        configuration.logger.logLevel = .critical
        let restarted = ArtifactSync(
            channel: RolloutScene.channel,
            source: canary.source,
            directory: copy,
            deployer: RolloutScene.PickyDeployer(),
            trusted: TrustedKeys(scene.signer.publicKey),
            configuration: configuration
        )
        try await restarted.start()
        XCTAssertEqual(restarted.active?.release.number, ReleaseNumber(2))
        for _ in 0..<3 { _ = try await restarted.syncOnce() }
        XCTAssertEqual(restarted.active?.release.number, ReleaseNumber(2))
        let words = try await scene.store.acknowledgements(
            of: RolloutScene.channel,
            tenant: .standard
        )
        let word = try XCTUnwrap(words.first { $0.node == node })
        XCTAssertEqual(word.number, ReleaseNumber(2))
        XCTAssertEqual(word.state, .applied)
        // The next release is for it, too.
        try await scene.publish("three")
        _ = try await restarted.syncOnce()
        XCTAssertEqual(restarted.active?.release.number, ReleaseNumber(3))
    }

    func test_revert_byOneCall_isANewRelease() async throws {
        let (scene, id) = try await armed(
            ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.percent(50))])
        )
        try await scene.publish("two")
        try await scene.step()
        try await scene.step()
        XCTAssertGreaterThan(scene.on(2).count, 1)
        let after = try await scene.rollouts.command(.revert, id, by: "alice", reason: "no")
        XCTAssertEqual(after.state, .reverted)
        try await scene.step()
        XCTAssertEqual(scene.on(3), scene.everybody)
        XCTAssertTrue(scene.workers.allSatisfy { $0.text == "one" })
    }

    func test_revert_besideTicks_publishesTheTreeBeforeOnce() async throws {
        for _ in 0..<5 {
            let (scene, id) = try await armed(
                ReleaseRolloutPlan(waves: [ReleaseRolloutWave(.percent(50))]),
                workers: 2
            )
            try await scene.publish("two")
            try await scene.step()
            try await scene.step()
            let rollouts = scene.rollouts
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await rollouts.command(.revert, id, by: "alice", reason: "no")
                }
                for _ in 0..<8 {
                    group.addTask { for _ in 0..<4 { try await rollouts.tick() } }
                }
                try await group.waitForAll()
            }
            let newest = try await scene.store.latest(
                of: RolloutScene.channel,
                tenant: .standard
            )
            XCTAssertEqual(newest?.release.number, ReleaseNumber(3))
        }
    }

    func test_onlyOneRollout_isOpenInAChannel_andNothingIsPublishedBesideIt() async throws {
        let (scene, id) = try await armed(workers: 2)
        do {
            try await scene.rollouts.start(Self.plan, of: RolloutScene.channel, by: "bob")
            XCTFail("a second rollout")
        } catch let error as ArtifactStoreError {
            XCTAssertEqual(error.code, .rolloutOpen)
        }
        try await scene.publish("two")
        do {
            try await scene.publish("three")
            XCTFail("a release beside a rollout")
        } catch let error as ArtifactStoreError {
            XCTAssertEqual(error.code, .rolloutOpen)
        }
        // An armed rollout whose release has come is not closed as if it had not.
        let aborted = try await scene.rollouts.command(.abort, id, by: "bob")
        XCTAssertNotNil(aborted.candidateRoot)
        let blocks = try await scene.rollouts.blocks(of: RolloutScene.channel)
        XCTAssertEqual(blocks.count, 1)
        try await scene.publish("three")
    }
}
