#if SQLite
import ClusterRole
import Synchronization
import XCTest

@testable import SQLiteEngine

/// What the group committer leaves out because nobody else writes the file: savepoints of lone calls,
/// and reading and storing the numbers of the table `meta` once a call.
final class GroupCommitTests: XCTestCase {
    private struct Refusal: Error {}
    private final class Runs: Sendable { let count = Mutex(0) }

    private func open(_ file: TemporaryFile) throws -> DatabaseFile {
        try DatabaseFile(
            path: file.path,
            node: NodeID(rawValue: "manager-1"),
            migrations: [Migration(1, "notes", "CREATE TABLE note (id INTEGER PRIMARY KEY)")]
        )
    }

    private func number(_ name: String, in database: DatabaseFile) async throws -> Int64 {
        try await database.read { try $0.metaNumber(name) }
    }

    func test_aLoneCallThatThrows_takesBackItsRowsAndNumbers() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        try await database.write { try $0.setMetaNumber("count", 1) }
        do {
            try await database.write {
                try $0.run("INSERT INTO note (id) VALUES (1)")
                try $0.setMetaNumber("count", 2)
                throw Refusal()
            }
            XCTFail("it threw")
        } catch is Refusal {}
        let notes = try await database.read {
            try $0.row("SELECT count(*) FROM note") { $0.int(0) }
        }
        XCTAssertEqual(notes, 0)
        let count = try await number("count", in: database)
        XCTAssertEqual(count, 1)
        // The connection is not left in a transaction.
        try await database.write { try $0.setMetaNumber("count", 3) }
        let later = try await number("count", in: database)
        XCTAssertEqual(later, 3)
        try await database.close()
    }

    func test_callsOfOneCommit_countOnFromEachOther() async throws {
        try await assertCallsCountOn(isRepeatable: false)
    }

    /// One of five throws after it has written, without a savepoint: the others are run again.
    func test_repeatableCallsOfOneCommit_countOnFromEachOther() async throws {
        try await assertCallsCountOn(isRepeatable: true)
    }

    func test_aRepeatableCall_thatThrowsBeforeItWrites_makesNobodyRepeat() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        let runs = Runs()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<200 {
                group.addTask {
                    do {
                        try await database.write(isRepeatable: true) {
                            runs.count.withLock { $0 += 1 }
                            let next = try $0.metaNumber("count") + 1
                            if index % 5 == 0 { throw Refusal() }
                            try $0.setMetaNumber("count", next)
                        }
                    } catch is Refusal {}
                }
            }
            try await group.waitForAll()
        }
        XCTAssertEqual(runs.count.withLock { $0 }, 200)
        let count = try await number("count", in: database)
        XCTAssertEqual(count, 160)
        try await database.close()
    }

    func test_whatWasRemembered_isForgottenWhenATransactionIsTakenBack() async throws {
        final class Note: Sendable {}
        let file = try TemporaryFile()
        let database = try open(file)
        try await database.write { $0.memory = Note() }
        let isKept = try await database.write { $0.memory is Note }
        XCTAssertTrue(isKept)
        do {
            try await database.write { _ in throw Refusal() }
            XCTFail("it threw")
        } catch is Refusal {}
        let isForgotten = try await database.write { $0.memory == nil }
        XCTAssertTrue(isForgotten)
        try await database.close()
    }

    private func assertCallsCountOn(isRepeatable: Bool) async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<500 {
                group.addTask {
                    do {
                        try await database.write(isRepeatable: isRepeatable) {
                            let next = try $0.metaNumber("count") + 1
                            try $0.setMetaNumber("count", next)
                            try $0.run("INSERT INTO note (id) VALUES (?)", next)
                            if index % 5 == 0 { throw Refusal() }
                        }
                    } catch is Refusal {}
                }
            }
            try await group.waitForAll()
        }
        let count = try await number("count", in: database)
        XCTAssertEqual(count, 400)
        let newest = try await database.read {
            try $0.row("SELECT max(id) FROM note") { $0.int64(0) }
        }
        XCTAssertEqual(newest, 400)
        try await database.close()
        let reopened = try open(file)
        let stored = try await number("count", in: reopened)
        XCTAssertEqual(stored, 400)
        try await reopened.close()
    }

    func test_aBriefRead_seesWhatWasCommittedBeforeIt() async throws {
        let file = try TemporaryFile()
        let database = try open(file)
        for index in Int64(1)...50 {
            try await database.write { try $0.setMetaNumber("count", index) }
            let seen = try await database.readBriefly { try $0.metaNumber("count") }
            XCTAssertEqual(seen, index)
        }
        // More readers than connections: those that find none free wait for one.
        let total = try await withThrowingTaskGroup(of: Int64.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await database.readBriefly { try $0.metaNumber("count") }
                }
            }
            return try await group.reduce(0, +)
        }
        XCTAssertEqual(total, 5_000)
        try await database.close()
        let error = await storageError {
            _ = try await database.readBriefly { try $0.metaNumber("count") }
        }
        XCTAssertEqual(error?.code, .closed)
    }
}
#endif
