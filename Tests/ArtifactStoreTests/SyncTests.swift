import ArtifactStore
import ClusterRole
import Foundation
import Logging
import ServiceLifecycle
import XCTest

final class SyncTests: XCTestCase {
    /// Files of every size that matters: empty, twins, small, longer than one frame.
    private func tree(_ mark: String) -> [String: String] {
        let long = String(repeating: "0123456789abcdef", count: 600_000)
        return [
            "index.html": "<h1>\(mark)</h1>", "empty": "", "also-empty": "",
            "twin-1": "the same", "twin-2": "the same", "deep/er/file": "unchanged",
            "long.bin": long + mark + long, "renamed-\(mark).jar": "moved",
        ]
    }

    private func active(_ sync: ArtifactSync) throws -> String {
        try XCTUnwrap(sync.active).directory
    }

    private func exercise(codec: BundleCodec) async throws {
        let harness = try Harness(codec: codec)
        let source = try harness.directory.write(tree("v1"), in: "v1")
        chmod("\(source)/index.html", 0o640)
        chmod("\(source)/deep/er", 0o550)
        try FileManager.default.createSymbolicLink(
            atPath: "\(source)/latest",
            withDestinationPath: "deep/er"
        )
        try FileManager.default.createDirectory(
            atPath: "\(source)/nothing",
            withIntermediateDirectories: false
        )
        _ = try await harness.publisher.publish(source, to: Harness.channel)
        let sync = harness.sync()
        let first = try await sync.syncOnce()
        XCTAssertEqual(first.transfer, .full)
        XCTAssertEqual(try listing(of: active(sync)), try listing(of: source))
        chmod("\(source)/deep/er", 0o750)

        let update = try harness.directory.write(tree("v2"), in: "v2")
        _ = try await harness.publisher.publish(update, to: Harness.channel)
        let second = try await sync.syncOnce()
        XCTAssertEqual(second.transfer, .incremental)
        XCTAssertTrue(second.isApplied)
        XCTAssertLessThan(second.bytesReceived, 20_000)
        XCTAssertEqual(try listing(of: active(sync)), try listing(of: update))
        let third = try await sync.syncOnce()
        guard case .unchanged = third.outcome else { return XCTFail("\(third)") }
        let word = try await harness.acknowledgement()
        XCTAssertEqual(word?.state, .applied)
        XCTAssertEqual(word?.number, ReleaseNumber(2))
    }

    func test_sync_withZstandard_laysOutExactlyWhatWasPublished() async throws {
        try XCTSkipUnless(BundleCodec.zstandard.isAvailable, "libzstd.so.1 is not on this machine")
        try await exercise(codec: .zstandard)
    }

