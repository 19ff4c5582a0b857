import ClusterRole
import Foundation
import XCTest

@testable import ArtifactStore

/// Trees that keep the times of their files.
final class TreeTimesTests: XCTestCase {
    private func setTime(_ seconds: Double, _ path: String) throws {
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: seconds)],
            ofItemAtPath: path
        )
    }

    private func time(_ path: String) throws -> Int64 {
        let attributes = try FileManager.default.attributesOfItem(
            atPath: URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        )
        let date = try XCTUnwrap(attributes[.modificationDate] as? Date)
        return Int64(date.timeIntervalSince1970.rounded(.down))
    }

    private func publish(
        _ harness: Harness,
        _ files: [String: (text: String, time: Double)],
        keepsTimes: Bool = true
    ) async throws -> Publication {
        let name = "source-\(UUID().uuidString)"
        let path = try harness.directory.write(files.mapValues(\.text), in: name)
        for (file, value) in files { try setTime(value.time, "\(path)/\(file)") }
        var options = PublishOptions()
        options.keepsTimes = keepsTimes
        return try await harness.publisher.publish(path, to: Harness.channel, options: options)
    }

    private func current(_ harness: Harness, _ file: String) throws -> Int64 {
        try time(harness.directory.path("worker-1/current/\(file)"))
    }

    func test_times_areSetOnWorkers_alsoOfCarriedEmptyAndEqualFiles() async throws {
        let harness = try Harness()
        let files: [String: (text: String, time: Double)] = [
            "a": ("one", 1_000), "b": ("one", 2_000), "d/c": ("other", 3_000.7),
            "empty": ("", 4_000),
        ]
        let first = try await publish(harness, files)
        try await harness.sync().syncOnce()
        XCTAssertEqual(try current(harness, "a"), 1_000)
        XCTAssertEqual(try current(harness, "b"), 2_000, "a twin has its own time")
        XCTAssertEqual(try current(harness, "d/c"), 3_000)
        XCTAssertEqual(try current(harness, "empty"), 4_000)
        // Only touched: another tree, whose files need no bytes.
        var touched = files
        touched["a"] = ("one", 1_500)
        let second = try await publish(harness, touched)
        XCTAssertNotEqual(second.release.release.root, first.release.release.root)
        let report = try await harness.sync().syncOnce()
        XCTAssertEqual(report.transfer, .incremental)
        XCTAssertEqual(report.filesChanged, 1)
        XCTAssertEqual(try current(harness, "a"), 1_500)
        XCTAssertEqual(try current(harness, "b"), 2_000)
        // The same again is the same tree.
        let again = try await publish(harness, touched)
        XCTAssertEqual(again.outcome, .unchanged)
    }

    func test_treeWithoutTimes_isTheSameTreeAsEver_whateverItsFilesTimesAre() async throws {
        let harness = try Harness()
        let one = try await publish(harness, ["a": ("abc", 1_000)], keepsTimes: false)
        let two = try await publish(harness, ["a": ("abc", 9_000)], keepsTimes: false)
        XCTAssertEqual(two.outcome, .unchanged)
        XCTAssertEqual(
            one.release.release.root.description,
            "38bf2996557f63f91e90efc4f0ff42854c33f67831a18d8c29596464033d185c",
            "the root of the article"
        )
    }

    func test_timeThatWasChangedOnAWorker_isDriftAndMended() async throws {
        let harness = try Harness()
        _ = try await publish(harness, ["a": ("one", 1_000), "b": ("two", 2_000)])
        let sync = harness.sync()
        try await sync.syncOnce()
        let clean = try await sync.verifyFiles()
        XCTAssertNil(clean)
        let path = URL(fileURLWithPath: harness.directory.path("worker-1/current/a"))
            .resolvingSymlinksInPath().path
        try setTime(5_000, path)
        let drift = try await sync.verifyFiles()
        XCTAssertEqual(drift?.findings.map(\.change), [.time])
        XCTAssertEqual(try current(harness, "a"), 1_000)
        XCTAssertFalse(sync.status.isDamaged)
        let after = try await sync.verifyFiles()
        XCTAssertNil(after)
    }

    func test_manifest_withTimesOfSomeFiles_orBeyondTheLimit_isRefused() async throws {
        func file(_ path: TreePath, _ time: Int64?) -> TreeEntry {
            TreeEntry(
                path: path,
                mode: 0o644,
                content: .file(size: 1, digest: ContentDigest(of: [1])),
                modified: time
            )
        }
        let good = try TreeManifest(entries: [file("a", 0), file("b", TreeEntry.maximumTime)])
        XCTAssertEqual(try TreeManifest(decoding: good.encoded), good)
        XCTAssertTrue(good.keepsTimes)
        for wrong in [
            [file("a", 1), file("b", nil)], [file("a", -1)],
            [file("a", TreeEntry.maximumTime + 1)],
            [TreeEntry(path: "a", mode: 0o755, content: .directory, modified: 1)],
        ] {
            await assertThrows(.malformed) { _ = try TreeManifest(entries: wrong) }
        }
        for length in 0..<good.encoded.count {
            XCTAssertThrowsError(try TreeManifest(decoding: Array(good.encoded[..<length])))
        }
        // Version 2 of a tree without files would be a second form of it.
        await assertThrows(.malformed) { _ = try TreeManifest(decoding: [2, 0]) }
    }
}
