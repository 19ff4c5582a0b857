import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import XCTest

/// What a node remembers of its earlier lives, and what its words are worth.
final class NodeLivesTests: XCTestCase {
    func test_word_ofAnEarlierLifeOrAttempt_replacesNothing() throws {
        let refusal = ArtifactStoreError(.deploymentFailed, "no")
        func word(
            _ life: Int64,
            _ attempt: Int64,
            _ number: Int64,
            refused: Bool = false,
            at: Int64 = 5
        ) throws -> AppliedRelease {
            AppliedRelease(
                node: "worker-1",
                release: try ReleaseStorageConformance.sample(number).release,
                error: refused ? refusal : nil,
                at: Timestamp(milliseconds: at),
                incarnation: life,
                attempt: attempt
            )
        }
        let kept = try word(7, 4, 3)
        let table: [(AppliedRelease, Bool, String)] = [
            (try word(7, 4, 3), true, "the same again"),
            (try word(7, 5, 3, refused: true), true, "later about the same release"),
            (try word(7, 3, 3, at: 99), false, "an earlier attempt, whatever its clock said"),
            (try word(7, 5, 4), true, "a higher release"),
            (try word(7, 5, 2), false, "a lower release"),
            (try word(6, 99, 4, at: 99), false, "an earlier life, even about a higher release"),
            (try word(8, 1, 4), true, "a later life"),
            (try word(8, 1, 3, at: 0), true, "a later life with a slow clock"),
            (try word(8, 1, 2), true, "a later life that lost its disk"),
            (
                try word(8, 1, 2, refused: true), false,
                "a refusal says nothing about what is served"
            ),
        ]
        for (new, counts, why) in table { XCTAssertEqual(new.supersedes(kept), counts, why) }
        // Nodes of an earlier version go by their clocks.
        let old = try word(0, 0, 3, at: 5)
        XCTAssertTrue(try word(0, 0, 3, at: 6).supersedes(old))
        XCTAssertFalse(try word(0, 0, 3, at: 4).supersedes(old))
        XCTAssertTrue(try word(1, 1, 3, at: 4).supersedes(old))
    }

    func test_eachStart_isALaterLife_alsoOfANodeThatLostItsDisk() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "1"])
        var lives: [Int64] = []
        for start in 1...4 {
            if start == 3 {
                try FileManager.default.removeItem(atPath: harness.directory.path("worker-1"))
            }
            if start == 4 {
                let diary = harness.directory.path("worker-1/diary")
                try Data("rubbish".utf8).write(to: URL(fileURLWithPath: diary))
            }
            harness.time.advance(by: .seconds(1))
            try await harness.sync().syncOnce()
            let word = try await harness.acknowledgement()
            lives.append(try XCTUnwrap(word).incarnation)
        }
        XCTAssertEqual(lives, lives.sorted())
        XCTAssertEqual(Set(lives).count, 4, "\(lives)")
        XCTAssertGreaterThanOrEqual(lives[0], 1)
    }

    func test_lateWord_ofTheLifeBefore_changesNothing() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "1"])
        try await harness.sync().syncOnce()
        let late = try await harness.acknowledgement()
        harness.time.advance(by: .seconds(1))
        _ = try await harness.publish(["a": "2"])
        try await harness.sync().syncOnce()
        let now = try await harness.acknowledgement()
        XCTAssertEqual(now?.number, ReleaseNumber(2))
        _ = try await harness.releases.record(
            try XCTUnwrap(late),
            tenant: .standard,
            epoch: try harness.capability.requireEpoch()
        )
        let after = try await harness.acknowledgement()
        XCTAssertEqual(after, now)
    }

    func test_timesOfTheLastLookAndApply_areKeptOverARestart() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "1"])
        func before() async throws -> (look: Timestamp, apply: Timestamp) {
            let first = harness.sync()
            try await first.syncOnce()
            harness.time.advance(by: .seconds(400))
            try await first.syncOnce()
            return (
                try XCTUnwrap(first.status.lastLook), try XCTUnwrap(first.status.lastApply)
            )
        }
        let (looked, applied) = try await before()
        XCTAssertNotEqual(looked, applied)
        let again = harness.sync()
        try await again.start()
        XCTAssertEqual(again.status.lastApply, applied)
        XCTAssertEqual(again.status.lastLook, looked)
    }

    // MARK: - Starting without a manager, under a root record

    func test_export_carriesRootsAndPointer_andIsTakenUntilThatExpires() async throws {
        let scene = try await RootedScene()
        _ = try await scene.harness.publish(["a": "one"])
        try await scene.rotate(
            releaseKeys: [scene.harness.signer, scene.second],
            pointerKey: scene.pointerKey
        )
        let path = scene.harness.directory.path("site.export")
        try await ReleaseExport.write(Harness.channel, from: scene.harness.source, to: path)
        func fresh(_ name: String, _ trusted: TrustedKeys) -> ArtifactSync {
            var configuration = SyncConfiguration(node: NodeID(rawValue: name))
            configuration.time = scene.harness.time
            configuration.logger.logLevel = .critical
            return ArtifactSync(
                channel: Harness.channel,
                source: ExportedReleaseSource(paths: [path]),
                directory: scene.harness.directory.path(name),
                deployer: DirectoryDeployer(),
                trusted: trusted,
                configuration: configuration
            )
        }
        let good = fresh("good", scene.pinned)
        let report = try await good.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report)")
        guard case .confirmed = good.freshness else { return XCTFail("\(good.freshness)") }
        XCTAssertEqual(good.status.freshness, good.freshness)
        let stranger = fresh("stranger", TrustedKeys(try Ed25519Signer().publicKey))
        let refused = try await stranger.syncOnce()
        guard case .refused(let error) = refused.outcome else { return XCTFail("\(refused)") }
        XCTAssertEqual(error.code, .untrustedSignature)

        scene.harness.time.advance(by: .seconds(3_601))
        guard case .expired = good.status.freshness else {
            return XCTFail("\(good.status.freshness)")
        }
        let late = try await fresh("late", scene.pinned).syncOnce()
        guard case .refused(let expiry) = late.outcome else { return XCTFail("\(late)") }
        XCTAssertEqual(expiry.code, .pointerExpired)
    }

    func test_peer_handsOutThePointerItHolds() async throws {
        let scene = try await RootedScene()
        _ = try await scene.harness.publish(["a": "one"])
        var configuration = SyncConfiguration(node: "peer")
        configuration.time = scene.harness.time
        configuration.logger.logLevel = .critical
        let artifacts = ArtifactSet(
            channels: [Harness.channel],
            deployers: [DirectoryDeployer()],
            source: scene.harness.source,
            directory: scene.harness.directory.path("peers"),
            trusted: scene.pinned,
            configuration: configuration
        )
        try await artifacts.start()
        try await artifacts.sync(of: Harness.channel)?.syncOnce()
        let held = try HeldReleaseSource(
            artifacts,
            directory: scene.harness.directory.path("held")
        )
        let fresh = ArtifactSync(
            channel: Harness.channel,
            source: held,
            directory: scene.harness.directory.path("fresh"),
            deployer: DirectoryDeployer(),
            trusted: scene.pinned,
            configuration: configuration
        )
        let report = try await fresh.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report)")
        guard case .confirmed = fresh.freshness else { return XCTFail("\(fresh.freshness)") }
        let foreign = try await held.trust(of: Harness.channel, tenant: "other", afterRoot: 0)
        XCTAssertEqual(foreign, TrustAnswer())
    }
}
