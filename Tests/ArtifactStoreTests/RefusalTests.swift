import ArtifactStore
import ClusterRole
import Foundation
import XCTest

final class RefusalTests: XCTestCase {
    /// Long and irregular enough to make an update worth its while.
    private static let same = (0..<12).map { ContentDigest(of: [$0]).description }.joined()

    /// A worker that stands on release 1, and a release 2 that waits.
    private func standing(
        deployer: any Deployer = DirectoryDeployer()
    ) async throws -> (Harness, ArtifactSync) {
        let harness = try Harness()
        let sync = harness.sync(deployer: deployer) { $0.bundleAttempts = 1 }
        _ = try await harness.publish(["a": "old", "b": Self.same, "c": "see you"])
        try await sync.syncOnce()
        _ = try await harness.publish(["a": "new", "b": Self.same, "d": "hello"])
        return (harness, sync)
    }

    private func assertOld(_ harness: Harness, _ sync: ArtifactSync, line: UInt = #line) {
        XCTAssertEqual(sync.active?.release.number, .first, line: line)
        XCTAssertEqual(harness.current("a"), "old", line: line)
        let staging = try? FileManager.default.contentsOfDirectory(
            atPath: harness.directory.path("worker-1/staging"))
        XCTAssertEqual(staging, [], line: line)
    }

    private func size(_ harness: Harness, full: Bool) async throws -> Int {
        let latest = try await harness.publisher.latest(of: Harness.channel)
        let bundle = latest?.published.bundles.first { ($0.from == nil) == full }
        return Int(try XCTUnwrap(bundle).byteCount)
    }

    func test_bundle_cutAnywhere_isNotTaken_andTheOldReleaseStays() async throws {
        let (harness, sync) = try await standing()
        for full in [true, false] {
            for length in 0..<(try await size(harness, full: full)) {
                let cut = TamperingSource.Fault.truncate(at: length)
                harness.source.damage(full: full ? cut : .refuse, update: full ? .refuse : cut)
                await assertThrows(.unavailable) { try await sync.syncOnce() }
                assertOld(harness, sync)
            }
        }
        harness.source.damage()
        try await sync.syncOnce()
        XCTAssertEqual(harness.current("a"), "new")
    }

    func test_bundle_withAFlippedBit_isNotTaken_orMakesTheVeryTree() async throws {
        for full in [true, false] {
            var (harness, sync) = try await standing()
            var harmless = 0
            let bits = try await size(harness, full: full) * 8
            for bit in stride(from: full ? 0 : 3, to: bits, by: 5) {
                let flip = TamperingSource.Fault.flip(at: bit)
                harness.source.damage(full: full ? flip : .refuse, update: full ? .refuse : flip)
                _ = try? await sync.syncOnce()
                if sync.active?.release.number == .first {
                    assertOld(harness, sync)
                } else {
                    harmless += 1
                    XCTAssertEqual(harness.current("a"), "new")
                    XCTAssertEqual(harness.current("d"), "hello")
                    (harness, sync) = try await standing()
                }
            }
            // Some bits of a zstandard header say nothing about the content.
            XCTAssertLessThan(harmless, 20)
        }
    }

