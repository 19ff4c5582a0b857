import ArtifactStore
import ClusterRole
import Foundation
import XCTest

/// Two successive releases of real packages: thousands of files, links, jars.
final class RealTreesTests: XCTestCase {
    /// `REEVE_TEST_DATA`, or the folder beside the package.
    private func dataDirectory() throws -> String {
        let beside = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("shared/data").path
        let path = ProcessInfo.processInfo.environment["REEVE_TEST_DATA"] ?? beside
        try XCTSkipUnless(
            FileManager.default.fileExists(atPath: "\(path)/unpack"),
            "The real trees are not at \(path); set REEVE_TEST_DATA to where they are."
        )
        return path
    }

    private func run(_ arguments: [String]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    func test_realTrees_arriveWhole_andTheUpdateIsSmall() async throws {
        try XCTSkipUnless(BundleCodec.zstandard.isAvailable, "libzstd.so.1 is not on this machine")
        // Outside of an assertion, which would take the skip for a failure.
        let data = try dataDirectory()
        let harness = try Harness()
        let trees = harness.directory.path("trees")
        XCTAssertEqual(try run(["\(data)/unpack", trees]), 0)
        let publisher = harness.publisher
        let refused = await assertThrows(.unsafeLink) {
            _ = try await publisher.publish("\(trees)/v1", to: Harness.channel)
        }
        XCTAssertTrue(refused?.message.contains(refused?.path ?? "-") ?? false)

        let options = PublishOptions(kind: .files, links: .allowAbsolute)
        let sync = harness.sync()
        for version in ["v1", "v2"] {
            let clock = ContinuousClock()
            var publication: Publication?
            let publishing = try await clock.measure {
                publication = try await publisher.publish(
                    "\(trees)/\(version)",
                    to: Harness.channel,
                    options: options
                )
            }
            var report: SyncReport?
            let syncing = try await clock.measure { report = try await sync.syncOnce() }
            print(
                "\(version): published \(publication?.fileCount ?? 0) files in \(publishing), bundles "
                    + "\(publication?.bundles.map(\.byteCount) ?? []); synced "
                    + "\(report?.bytesReceived ?? 0) bytes, \(report?.filesChanged ?? 0) changed, "
                    + "in \(syncing)"
            )
            XCTAssertEqual(report?.transfer, version == "v1" ? .full : .incremental)
            let current = try XCTUnwrap(sync.active).directory
            let status = try run(
                ["diff", "-r", "--no-dereference", "\(trees)/\(version)", current])
            XCTAssertEqual(status, 0)
            if version == "v2" {
                XCTAssertLessThan(try XCTUnwrap(report).bytesReceived, 8_000_000)
            }
        }
    }
}
