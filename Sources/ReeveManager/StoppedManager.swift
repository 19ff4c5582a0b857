#if Server && SQLite
public import ClusterRole
internal import Foundation
internal import SQLiteStore

/// Backup and restore of a manager that is not running.
public enum StoppedManager: Sendable {
    /// A backup that was taken.
    public struct Backup: Hashable, Sendable {
        /// The file.
        public var path: String
        /// Its length in bytes.
        public var bytes: Int64
        /// The newest revision in it.
        public var revision: Revision
        public var takenAt: Timestamp
        /// Rows whose checksum was verified in the copy.
        public var rows: Int
    }

    private static let node = NodeID(rawValue: "maintenance")

    /// Writes a verified copy of the store in a manager's directory.
    ///
    /// - Parameters:
    ///   - directory: the manager's.
    ///   - path: of the copy.
    ///   - replaces: whether a file there may be replaced.
    /// - Throws: `SQLiteStorageError`: `locked` naming the process, if the manager runs; `exists`;
    ///   `invalid` if there is no store; `corruptRow` or `corruptFile` if it is damaged.
    public static func backup(
        directory: String,
        to path: String,
        replaces: Bool
    ) async throws -> Backup {
        var options = BackupOptions()
        options.replaces = replaces
        let report = try await EmbeddedStore.backup(
            of: NodeDirectory(directory).path("store.db"),
            to: path,
            node: node,
            options: options
        )
        return Backup(
            path: report.path,
            bytes: report.bytes,
            revision: report.revision,
            takenAt: report.takenAt,
            rows: report.rows
        )
    }

    /// Makes the store in a manager's directory out of a backup.
    ///
    /// - Parameters:
    ///   - path: the backup.
    ///   - directory: the manager's; it is made if it is missing.
    ///   - replaces: whether a store there may be set aside.
    /// - Returns: what was done and what is lost, in plain words, a sentence a line.
    /// - Throws: `SQLiteStorageError`: `locked`, `exists`, `invalid`, `corruptRow`, `corruptFile`,
    ///   `newerSchema`, `foreignSchema`.
    public static func restore(
        from path: String,
        directory: String,
        replaces: Bool
    ) async throws -> [String] {
        let files = NodeDirectory(directory)
        try files.make()
        let report = try await EmbeddedStore.restore(
            from: path,
            to: files.path("store.db"),
            node: node,
            replaces: replaces
        )
        var lines = [
            "Restored \(report.path): \(report.rows) rows, all verified, as of revision "
                + "\(report.revision)."
        ]
        if let taken = report.takenAt {
            let date = Date(timeIntervalSince1970: Double(taken.milliseconds) / 1_000)
            lines.append("The backup was taken at \(date.formatted(.iso8601)).")
        }
        if let count = report.lostOperations {
            lines.append(
                "LOST: \(count) operations that were enqueued after it, with every other change since: "
                    + "enrolments, groups, releases, tasks."
            )
        } else {
            lines.append(
                "LOST: whatever was enqueued, enrolled, published or changed after it was taken."
            )
        }
        if let aside = report.setAside {
            lines.append("The store that was there is kept as \(aside).")
        }
        lines.append(
            "Results devices reported since then come back from the workers that still keep them (24 "
                + "hours, unless configured otherwise)."
        )
        lines.append(
            "The new history is \(report.history), the epoch \(report.epoch); workers take a full "
                + "snapshot."
        )
        for name in ["secrets-key", "signing-key"]
        where !FileManager.default.fileExists(atPath: files.path(name)) {
            lines.append(
                "MISSING: \(files.path(name)). Put back the one of the manager that was backed up before "
                    + "you start, or a new one is made and what it sealed or signed is not usable."
            )
        }
        return lines
    }
}
#endif
