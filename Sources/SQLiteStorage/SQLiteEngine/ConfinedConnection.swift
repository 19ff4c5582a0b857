#if SQLite
internal import GRDB
internal import GRDBSQLite
internal import Synchronization

/// A connection and the one queue it is used on.
///
/// GRDB opens the file and owns the queue; statements go through ``SQLConnection``, which talks to
/// the sqlite3 C API (a third to two thirds of the CPU a statement).
final class ConfinedConnection: Sendable {
    private let queue: DatabaseQueue
    private let connection: Mutex<SQLConnection?>

    /// - Parameter setUp: statements run once, before anything else.
    init(path: String, label: String, isReadOnly: Bool, setUp: [String]) throws {
        var configuration = Configuration()
        configuration.readonly = isReadOnly
        configuration.foreignKeysEnabled = false
        configuration.label = label
        // Nobody else has the file; only recovery of a log by another of our connections is waited for.
        configuration.busyMode = .timeout(5)
        // Transactions are begun and ended by the statements of this module.
        configuration.allowsUnsafeTransactions = true
        let address: UInt
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            address = queue.inDatabase { UInt(bitPattern: $0.sqliteConnection) }
        } catch let error as DatabaseError {
            throw SQLiteStorageError.of(
                error.extendedResultCode.rawValue,
                on: nil,
                during: "opening \(path): \(error.message ?? "")"
            )
        }
        guard let handle = OpaquePointer(bitPattern: address) else {
            throw SQLiteStorageError(.closed, "The connection to \(path) is closed.")
        }
        // GRDB's observation follows the statements it compiles itself; it trips over transactions that
        // are begun beneath it. Nobody observes these connections.
        _ = sqlite3_commit_hook(handle, nil, nil)
        _ = sqlite3_rollback_hook(handle, nil, nil)
        _ = sqlite3_update_hook(handle, nil, nil)
        _ = sqlite3_set_authorizer(handle, nil, nil)
        let opened = SQLConnection(handle: handle, isWriter: !isReadOnly)
        for statement in setUp { try opened.script(statement) }
        connection = Mutex(opened)
    }

    /// Runs `body` on the connection's queue, after what was asked before. `nil` after ``shut()``.
    func perform(_ body: @escaping @Sendable (SQLConnection?) -> Void) {
        queue.asyncWriteWithoutTransaction { _ in
            self.connection.withLock { body($0) }
        }
    }

    /// Runs `body` at once, on the caller's thread: while opening only.
    func performNow<Result: Sendable>(
        _ body: @Sendable (SQLConnection) throws -> Result
    ) throws -> Result {
        try connection.withLock {
            guard let connection = $0 else { throw SQLiteStorageError.isClosed }
            return try body(connection)
        }
    }

    /// Runs `body` at once, on the caller's thread, if nobody uses the connection at this moment.
    ///
    /// - Returns: `nil` if somebody does, or after ``shut()``.
    func performIfFree<Result>(
        _ body: (SQLConnection) throws -> sending Result
    ) rethrows -> sending Result? {
        try connection.withLockIfAvailable { connection throws -> sending Result? in
            guard let connection else { return nil }
            return try body(connection)
        } ?? nil
    }

    /// Finishes what was asked, then closes. Doing it twice is harmless.
    func shut() async throws {
        await withCheckedContinuation { continuation in
            queue.asyncWriteWithoutTransaction { _ in
                self.connection.withLock {
                    $0?.forgetStatements()
                    $0 = nil
                }
                continuation.resume()
            }
        }
        try queue.close()
    }
}

extension SQLiteStorageError {
    static var isClosed: SQLiteStorageError {
        SQLiteStorageError(.closed, "The store was closed. Open it again.")
    }
}
#endif
