import ArtifactStore
import ClusterRole
import Foundation
import XCTest

/// Going back to a tree that is still on the disk.
final class KeptTreesTests: XCTestCase {
    /// Release 2 is active, the tree of release 1 beside it; one of its files was changed by somebody.
    private func scene(
        _ change: (inout SyncConfiguration) -> Void = { _ in }
    ) async throws -> (Harness, ArtifactSync, file: String) {
        let harness = try Harness()
        _ = try await harness.publish(["a": "one", "b": "same"])
        let sync = harness.sync("worker-1", change)
        try await sync.syncOnce()
        let file = URL(fileURLWithPath: harness.directory.path("worker-1/current/a"))
            .resolvingSymlinksInPath().path
        _ = try await harness.publish(["a": "two", "b": "same"])
        try await sync.syncOnce()
        return (harness, sync, file)
    }

    private func tamper(_ file: String) throws {
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: file))
        try handle.write(contentsOf: Data("ONE".utf8))
        try handle.close()
    }

    private func rollBack(_ harness: Harness, _ sync: ArtifactSync) async throws -> SyncReport {
        _ = try await harness.publisher.rollback(Harness.channel, to: .first)
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report)")
        XCTAssertEqual(sync.active?.release.number, ReleaseNumber(3))
        return report
    }

    func test_rollback_toATreeThatWasLaidOutLately_fetchesNothing_andCountsItsChanges()
        async throws
    {
        let (harness, sync, _) = try await scene()
        let report = try await rollBack(harness, sync)
        XCTAssertEqual(report.transfer, .none)
        XCTAssertEqual(report.bytesReceived, 0)
        XCTAssertEqual(report.filesChanged, 1)
        XCTAssertEqual(harness.current("a"), "one")
        let forth = try await harness.publisher.rollback(Harness.channel, to: ReleaseNumber(2))
        XCTAssertEqual(forth.outcome, .published)
        let again = try await sync.syncOnce()
        XCTAssertEqual(again.filesChanged, 1)
        XCTAssertEqual(harness.current("a"), "two")
    }

    /// As drift under the active tree is.
    func test_changeOfAKeptTree_isFoundAndMendedByTheNextLook() async throws {
        let (harness, sync, file) = try await scene()
        try tamper(file)
        _ = try await rollBack(harness, sync)
        let drift = try await sync.verifyFiles()
        XCTAssertEqual(drift?.findings.map(\.path), ["a"])
        let left = try await sync.verifyFiles()
        XCTAssertNil(left)
        XCTAssertFalse(sync.status.isDamaged)
        XCTAssertEqual(harness.current("a"), "one")
    }

    func test_runningService_looksAtATreeItWentBackTo_atOnce() async throws {
        let (harness, sync, file) = try await scene { $0.verifyInterval = .seconds(3_600) }
        try tamper(file)
        let running = Task { try await sync.run() }
        _ = try await harness.publisher.rollback(Harness.channel, to: .first)
        sync.hint()
        try await eventually("the drift is found without waiting an hour") {
            sync.status.lastDrift != nil && harness.current("a") == "one"
                && sync.active?.release.number == ReleaseNumber(3)
        }
        running.cancel()
        _ = await running.result
    }

    func test_proofThatIsOld_orOfAnotherProcess_orNotWanted_isNone() async throws {
        // Older than two looks.
        let (harness, sync, file) = try await scene()
        try tamper(file)
        harness.time.advance(by: .seconds(601))
        let old = try await rollBack(harness, sync)
        XCTAssertNotEqual(old.transfer, .none)
        XCTAssertEqual(harness.current("a"), "one")
        // A node that reads every file.
        let (careful, reader, other) = try await scene { $0.carryCheck = .digests }
        try tamper(other)
        let read = try await rollBack(careful, reader)
        XCTAssertNotEqual(read.transfer, .none)
        XCTAssertEqual(careful.current("a"), "one")
        // Another process.
        let (third, changed) = try await restarted()
        try tamper(changed)
        let again = try await rollBack(third, third.sync())
        XCTAssertNotEqual(again.transfer, .none)
        XCTAssertEqual(third.current("a"), "one")
    }

    private func restarted() async throws -> (Harness, file: String) {
        let (harness, _, file) = try await scene()
        return (harness, file)
    }

    func test_watch_keepsTheProofOfTheTreeBefore_orDropsIt() async throws {
        let (harness, sync, file) = try await scene()
        for _ in 0..<3 {
            harness.time.advance(by: .seconds(301))
            let drift = try await sync.verifyFiles()
            XCTAssertNil(drift)
        }
        let quick = try await rollBack(harness, sync)
        XCTAssertEqual(quick.transfer, .none)

        let (other, watching, changed) = try await scene()
        try tamper(changed)
        other.time.advance(by: .seconds(301))
        _ = try await watching.verifyFiles()
        let mended = try await rollBack(other, watching)
        XCTAssertNotEqual(mended.transfer, .none, "the change was seen, and the tree is fetched")
        XCTAssertEqual(other.current("a"), "one")
        _ = file
    }
}