    func test_damagedUpdate_isMadeUpForByTheFullBundle() async throws {
        let (harness, sync) = try await standing()
        harness.source.damage(update: .flip(at: 8 * 120))
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .full)
        XCTAssertEqual(harness.source.opened, ["update", "full"])
        XCTAssertEqual(harness.current("a"), "new")
    }

    func test_connectionThatBreaksOff_isTakenUpWhereItBroke() async throws {
        let harness = try Harness()
        let sync = harness.sync()
        _ = try await harness.publish(["a": "1"])
        let breaking = BreakingSource(
            InProcessReleaseSource(
                storage: harness.releases, objects: harness.objects,
                capability: harness.capability))
        let resumed = ArtifactSync(
            channel: Harness.channel,
            source: breaking,
            directory: harness.directory.path("worker-2"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(harness.signer.publicKey),
            configuration: SyncConfiguration(node: NodeID(rawValue: "worker-2"))
        )
        let report = try await resumed.syncOnce()
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(harness.current("a", of: "worker-2"), "1")
        let plain = try await sync.syncOnce()
        XCTAssertEqual(report.bytesReceived, plain.bytesReceived)
    }

    func test_unsignedOrForeignRelease_changesNothing() async throws {
        let (harness, sync) = try await standing()
        harness.source.damage(
            release: .replaceRelease { published in
                var signature = published.signed.signature
                signature[5] ^= 4
                return PublishedRelease(
                    signed: try SignedRelease(record: published.signed.record, signature: signature),
                    bundles: published.bundles)
            })
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .untrustedSignature)
        assertOld(harness, sync)
        let word = try await harness.acknowledgement()
        XCTAssertEqual(word?.state, .refused)
        XCTAssertEqual(word?.errorCode, "artifacts.untrusted-signature")
        harness.source.damage()
        try await sync.syncOnce()
        XCTAssertEqual(harness.current("a"), "new")
    }

    func test_releaseOfAnotherChannelOrKind_isRefused() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a": "1"])
        let other = try await harness.publisher.publish(path, to: "web/other").release
        _ = try await harness.publish(["a": "1"])
        harness.source.damage(release: .replaceRelease { _ in other.published })
        let sync = harness.sync()
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .wrongChannel)
        harness.source.damage()
        let wrongKind = harness.sync("worker-2", deployer: DirectoryDeployer(kind: .service))
        let second = try await wrongKind.syncOnce()
        guard case .refused(let error) = second.outcome else { return XCTFail("\(second)") }
        XCTAssertEqual(error.code, .wrongChannel)
        XCTAssertNil(wrongKind.active)
    }

    func test_olderRelease_thanOneSeen_isRefusedWithTheRecordAtTheFloor() async throws {
        let (harness, sync) = try await standing()
        let history = try await harness.publisher.releases(of: Harness.channel)
        try await sync.syncOnce()
        harness.source.damage(release: .replaceRelease { _ in history[1].published })
        let fresh = try await harness.publish(["a": "third"])
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .belowFloor)
        XCTAssertEqual(harness.current("a"), "new")
        let applied = try await harness.releases.acknowledgements(
            of: Harness.channel, tenant: .standard)
        // The word about release 1 is older than the one about release 2 and is not kept over it.
        XCTAssertEqual(applied.first?.number, ReleaseNumber(2))
        harness.source.damage()
        _ = fresh
        let again = harness.sync("worker-9")
        try await again.syncOnce()
        XCTAssertEqual(again.active?.release.number, ReleaseNumber(3))
    }

    func test_expiredRelease_isRefusedWhenNew_andServedWhenAccepted() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a": "1"])
        var options = PublishOptions()
        options.expiresAfter = .seconds(60)
        _ = try await harness.publisher.publish(path, to: Harness.channel, options: options)
        let early = harness.sync()
        try await early.syncOnce()
        harness.time.advance(by: .seconds(60))
        let late = harness.sync("worker-2")
        let report = try await late.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .expired)
        let kept = try await early.syncOnce()
        XCTAssertTrue(kept.isApplied)
        XCTAssertEqual(early.active?.release.number, .first)
    }

    func test_deployerThatThrows_keepsTheOldRelease_andIsNotAskedAgain() async throws {
        for step in [RecordingDeployer.Step.prepare, .checkHealth, .activate] {
            let deployer = RecordingDeployer()
            let (harness, sync) = try await standing(deployer: deployer)
            deployer.refuse(ReleaseNumber(2), at: step)
            let report = try await sync.syncOnce()
            guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
            XCTAssertEqual(error.code, .deploymentFailed)
            assertOld(harness, sync)
            let word = try await harness.acknowledgement()
            XCTAssertEqual(word?.state, .refused)
            XCTAssertEqual(word?.number, ReleaseNumber(2))
            _ = deployer.popEvents()
            try await sync.syncOnce()
            XCTAssertEqual(deployer.events, [])
            _ = try await harness.publish(["a": "third"])
            try await sync.syncOnce()
            XCTAssertEqual(harness.current("a"), "third")
        }
    }

    func test_sourceThatFails_isAnError_andTheOldReleaseStays() async throws {
        let (harness, sync) = try await standing()
        harness.source.damage(release: .refuse)
        do {
            try await sync.syncOnce()
            XCTFail("nothing was thrown")
        } catch is TamperingSource.Refused {}
        assertOld(harness, sync)
    }

    func test_fileOfTheOldTree_thatWasDamaged_isNotCarriedOver() async throws {
        let (harness, sync) = try await standing()
        let path = try XCTUnwrap(sync.active).path(of: "b")
        try Data("evil".utf8).write(to: URL(fileURLWithPath: path))
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .full)
        XCTAssertEqual(harness.current("b"), Self.same)
    }
}

/// Ends its first answer after a third of the bundle.
private struct BreakingSource: ReleaseSource {
    private let base: any ReleaseSource

    init(_ base: any ReleaseSource) { self.base = base }

    func latestRelease(
        of channel: ChannelName, tenant: TenantID, unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        let all = try await base.bundle(bundle, from: offset).collect(upTo: 1 << 20)
        return ByteChunks([offset == 0 ? Array(all.prefix(all.count / 3)) : all])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await base.acknowledge(applied, tenant: tenant)
    }
}
