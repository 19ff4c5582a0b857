import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import XCTest

/// Flaws that were found in other implementations of The Update Framework, each tried on ours.
final class TUFAdvisoryTests: XCTestCase {
    /// GHSA-66x3-6cw3-v5gj (CVE-2022-29173), go-tuf before 0.3.0: for every role but the root the
    /// client compared a fetched version with that of nothing, as it did not load what it had
    /// trusted before; and it stored a fetched record as trusted before it had checked that what
    /// the record refers to is not older. So an old, genuinely signed state could be installed.
    ///
    /// Here: what was trusted is read back from the disk before the first comparison, and a refused
    /// offer changes no byte of what is remembered.
    func test_ghsa66x36cw3v5gj_rollbackOfGenuineRecords_isRefusedAfterARestart_andLeavesNoTrace()
        async throws
    {
        let scene = try await RootedScene()
        let old = try await scene.harness.publish(["a": "old"]).release.published
        let oldPointer = try await scene.pointer(to: old.signed, by: [scene.pointerKey])
        scene.harness.time.advance(by: .seconds(1))
        _ = try await scene.harness.publish(["a": "new"])
        try await scene.sync().syncOnce()
        let remembered = try scene.remembered()
        scene.harness.source.damage(release: .replaceRelease { _ in old })
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: oldPointer) }
        for _ in 0..<3 {
            // Each time a new process, which knows only what is on the disk.
            let report = try await scene.sync().syncOnce()
            guard case .refused(let error) = report.outcome else {
                return XCTFail("\(report.outcome)")
            }
            XCTAssertEqual(error.code, .belowFloor)
            XCTAssertEqual(try scene.remembered(), remembered)
            XCTAssertEqual(scene.harness.current("a"), "new")
        }
    }

    /// CVE-2025-2888, tough before 0.20.0: the client rightly refused a
    /// rollback of the snapshot, but had put the timestamp that came with it into its cache. At the
    /// next update it compared the genuine timestamp with the cached one and refused that, until
    /// somebody cleared the cache: one bad answer stopped all updates.
    ///
    /// Here: a pointer is held only together with the release it names, once both were believed.
    func test_cve20252888_pointerOfARefusedRelease_isNotKept_andTheNextUpdateIsTaken() async throws
    {
        let scene = try await RootedScene()
        let first = try await scene.harness.publish(["a": "one"]).release.published
        let sync = scene.sync()
        try await sync.syncOnce()
        let remembered = try scene.remembered()
        _ = try await scene.harness.publish(["a": "two"])
        // A genuine pointer of the future, with a release that does not belong to it.
        let third = try await scene.harness.signer.sign(
            try await scene.newest().release.numbered(ReleaseNumber(30)),
            with: [scene.second]
        )
        let ahead = try await scene.pointer(to: third, by: [scene.pointerKey])
        scene.harness.source.damage(release: .replaceRelease { _ in first })
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: ahead) }
        scene.harness.time.advance(by: .seconds(2_000))
        _ = try await sync.syncOnce()
        XCTAssertEqual(try scene.remembered(), remembered)
        _ = try await scene.harness.publish(["a": "three"])
        scene.harness.source.damage()
        let mixed = try await sync.syncOnce()
        guard case .refused(let error) = mixed.outcome, error.code == .unconfirmed else {
            return XCTFail("\(mixed.outcome)")
        }
        XCTAssertEqual(try scene.remembered(), remembered)
        // The next honest answer is taken, with no cache to be cleared.
        scene.harness.source.damage()
        scene.harness.source.answerTrust(nil)
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report.outcome)")
        XCTAssertEqual(scene.harness.current("a"), "three")
    }
}
