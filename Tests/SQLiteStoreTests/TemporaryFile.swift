#if SQLite
import ClusterRole
import Foundation
import Synchronization
import XCTest

@testable import SQLiteEngine

/// A directory of its own for each test, removed when it ends.
final class TemporaryFile: Sendable {
    let directory: String
    var path: String { directory + "/store.sqlite" }

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/reeve-" + UUID().uuidString
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }
}

/// A number that many tasks count up.
final class Tally: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .relaxed) }
    func set(_ value: Int) { count.store(value, ordering: .relaxed) }
    func add() { count.wrappingAdd(1, ordering: .relaxed) }
}

/// A connection nobody locks out: what another program, or a bad disk, would do to the file.
func withRawConnection<Result: Sendable>(
    _ path: String,
    _ body: @Sendable (SQLConnection) throws -> Result
) async throws -> Result {
    let connection = try ConfinedConnection(
        path: path,
        label: "raw",
        isReadOnly: false,
        setUp: []
    )
    let result = try connection.performNow(body)
    try await connection.shut()
    return result
}

/// Runs `body` and returns the storage error it throws.
func storageError(
    _ body: () async throws -> Void,
    file: StaticString = #filePath,
    line: UInt = #line
) async -> SQLiteStorageError? {
    do {
        try await body()
        XCTFail("nothing was thrown", file: file, line: line)
    } catch let error as SQLiteStorageError {
        return error
    } catch {
        XCTFail("another error was thrown: \(error)", file: file, line: line)
    }
    return nil
}
#endif
