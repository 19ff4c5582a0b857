import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

final class BundleMakerTests: XCTestCase {
    private static func files(_ version: Int) -> [String: String] {
        var files = ["version": "\(version)"]
        for index in 0..<20 {
            // Texts that compress badly, so that an update is worth its while.
            let noise = (0..<60).map { "\(($0 &* 7_919 &+ index) &* 2_654_435_761)" }
            files["file-\(index)"] = noise.joined(separator: "\n")
        }
        return files
    }

    private func maker(_ harness: Harness) -> BundleMaker {
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = harness.directory.path
        configuration.logger.logLevel = .critical
        return BundleMaker(
            storage: harness.releases,
            objects: TenantObjects(shared: harness.objects),
            configuration: configuration
        )
    }

    func test_bundle_missingForFiftyWorkers_isMadeOnce() async throws {
        let harness = try Harness()
        let first = try await harness.publish(Self.files(1)).release.release
        for version in 2...4 { _ = try await harness.publish(Self.files(version)) }
        let latest = try await harness.publisher.latest(of: Harness.channel)
        let newest = try XCTUnwrap(latest)
        XCTAssertNil(newest.published.bundle(from: first.root))
        let maker = maker(harness)
        let made = try await withThrowingTaskGroup(of: BundleDescription?.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await maker.bundle(
                        from: first.root,
                        to: newest.release.root,
                        channel: Harness.channel,
                        tenant: .standard
                    )
                }
            }
            return try await group.reduce(into: Set<BundleDescription?>()) { $0.insert($1) }
        }
        XCTAssertEqual(made.count, 1)
        let count = await maker.buildCount
        XCTAssertEqual(count, 1)
        let full = try XCTUnwrap(newest.published.bundle(from: nil))
        XCTAssertLessThan(try XCTUnwrap(made.first ?? nil).byteCount, full.byteCount)
    }

    func test_worker_onAnOldTree_takesTheBundleThatIsMadeForIt() async throws {
        let harness = try Harness()
        _ = try await harness.publish(Self.files(1))
        let maker = maker(harness)
        let source = InProcessReleaseSource(
            storage: harness.releases,
            objects: harness.objects,
            capability: harness.capability,
            maker: maker
        )
        let sync = ArtifactSync(
            channel: Harness.channel,
            source: source,
            directory: harness.directory.path("worker-1"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(harness.signer.publicKey),
            configuration: {
                var configuration = SyncConfiguration(node: "worker-1")
                configuration.logger.logLevel = .critical
                return configuration
            }()
        )
        try await sync.syncOnce()
        for version in 2...4 { _ = try await harness.publish(Self.files(version)) }
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .incremental)
        XCTAssertEqual(harness.current("version"), "4")
        let count = await maker.buildCount
        XCTAssertEqual(count, 1)
    }

    func test_bundle_largerThanTheFullOne_isNotOffered_norMadeAgain() async throws {
        let harness = try Harness()
        let first = try await harness.publish(["a": "one"]).release.release
        _ = try await harness.publish(["b": "x"])
        let third = try await harness.publish(["c": "y"]).release.release
        let maker = maker(harness)
        for _ in 0..<2 {
            let made = try await maker.bundle(
                from: first.root,
                to: third.root,
                channel: Harness.channel,
                tenant: .standard
            )
            XCTAssertNil(made)
        }
        let count = await maker.buildCount
        XCTAssertEqual(count, 1)
    }

    func test_bundle_fromATreeTheChannelNeverHad_isNone() async throws {
        let harness = try Harness()
        let release = try await harness.publish(["a": "1"]).release.release
        let made = try await maker(harness).bundle(
            from: TreeID(ContentDigest(of: [1])),
            to: release.root,
            channel: Harness.channel,
            tenant: .standard
        )
        XCTAssertNil(made)
    }

    func test_publish_listsUpdatesFromAsManyTreesAsConfigured() async throws {
        for count in [0, 1, 3] {
            let harness = try Harness(updatesFrom: count)
            var roots: [TreeID?] = []
            for version in 1...4 {
                roots.append(try await harness.publish(Self.files(version)).release.release.root)
            }
            let last = try await harness.publish(Self.files(5))
            XCTAssertEqual(
                last.bundles.map(\.from),
                [nil] + roots.suffix(count).reversed()
            )
        }
    }

    /// A renamed file costs its name, not its content.
    func test_renamedFile_usesItsOldContent() async throws {
        let harness = try Harness()
        let text = (0..<4_000).map { "\($0 &* 2_654_435_761)\n" }.joined()
        _ = try await harness.publish(["lib/library-1.4.txt": text, "other/moved.txt": text + "x"])
        let next = try await harness.publish([
            "lib/library-1.5.txt": text + "one line more\n", "elsewhere/moved.txt": text + "x",
            "away/renamed-entirely.txt": text + "xy",
        ])
        let full = next.bundles[0].byteCount
        XCTAssertGreaterThan(full, 10_000)
        XCTAssertLessThan(try XCTUnwrap(next.bundles.dropFirst().first).byteCount, 1_000)
    }
}
