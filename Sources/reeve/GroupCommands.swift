#if Server && SQLite && Push
import ArgumentParser
import HTTPHandling

/// `reeve groups`, `reeve groups define NAME QUERY`, `reeve groups undefine NAME`
struct GroupsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "groups",
        abstract: "Lists groups, or defines one by a query.",
        subcommands: [ListGroupsCommand.self, DefineGroupCommand.self, UndefineGroupCommand.self],
        defaultSubcommand: ListGroupsCommand.self
    )
}

/// `reeve groups list`
struct ListGroupsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists groups with their present members and what defines them."
    )

    @OptionGroup var options: ManagerOptions

    func run() async throws {
        try await reporting { try printJSON(await options.client().get("/admin/v1/groups")) }
    }
}

/// `reeve groups define NAME QUERY`
struct DefineGroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "define",
        abstract: "Defines a group: its members are the devices a query asks for, from now on."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "The group; made if it is new.") var group: String
    @Argument(help: "The query, such as: os.version >= \"17\" and installed \"till\"")
    var query: String

    func run() async throws {
        try await reporting {
            try printJSON(
                await options.client().put(
                    "/admin/v1/groups/\(JSONClient.segment(group))/query",
                    .object(["query": .string(query)])
                )
            )
        }
    }
}

/// `reeve groups undefine NAME`
struct UndefineGroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undefine",
        abstract: "Keeps a group by list again. Its members stay."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "The group.") var group: String

    func run() async throws {
        try await reporting {
            try await options.client().delete(
                "/admin/v1/groups/\(JSONClient.segment(group))/query"
            )
        }
    }
}
#endif
