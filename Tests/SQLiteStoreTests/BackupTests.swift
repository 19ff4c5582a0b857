#if SQLite
import ClusterRole
import DeviceRegistry
import Foundation
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

final class BackupTests: XCTestCase {
    private let other = NodeID(rawValue: "restorer")

    func test_backup_ofARunningStoreUnderLoad_isOneRevisionAndSound() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        for _ in 0..<200 { _ = try await scene.enqueue(scene.plan(.devices([row.id]))) }
        let copy = scene.file.directory + "/copy.db"
        let before = try await scene.store.currentRevision()
        let report = try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<300 {
                group.addTask {
                    try await scene.enqueue(scene.plan(.devices([row.id]))).number
                }
            }
            let report = try await scene.store.backup(to: copy, at: scene.now)
            try await group.waitForAll()
            return report
        }
        let after = try await scene.store.currentRevision()
        XCTAssertEqual(after.number, before.number + 300, "writers went on")
        XCTAssertEqual(report.revision.history, scene.store.history)
        XCTAssertTrue((before.number...after.number).contains(report.revision.number))
        XCTAssertEqual(report.verification?.isSound, true)
        let names = try FileManager.default.contentsOfDirectory(atPath: scene.file.directory)
        XCTAssertEqual(names.filter { $0.contains("partial") }, [])
        let mode = try FileManager.default.attributesOfItem(atPath: copy)[.posixPermissions]
        XCTAssertEqual(mode as? Int, 0o600)
        try await scene.store.close()

        let restored = scene.file.directory + "/restored.db"
        _ = try await EmbeddedStore.restore(from: copy, to: restored, node: other)
        let store = try await EmbeddedStore.open(
            path: restored,
            node: other,
            secrets: try EmbeddedScene.secrets()
        )
        let work = try await store.openWork(for: row.id, tenant: scene.tenant)
        // The enrolment is the first revision; each operation is one more.
        XCTAssertEqual(work?.items.count, Int(report.revision.number) - 1)
        try await store.close()
    }

    func test_restore_beginsANewHistoryAboveEveryEpoch_andKeepsKeysAndMarks() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let plan = scene.plan(.devices([row.id]), key: "once")
        let receipt = try await scene.enqueue(plan)
        let mark = SpoolMark(
            node: NodeID(rawValue: "worker-1"),
            incarnation: IncarnationID(from: scene.random),
            number: 7
        )
        _ = try await scene.store.apply([], from: mark, epoch: scene.epoch, at: scene.now)
        let copy = scene.file.directory + "/copy.db"
        _ = try await scene.store.backup(to: copy, at: scene.now)
        _ = try await scene.enqueue(scene.plan(.devices([row.id])))
        _ = try await scene.enqueue(scene.plan(.devices([row.id])))
        try await scene.store.close()

        let late = scene.now + .seconds(3_600)
        let report = try await EmbeddedStore.restore(
            from: copy,
            to: scene.file.path,
            node: other,
            replaces: true,
            at: late
        )
        XCTAssertEqual(report.takenAt, scene.now)
        XCTAssertEqual(report.lostOperations, 2)
        XCTAssertEqual(report.epoch, Epoch(rawValue: late.rawValue + 1))
        XCTAssertNotEqual(report.history, scene.store.history)
        let aside = try XCTUnwrap(report.setAside)
        XCTAssertTrue(FileManager.default.fileExists(atPath: aside))

        let again = try await EmbeddedScene.open(scene.file)
        XCTAssertGreaterThan(again.epoch, report.epoch)
        XCTAssertEqual(again.store.history, report.history)
        let repeated = try await again.enqueue(plan)
        XCTAssertTrue(repeated.wasRepeated)
        XCTAssertEqual(repeated.activity, receipt.activity)
        let skipped = try await again.store.apply(
            [],
            from: mark,
            epoch: again.epoch,
            at: scene.now
        )
        XCTAssertEqual(skipped.mark, mark)
        do {
            _ = try await again.store.enqueue(
                scene.plan(.devices([row.id])),
                tenant: scene.tenant,
                epoch: scene.epoch
            )
            XCTFail("the writer of before the restore was let in")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .fenced)
        }
        try await again.store.close()
    }

    func test_restore_ofABackupWithAHigherEpochThanTheClock_goesAboveThatEpoch() async throws {
        let scene = try await EmbeddedScene.open()
        let copy = scene.file.directory + "/copy.db"
        _ = try await scene.store.backup(to: copy, at: scene.now)
        let report = try await EmbeddedStore.restore(
            from: copy,
            to: scene.file.directory + "/restored.db",
            node: other,
            at: Timestamp(rawValue: 0)
        )
        XCTAssertEqual(report.epoch, scene.epoch.next)
        try await scene.store.close()
    }

    func test_restore_overAStoreNobodyGaveUp_isRefused() async throws {
        let scene = try await EmbeddedScene.open()
        let copy = scene.file.directory + "/copy.db"
        _ = try await scene.store.backup(to: copy)
        let running = await storageError {
            _ = try await EmbeddedStore.restore(
                from: copy,
                to: scene.file.path,
                node: other,
                replaces: true
            )
        }
        XCTAssertEqual(running?.code, .locked)
        XCTAssertTrue(running?.message.contains("node manager-1") ?? false)
        try await scene.store.close()
        let existing = await storageError {
            _ = try await EmbeddedStore.restore(from: copy, to: scene.file.path, node: other)
        }
        XCTAssertEqual(existing?.code, .exists)
        let twice = await storageError {
            _ = try await EmbeddedStore.backup(of: scene.file.path, to: copy, node: other)
        }
        XCTAssertEqual(twice?.code, .exists)
        var options = BackupOptions()
        options.replaces = true
        _ = try await EmbeddedStore.backup(
            of: scene.file.path,
            to: copy,
            node: other,
            options: options
        )
    }

    func test_backup_ofAStoreWithADamagedRow_isRefusedAndLeavesNothing() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        _ = try await scene.enqueue(scene.plan(.devices([row.id])))
        _ = try await scene.store.guarded(epoch: scene.epoch) { connection, _ in
            try connection.run("UPDATE operation SET initiator = 'mallory'")
            return ([], ())
        }
        let found = try await scene.store.verify()
        XCTAssertFalse(found.isSound)
        XCTAssertEqual(found.tables.filter { $0.damaged > 0 }.map(\.name), ["operation"])
        let copy = scene.file.directory + "/copy.db"
        let error = await storageError { _ = try await scene.store.backup(to: copy) }
        XCTAssertEqual(error?.code, .corruptRow)
        let names = try FileManager.default.contentsOfDirectory(atPath: scene.file.directory)
        XCTAssertEqual(names.filter { $0.hasPrefix("copy.db") }, [])
        try await scene.store.close()
    }

    func test_verify_ofAStoreWithEverythingInIt_knowsEveryTable() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        _ = try await scene.enqueue(scene.plan(.devices([row.id]), wakeAt: scene.now))
        _ = try await scene.enqueue(
            scene.plan(.group(GroupID(rawValue: "fleet")), wakeAt: scene.now)
        )
        _ = try await scene.apply(
            row,
            .contact(answeredAt: nil),
            .information(.location, body: [1])
        )
        let found = try await scene.store.verify()
        XCTAssertEqual(found.problems, [])
        XCTAssertTrue(found.isSound, found.summary)
        // Every table that has a checksum is walked, so a new one cannot be forgotten.
        let sealed = try await scene.store.file.read { connection in
            try connection.rows(
                """
                SELECT name FROM sqlite_schema
                WHERE type = 'table' AND sql LIKE '%sum INTEGER%' ORDER BY name
                """
            ) { $0.text(0) }
        }
        XCTAssertEqual(found.tables.map(\.name), sealed)
        try await scene.store.close()
    }

    func test_restore_ofAFileThatIsNoBackup_isRefused() async throws {
        let file = try TemporaryFile()
        let path = file.directory + "/nonsense"
        try Data(repeating: 0x41, count: 8_192).write(to: URL(fileURLWithPath: path))
        let nonsense = await storageError {
            _ = try await EmbeddedStore.restore(from: path, to: file.path, node: other)
        }
        XCTAssertEqual(nonsense?.code, .corruptFile)
        let missing = await storageError {
            _ = try await EmbeddedStore.restore(
                from: file.directory + "/missing",
                to: file.path,
                node: other
            )
        }
        XCTAssertEqual(missing?.code, .invalid)
        XCTAssertFalse(FileManager.default.fileExists(atPath: file.path))
    }
}
#endif