    func test_sync_withThePlainCodec_copiesLongRunsAndLaysOutTheSame() async throws {
        let harness = try Harness(codec: .plain)
        let run = (0..<40_000).map { "line \($0 &* 2_654_435_761)\n" }.joined()
        _ = try await harness.publish(["log": run + "one" + run, "x": "1"])
        let sync = harness.sync()
        try await sync.syncOnce()
        _ = try await harness.publish(["log": run + "other" + run, "x": "1"])
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .incremental)
        XCTAssertLessThan(report.bytesReceived, 2_000)
        XCTAssertEqual(harness.current("log"), run + "other" + run)
    }

    func test_sync_ofAFileLongerThanTheWindow_growsByWhatWasAdded() async throws {
        let harness = try Harness()
        let long = (0..<2_000_000).map { "entry \($0 &* 2_654_435_761)\n" }.joined()
        XCTAssertGreaterThan(long.utf8.count, 24 << 20)
        _ = try await harness.publish(["data": long])
        let sync = harness.sync()
        try await sync.syncOnce()
        let longer = "head " + long.dropFirst(5) + "tail"
        _ = try await harness.publish(["data": longer])
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .incremental)
        XCTAssertLessThan(report.bytesReceived, 100_000)
        XCTAssertEqual(harness.current("data"), longer)
    }

    /// Frames are unpacked ahead of the writing: whole ones, groups with a base, and runs that are copied in
    /// between.
    func test_framesUnpackedAhead_areWrittenInTheirOrder_andADamagedOneKeepsNothing() async throws {
        func content(_ seed: UInt64, _ lines: Int) -> String {
            var state = seed
            return (0..<lines).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return String(state, radix: 36) + "\n"
            }.joined()
        }
        var files: [String: String] = [:]
        for number in 0..<12 { files["large-\(number)"] = content(UInt64(number), 250_000) }
        for number in 0..<400 { files["small/\(number)"] = content(UInt64(1_000 + number), 200) }
        let harness = try Harness()
        let publication = try await harness.publish(files)
        XCTAssertGreaterThan(publication.totalBytes, 40 << 20, "five frames at least")
        let sync = harness.sync()
        let full = Int(publication.bundles[0].byteCount)
        for damaged in [full / 3, full / 2, full - full / 8] {
            harness.source.damage(full: .flip(at: damaged))
            let refused = try? await sync.syncOnce()
            XCTAssertFalse(refused?.isApplied ?? false)
            XCTAssertNil(sync.active)
        }
        harness.source.damage()
        try await sync.syncOnce()
        for (name, text) in files { XCTAssertTrue(harness.current(name) == text, name) }

        for number in stride(from: 0, to: 12, by: 2) {
            let text = files["large-\(number)"] ?? ""
            files["large-\(number)"] = "head" + text.dropLast(9) + content(77, 3_000)
        }
        for number in stride(from: 0, to: 400, by: 3) { files["small/\(number)"]? += "more" }
        _ = try await harness.publish(files)
        let update = try await sync.syncOnce()
        XCTAssertEqual(update.transfer, .incremental)
        XCTAssertLessThan(update.bytesReceived, 4 << 20)
        for (name, text) in files { XCTAssertTrue(harness.current(name) == text, name) }
    }

    func test_sync_ofAnEmptyChannel_isEmpty() async throws {
        let harness = try Harness()
        let report = try await harness.sync().syncOnce()
        guard case .empty = report.outcome else { return XCTFail("\(report)") }
        XCTAssertFalse(report.isApplied)
    }

    func test_deployer_isAskedInOrder() async throws {
        let harness = try Harness()
        let deployer = RecordingDeployer()
        let sync = harness.sync(deployer: deployer)
        for number in Int64(1)...4 {
            _ = try await harness.publish(["a": "\(number)"])
            try await sync.syncOnce()
        }
        let one = ReleaseNumber(1)
        let two = ReleaseNumber(2)
        XCTAssertEqual(
            Array(deployer.events.prefix(7)),
            [
                .prepared(one, replacing: nil), .healthChecked(one), .activated(one),
                .prepared(two, replacing: one), .healthChecked(two), .activated(two), .drained(one),
            ]
        )
        XCTAssertTrue(deployer.events.contains(.removed(two)))
        let kept = try FileManager.default.contentsOfDirectory(
            atPath: harness.directory.path("worker-1/releases")
        )
        XCTAssertEqual(kept.count, 2)
    }

    func test_release_thatNamesTheActiveTree_reloadsNothing() async throws {
        let harness = try Harness()
        let deployer = RecordingDeployer()
        let sync = harness.sync(deployer: deployer)
        _ = try await harness.publish(["a": "1"])
        try await sync.syncOnce()
        _ = deployer.popEvents()
        _ = try await harness.publish(["a": "1"], again: true)
        let report = try await sync.syncOnce()
        guard case .adopted = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(deployer.events, [])
        XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2))
        let word = try await harness.acknowledgement()
        XCTAssertEqual(word?.number, ReleaseNumber(2))
    }

    func test_rollback_toTheTreeBefore_movesNoBytes() async throws {
        let harness = try Harness()
        let sync = harness.sync()
        _ = try await harness.publish(["a": "1"])
        try await sync.syncOnce()
        _ = try await harness.publish(["a": "2"])
        try await sync.syncOnce()
        _ = try await harness.publisher.rollback(Harness.channel, to: .first)
        let report = try await sync.syncOnce()
        XCTAssertEqual(report.transfer, .none)
        XCTAssertEqual(harness.current("a"), "1")
        XCTAssertEqual(sync.active?.release.number, ReleaseNumber(3))
    }

    func test_lease_holdsTheOldTree_andDrainingWaitsForIt() async throws {
        let harness = try Harness()
        let deployer = RecordingDeployer()
        let sync = harness.sync(deployer: deployer) { $0.drainTimeout = .seconds(3_600) }
        _ = try await harness.publish(["a": "1"])
        try await sync.syncOnce()
        let lease = try XCTUnwrap(sync.lease())
        _ = try await harness.publish(["a": "2"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sync.syncOnce() }
            try await eventually("the switch") { sync.active?.release.number == ReleaseNumber(2) }
            let text = try await sync.withActiveRelease {
                try String(contentsOfFile: $0.path(of: "a"), encoding: .utf8)
            }
            XCTAssertEqual(text, "2")
            XCTAssertEqual(
                try String(contentsOfFile: lease.release.path(of: "a"), encoding: .utf8),
                "1"
            )
            XCTAssertFalse(deployer.events.contains(.drained(.first)))
            lease.end()
            try await group.waitForAll()
        }
        XCTAssertTrue(deployer.events.contains(.drained(.first)))
    }

    func test_lease_thatIsNeverGivenBack_holdsUpDrainingForTheTimeoutOnly() async throws {
        let harness = try Harness()
        let time = harness.time
        let sync = harness.sync()
        _ = try await harness.publish(["a": "1"])
        try await sync.syncOnce()
        let lease = sync.lease()
        _ = try await harness.publish(["a": "2"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sync.syncOnce() }
            try await eventually("draining") {
                sync.active?.release.number == ReleaseNumber(2) && time.sleeperCount > 0
            }
            time.advance(by: .seconds(11))
            try await group.waitForAll()
        }
        XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2))
        for text in ["3", "4"] {
            _ = try await harness.publish(["a": text])
            try await sync.syncOnce()
        }
        let old = try XCTUnwrap(lease?.release)
        XCTAssertEqual(try String(contentsOfFile: old.path(of: "a"), encoding: .utf8), "1")
        lease?.end()
        _ = try await harness.publish(["a": "5"])
        try await sync.syncOnce()
        XCTAssertFalse(FileManager.default.fileExists(atPath: old.directory))
    }

    func test_run_endsWell_whenItsGroupShutsDown() async throws {
        let harness = try Harness()
        let sync = harness.sync()
        _ = try await harness.publish(["a": "1"])
        let group = ServiceGroup(
            services: [sync],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await eventually("release 1") { sync.active != nil }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        XCTAssertEqual(harness.current("a"), "1")
    }

    func test_sync_beforeTheFirstRelease_hasNothingToServe() async throws {
        let harness = try Harness()
        let sync = harness.sync()
        XCTAssertNil(sync.active)
        XCTAssertNil(sync.lease())
        await assertThrows(.notFound) { try await sync.withActiveRelease { _ in } }
    }

    func test_run_looksOnAHintAndAfterTheInterval_andStopsOnCancellation() async throws {
        let harness = try Harness()
        let time = harness.time
        let sync = harness.sync()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sync.run() }
            try await eventually("the first look") { time.sleeperCount > 0 }
            _ = try await harness.publish(["a": "1"])
            sync.hint()
            try await eventually("release 1") { sync.active?.release.number == .first }
            // One sleeps until the next look, one until the files are verified again.
            try await eventually("the next pause") { time.sleeperCount > 1 }
            _ = try await harness.publish(["a": "2"])
            time.advance(by: .seconds(37))
            try await eventually("release 2") {
                sync.active?.release.number == ReleaseNumber(2)
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_directory_inUse_isRefused() async throws {
        let harness = try Harness()
        let first = harness.sync()
        try await first.start()
        let second = harness.sync()
        await assertThrows(.locked) { try await second.start() }
    }
}
