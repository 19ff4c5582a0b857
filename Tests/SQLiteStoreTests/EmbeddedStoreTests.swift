#if SQLite
import ClusterMembership
import ClusterRole
import DeviceRegistry
import Foundation
import OperationQueue
import XCTest

@testable import SQLiteEngine
@testable import SQLiteStore

final class EmbeddedStoreTests: XCTestCase {
    /// The digests of the steps that have landed. A step is never edited; a new one adds a line.
    private static let landedMigrations: [Int64: Int64] = [
        1: -6_156_943_350_818_445_454,
        2: 7_752_194_945_255_478_871,
        3: -4_752_157_756_282_095_973,
        4: -2_165_239_684_024_233_288,
        5: -2_846_665_913_969_909_057,
        6: -1_545_865_776_776_470_380,
        7: 8_295_743_750_003_249_779,
        8: -3_964_547_842_618_153_895,
        9: -4_699_894_466_331_132_781,
        10: 7_033_714_953_866_459_224,
        11: -7_418_650_352_632_824_274,
        12: 3_336_708_021_569_722_410,
        13: 8_642_956_382_502_304_752,
        14: 6_082_793_003_560_073_129,
        15: -8_856_712_066_653_281_792,
        16: 7_742_835_434_165_577_576,
        17: 1_329_628_377_198_318_147,
    ]

    func test_theMigrations_areThoseThatLanded() {
        XCTAssertEqual(
            Migration.problems(in: Schema.migrations, landed: Self.landedMigrations),
            []
        )
    }

