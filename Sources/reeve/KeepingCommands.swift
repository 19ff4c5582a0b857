#if Server && SQLite && Push
import ArgumentParser
import ClusterRole
import Foundation
import HTTPHandling
import ReeveManager

/// `reeve backup --directory D --to F`
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Writes a verified copy of a manager's store, running or stopped.",
        discussion: """
            A running manager is asked through its admin API; F must then lie under one of its backup.roots. \
            Keys and published objects are not in the copy: keep secrets-key, signing-key and objects of the \
            directory as well.
            """
    )

    @Option(help: "The manager's address. Also read from REEVE_MANAGER.") var manager: String?
    @Option(help: "An admin token; better given as REEVE_TOKEN.") var token: String?
    @Option(help: "The directory of a manager on this machine; without it a running one is asked.")
    var directory: String?
    @Option(help: "The file to write.") var to: String
    @Flag(help: "Replace a file of that name.") var replace = false

    func run() async throws {
        try await reporting {
            let path = URL(fileURLWithPath: to).path
            if let directory {
                do {
                    let report = try await StoppedManager.backup(
                        directory: URL(fileURLWithPath: directory).path,
                        to: path,
                        replaces: replace
                    )
                    return try printJSON([
                        "path": .string(report.path), "bytes": .integer(report.bytes),
                        "revision": .string(report.revision.description),
                        "takenAt": .integer(report.takenAt.milliseconds),
                        "rows": .integer(Int64(report.rows)),
                    ])
                } catch let error as any CodedError where error.codeName == "storage.locked" {
                    // It runs: it takes the backup itself, if we may ask it.
                    guard hasToken else { throw error }
                }
            }
            let client = try ManagerOptions.client(manager: manager, token: token)
            try printJSON(
                await client.post(
                    "/admin/v1/backups",
                    ["path": .string(path), "replace": .bool(replace)]
                )
            )
        }
    }

    private var hasToken: Bool {
        token != nil || ProcessInfo.processInfo.environment["REEVE_TOKEN"] != nil
    }
}

/// `reeve restore --from F --directory D`
struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Makes the store of a stopped manager out of a backup, and says what is lost.",
        discussion: """
            The directory needs the secrets-key the store was written with, and for publishing signing-key and \
            objects; restore them first.
            """
    )

    @Option(help: "The backup.") var from: String
    @Option(help: "The manager's directory; the manager is stopped.") var directory: String
    @Flag(help: "Set a store that is there aside.") var replace = false

    func run() async throws {
        try await reporting {
            let report = try await StoppedManager.restore(
                from: URL(fileURLWithPath: from).path,
                directory: URL(fileURLWithPath: directory).path,
                replaces: replace
            )
            for line in report { print(line) }
        }
    }
}

/// `reeve purge`
struct PurgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Purges history that the manager's retention policy no longer keeps, now."
    )

    @OptionGroup var options: ManagerOptions
    @Flag(help: "Only count what would go.") var dryRun = false

    func run() async throws {
        try await reporting {
            try printJSON(
                await options.client().post("/admin/v1/purge", ["dryRun": .bool(dryRun)])
            )
        }
    }
}
#endif
