#if SQLite
import ClusterRole
import Foundation
import XCTest

@testable import SQLiteEngine

final class DatabaseFileTests: XCTestCase {
    private let node = NodeID(rawValue: "manager-1")
    private let schema = [
        Migration(1, "notes", "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT, sum INTEGER)")
    ]

    private func open(
        _ file: TemporaryFile,
        _ options: DatabaseFileOptions = DatabaseFileOptions()
    ) throws -> DatabaseFile {
        try DatabaseFile(path: file.path, node: node, migrations: schema, options: options)
    }

    private static func insert(_ id: Int, into connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "note",
            "INSERT INTO note (id, text, sum) VALUES (?, ?, ?)",
            id,
            "note \(id)"
        )
    }

    private static func count(_ connection: SQLConnection) throws -> Int {
        try connection.row("SELECT count(*) FROM note") { $0.int(0) } ?? 0
    }

    func test_aCommittedRow_isThereAfterReopening() async throws {
        let file = try TemporaryFile()
        let first = try open(file)
        try await first.write { try Self.insert(1, into: $0) }
        try await first.close()
        let second = try open(file)
        let text = try await second.read { connection in
            try connection.row("SELECT id, text, sum FROM note") {
                try $0.verify("note", sum: 2)
                return $0.text(1)
            }
        }
        XCTAssertEqual(text, "note 1")
        try await second.close()
    }

    func test_theFile_isWrittenWithFullSync() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        let (journal, synchronous) = try await database.write {
            (
                try $0.row("PRAGMA journal_mode") { $0.text(0) },
                try $0.row("PRAGMA synchronous") { $0.int(0) }
            )
        }
        XCTAssertEqual(journal, "wal")
        XCTAssertEqual(synchronous, 2)
        try await database.close()
    }

    func test_aSecondOpening_isRefusedAndNamesTheHolder() async throws {
        let file = try TemporaryFile()
        let first = try open(file)
        let error = await storageError {
            _ = try DatabaseFile(
                path: file.path,
                node: NodeID(rawValue: "other"),
                migrations: schema
            )
        }
        XCTAssertEqual(error?.code, .locked)
        XCTAssertTrue(error?.message.contains("node manager-1") ?? false)
        XCTAssertTrue(
            error?.message.contains("\(ProcessInfo.processInfo.processIdentifier)") ?? false
        )
        try await first.close()
        try await open(file).close()
    }

    func test_aThousandCallers_shareFewCommits() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for id in 0..<1_000 {
                group.addTask { try await database.write { try Self.insert(id, into: $0) } }
            }
            try await group.waitForAll()
        }
        XCTAssertLessThan(database.commits, 500)
        let stored = try await database.read { try Self.count($0) }
        XCTAssertEqual(stored, 1_000)
        try await database.close()
    }

    func test_aCallerWhoIsAlone_commitsOnItsOwnThread_andThoseWhoComeMeanwhileShareTheNext()
        async throws
    {
        try XCTSkipIf(
            ProcessInfo.processInfo.activeProcessorCount < 2,
            "With one processor every commit is the queue's."
        )
        let file = try TemporaryFile()
        let database = try open(file)
        // The first transaction is the queue's, which may still be about to find that nobody waits.
        var isOwn = false
        for id in 0..<1_000 where !isOwn {
            let caller = "\(pthread_self())"
            isOwn = try await database.write { connection in
                try Self.insert(id, into: connection)
                return "\(pthread_self())" == caller
            }
        }
        XCTAssertTrue(isOwn)
        let before = database.commits
        try await withThrowingTaskGroup(of: Void.self) { group in
            for id in 0..<500 {
                group.addTask {
                    try await database.write { try Self.insert(10_000 + id, into: $0) }
                }
            }
            try await group.waitForAll()
        }
        XCTAssertLessThan(database.commits - before, 250)
        let count = try await database.read { connection in
            try connection.row("SELECT count(*) FROM note WHERE id >= 10000") { $0.int(0) }
        }
        XCTAssertEqual(count, 500)
        try await database.close()
    }

    func test_aFailingCall_takesBackOnlyItself() async throws {
        struct Refusal: Error {}
        let file = try TemporaryFile()
        let database = try open(file)
        let failures = Tally()
        await withTaskGroup(of: Void.self) { group in
            for id in 0..<100 {
                group.addTask {
                    do {
                        try await database.write {
                            try Self.insert(id, into: $0)
                            if id % 2 == 1 { throw Refusal() }
                        }
                    } catch is Refusal {
                        failures.add()
                    } catch {
                        XCTFail("\(error)")
                    }
                }
            }
        }
        XCTAssertEqual(failures.value, 50)
        let stored = try await database.read { try Self.count($0) }
        XCTAssertEqual(stored, 50)
        try await database.close()
    }

    func test_anIOErrorAtCommit_poisonsUntilReopened() async throws {
        let file = try TemporaryFile()
        let isBroken = Tally()
        var options = DatabaseFileOptions()
        options.commitFault = {
            if isBroken.value == 1 { throw SQLiteStorageError(.io, "the disk is gone") }
        }
        let database = try open(file, options)
        try await database.write { try Self.insert(1, into: $0) }
        isBroken.set(1)
        let first = await storageError { try await database.write { try Self.insert(2, into: $0) } }
        XCTAssertEqual(first?.code, .io)
        isBroken.set(0)
        let later = await storageError { try await database.write { try Self.insert(3, into: $0) } }
        XCTAssertEqual(later?.code, .poisoned)
        let read = await storageError { _ = try await database.read { try Self.count($0) } }
        XCTAssertEqual(read?.code, .poisoned)
        try await database.close()
        let again = try open(file)
        let stored = try await again.read { try Self.count($0) }
        XCTAssertEqual(stored, 1)
        try await again.close()
    }

    func test_tooManyWaitingCalls_areRefusedAsOverload() async throws {
        let file = try TemporaryFile()
        var options = DatabaseFileOptions()
        options.maximumWaitingCalls = 1
        let database = try open(file, options)
        let overloads = Tally()
        await withTaskGroup(of: Void.self) { group in
            for id in 0..<200 {
                group.addTask {
                    do {
                        try await database.write { try Self.insert(id, into: $0) }
                    } catch let error as SQLiteStorageError where error.code == .overloaded {
                        overloads.add()
                    } catch {
                        XCTFail("\(error)")
                    }
                }
            }
        }
        let stored = try await database.read { try Self.count($0) }
        XCTAssertEqual(stored + overloads.value, 200)
        try await database.close()
    }

    func test_aClosedFile_refusesEverything() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        try await database.close()
        try await database.close()
        let write = await storageError { try await database.write { _ in } }
        XCTAssertEqual(write?.code, .closed)
        let read = await storageError { try await database.read { _ in } }
        XCTAssertEqual(read?.code, .closed)
    }

    func test_aChangedRow_isReportedAndNotReturned() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        try await database.write { try Self.insert(7, into: $0) }
        try await database.close()
        try await withRawConnection(file.path) {
            try $0.script("UPDATE note SET text = 'Note 7' WHERE id = 7")
        }
        let again = try open(file)
        let error = await storageError {
            _ = try await again.read {
                try $0.row("SELECT id, text, sum FROM note") { try $0.verify("note", sum: 2) }
            }
        }
        XCTAssertEqual(error?.code, .corruptRow)
        try await again.close()
    }

    func test_aFileOfANewerVersion_isRefused() async throws {
        let file = try TemporaryFile()
        let newer = schema + [Migration(2, "more", "CREATE TABLE more (id INTEGER PRIMARY KEY)")]
        try await DatabaseFile(path: file.path, node: node, migrations: newer).close()
        let error = await storageError { _ = try open(file) }
        XCTAssertEqual(error?.code, .newerSchema)
    }

    func test_aFileWithAnEditedMigration_isRefused() async throws {
        let file = try TemporaryFile()
        try await open(file).close()
        let edited = [Migration(1, "notes", "CREATE TABLE note (id INTEGER PRIMARY KEY)")]
        let error = await storageError {
            _ = try DatabaseFile(path: file.path, node: node, migrations: edited)
        }
        XCTAssertEqual(error?.code, .foreignSchema)
    }

    func test_theMigrationLint_findsEachKindOfMistake() {
        let one = Migration(1, "one", "SELECT 1")
        XCTAssertEqual(Migration.problems(in: [one], landed: [1: one.digest]), [])
        XCTAssertEqual(Migration.problems(in: [one], landed: [1: 5]).count, 1)
        XCTAssertEqual(Migration.problems(in: [one], landed: [:]).count, 1)
        XCTAssertEqual(Migration.problems(in: [], landed: [1: 5]).count, 1)
        let gap = Migration(3, "one", "SELECT 3")
        XCTAssertEqual(
            Migration.problems(in: [one, gap], landed: [1: one.digest, 3: gap.digest]).count,
            2
        )
    }

    func test_theChecksum_seesEveryFlippedBit() {
        func sum(_ bytes: [UInt8]) -> Int64 {
            var sum = RowChecksum(table: "t")
            bytes.add(to: &sum)
            return sum.value
        }
        let bytes = (0..<37).map { UInt8($0) }
        let good = sum(bytes)
        for bit in 0..<bytes.count * 8 {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            XCTAssertNotEqual(sum(damaged), good)
        }
        XCTAssertNotEqual(sum(bytes + [0]), good)
    }
}
#endif
