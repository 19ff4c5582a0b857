#if Server && SQLite && Push
import ArgumentParser
import AsyncHTTPClient
import ClusterLink
import ClusterRole
import Foundation
import HTTPHandling

/// How the administration commands reach a manager.
struct ManagerOptions: ParsableArguments {
    @Option(help: "The manager's address. Also read from REEVE_MANAGER.")
    var manager: String?

    @Option(help: "An admin token; better given as REEVE_TOKEN, which other users cannot see.")
    var token: String?

    @Option(help: "The authority of the cluster, a PEM file, for https. Also REEVE_AUTHORITY.")
    var authority: String?

    func client() throws -> JSONClient {
        try Self.client(manager: manager, token: token, authority: authority)
    }

    static func client(
        manager: String?,
        token: String?,
        authority: String? = nil
    ) throws -> JSONClient {
        let environment = ProcessInfo.processInfo.environment
        guard let token = token ?? environment["REEVE_TOKEN"], !token.isEmpty else {
            throw ValidationError("Give an admin token in REEVE_TOKEN or with --token.")
        }
        let address = manager ?? environment["REEVE_MANAGER"] ?? "http://127.0.0.1:8180"
        let http =
            try (authority ?? environment["REEVE_AUTHORITY"])
            .map { try ManagerHTTP.client(authority: $0) } ?? .shared
        return JSONClient(base: address, token: token, client: http, timeout: .seconds(300))
    }
}

/// Prints JSON with sorted keys, so that scripts can read every command.
func printJSON(_ value: JSONValue) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// Prints a refusal as one line and ends with status 1.
func reporting(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let refusal as JSONClient.Refusal {
        FileHandle.standardError.write(Data("error: \(refusal)\n".utf8))
        throw ExitCode(1)
    } catch let error as any CodedError {
        FileHandle.standardError.write(Data("error: \(error.codeName): \(error.message)\n".utf8))
        throw ExitCode(1)
    }
}

/// `reeve publish DIRECTORY --channel NAME`
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publishes a directory of the manager's machine as the next release of a channel."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "A directory on the manager's machine, under one of its publish roots.")
    var directory: String
    @Option(help: "The channel.") var channel: String
    @Flag(help: "Allow symbolic links that are absolute or leave the directory.")
    var allowAbsoluteLinks = false
    @Option(help: "What the artifact is, such as web-application; decides which deployer loads it.")
    var kind: String?
    @Option(help: "A channel it needs, as NAME or NAME=RELEASE for the lowest; may be repeated.")
    var needs: [String] = []
    @Option(help: "Something a worker must have to be offered it; may be repeated.")
    var requires: [String] = []
    @Option(help: "The lowest version of a worker's software, such as 2.10.0.")
    var softwareVersion: String?
    @Flag(help: "Publish it again even if the newest release is the same tree.") var force = false
    @Flag(help: "Make the times of files part of the tree; workers set them.") var keepTimes = false
    @Flag(help: "Only say what would change; publish nothing.") var dryRun = false

    func run() async throws {
        try await reporting {
            let step = dryRun ? "preview" : "releases"
            try printJSON(
                await options.client().post(
                    "/admin/v1/channels/\(JSONClient.segment(channel))/\(step)",
                    .object(try body())
                )
            )
        }
    }

    private func body() throws -> [String: JSONValue] {
        var body: [String: JSONValue] = [
            "directory": .string(URL(fileURLWithPath: directory).resolvingSymlinksInPath().path)
        ]
        if allowAbsoluteLinks { body["allowAbsoluteLinks"] = true }
        if force { body["force"] = true }
        if keepTimes { body["keepTimes"] = true }
        if let kind { body["kind"] = .string(kind) }
        if let softwareVersion { body["softwareVersion"] = .string(softwareVersion) }
        if !requires.isEmpty { body["capabilities"] = .array(requires.map { .string($0) }) }
        if !needs.isEmpty {
            body["dependencies"] = .array(
                try needs.map { need in
                    let parts = need.split(separator: "=", maxSplits: 1).map(String.init)
                    var entry: [String: JSONValue] = ["channel": .string(parts.first ?? "")]
                    if parts.count == 2 {
                        guard let number = Int64(parts[1]) else {
                            throw ValidationError("--needs is written NAME or NAME=RELEASE.")
                        }
                        entry["atLeast"] = .integer(number)
                    }
                    return .object(entry)
                }
            )
        }
        return body
    }
}

