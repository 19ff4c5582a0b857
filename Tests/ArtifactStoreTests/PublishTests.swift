import ArtifactStore
import ClusterRole
import Foundation
import XCTest

final class PublishTests: XCTestCase {
    func test_publish_ofADirectory_returnsASignedReleaseAndItsBundles() async throws {
        let harness = try Harness()
        let first = try await harness.publish(["index.html": "one", "css/site.css": "body {}"])
        XCTAssertEqual(first.outcome, .published)
        XCTAssertEqual(first.release.release.number, .first)
        XCTAssertEqual(first.fileCount, 2)
        XCTAssertEqual(first.totalBytes, 10)
        XCTAssertEqual(first.bundles.map(\.from), [nil])
        XCTAssertEqual(first.bundles[0].name, "full-\(first.release.release.root)")
        XCTAssertNoThrow(
            try TrustedKeys(harness.signer.publicKey).verify(first.release.published.signed))
        let second = try await harness.publish(["index.html": "two", "css/site.css": "body {}"])
        XCTAssertEqual(second.release.release.number, ReleaseNumber(2))
        XCTAssertEqual(second.release.release.previousRoot, first.release.release.root)
        XCTAssertTrue(second.release.revision.covers(first.release.revision))
        let latest = try await harness.publisher.latest(of: Harness.channel)
        XCTAssertEqual(latest, second.release)
    }

    func test_publish_ofTheSameTree_returnsTheExistingRelease_unlessAskedForAgain() async throws {
        let harness = try Harness()
        let first = try await harness.publish(["a": "1"])
        let same = try await harness.publish(["a": "1"])
        XCTAssertEqual(same.outcome, .unchanged)
        XCTAssertEqual(same.release, first.release)
        let again = try await harness.publish(["a": "1"], again: true)
        XCTAssertEqual(again.outcome, .published)
        XCTAssertEqual(again.release.release.number, ReleaseNumber(2))
        XCTAssertEqual(again.bundles, first.bundles)
        XCTAssertEqual(harness.objects.digests.count, 1)
    }

    func test_publish_ofAMissingOrEmptySource_isRefused_unlessMeant() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "1"])
        let publisher = harness.publisher
        let missing = harness.directory.path("nowhere")
        await assertThrows(.missingSource) {
            _ = try await publisher.publish(missing, to: Harness.channel)
        }
        let empty = try harness.directory.write([:], in: "empty")
        await assertThrows(.emptySource) {
            _ = try await publisher.publish(empty, to: Harness.channel)
        }
        let latest = try await publisher.latest(of: Harness.channel)
        XCTAssertEqual(latest?.release.number, .first)
        var options = PublishOptions()
        options.emptySource = .publish
        let meant = try await publisher.publish(empty, to: Harness.channel, options: options)
        XCTAssertEqual(meant.fileCount, 0)
        let sync = harness.sync()
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied)
    }

    func test_publish_ofALinkToAnAbsolutePath_isRefusedByName_unlessAllowed() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a/b": "1"])
        try FileManager.default.createSymbolicLink(
            atPath: "\(path)/a/hosts", withDestinationPath: "/etc/hosts")
        let publisher = harness.publisher
        let error = await assertThrows(.unsafeLink) {
            _ = try await publisher.publish(path, to: Harness.channel)
        }
        XCTAssertEqual(error?.path, "a/hosts")
        let allowed = PublishOptions(kind: .files, links: .allowAbsolute)
        _ = try await publisher.publish(path, to: Harness.channel, options: allowed)
        let report = try await harness.sync().syncOnce()
        XCTAssertTrue(report.isApplied)
        let strict = harness.sync("worker-2") { $0.links = .insideTree }
        let refusal = try await strict.syncOnce()
        guard case .refused(let reason) = refusal.outcome else { return XCTFail("\(refusal)") }
        XCTAssertEqual(reason.code, .unsafeLink)
    }

    func test_publish_ofAPipeOrASetUserFile_isRefusedByName() async throws {
        let harness = try Harness()
        let publisher = harness.publisher
        let pipe = try harness.directory.write(["a": "1"], in: "pipe")
        mkfifo("\(pipe)/p", 0o644)
        let first = await assertThrows(.unsupportedEntry) {
            _ = try await publisher.publish(pipe, to: Harness.channel)
        }
        XCTAssertEqual(first?.path, "p")
        let setUser = try harness.directory.write(["tool": "1"], in: "set-user")
        chmod("\(setUser)/tool", 0o4755)
        let second = await assertThrows(.unsupportedEntry) {
            _ = try await publisher.publish(setUser, to: Harness.channel)
        }
        XCTAssertEqual(second?.path, "tool")
    }

    func test_publish_withARevokedOrOldCapability_writesNothing() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a": "1"])
        _ = harness.ledger.raiseEpoch()
        do {
            _ = try await harness.publisher.publish(path, to: Harness.channel)
            XCTFail("it was published")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .fenced)
        }
        harness.capability.revoke()
        do {
            _ = try await harness.publisher.publish(path, to: Harness.channel)
            XCTFail("it was published")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .revoked)
        }
        let latest = try await harness.publisher.latest(of: Harness.channel)
        XCTAssertNil(latest)
    }

    func test_publish_byTwoManagersAtOnce_givesOneOfThemAConflict() async throws {
        let harness = try Harness()
        let publisher = harness.publisher
        let paths = try ["one", "two"].map {
            try harness.directory.write(["a": $0], in: $0)
        }
        let outcomes = await withTaskGroup(of: ArtifactStoreError.Code?.self) { group in
            for path in paths {
                group.addTask {
                    do {
                        _ = try await publisher.publish(path, to: Harness.channel)
                        return nil
                    } catch {
                        return (error as? ArtifactStoreError)?.code
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let history = try await publisher.releases(of: Harness.channel)
        // Either they met, and one was told, or they came one after the other.
        XCTAssertEqual(history.count + outcomes.count { $0 == .conflict }, 2)
        XCTAssertEqual(history.map(\.release.number.rawValue), history.count == 2 ? [2, 1] : [1])
    }

    func test_rollback_publishesTheOldTreeUnderANewNumber() async throws {
        let harness = try Harness()
        let first = try await harness.publish(["a": "1"])
        _ = try await harness.publish(["a": "2"])
        let back = try await harness.publisher.rollback(Harness.channel, to: .first)
        XCTAssertEqual(back.release.release.number, ReleaseNumber(3))
        XCTAssertEqual(back.release.release.root, first.release.release.root)
        XCTAssertEqual(back.bundles.first, first.bundles.first)
        let publisher = harness.publisher
        await assertThrows(.notFound) {
            _ = try await publisher.rollback(Harness.channel, to: ReleaseNumber(9))
        }
        let names = try await publisher.channels()
        XCTAssertEqual(names, [Harness.channel])
    }

    func test_publish_toABadChannelName_isRefused() async throws {
        let harness = try Harness()
        let path = try harness.directory.write(["a": "1"])
        let publisher = harness.publisher
        await assertThrows(.invalidName) {
            _ = try await publisher.publish(path, to: "../escape")
        }
    }
}
