#if Server && SQLite && Push
import ArgumentParser
import Foundation
import HTTPHandling

/// `reeve activities [ACTIVITY]`
struct ActivitiesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activities",
        abstract: "Lists activities, or the executions of one activity or of one device."
    )

    @OptionGroup var options: ManagerOptions
    @Argument(help: "One activity: its executions are listed.") var activity: String?
    @Option(help: "One device: its executions over all activities are listed.")
    var device: String?
    @Flag(help: "With --device: only what is open for it, in the order in which it is offered.")
    var pending = false
    @Option(help: "Operations of this code; may be repeated.") var code: [String] = []
    @Option(help: "Operations of this type.") var type: [String] = []
    @Option(help: "In this state, of the activity or of the executions; may be repeated.")
    var state: [String] = []
    @Option(help: "Enqueued by this name.") var initiator: String?
    @Option(help: "Addressed to this group.") var group: String?
    @Option(help: "Updated since this time, in milliseconds since 1970.")
    var updatedSince: Int64?
    @Option(help: "`next` of the page before.") var next: String?
    @Option(help: "At most so many.") var limit = 100

    func validate() throws {
        if activity != nil && device != nil {
            throw ValidationError("Name an activity or a --device, not both.")
        }
        if pending && device == nil { throw ValidationError("--pending goes with --device.") }
    }

    func run() async throws {
        try await reporting { try printJSON(await options.client().get(path)) }
    }

    private var path: String {
        var items: [(String, String?)] = [("limit", "\(limit)")]
        if let device {
            let path = "/admin/v1/devices/\(JSONClient.segment(device))"
            if pending { return path + "/pending" }
            return path + "/executions" + JSONClient.query(items + [("before", next)])
        }
        items += state.map { ("state", $0) }
        if let activity {
            return "/admin/v1/activities/\(JSONClient.segment(activity))/executions"
                + JSONClient.query(items + [("after", next)])
        }
        items += code.map { ("code", $0) } + type.map { ("type", $0) }
        items += [("initiator", initiator), ("group", group)]
        if let updatedSince {
            items += next.map { [("updatedAfter", $0)] } ?? [("updatedSince", "\(updatedSince)")]
        } else {
            items.append(("before", next))
        }
        return "/admin/v1/activities" + JSONClient.query(items)
    }
}

/// `reeve events`
struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Prints what happens to activities and executions, one JSON object a line."
    )

    @OptionGroup var options: ManagerOptions
    @Option(help: "Events after this position; those from now on unless said.")
    var after: String?
    @Option(help: "Events since this time, in milliseconds since 1970.") var since: Int64?
    @Option(help: "Operations of this code; may be repeated.") var code: [String] = []
    @Option(help: "One activity's only.") var activity: String?
    @Option(help: "One device's only.") var device: String?
    @Flag(help: "Leave out changes that keep the state.") var stateChanges = false
    @Flag(help: "Go on with what has not happened yet, until interrupted.") var follow = false

    /// How long one request waits for news.
    private static let wait = 20

    func run() async throws {
        try await reporting {
            let client = try options.client()
            var position = after
            while true {
                let page = try await client.get(path(after: position))
                for event in page["events"]?.elements ?? [] {
                    let encoder = JSONEncoder()
                    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                    // Written at once: who follows through a pipe wants each line when it happens.
                    FileHandle.standardOutput.write(try encoder.encode(event) + Data("\n".utf8))
                }
                position = page["next"]?.stringValue
                if !follow && page["last"] == .bool(true) { return }
            }
        }
    }

    private func path(after position: String?) -> String {
        var items: [(String, String?)] = [("after", position), ("limit", "1000")]
        if position == nil { items.append(("since", since.map { "\($0)" })) }
        items += code.map { ("code", $0) }
        items += [("activity", activity), ("device", device)]
        if stateChanges { items.append(("changes", "state")) }
        if follow { items.append(("wait", "\(Self.wait)")) }
        return "/admin/v1/events" + JSONClient.query(items)
    }
}

/// `reeve webhooks list | add | remove | dead-letters | redeliver`
struct WebhooksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "webhooks",
        abstract: "Lists and changes webhooks, and sends dead letters again.",
        subcommands: [List.self, Add.self, Remove.self, DeadLetters.self, Redeliver.self],
        defaultSubcommand: List.self
    )

    private static let path = "/admin/v1/webhooks"

    /// `reeve webhooks list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists webhooks.")

        @OptionGroup var options: ManagerOptions

        func run() async throws {
            try await reporting { try printJSON(await options.client().get(path)) }
        }
    }

    /// `reeve webhooks add URL`
    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Subscribes a URL to events. Its secret is printed once."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "An absolute http or https URL.") var url: String
        @Option(help: "Operations of this code; may be repeated.") var code: [String] = []
        @Option(help: "One device's events only.") var device: String?
        @Flag(help: "Leave out changes that keep the state.") var stateChanges = false
        @Option(help: "Events after this position; those from now on unless said.")
        var after: String?

        func run() async throws {
            try await reporting {
                var body: [String: JSONValue] = [
                    "url": .string(url), "codes": .array(code.map { .string($0) }),
                    "stateChangesOnly": .bool(stateChanges),
                ]
                if let device { body["device"] = .string(device) }
                if let after { body["after"] = .string(after) }
                try printJSON(await options.client().post(path, .object(body)))
            }
        }
    }

    /// `reeve webhooks remove WEBHOOK`
    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Ends a webhook.")

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The webhook.") var webhook: String

        func run() async throws {
            try await reporting {
                try await options.client().delete("\(path)/\(JSONClient.segment(webhook))")
            }
        }
    }

    /// `reeve webhooks dead-letters WEBHOOK`
    struct DeadLetters: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists batches that were given up."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The webhook.") var webhook: String
        @Option(help: "`next` of the page before.") var next: String?

        func run() async throws {
            try await reporting {
                let query = JSONClient.query([("after", next)])
                try printJSON(
                    await options.client().get(
                        "\(path)/\(JSONClient.segment(webhook))/dead-letters\(query)"
                    )
                )
            }
        }
    }

    /// `reeve webhooks redeliver WEBHOOK LETTER`
    struct Redeliver: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sends a dead letter again.")

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The webhook.") var webhook: String
        @Argument(help: "The dead letter's number.") var letter: Int64

        func run() async throws {
            try await reporting {
                try await options.client().post(
                    "\(path)/\(JSONClient.segment(webhook))/dead-letters/\(letter)/redeliver"
                )
            }
        }
    }
}
#endif
