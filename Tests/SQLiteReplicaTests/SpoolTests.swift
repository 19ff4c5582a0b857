#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import OperationQueue
import SQLiteEngine
import Synchronization
import XCTest

@testable import SQLiteReplica

final class SpoolTests: XCTestCase {
    /// A followed replica with one device that has one operation open.
    private func prepared(
        _ scene: ReplicaScene,
        configuration: WorkerReplicaConfiguration = WorkerReplicaConfiguration()
    ) async throws -> (WorkerReplica, DeviceRow, DeviceOperation, String) {
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let operation = try await scene.manager.enqueue(.group(.everyone), at: scene.time.now())
        let path = scene.newPath()
        let replica = try scene.open(path, configuration: configuration)
        try await scene.follow(replica)
        return (replica, row, operation, path)
    }

    private func completion(
        _ row: DeviceRow,
        _ operation: DeviceOperation,
        _ scene: ReplicaScene,
        detail: [UInt8] = [1]
    ) -> InboxEntry {
        row.identity.entry(
            .result(operation.id, attempt: nil, outcome: .completed, detail: detail),
            at: scene.time.now()
        )
    }

    func test_device_thatReportsAndPollsAtOnce_isNeverOfferedAgainWhatItCompleted() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, path) = try await prepared(scene)
        let before = try await replica.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(before?.offered(at: scene.time.now()), [operation.id])

        try await replica.accept([completion(row, operation, scene)])
        // The drain is held still: nothing was handed on, the replica is where it was.
        for _ in 0..<3 {
            let work = try await replica.openWork(for: row.id, tenant: .standard)
            XCTAssertEqual(work?.offered(at: scene.time.now()), [])
            scene.time.advance(by: .seconds(3_600))
        }
        // Neither does a page without the mark bring it back, ...
        try await scene.manager.enrol("e", token: "u", at: scene.time.now())
        try await scene.follow(replica)
        var work = try await replica.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [])
        // ... nor a restart, ...
        try await replica.close()
        let reopened = try scene.open(path)
        work = try await reopened.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [])
        // ... nor the time between handing on and following, ...
        try await scene.drain(reopened)
        work = try await reopened.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [])
        // ... nor the page that carries the mark.
        try await scene.follow(reopened)
        work = try await reopened.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [])
        XCTAssertEqual(reopened.pendingCount, 0)
        try await reopened.close()
    }

    func test_entries_committedBeforeACrash_areHandedOnAfterIt() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, path) = try await prepared(scene)
        try await replica.accept([completion(row, operation, scene)])
        let incarnation = replica.incarnation
        // No close: what a killed process leaves behind is what is on disk. The copy is that.
        let copy = scene.newPath()
        for suffix in ["", "-wal"] {
            let bytes = try Data(contentsOf: URL(filePath: path + suffix))
            try bytes.write(to: URL(filePath: copy + suffix))
        }
        let reborn = try scene.open(copy)
        XCTAssertEqual(reborn.incarnation, incarnation)
        let pending = try await reborn.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.entry), [completion(row, operation, scene)])
        try await scene.drain(reborn)
        let activity = try await scene.manager.operations.activity(
            operation.activity,
            tenant: .standard
        )
        XCTAssertEqual(activity?.counts[.completed], 1)
        try await reborn.close()
        try await replica.close()
    }

    func test_batch_handedOnTwice_isAppliedOnce() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, _) = try await prepared(scene)
        try await replica.accept([
            row.identity.entry(
                .claim(
                    operation.id,
                    attempt: AttemptID(bits: 1),
                    leaseEnd: scene.time.now() + .seconds(60)
                ),
                at: scene.time.now()
            ),
            completion(row, operation, scene),
        ])
        let entries = try await replica.pendingEntries(limit: 10)
        let first = try await scene.upload(entries, from: replica)
        XCTAssertEqual(first.applied, 2)
        // The answer was lost, so the drain sends the same again.
        let again = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(again, entries)
        let second = try await scene.upload(again, from: replica)
        XCTAssertEqual(second.applied, 0)
        XCTAssertEqual(second.skipped, 2)
        XCTAssertEqual(second.mark?.number, first.mark?.number)
        try await replica.close()
    }

    func test_numbers_acrossRestartsAndPruning_onlyGrow() async throws {
        let scene = try ReplicaScene()
        let configuration = WorkerReplicaConfiguration(maximumRetainedBytes: 0)
        let (replica, row, operation, path) = try await prepared(
            scene,
            configuration: configuration
        )
        try await replica.accept([completion(row, operation, scene)])
        try await scene.drain(replica)
        try await scene.follow(replica)
        let rows = try await replica.file.database.read { connection in
            try connection.row("SELECT count(*) FROM spool") { $0.int(0) } ?? -1
        }
        XCTAssertEqual(rows, 0, "Nothing is to be retained.")
        try await replica.close()
        let reopened = try scene.open(path, configuration: configuration)
        try await reopened.accept([completion(row, operation, scene, detail: [2])])
        let pending = try await reopened.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.number), [2])
        try await reopened.close()
    }

    func test_appliedEntries_areKeptForTheRetentionAndThenGo() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, _) = try await prepared(scene)
        try await replica.accept([completion(row, operation, scene)])
        try await scene.drain(replica)
        try await scene.follow(replica)
        func kept() async throws -> Int {
            try await replica.file.database.read { connection in
                try connection.row("SELECT count(*) FROM spool") { $0.int(0) } ?? -1
            }
        }
        var count = try await kept()
        XCTAssertEqual(count, 1)
        scene.time.advance(by: .seconds(86_401))
        try await scene.manager.enrol("e", token: "u", at: scene.time.now())
        try await scene.follow(replica)
        count = try await kept()
        XCTAssertEqual(count, 0)
        try await replica.close()
    }

    func test_manager_restoredToAnOlderState_getsItsEntriesAgain() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, _) = try await prepared(scene)
        try await replica.accept([completion(row, operation, scene)])
        try await scene.drain(replica)
        try await scene.follow(replica)
        XCTAssertEqual(replica.pendingCount, 0)
        let nothing = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(nothing, [])
        // The store in its place has another history and has never heard of this spool.
        scene.replaceManager(history: 8, epochs: 2)
        try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        try await scene.follow(replica)
        XCTAssertEqual(replica.revision?.history, HistoryID(bits: 8))
        XCTAssertEqual(replica.pendingCount, 1)
        let again = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(again.map(\.number), [1])
        try await replica.close()
    }

    func test_callers_atOnce_areAllDurableAndOverlaid() async throws {
        let scene = try ReplicaScene()
        let replica = try scene.open(scene.newPath())
        var rows: [DeviceRow] = []
        for index in 0..<64 {
            rows.append(
                try await scene.manager.enrol("d\(index)", token: "t\(index)", at: scene.time.now())
            )
        }
        let operation = try await scene.manager.enqueue(.group(.everyone), at: scene.time.now())
        try await scene.follow(replica)
        let now = scene.time.now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for row in rows {
                group.addTask {
                    try await replica.accept([
                        row.identity.entry(
                            .result(operation.id, attempt: nil, outcome: .completed, detail: []),
                            at: now
                        )
                    ])
                    let work = try await replica.openWork(for: row.id, tenant: .standard)
                    XCTAssertEqual(work?.offered(at: now), [], "\(row.id)")
                }
            }
            try await group.waitForAll()
        }
        let pending = try await replica.pendingEntries(limit: 100)
        XCTAssertEqual(pending.map(\.number), Array(1...64))
        XCTAssertLessThanOrEqual(replica.file.database.commits, 64 + 8)
        try await replica.close()
    }

    func test_spool_asItFills_givesUpContactsThenWorkThenReports() async throws {
        let scene = try ReplicaScene()
        let configuration = WorkerReplicaConfiguration(
            spool: SpoolLimits(maximumEntries: 10, contactsPercent: 50, handingOutPercent: 80)
        )
        let (replica, row, operation, _) = try await prepared(
            scene,
            configuration: configuration
        )
        let now = scene.time.now()
        let contact = row.identity.entry(.contact(answeredAt: replica.revision), at: now)
        let information = row.identity.entry(.information(.location, body: [1]), at: now)
        let claim = row.identity.entry(
            .claim(operation.id, attempt: AttemptID(bits: 1), leaseEnd: now + .seconds(60)),
            at: now
        )
        for _ in 0..<5 { try await replica.accept([information]) }
        XCTAssertEqual(replica.stage, .droppingContacts)
        try await replica.accept([contact])
        try await replica.accept([contact, information])
        XCTAssertEqual(replica.droppedContacts, 2)
        XCTAssertEqual(replica.pendingCount, 6)
        for _ in 0..<2 { try await replica.accept([information]) }
        XCTAssertEqual(replica.stage, .notHandingOut)
        XCTAssertFalse(replica.isHandingOut)
        await assertSpoolFull(try await replica.accept([claim]))
        // Reports are still taken.
        try await replica.accept([completion(row, operation, scene)])
        try await replica.accept([information])
        XCTAssertEqual(replica.stage, .full)
        await assertSpoolFull(try await replica.accept([information]))
        XCTAssertEqual(replica.pendingCount, 10)
        // Once the manager has taken them, everything is taken again.
        try await scene.drain(replica)
        try await scene.follow(replica)
        XCTAssertEqual(replica.stage, .open)
        try await replica.accept([claim])
        try await replica.close()
    }

    private func assertSpoolFull(
        _ body: @autoclosure () async throws -> Void,
        file: StaticString = #filePath,
        line: UInt = #line
    ) async {
        do {
            try await body()
            XCTFail("It was accepted.", file: file, line: line)
        } catch let error as OperationQueueError {
            XCTAssertEqual(error.code, .spoolFull, file: file, line: line)
            XCTAssertNotNil(error.retryAfter, file: file, line: line)
        } catch {
            XCTFail("\(error)", file: file, line: line)
        }
    }

    func test_commit_thatFails_acceptsNothing() async throws {
        let scene = try ReplicaScene()
        let row = try await scene.manager.enrol("d", token: "t", at: scene.time.now())
        let operation = try await scene.manager.enqueue(.group(.everyone), at: scene.time.now())
        let fault = Switch()
        var options = DatabaseFileOptions()
        options.commitFault = {
            if fault.isOn { throw SQLiteStorageError(.full, "The disk is full.") }
        }
        let replica = try scene.open(scene.newPath(), options: options)
        try await scene.follow(replica)
        fault.isOn = true
        await assertThrows(try await replica.accept([completion(row, operation, scene)]))
        var work = try await replica.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [operation.id])
        XCTAssertEqual(replica.pendingCount, 0)
        fault.isOn = false
        try await replica.accept([completion(row, operation, scene, detail: [7])])
        work = try await replica.openWork(for: row.id, tenant: .standard)
        XCTAssertEqual(work?.offered(at: scene.time.now()), [])
        let pending = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.entry), [completion(row, operation, scene, detail: [7])])
        try await replica.close()
    }

    func test_entry_thatIsDamaged_isPassedOverAndReported() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, path) = try await prepared(scene)
        for detail in 1...3 as ClosedRange<UInt8> {
            try await replica.accept([completion(row, operation, scene, detail: [detail])])
        }
        try await replica.file.database.write {
            try $0.run("UPDATE spool SET entry = x'00' WHERE number = 2")
        }
        let pending = try await replica.pendingEntries(limit: 10)
        XCTAssertEqual(pending.map(\.number), [1, 3])
        XCTAssertEqual(replica.damage.entries, 1)
        try await replica.close()
        let reopened = try scene.open(path)
        XCTAssertEqual(reopened.damage.entries, 1)
        let receipt = try await scene.drain(reopened)
        XCTAssertEqual(receipt?.mark?.number, 3)
        try await reopened.close()
    }

    func test_signal_followsEachEntry() async throws {
        let scene = try ReplicaScene()
        let (replica, row, operation, _) = try await prepared(scene)
        var signals = replica.spoolSignals().makeAsyncIterator()
        try await replica.accept([completion(row, operation, scene)])
        let signal: Void? = await signals.next()
        XCTAssertNotNil(signal)
        try await replica.close()
        let end: Void? = await signals.next()
        XCTAssertNil(end)
    }
}

/// A flag a test turns.
final class Switch: Sendable {
    private let value = Mutex(false)
    var isOn: Bool {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}
#endif