/// `reeve enqueue CODE --group NAME | --device ID …`
struct EnqueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Enqueues an operation to devices or to a group."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "What the devices are asked to do, such as lock.") var code: String
    @Option(help: "The group addressed.") var group: String?
    @Option(help: "A device addressed; may be repeated.") var device: [String] = []
    @Option(help: "The payload, as JSON.") var payload: String?
    @Option(help: "A key that makes repeating this command harmless.") var idempotencyKey: String?
    @Option(help: "Higher is offered first.") var priority: Int32?
    @Option(help: "Seconds after which it is handed out to nobody any more.")
    var expiresAfter: Double?
    @Option(help: "Before this time, in milliseconds since 1970, it is handed out to nobody.")
    var notBefore: Int64?
    @Option(help: "How often a failed execution is repeated.") var retries: Int32?
    @Option(help: "An activity that must have completed on a device first; may be repeated.")
    var after: [String] = []
    @Option(help: "The key by which it replaces older operations.") var supersede: String?
    @Flag(help: "One with the same code at a time.") var noRepeat = false
    @Flag(help: "The device asks its user first.") var confirmation = false
    @Flag(help: "An administrator must approve first.") var approval = false
    @Flag(help: "While it waits, nothing behind it is offered.") var strict = false
    @Flag(help: "Wake nobody; devices find it by polling.") var noWake = false
    @Option(
        help:
            "Further members of the request as a JSON object, such as window, timeouts or rollout."
    )
    var terms: String?

    func validate() throws {
        guard (group == nil) != device.isEmpty else {
            throw ValidationError("Name a --group or at least one --device, not both.")
        }
    }

    func run() async throws {
        try await reporting {
            let target: JSONValue =
                group.map { .object(["group": .string($0)]) }
                ?? .object(["devices": .array(device.map { .string($0) })])
            var body: [String: JSONValue] = ["target": target, "code": .string(code)]
            if let payload { body["payload"] = try JSONValue(parsing: Array(payload.utf8)) }
            addOptions(to: &body)
            if let terms {
                guard case .object(let more) = try JSONValue(parsing: Array(terms.utf8)) else {
                    throw ValidationError("--terms is a JSON object.")
                }
                body.merge(more) { _, new in new }
            }
            try printJSON(
                await options.client().post(
                    "/admin/v1/operations",
                    .object(body),
                    idempotencyKey: idempotencyKey
                )
            )
        }
    }
}

extension EnqueueCommand {
    /// Puts what was given into the body of the request.
    private func addOptions(to body: inout [String: JSONValue]) {
        if let priority { body["priority"] = .integer(Int64(priority)) }
        if let expiresAfter { body["expiresAfter"] = .number(expiresAfter) }
        if let notBefore { body["notBefore"] = .integer(notBefore) }
        if let retries { body["retry"] = ["count": .integer(Int64(retries))] }
        if !after.isEmpty { body["after"] = .array(after.map { ["activity": .string($0)] }) }
        if let supersede { body["supersede"] = .string(supersede) }
        if noRepeat { body["noRepeat"] = true }
        if confirmation { body["confirmation"] = "required" }
        if approval { body["approval"] = "required" }
        if strict { body["order"] = "strict" }
        if noWake { body["wake"] = "none" }
    }
}

/// `reeve status`
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows how the cluster stands, or one activity, or a channel's releases."
    )

    @OptionGroup var options: ManagerOptions
    @Option(help: "An activity.") var activity: String?
    @Option(help: "A channel.") var channel: String?

    func run() async throws {
        try await reporting {
            let path =
                activity.map { "/admin/v1/activities/\(JSONClient.segment($0))" }
                ?? channel.map { "/admin/v1/channels/\(JSONClient.segment($0))/releases" }
                ?? "/admin/v1/status"
            try printJSON(await options.client().get(path))
        }
    }
}

/// `reeve devices`
struct DevicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices",
        abstract: "Lists devices, or shows one with what it told."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "One device.") var device: String?
    @Option(help: "Members of this group only.") var group: String?
    @Option(help: "What is asked for, such as: os.version >= \"17\" and installed \"till\"")
    var query: String?
    @Option(help: "As last recorded: active, unreachable or inactive.") var liveness: String?
    @Option(help: "Devices after this one.") var after: String?
    @Option(help: "At most so many.") var limit = 100

    func run() async throws {
        try await reporting {
            let client = try options.client()
            if let device {
                try printJSON(await client.get("/admin/v1/devices/\(JSONClient.segment(device))"))
                return
            }
            var query = "limit=\(limit)"
            if let group { query += "&group=\(JSONClient.segment(group))" }
            if let asked = self.query { query += "&query=\(JSONClient.segment(asked))" }
            if let liveness { query += "&liveness=\(JSONClient.segment(liveness))" }
            if let after { query += "&after=\(JSONClient.segment(after))" }
            try printJSON(await client.get("/admin/v1/devices?\(query)"))
        }
    }
}
#endif
