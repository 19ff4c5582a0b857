import ClusterRole
import Foundation
import XCTest

@testable import ArtifactStore

final class HealingTests: XCTestCase {
    private let web: ChannelName = "web"
    private let files = ["a": "one", "dir/b": "two", "dir/c": "three"]
    private let disk = FileManager.default

    private func applied() async throws -> (Shelf, ArtifactSync, Journal) {
        let shelf = try Shelf()
        let journal = Journal()
        try await shelf.publish(files, to: web)
        let sync = shelf.sync(web, deployer: JournalDeployer(journal: journal))
        try await sync.syncOnce()
        _ = try await sync.verifyFiles()
        journal.clear()
        return (shelf, sync, journal)
    }

    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// One change to the tree, as an operator or a broken program makes it.
    private struct Harm {
        let name: String
        let change: TreeDrift.Change
        let path: String
        let isMendedLocally: Bool
        let apply: (String) throws -> Void
    }

    private var harms: [Harm] {
        [
            Harm(name: "changed", change: .content, path: "a", isMendedLocally: false) {
                try Data("oNe".utf8).write(to: URL(fileURLWithPath: "\($0)/a"))
            },
            Harm(name: "longer", change: .content, path: "a", isMendedLocally: false) {
                try Data("one and more".utf8).write(to: URL(fileURLWithPath: "\($0)/a"))
            },
            Harm(name: "removed", change: .removed, path: "dir/b", isMendedLocally: false) {
                try FileManager.default.removeItem(atPath: "\($0)/dir/b")
            },
            Harm(name: "added", change: .added, path: "dir/new", isMendedLocally: true) {
                try Data("x".utf8).write(to: URL(fileURLWithPath: "\($0)/dir/new"))
            },
            Harm(name: "permission", change: .permission, path: "a", isMendedLocally: true) {
                chmod("\($0)/a", 0o666)
            },
            Harm(name: "directory", change: .permission, path: "dir", isMendedLocally: true) {
                chmod("\($0)/dir", 0o777)
            },
            Harm(name: "kind", change: .kind, path: "a", isMendedLocally: false) {
                try FileManager.default.removeItem(atPath: "\($0)/a")
                try FileManager.default.createDirectory(
                    atPath: "\($0)/a",
                    withIntermediateDirectories: false
                )
            },
        ]
    }

    func test_drift_ofEveryKind_isFoundOnARunningWorker_mended_andReported() async throws {
        for harm in harms {
            let (shelf, sync, journal) = try await applied()
            let tree = try XCTUnwrap(sync.active).directory
            let expected = try listing(of: tree)
            try harm.apply(tree)
            XCTAssertNotEqual(try listing(of: tree), expected, harm.name)
            let opened = shelf.openedCount
            let drift = try await sync.verifyFiles()
            let finding = TreeDrift.Finding(path: TreePath(harm.path), change: harm.change)
            XCTAssertTrue(
                drift?.findings.contains(finding) == true,
                "\(harm.name): \(drift as Any)"
            )
            XCTAssertEqual(try listing(of: tree), expected, harm.name)
            XCTAssertEqual(shelf.openedCount - opened, harm.isMendedLocally ? 0 : 1, harm.name)
            XCTAssertEqual(sync.status.lastDrift, drift)
            XCTAssertFalse(sync.status.isDamaged)
            XCTAssertEqual(journal.entries, [], "the same files are not loaded again")
            let clean = try await sync.verifyFiles()
            XCTAssertNil(clean, harm.name)
        }
    }

