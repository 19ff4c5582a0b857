#if SQLite
package import ClusterRole
internal import Synchronization

/// Limits and sizes of one file. Each has a default that suits a manager of 1,000,000 devices.
package struct DatabaseFileOptions: Sendable {
    /// Connections for queries, beside the writer. Each has a queue and a cache of its own.
    package var readers = 2
    /// Memory for the writer's pages: what a busy group commit touches.
    package var writerCacheKiB = 16_384
    /// Memory for each reader's pages.
    package var readerCacheKiB = 8_192
    /// Pages of 4 KiB in the log before it is moved into the database: 16 MiB, so that a recovery
    /// after a crash reads that much at most, unless a long query held a snapshot.
    package var checkpointPages = 4_096
    /// To what size the log file is cut after one huge transaction; below it, it keeps its size.
    package var keptLogBytes = 64 << 20
    /// Calls that may wait for the writer. More means that the disk cannot follow, and waiting only
    /// makes every caller slower.
    package var maximumWaitingCalls = 8_192
    /// Calls in one transaction, so that the first of them does not wait for thousands.
    package var maximumCallsInCommit = 1_024
    /// Called before each COMMIT; throwing makes it fail. For tests of I/O errors.
    package var commitFault: (@Sendable () throws -> Void)?
    /// How far a commit goes before it is acknowledged. Products cannot reach it: anything below
    /// `full` loses acknowledged work in a power cut, which a test shows.
    package var synchronous = Synchronous.full

    /// The values of `PRAGMA synchronous` that matter with a write-ahead log.
    package enum Synchronous: String, Sendable {
        /// Only checkpoints sync: the last commits may be lost.
        case normal = "NORMAL"
        /// Each commit syncs the log.
        case full = "FULL"
    }

    package init() {}
}

/// One SQLite file that belongs to this process: its lock, its writer, its readers, its schema.
///
/// WAL with `synchronous=FULL`: when ``write(_:)`` returns, the rows survive a power loss. One
/// connection writes and checkpoints; the others only read, each query in a snapshot.
package final class DatabaseFile: Sendable {
    package let path: String
    private let committer: GroupCommitter
    private let writer: ConfinedConnection
    private let readers: [ConfinedConnection]
    private let nextReader = Atomic<Int>(0)
    /// Last: the lock goes after the connections.
    private let lock: Mutex<FileLock?>

    /// Locks, opens or makes the file and brings its schema up to the newest migration. It blocks.
    ///
    /// - Throws: ``SQLiteStorageError``: `locked`, `io`, `corruptFile`, `newerSchema`,
    ///   `foreignSchema`.
    package init(
        path: String,
        node: NodeID,
        migrations: [Migration],
        options: DatabaseFileOptions = DatabaseFileOptions()
    ) throws {
        let lock = try FileLock(besideDatabase: path, node: node)
        let writer = try ConfinedConnection(
            path: path,
            label: "reeve.writer",
            isReadOnly: false,
            setUp: [
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = \(options.synchronous.rawValue)",
                "PRAGMA wal_autocheckpoint = 0",
                "PRAGMA journal_size_limit = \(options.keptLogBytes)",
                "PRAGMA cache_size = -\(options.writerCacheKiB)",
                "PRAGMA cell_size_check = ON",
                "PRAGMA trusted_schema = OFF",
                "PRAGMA temp_store = MEMORY",
            ]
        )
        let log = WriteAheadLog()
        try writer.performNow { connection in
            log.follow(connection)
            try connection.addChecksumFunctions()
            try Migration.apply(migrations, to: connection)
        }
        try synchronizeDirectory(of: path)
        readers = try (0..<max(1, options.readers)).map { index in
            try ConfinedConnection(
                path: path,
                label: "reeve.reader-\(index)",
                isReadOnly: true,
                setUp: [
                    "PRAGMA query_only = ON",
                    "PRAGMA cache_size = -\(options.readerCacheKiB)",
                    "PRAGMA cell_size_check = ON",
                    "PRAGMA trusted_schema = OFF",
                    "PRAGMA temp_store = MEMORY",
                ]
            )
        }
        self.path = path
        self.writer = writer
        self.lock = Mutex(lock)
        committer = GroupCommitter(writer: writer, log: log, options: options)
    }

    /// How many transactions were committed since the file was opened.
    package var commits: Int { committer.commits }

    /// Runs `body` in the next group commit. See ``GroupCommitter/write(_:)``.
    package func write<Result: Sendable>(
        isRepeatable: Bool = false,
        _ body: @escaping @Sendable (SQLConnection) throws -> Result
    ) async throws -> Result {
        try await committer.write(isRepeatable: isRepeatable, body)
    }

    /// Runs queries in one snapshot, beside the writer and without waiting for it.
    ///
    /// - Throws: what `body` throws; ``SQLiteStorageError`` with `poisoned`, `closed`, `io`.
    package func read<Result: Sendable>(
        _ body: @escaping @Sendable (SQLConnection) throws -> Result
    ) async throws -> Result {
        try committer.requireOpen()
        let index = nextReader.wrappingAdd(1, ordering: .relaxed).oldValue
        let reader = readers[Int(UInt(bitPattern: index) % UInt(readers.count))]
        return try await withCheckedThrowingContinuation { continuation in
            reader.perform { connection in
                guard let connection else {
                    return continuation.resume(throwing: SQLiteStorageError.isClosed)
                }
                continuation.resume(with: Swift.Result { try connection.snapshot(body) })
            }
        }
    }

    /// Runs a few queries by key in one snapshot: at once on the caller's thread if a connection is
    /// free, because handing them to a queue costs more than they do; else like ``read(_:)``.
    ///
    /// The writer's connection is asked first. SQLite drops a reader's pages whenever another connection
    /// has committed; the writer's stay, because nobody else commits.
    ///
    /// - Throws: what `body` throws; ``SQLiteStorageError`` with `poisoned`, `closed`, `io`.
    package func readBriefly<Result: Sendable>(
        _ body: @escaping @Sendable (SQLConnection) throws -> Result
    ) async throws -> Result {
        try committer.requireOpen()
        for reader in [writer] + readers {
            if let result = try reader.performIfFree({ try $0.snapshot(body) }) { return result }
        }
        return try await read(body)
    }

    /// Runs `body` in one transaction, now, on the caller's thread: while a store is being opened.
    package func writeWhileOpening<Result: Sendable>(
        _ body: @Sendable (SQLConnection) throws -> Result
    ) throws -> Result {
        try writer.performNow { connection in
            try connection.run("BEGIN IMMEDIATE")
            do {
                let result = try body(connection)
                try connection.run("COMMIT")
                return result
            } catch {
                if connection.isInTransaction { try? connection.run("ROLLBACK") }
                throw error
            }
        }
    }

    /// Commits what waits, closes the connections, then gives the lock back. Every later call throws
    /// `closed`. Doing it twice is harmless.
    package func close() async throws {
        guard committer.beginClosing() else { return }
        for reader in readers { try await reader.shut() }
        try await writer.shut()
        lock.withLock { $0 = nil }
    }
}

extension SQLConnection {
    /// Runs `body` in a read transaction.
    fileprivate func snapshot<Result>(
        _ body: (SQLConnection) throws -> Result
    ) throws -> Result {
        try run(GroupCommitter.beginReading)
        defer { try? run(GroupCommitter.end) }
        return try body(self)
    }
}
#endif
