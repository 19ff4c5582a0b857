#if SQLite
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// What becomes of a file that has the name a copy is to get.
package enum ExistingFile: Sendable {
    /// The copy is refused with code `exists`, before anything is written.
    case refuse
    /// The copy takes its place, in one rename.
    case replace
    /// It is kept beside, its log with it, under its name and this suffix.
    case setAside(suffix: String)
}

/// Copies of database files, complete or not there at all.
///
/// `VACUUM INTO` on a connection of its own: one statement is one snapshot, so writers go on and are
/// not waited for, and the copy is one compact file without a log. The online backup API was the
/// other choice: its copy starts again whenever the writer commits between two steps (or needs a
/// transaction held around the steps, which is the same snapshot), and it copies free pages, too.
/// Neither syncs: that is done here.
package enum DatabaseCopy {
    /// What a copy is made of, and how.
    package struct Request: Sendable {
        /// The database copied.
        package var source: String
        /// Whether this process has the source open (then it is opened for reading only), or holds its
        /// lock alone.
        package var isSourceOpen: Bool
        /// The copy's name.
        package var path: String
        package var existing = ExistingFile.refuse
        /// Whether every row of the copy is read and checked before it gets its name.
        package var verifies = true
        /// See ``SQLConnection/verifyEveryRow(order:)``.
        package var columnOrder: [String: [String]] = [:]

        package init(source: String, isSourceOpen: Bool, path: String) {
            self.source = source
            self.isSourceOpen = isSourceOpen
            self.path = path
        }
    }

    /// What was made.
    package struct Made<Value: Sendable>: Sendable {
        package var value: Value
        package var bytes: Int64
        /// `nil` if it was not asked for.
        package var verification: FileVerification?
    }

    /// Makes a copy: written under a temporary name beside `path`, changed by `finish`, verified, synced,
    /// renamed, and its directory synced.
    ///
    /// - Parameters:
    ///   - request: what is copied, and where to.
    ///   - finish: runs on the copy, outside a transaction, before it is verified.
    /// - Throws: ``SQLiteStorageError``: `exists`, `full`, `io`, `corruptFile`, `corruptRow` for a copy
    ///   that does not verify. Nothing of the name `path` is there then that was not there before.
    package static func make<Value: Sendable>(
        _ request: Request,
        finish: @escaping @Sendable (SQLConnection) throws -> Value
    ) async throws -> Made<Value> {
        try refuseIfExisting(request)
        let source = try ConfinedConnection(
            path: request.source,
            label: "reeve.copy",
            isReadOnly: request.isSourceOpen,
            setUp: ["PRAGMA cell_size_check = ON", "PRAGMA trusted_schema = OFF"]
        )
        let made: Result<Made<Value>, any Error> = await withCheckedContinuation { continuation in
            source.perform { connection in
                continuation.resume(
                    returning: Result {
                        guard let connection else { throw SQLiteStorageError.isClosed }
                        return try write(request, from: connection, finish: finish)
                    }
                )
            }
        }
        try await source.shut()
        return try made.get()
    }

    private static func write<Value: Sendable>(
        _ request: Request,
        from connection: SQLConnection,
        finish: @escaping @Sendable (SQLConnection) throws -> Value
    ) throws -> Made<Value> {
        let temporary = request.path + ".partial-\(getpid())"
        removeDatabase(temporary)
        do {
            try connection.run("VACUUM INTO ?", temporary)
            _ = chmod(temporary, 0o600)
            let copy = try ConfinedConnection(
                path: temporary,
                label: "reeve.copy-target",
                isReadOnly: false,
                setUp: ["PRAGMA journal_mode = DELETE", "PRAGMA trusted_schema = OFF"]
            )
            let (value, verification) = try copy.performNow { connection in
                let value = try finish(connection)
                let found =
                    request.verifies
                    ? try connection.verifyEveryRow(order: request.columnOrder) : nil
                connection.forgetStatements()
                return (value, found)
            }
            if let verification, !verification.isSound {
                throw SQLiteStorageError(
                    .corruptRow,
                    "The copy of \(request.source) is not sound: \(verification.summary). Take another "
                        + "backup, and check the disk."
                )
            }
            let bytes = try synchronizeFile(temporary)
            try refuseIfExisting(request)
            if case .setAside(let suffix) = request.existing {
                try setAside(request.path, suffix: suffix)
            }
            guard rename(temporary, request.path) == 0 else {
                throw SQLiteStorageError(
                    .io,
                    "Cannot rename \(temporary) to \(request.path) (errno \(errno))."
                )
            }
            try synchronizeDirectory(of: request.path)
            return Made(value: value, bytes: bytes, verification: verification)
        } catch {
            removeDatabase(temporary)
            throw error
        }
    }

    /// Runs a query on a file that no process has open.
    package static func read<Value: Sendable>(
        _ path: String,
        _ body: @escaping @Sendable (SQLConnection) throws -> Value
    ) async throws -> Value {
        let connection = try ConfinedConnection(
            path: path,
            label: "reeve.copy-look",
            isReadOnly: false,
            setUp: ["PRAGMA query_only = ON", "PRAGMA trusted_schema = OFF"]
        )
        let result = Result { try connection.performNow(body) }
        try await connection.shut()
        return try result.get()
    }

    package static func isFile(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// - Throws: `invalid` if there is no such file: SQLite would make it.
    package static func requireFile(_ path: String) throws {
        guard isFile(path) else {
            throw SQLiteStorageError(.invalid, "There is no file \(path). Check the path.")
        }
    }

    private static func refuseIfExisting(_ request: Request) throws {
        guard case .refuse = request.existing, access(request.path, F_OK) == 0 else { return }
        throw SQLiteStorageError(
            .exists,
            "There is a file \(request.path) already. Choose another name, or say that it may be "
                + "replaced."
        )
    }

    private static let companions = ["", "-wal", "-shm", "-journal"]

    private static func removeDatabase(_ path: String) {
        for suffix in companions { unlink(path + suffix) }
    }

    private static func setAside(_ path: String, suffix: String) throws {
        for companion in companions where access(path + companion, F_OK) == 0 {
            guard rename(path + companion, path + suffix + companion) == 0 else {
                throw SQLiteStorageError(
                    .io,
                    "Cannot set \(path + companion) aside (errno \(errno))."
                )
            }
        }
    }

    /// - Returns: the file's length.
    private static func synchronizeFile(_ path: String) throws -> Int64 {
        let file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else {
            throw SQLiteStorageError(.io, "Cannot open \(path) (errno \(errno)).")
        }
        defer { close(file) }
        guard fsync(file) == 0 else {
            throw SQLiteStorageError(.io, "Cannot sync \(path) (errno \(errno)).")
        }
        return Int64(lseek(file, 0, SEEK_END))
    }
}

extension DatabaseFile {
    /// Runs `body` on a reading connection of its own, outside a transaction: for walks over all of the
    /// file, which would hold up the queries behind them.
    package func walk<Value: Sendable>(
        _ body: @escaping @Sendable (SQLConnection) throws -> Value
    ) async throws -> Value {
        try await read { _ in }
        let connection = try ConfinedConnection(
            path: path,
            label: "reeve.walk",
            isReadOnly: true,
            setUp: [
                "PRAGMA query_only = ON", "PRAGMA cell_size_check = ON",
                "PRAGMA trusted_schema = OFF",
            ]
        )
        let result: Result<Value, any Error> = await withCheckedContinuation { continuation in
            connection.perform { connection in
                continuation.resume(
                    returning: Result {
                        guard let connection else { throw SQLiteStorageError.isClosed }
                        return try body(connection)
                    }
                )
            }
        }
        try await connection.shut()
        return try result.get()
    }
}
#endif