    func test_drift_ofALink_isMended() async throws {
        let shelf = try Shelf()
        let path = try shelf.directory.write(["a": "1", "b": "2"], in: "linked")
        try disk.createSymbolicLink(atPath: "\(path)/latest", withDestinationPath: "a")
        try await shelf.publish(tree: path, to: web)
        let sync = shelf.sync(web)
        try await sync.syncOnce()
        let tree = try XCTUnwrap(sync.active).directory
        try disk.removeItem(atPath: "\(tree)/latest")
        try disk.createSymbolicLink(atPath: "\(tree)/latest", withDestinationPath: "b")
        let drift = try await sync.verifyFiles()
        XCTAssertEqual(drift?.findings, [.init(path: "latest", change: .link)])
        XCTAssertEqual(try disk.destinationOfSymbolicLink(atPath: "\(tree)/latest"), "a")
    }

    func test_drift_isFoundByTheRunningService_atItsInterval() async throws {
        let shelf = try Shelf()
        try await shelf.publish(files, to: web)
        let sync = shelf.sync(web) { $0.verifyInterval = .seconds(60) }
        try await running(sync.run) {
            try await eventually("release 1") { sync.status.active == .first }
            let tree = try XCTUnwrap(sync.active).directory
            try write("worse", to: "\(tree)/a")
            try await eventually("it is mended") {
                shelf.time.advance(by: .seconds(10))
                return try String(contentsOfFile: "\(tree)/a", encoding: .utf8) == "one"
            }
            XCTAssertEqual(sync.status.lastDrift?.count, 1)
        }
    }

    func test_bitRot_thatKeepsTheMetadata_isFoundByTheFullReading() async throws {
        let (_, sync, _) = try await applied()
        let tree = try XCTUnwrap(sync.active).directory
        var status = stat()
        stat("\(tree)/a", &status)
        let file = open("\(tree)/a", O_WRONLY)
        pwrite(file, "X", 1, 0)
        var times = [status.st_atim, status.st_mtim]
        futimens(file, &times)
        close(file)
        let quick = try await sync.verifyFiles()
        XCTAssertNil(quick, "the metadata is what it was")
        let thorough = try await sync.verifyFiles(readingAll: true)
        XCTAssertEqual(thorough?.findings, [.init(path: "a", change: .content)])
        XCTAssertEqual(try String(contentsOfFile: "\(tree)/a", encoding: .utf8), "one")
    }

    func test_damage_whileTheSourceIsDown_isMendedFromTheReleaseBefore_orReportedUntilItCan()
        async throws
    {
        let (shelf, sync, _) = try await applied()
        try await shelf.publish(files.merging(["new": "4"]) { $1 }, to: web)
        try await sync.syncOnce()
        shelf.isDown = true
        let tree = try XCTUnwrap(sync.active).directory
        try disk.removeItem(atPath: "\(tree)/dir/b")
        _ = try await sync.verifyFiles()
        XCTAssertEqual(try String(contentsOfFile: "\(tree)/dir/b", encoding: .utf8), "two")
        XCTAssertFalse(sync.status.isDamaged)
        // Nobody else has this one.
        try disk.removeItem(atPath: "\(tree)/new")
        do {
            _ = try await sync.verifyFiles()
            XCTFail("nothing can mend it")
        } catch is Shelf.Down {}
        XCTAssertTrue(sync.status.isDamaged)
        XCTAssertEqual(sync.status.active, ReleaseNumber(2), "the rest is served on")
        shelf.isDown = false
        try await sync.syncOnce()
        XCTAssertFalse(sync.status.isDamaged)
        XCTAssertEqual(try String(contentsOfFile: "\(tree)/new", encoding: .utf8), "4")
    }

    func test_emptiedSource_deletesNothing() async throws {
        let (shelf, sync, journal) = try await applied()
        shelf.isEmptied = true
        let report = try await sync.syncOnce()
        guard case .empty = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(sync.active?.release.number, .first)
        XCTAssertEqual(journal.entries, [])
        XCTAssertTrue(disk.fileExists(atPath: shelf.directory.path("worker/current/a")))
        let again = shelf.sync(web, in: "worker-2")
        try await again.syncOnce()
        XCTAssertNil(again.active)
    }

