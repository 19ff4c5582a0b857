#if Server && SQLite && Push
import ArgumentParser
import ClusterRole
import Foundation
import HTTPHandling

/// `reeve nodes`
struct NodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Shows the members of the cluster, and tells them to restart, shut down or rest.",
        discussion: """
            Nodes are chosen by name, or with --role, --domain, --property or --everybody. A node acknowledges a \
            command before it ends. One that restarts exits with status 75: let its supervisor start it again \
            (systemd: RestartForceExitStatus=75).
            """,
        subcommands: [
            ListNodesCommand.self, RestartNodesCommand.self, ShutdownNodesCommand.self,
            MaintenanceNodesCommand.self, DrainNodesCommand.self, NodeCommandStatus.self,
        ],
        defaultSubcommand: ListNodesCommand.self
    )
}

/// Which nodes a command is for.
struct NodeSelector: ParsableArguments {
    @Argument(help: "Nodes by name.") var nodes: [String] = []
    @Option(help: "Nodes of a role: manager, worker or combined.") var role: String?
    @Option(help: "Nodes of a domain or sub-domain, such as reeve/worker.") var domain: String?
    @Option(help: "Nodes with a property, as NAME=VALUE.") var property: String?
    @Flag(help: "Every node, this manager too.") var everybody = false
    @Option(help: "Seconds the command waits for a node that does not answer.")
    var lifetime: Double?
    @Option(help: "Seconds to wait until all have obeyed; without it the command returns at once.")
    var wait: Double?
    @Option(help: "A key that makes repeating this command harmless.") var idempotencyKey: String?

    func target() throws -> JSONValue {
        var found: [(String, JSONValue)] = []
        if !nodes.isEmpty { found.append(("nodes", .array(nodes.map { .string($0) }))) }
        if let role { found.append(("role", .string(role))) }
        if let domain { found.append(("domain", .string(domain))) }
        if everybody { found.append(("everybody", true)) }
        if let property {
            let parts = property.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw ValidationError("--property is written NAME=VALUE.")
            }
            found.append(
                ("property", ["name": .string(parts[0]), "value": .string(parts[1])])
            )
        }
        guard let one = found.first, found.count == 1 else {
            throw ValidationError(
                "Choose nodes by name, or with one of --role, --domain, --property, --everybody."
            )
        }
        return .object([one.0: one.1])
    }

    /// Sends a command and prints what became of it.
    func send(_ command: String, with options: ManagerOptions) async throws {
        let target = try target()
        try await reporting {
            let client = try options.client()
            var body: [String: JSONValue] = ["command": .string(command), "target": target]
            if let lifetime { body["lifetime"] = .number(lifetime) }
            var answer = try await client.post(
                "/admin/v1/commands",
                .object(body),
                idempotencyKey: idempotencyKey
            )
            let id = answer["id"]?.stringValue ?? ""
            let end = ContinuousClock.now + .seconds(wait ?? 0)
            while ContinuousClock.now < end, Self.waiting(in: answer) > 0 {
                try await Task.sleep(for: .milliseconds(200))
                // The manager may be among those that restart.
                let path = "/admin/v1/commands/\(JSONClient.segment(id))"
                if let now = try? await client.get(path) { answer = now }
            }
            try printJSON(answer)
            if wait != nil, Self.waiting(in: answer) > 0 { throw ExitCode(1) }
        }
    }

    private static func waiting(in answer: JSONValue) -> Int {
        (answer["nodes"]?.elements ?? []).count { $0["state"]?.stringValue == "waiting" }
    }
}

/// `reeve nodes list`
struct ListNodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the members of the cluster."
    )

    @OptionGroup var options: ManagerOptions

    func run() async throws {
        try await reporting { try printJSON(await options.client().get("/admin/v1/nodes")) }
    }
}

/// `reeve nodes restart`
struct RestartNodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart",
        abstract: "Restarts nodes: gracefully unless told otherwise."
    )

    @OptionGroup var options: ManagerOptions
    @OptionGroup var selector: NodeSelector
    @Flag(help: "At once: requests under way are cut off.") var now = false

    func run() async throws {
        try await selector.send(now ? "restart" : "graceful-restart", with: options)
    }
}

/// `reeve nodes shutdown`
struct ShutdownNodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shutdown",
        abstract: "Shuts nodes down: gracefully unless told otherwise."
    )

    @OptionGroup var options: ManagerOptions
    @OptionGroup var selector: NodeSelector
    @Flag(help: "At once: requests under way are cut off.") var now = false

    func run() async throws {
        try await selector.send(now ? "shutdown" : "graceful-shutdown", with: options)
    }
}

/// `reeve nodes maintenance`
struct MaintenanceNodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maintenance",
        abstract: "Takes nodes out of service until told otherwise, restarts included."
    )

    @OptionGroup var options: ManagerOptions
    @OptionGroup var selector: NodeSelector
    @Flag(help: "Back to service; ends draining too.") var off = false

    func run() async throws {
        try await selector.send(off ? "maintenance-off" : "maintenance-on", with: options)
    }
}

/// `reeve nodes drain`
struct DrainNodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Lets nodes take no new requests until they restart or maintenance is ended."
    )

    @OptionGroup var options: ManagerOptions
    @OptionGroup var selector: NodeSelector

    func run() async throws { try await selector.send("drain", with: options) }
}

/// `reeve nodes command`
struct NodeCommandStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "command",
        abstract: "Shows what became of a command on each node."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "The command's id.") var id: String

    func run() async throws {
        try await reporting {
            try printJSON(
                await options.client().get("/admin/v1/commands/\(JSONClient.segment(id))")
            )
        }
    }
}
#endif
