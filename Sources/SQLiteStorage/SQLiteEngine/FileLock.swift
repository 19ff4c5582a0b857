#if SQLite
package import ClusterRole
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// The right of one process to a database file: an advisory lock (flock(2)) on a file beside it.
///
/// The kernel drops the lock when the process ends, however it ends. The lock file stays where it is:
/// removing it would let two processes lock two files of one name.
package final class FileLock: Sendable {
    /// The lock file: the database's path with `.lock` appended.
    package let path: String
    private let descriptor: Int32

    /// Takes the lock, or fails at once.
    ///
    /// - Throws: ``SQLiteStorageError`` with code `locked`, naming the holder's process id and node, or
    ///   `io`.
    package init(besideDatabase database: String, node: NodeID) throws {
        let lockPath = database + ".lock"
        let file = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw SQLiteStorageError(
                .io,
                "Cannot open the lock file \(lockPath) (errno \(errno)). Check that the directory "
                    + "exists and that this user may write to it."
            )
        }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            let holder = FileLock.read(file)
            close(file)
            guard reason == EWOULDBLOCK else {
                throw SQLiteStorageError(.io, "Cannot lock \(lockPath) (errno \(reason)).")
            }
            throw SQLiteStorageError(
                .locked,
                "\(database) is in use by \(holder). A SQLite file belongs to one process: stop that "
                    + "one, or give this one a file of its own."
            )
        }
        let text = Array("process \(getpid()), node \(node)\n".utf8)
        guard ftruncate(file, 0) == 0, pwrite(file, text, text.count, 0) == text.count else {
            let reason = errno
            close(file)
            throw SQLiteStorageError(.io, "Cannot write \(lockPath) (errno \(reason)).")
        }
        path = lockPath
        descriptor = file
    }

    deinit { close(descriptor) }

    private static func read(_ file: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 512)
        let count = pread(file, &buffer, buffer.count, 0)
        guard count > 0 else { return "another process" }
        let line = buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }
        return line.isEmpty ? "another process" : String(decoding: line, as: UTF8.self)
    }
}

/// Makes the entry of a new file in its directory durable.
func synchronizeDirectory(of path: String) throws {
    let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) }
    let directory = parent ?? "."
    let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else {
        throw SQLiteStorageError(.io, "Cannot open the directory \(directory) (errno \(errno)).")
    }
    defer { close(file) }
    guard fsync(file) == 0 else {
        throw SQLiteStorageError(.io, "Cannot sync the directory \(directory) (errno \(errno)).")
    }
}
#endif