    func test_vanishedWorkerDirectory_isMadeAgain_andNothingIsUndeployed() async throws {
        let (shelf, sync, journal) = try await applied()
        let worker = shelf.directory.path("worker")
        try disk.removeItem(atPath: worker)
        let drift = try await sync.verifyFiles()
        XCTAssertEqual(drift?.isEmpty, false)
        XCTAssertEqual(sync.active?.release.number, .first)
        XCTAssertEqual(journal.entries, [], "its deployer is asked to remove nothing")
        XCTAssertEqual(try String(contentsOfFile: "\(worker)/current/a", encoding: .utf8), "one")
        // What was remembered is there again, too: an older release stays refused.
        try await shelf.publish(["a": "2"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(sync.active?.release.number, ReleaseNumber(2))
    }

    func test_vanishedWorkerDirectory_withTheSourceDown_isServedOnFromMemory() async throws {
        let (shelf, sync, journal) = try await applied()
        shelf.isDown = true
        try disk.removeItem(atPath: shelf.directory.path("worker"))
        do {
            _ = try await sync.verifyFiles()
            XCTFail("nothing can mend it")
        } catch is Shelf.Down {}
        XCTAssertEqual(sync.active?.release.number, .first)
        XCTAssertTrue(sync.status.isDamaged)
        XCTAssertEqual(journal.entries, [])
        shelf.isDown = false
        try await sync.syncOnce()
        XCTAssertEqual(try listing(of: try XCTUnwrap(sync.active).directory).count, 4)
    }
}

final class PeerTests: XCTestCase {
    private let web: ChannelName = "web"

    private func text(_ sync: ArtifactSync?) throws -> String {
        try String(contentsOfFile: try XCTUnwrap(sync?.active).path(of: "f"), encoding: .utf8)
    }

    func test_newWorker_withEveryManagerDown_startsFromAPeer() async throws {
        let shelf = try Shelf()
        try await shelf.publish(["f": "1"], to: web)
        let artifacts = shelf.artifacts([web])
        try await running(artifacts.run) {
            try await eventually("the peer has it") { artifacts.statuses[0].active == .first }
            shelf.isDown = true
            let held = try HeldReleaseSource(artifacts, directory: shelf.directory.path("held"))
            let fresh = shelf.sync(web, source: FailoverReleaseSource([shelf, held]), in: "fresh")
            let report = try await fresh.syncOnce()
            XCTAssertTrue(report.isApplied)
            XCTAssertEqual(try text(fresh), "1")
            let repeated = try await fresh.syncOnce()
            guard case .unchanged = repeated.outcome else { return XCTFail("\(repeated)") }
            // A manager that comes back hears what happened, and has the last word.
            shelf.isDown = false
            try await fresh.syncOnce()
            XCTAssertEqual(shelf.words(about: "web").last?.state, .applied)
            try await shelf.publish(["f": "2"], to: web)
            try await fresh.syncOnce()
            XCTAssertEqual(try text(fresh), "2")
        }
    }

    func test_peer_handsOutTheNewRelease_andRemovesTheOldBundle() async throws {
        let shelf = try Shelf()
        try await shelf.publish(["f": "1"], to: web)
        let artifacts = shelf.artifacts([web])
        try await running(artifacts.run) {
            try await eventually("release 1") { artifacts.statuses[0].active == .first }
            let held = try HeldReleaseSource(artifacts, directory: shelf.directory.path("held"))
            let one = try await held.latestRelease(of: "web", tenant: .standard, unlessAt: nil)
            guard case .release(let first) = one else { return XCTFail("\(one)") }
            let same = try await held.latestRelease(
                of: "web",
                tenant: .standard,
                unlessAt: first.revision
            )
            XCTAssertEqual(same, .unchanged)
            let foreign = try await held.latestRelease(of: "web", tenant: "other", unlessAt: nil)
            XCTAssertEqual(foreign, .empty)
            try await shelf.publish(["f": "2"], to: "web")
            artifacts.hint()
            try await eventually("release 2") {
                artifacts.statuses[0].active == ReleaseNumber(2)
            }
            let two = try await held.latestRelease(of: "web", tenant: .standard, unlessAt: nil)
            guard case .release(let second) = two else { return XCTFail("\(two)") }
            XCTAssertEqual(second.release.number, ReleaseNumber(2))
            let old = try await held.objects.byteCount(of: first.published.bundles[0].object)
            XCTAssertNil(old)
        }
    }

    func test_newWorker_withEveryManagerDown_startsFromAnExport() async throws {
        let shelf = try Shelf()
        try await shelf.publish(["f": "1"], to: web)
        let path = shelf.directory.path("web.export")
        let written = try await ReleaseExport.write(web, from: shelf, to: path)
        XCTAssertEqual(written.number, .first)
        shelf.isDown = true
        let source = FailoverReleaseSource([shelf, ExportedReleaseSource(paths: [path])])
        let sync = shelf.sync(web, source: source)
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(try text(sync), "1")
        shelf.isDown = false
        try await shelf.publish(["f": "2"], to: web)
        try await sync.syncOnce()
        XCTAssertEqual(try text(sync), "2")
        // The export is older now; with the manager gone again it changes nothing.
        shelf.isDown = true
        do {
            try await sync.syncOnce()
            XCTFail("an older release counted")
        } catch is Shelf.Down {}
        XCTAssertEqual(try text(sync), "2")
    }

    func test_export_signedBySomebodyElse_orDamaged_isRefused() async throws {
        let shelf = try Shelf()
        let forger = try Shelf()
        try await forger.publish(["f": "evil"], to: web)
        let path = shelf.directory.path("web.export")
        try await ReleaseExport.write(web, from: forger, to: path)
        let sync = shelf.sync(web, source: ExportedReleaseSource(paths: [path]))
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else { return XCTFail("\(report)") }
        XCTAssertEqual(error.code, .untrustedSignature)
        XCTAssertNil(sync.active)

        try await shelf.publish(["f": "1"], to: web)
        try await ReleaseExport.write(web, from: shelf, to: path)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        // Every 7th byte in turn, the last one included: nothing damaged is ever active.
        for position in stride(from: whole.count - 1, through: 0, by: -7) {
            var damaged = whole
            damaged[position] ^= 0x10
            try damaged.write(to: URL(fileURLWithPath: path))
            let victim = shelf.sync(
                web,
                source: ExportedReleaseSource(paths: [path]),
                in: "victim-\(position)"
            )
            _ = try? await victim.syncOnce()
            if victim.active != nil {
                XCTAssertEqual(try text(victim), "1", "byte \(position)")
            }
        }
        try whole.dropLast(3).write(to: URL(fileURLWithPath: path))
        let cut = shelf.sync(web, source: ExportedReleaseSource(paths: [path]), in: "cut")
        _ = try? await cut.syncOnce()
        XCTAssertNil(cut.active)
    }

    func test_failover_asksInOrder_andBelievesTheFirstThatAnswers() async throws {
        let manager = try Shelf()
        let peer = try Shelf()
        try await peer.publish(["f": "peer"], to: web)
        let source = FailoverReleaseSource([manager, peer])
        let empty = try await source.latestRelease(of: web, tenant: .standard, unlessAt: nil)
        XCTAssertEqual(empty, .empty, "a manager that has none has the last word")
        manager.isDown = true
        let answer = try await source.latestRelease(of: web, tenant: .standard, unlessAt: nil)
        guard case .release = answer else { return XCTFail("\(answer)") }
        peer.isEmptied = true
        do {
            _ = try await source.latestRelease(of: web, tenant: .standard, unlessAt: nil)
            XCTFail("a peer without a release says nothing about the channel")
        } catch is Shelf.Down {}
    }
}
