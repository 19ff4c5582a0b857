import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

final class PublishTaskTests: XCTestCase {
    private struct Scene {
        let harness: Harness
        let task: PublishTask
        let path: String

        init(_ mode: PublishMode = .automatic, files: Int = 4) throws {
            harness = try Harness()
            var tree: [String: String] = [:]
            for index in 0..<files { tree["file-\(index)"] = "one" }
            path = try harness.directory.write(tree, in: "watched")
            var settings = PublishTask.Settings()
            settings.mode = mode
            settings.time = harness.time
            settings.logger.logLevel = .critical
            task = PublishTask(
                path,
                to: Harness.channel,
                publisher: harness.publisher,
                settings: settings
            )
        }

        /// Looks until a change could have come to rest.
        func settle() async {
            for _ in 0..<3 {
                await task.look()
                harness.time.advance(by: .seconds(5))
            }
        }

        func newest() async throws -> Int64? {
            try await harness.releases.latest(of: Harness.channel, tenant: .standard)?
                .release.number.rawValue
        }

        func remove(_ name: String) throws {
            try FileManager.default.removeItem(atPath: "\(path)/\(name)")
        }
    }

    func test_automatic_publishesWhatChanged_onceItIsAtRest_andTellsWhen() async throws {
        let scene = try Scene()
        await scene.task.look()
        var newest = try await scene.newest()
        XCTAssertNil(newest, "it may be moving still")
        // Each look finds another file: it moves.
        for index in 0..<4 {
            scene.harness.time.advance(by: .seconds(10))
            _ = try scene.harness.directory.write(["more-\(index)": "x"], in: "watched")
            await scene.task.look()
            newest = try await scene.newest()
            XCTAssertNil(newest)
        }
        scene.harness.time.advance(by: .seconds(10))
        await scene.task.look()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 1)
        let status = await scene.task.status
        XCTAssertEqual(status.lastOutcome, .published(.first))
        XCTAssertEqual(status.lastPublished, scene.harness.time.now())
        XCTAssertFalse(status.isPending)
        // Nothing changed: nothing is published, or read again.
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 1)
        _ = try scene.harness.directory.write(["file-0": "two"], in: "watched")
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 2)
    }

    func test_manual_waitsForTheCommit_andSaysThatSomethingWaits() async throws {
        let scene = try Scene(.manual)
        await scene.settle()
        var newest = try await scene.newest()
        XCTAssertNil(newest)
        var status = await scene.task.status
        XCTAssertTrue(status.isPending)
        XCTAssertNil(status.lastOutcome)
        let publication = try await scene.task.commitNow()
        XCTAssertEqual(publication.release.release.number, .first)
        status = await scene.task.status
        XCTAssertFalse(status.isPending)
        XCTAssertEqual(status.lastOutcome, .published(.first))
        _ = try scene.harness.directory.write(["file-0": "two"], in: "watched")
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 1)
        await scene.task.setMode(.automatic)
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 2)
    }

    func test_emptiedMissingOrHalvedSource_isNeverPublishedByItself() async throws {
        let scene = try Scene()
        await scene.settle()
        var newest = try await scene.newest()
        XCTAssertEqual(newest, 1)
        // More than half of the files are gone: by itself no, when told yes.
        for index in 0..<3 { try scene.remove("file-\(index)") }
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 1)
        var status = await scene.task.status
        guard case .refused(let code, _) = status.lastOutcome else {
            return XCTFail("\(String(describing: status.lastOutcome))")
        }
        XCTAssertEqual(code, "artifacts.empty-source")
        try await scene.task.commitNow()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 2)
        // Emptied: neither by itself nor when told.
        try scene.remove("file-3")
        await scene.settle()
        await assertThrows(.emptySource) { try await scene.task.commitNow() }
        // Gone altogether, as an unmounted directory's path may be.
        try FileManager.default.removeItem(atPath: scene.path)
        await scene.settle()
        status = await scene.task.status
        guard case .refused(let gone, _) = status.lastOutcome else {
            return XCTFail("\(String(describing: status.lastOutcome))")
        }
        XCTAssertEqual(gone, "artifacts.missing-source")
        await assertThrows(.missingSource) { try await scene.task.commitNow() }
        newest = try await scene.newest()
        XCTAssertEqual(newest, 2)
        // It comes back: on it goes.
        _ = try scene.harness.directory.write(["file-0": "new"], in: "watched")
        await scene.settle()
        newest = try await scene.newest()
        XCTAssertEqual(newest, 3)
    }

    func test_run_looksAtIntervals_andEndsWithItsTask() async throws {
        let scene = try Scene()
        let (task, time, releases) = (scene.task, scene.harness.time, scene.harness.releases)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await task.run() }
            try await eventually("published") {
                if time.sleeperCount > 0 { time.advance(by: .seconds(10)) }
                return try await releases.latest(of: Harness.channel, tenant: .standard) != nil
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
