#if Server && SQLite && Push
import ArgumentParser
import ClusterRole
import Foundation
import HTTPHandling

/// `reeve audit`
struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Shows who did what, newest first, or verifies that the record is whole."
    )

    @OptionGroup var options: ManagerOptions
    @Option(help: "Entries of this caller only.") var who: String?
    @Option(help: "Entries of this operation only, such as enqueueOperation.")
    var operation: String?
    @Option(help: "begun, done, refused or failed.") var outcome: String?
    @Option(help: "Milliseconds since 1970; older entries are left out.") var since: Int64?
    @Option(help: "Entries before this number: next of the page before.") var before: Int64?
    @Option(help: "At most so many.") var limit = 100
    @Flag(help: "Compute every entry's digest again. Ends with status 1 if the log is broken.")
    var verify = false

    func run() async throws {
        try await reporting {
            let client = try options.client()
            if verify {
                let answer = try await client.get("/admin/v1/audit/verification")
                try printJSON(answer)
                if answer["isWhole"]?.boolValue != true { throw ExitCode(1) }
                return
            }
            let query = JSONClient.query([
                ("who", who), ("operation", operation), ("outcome", outcome),
                ("since", since.map { String($0) }), ("before", before.map { String($0) }),
                ("limit", String(limit)),
            ])
            try printJSON(await client.get("/admin/v1/audit" + query))
        }
    }
}

/// `reeve identities`
struct IdentitiesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "identities",
        abstract: "Makes, lists and revokes tokens of administrators and end users.",
        subcommands: [List.self, Create.self, Revoke.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists stored identities.")
        @OptionGroup var options: ManagerOptions

        func run() async throws {
            try await reporting {
                try printJSON(await options.client().get("/admin/v1/identities"))
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes an identity and prints its token, which is shown this once."
        )
        @OptionGroup var options: ManagerOptions
        @Argument(help: "Its name; for an end user, the owner of devices.") var name: String
        @Option(help: "read, operate, publish or administer; may be repeated.")
        var permission: [String] = []
        @Flag(help: "An end user, who sees the devices he owns.") var user = false
        @Option(help: "Seconds after which the token is worth nothing.") var lifetime: Double?

        func run() async throws {
            try await reporting {
                var body: [String: JSONValue] = ["name": .string(name)]
                if user { body["kind"] = "user" }
                if !permission.isEmpty {
                    body["permissions"] = .array(permission.map { .string($0) })
                }
                if let lifetime { body["lifetime"] = .number(lifetime) }
                try printJSON(
                    await options.client().post("/admin/v1/identities", .object(body))
                )
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends an identity; its token is worth nothing at once."
        )
        @OptionGroup var options: ManagerOptions
        @Argument(help: "Its name.") var name: String

        func run() async throws {
            try await reporting {
                try await options.client()
                    .delete("/admin/v1/identities/\(JSONClient.segment(name))")
            }
        }
    }
}

/// `reeve owner DEVICE [NAME]`
struct OwnerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "owner",
        abstract: "Gives a device to an end user, or takes it from whoever has it."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "The device.") var device: String
    @Argument(help: "The end user; left out for nobody.") var owner: String?

    func run() async throws {
        try await reporting {
            try await options.client().put(
                "/admin/v1/devices/\(JSONClient.segment(device))/owner",
                ["owner": owner.map { .string($0) } ?? .null]
            )
        }
    }
}
#endif