    func test_reopening_keepsEverythingAndBeginsANewEpoch() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1", groups: ["fleet"])
        let receipt = try await scene.enqueue(scene.plan(.group(GroupID(rawValue: "fleet"))))
        let work = try await scene.store.openWork(for: row.id, tenant: scene.tenant)
        let operation = try XCTUnwrap(work?.items.first).operation
        _ = try await scene.apply(
            row,
            .result(operation.id, attempt: nil, outcome: .completed, detail: [9])
        )
        let revision = try await scene.store.currentRevision()
        let again = try await scene.reopened()
        XCTAssertGreaterThan(again.epoch, scene.epoch)
        let newRevision = try await again.store.currentRevision()
        XCTAssertEqual(newRevision, revision)
        let activity = try await again.store.activity(receipt.activity, tenant: scene.tenant)
        XCTAssertEqual(activity?.state, .finished)
        XCTAssertEqual(activity?.operation, operation)
        XCTAssertEqual(activity?.counts[.completed], 1)
        let rows = try await again.store.executions(
            of: receipt.activity,
            after: nil,
            limit: 10,
            tenant: scene.tenant
        )
        XCTAssertEqual(rows.map(\.detail), [[9]])
        try await again.store.close()
    }

    func test_aWriteOfTheEpochBeforeARestart_isFenced() async throws {
        let scene = try await EmbeddedScene.open()
        let again = try await scene.reopened()
        do {
            _ = try await again.store.commit(
                .join(GroupID(rawValue: "fleet"), []),
                tenant: scene.tenant,
                epoch: scene.epoch,
                at: scene.now
            )
            XCTFail("the old epoch was accepted")
        } catch let error as ClusterRoleError {
            XCTAssertEqual(error.code, .fenced)
            XCTAssertEqual(error.currentEpoch, again.epoch)
        }
        let groups = try await again.store.groups(tenant: scene.tenant)
        XCTAssertEqual(groups, [])
        try await again.store.close()
    }

    func test_aSecondOpening_namesTheHolder() async throws {
        let scene = try await EmbeddedScene.open()
        let error = await storageError {
            _ = try await EmbeddedStore.open(
                path: scene.file.path,
                node: NodeID(rawValue: "manager-2"),
                secrets: try EmbeddedScene.secrets()
            )
        }
        XCTAssertEqual(error?.code, .locked)
        XCTAssertEqual(error?.category, .conflict)
        XCTAssertTrue(error?.message.contains("node manager-1") ?? false)
        try await scene.store.close()
    }

    func test_theLock_keepsOtherProcessesOut() async throws {
        let tool = "/usr/bin/flock"
        try XCTSkipUnless(FileManager.default.isExecutableFile(atPath: tool), "no \(tool) here")
        let scene = try await EmbeddedScene.open()
        func tryLock() throws -> Int32 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: tool)
            process.arguments = ["-n", scene.file.path + ".lock", "true"]
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
        XCTAssertEqual(try tryLock(), 1)
        try await scene.store.close()
        XCTAssertEqual(try tryLock(), 0)
    }

    func test_aThousandEnqueuesAtOnce_shareCommitsAndAreAllDurable() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let before = scene.store.commits
        let revisions = try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<1_000 {
                group.addTask {
                    try await scene.enqueue(scene.plan(.devices([row.id]))).revision.number
                }
            }
            return try await group.reduce(into: Set<Int64>()) { $0.insert($1) }
        }
        XCTAssertEqual(revisions.count, 1_000, "each call has a revision of its own")
        XCTAssertLessThan(scene.store.commits - before, 500)
        let again = try await scene.reopened()
        let work = try await again.store.openWork(for: row.id, tenant: scene.tenant)
        XCTAssertEqual(work?.items.count, 1_000)
        try await again.store.close()
    }

    func test_aRefusedEnqueueAmongMany_takesBackOnlyItself() async throws {
        let scene = try await EmbeddedScene.open()
        let row = try await scene.enrol("d-1")
        let refused = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                group.addTask {
                    let name = index % 4 == 0 ? "nobody" : "d-1"
                    do {
                        _ = try await scene.enqueue(
                            scene.plan(.devices([DeviceID(rawValue: name)]))
                        )
                    } catch let error as OperationQueueError where error.code == .noTarget {
                        refused.add()
                    }
                }
            }
            try await group.waitForAll()
        }
        XCTAssertEqual(refused.value, 50)
        let work = try await scene.store.openWork(for: row.id, tenant: scene.tenant)
        XCTAssertEqual(work?.items.count, 150)
        let revision = try await scene.store.currentRevision()
        XCTAssertEqual(revision.number, 151, "a refused call takes no revision")
        try await scene.store.close()
    }

    func test_anIOErrorAtCommit_poisonsTheStore() async throws {
        let isBroken = Tally()
        var configuration = EmbeddedStoreConfiguration()
        configuration.commitFault = {
            if isBroken.value == 1 { throw SQLiteStorageError(.io, "the disk is gone") }
        }
        let scene = try await EmbeddedScene.open(configuration: configuration)
        try await scene.enrol("d-1")
        isBroken.set(1)
        let first = await storageError { try await scene.enrol("d-2") }
        XCTAssertEqual(first?.code, .io)
        isBroken.set(0)
        let write = await storageError { try await scene.enrol("d-3") }
        XCTAssertEqual(write?.code, .poisoned)
        let read = await storageError {
            _ = try await scene.store.device(DeviceID(rawValue: "d-1"), tenant: scene.tenant)
        }
        XCTAssertEqual(read?.code, .poisoned)
        let again = try await scene.reopened()
        let devices = try await again.store.devices(
            in: nil,
            after: nil,
            limit: 10,
            tenant: scene.tenant
        )
        XCTAssertEqual(devices.map(\.id.rawValue), ["d-1"])
        try await again.store.close()
    }

    func test_afterClosing_everyCallSaysSo() async throws {
        let scene = try await EmbeddedScene.open()
        let hints = scene.store.hints()
        try await scene.store.close()
        try await scene.store.close()
        let write = await storageError { try await scene.enrol("d-1") }
        XCTAssertEqual(write?.code, .closed)
        let read = await storageError { _ = try await scene.store.members() }
        XCTAssertEqual(read?.code, .closed)
        for await _ in hints { XCTFail("there was nothing to hint at") }
    }

    func test_theHints_followEachRevision() async throws {
        let scene = try await EmbeddedScene.open()
        var hints = scene.store.hints().makeAsyncIterator()
        try await scene.enrol("d-1")
        let hint = await hints.next()
        let revision = try await scene.store.currentRevision()
        XCTAssertEqual(hint, revision)
        try await scene.store.close()
    }
}
#endif
