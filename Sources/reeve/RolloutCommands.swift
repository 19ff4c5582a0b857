#if Server && SQLite && Push
import ArgumentParser
import Foundation
import HTTPHandling

/// `reeve rollout …`
struct RolloutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollout",
        abstract: "Rolls releases out to workers in waves.",
        subcommands: [
            Start.self, List.self, Show.self, Pause.self, Resume.self, Abort.self, Revert.self,
            Await.self, Blocks.self, Unblock.self,
        ]
    )

    struct Start: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Arms a rollout for the next release of a channel; publish it afterwards."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The channel.") var channel: String
        @Option(help: "The first wave: so many workers.") var canary: Int32?
        @Option(help: "The first wave: workers with this label, name=value; may be repeated.")
        var label: [String] = []
        @Option(help: "A further wave of so many per cent; may be repeated.")
        var percent: [Double] = []
        @Option(help: "Seconds each wave must hold before the next one begins.") var soak = 0.0
        @Option(help: "Per cent of a wave that must have applied the release.")
        var acknowledged: Int32 = 100
        @Option(help: "Seconds a wave may take.") var timeout: Double?
        @Option(help: "Per cent that may fail.") var failures: Int32 = 0
        @Option(help: "What happens when more do: revert, abort or pause.") var onFailure = "revert"
        @Option(help: "The channel's newest release, instead of the next one.") var release: Int64?

        func run() async throws {
            try await reporting {
                var body: [String: JSONValue] = [
                    "channel": .string(channel),
                    "waves": .array(try waves()),
                    "failure": [
                        "percent": .integer(Int64(failures)), "action": .string(onFailure),
                    ],
                ]
                if let release { body["release"] = .integer(release) }
                try printJSON(await options.client().post("/admin/v1/rollouts", .object(body)))
            }
        }

        private func waves() throws -> [JSONValue] {
            var audiences: [[String: JSONValue]] = []
            if canary != nil || !label.isEmpty {
                var first: [String: JSONValue] = [:]
                if let canary { first["count"] = .integer(Int64(canary)) }
                var labels: [String: JSONValue] = [:]
                for pair in label {
                    guard let separator = pair.firstIndex(of: "=") else {
                        throw ValidationError("A --label is written name=value.")
                    }
                    labels[String(pair[..<separator])] = .string(
                        String(pair[pair.index(after: separator)...])
                    )
                }
                if !labels.isEmpty { first["labels"] = .object(labels) }
                audiences.append(first)
            }
            audiences += percent.map { ["percent": .number($0)] }
            audiences.append([:])
            return audiences.map { audience in
                var wave = audience
                wave["acknowledged"] = .integer(Int64(acknowledged))
                wave["soak"] = .number(soak)
                if let timeout { wave["timeout"] = .number(timeout) }
                return .object(wave)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists rollouts, newest first.")

        @OptionGroup var options: ManagerOptions
        @Option(help: "Of this channel only.") var channel: String?
        @Option(help: "`next` of the page before.") var next: String?
        @Option(help: "At most so many.") var limit = 100

        func run() async throws {
            try await reporting {
                let query = JSONClient.query([
                    ("channel", channel), ("before", next), ("limit", "\(limit)"),
                ])
                try printJSON(await options.client().get("/admin/v1/rollouts" + query))
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows a rollout wave by wave, who lags and why, and its history."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The rollout.") var rollout: String

        func run() async throws {
            try await reporting {
                let path = "/admin/v1/rollouts/\(JSONClient.segment(rollout))"
                try printJSON(await options.client().get(path))
            }
        }
    }

    /// What the four commands have in common.
    struct Target: ParsableArguments {
        @OptionGroup var options: ManagerOptions
        @Argument(help: "The rollout.") var rollout: String
        @Option(help: "Why; it is kept with the history.") var reason: String?

        func send(_ command: String) async throws {
            try await reporting {
                let path = "/admin/v1/rollouts/\(JSONClient.segment(rollout))/\(command)"
                let body: [String: JSONValue] = reason.map { ["reason": .string($0)] } ?? [:]
                try printJSON(await options.client().post(path, .object(body)))
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Offers the release to nobody who has not applied it."
        )
        @OptionGroup var target: Target
        func run() async throws { try await target.send("pause") }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Goes on with a paused rollout.")
        @OptionGroup var target: Target
        func run() async throws { try await target.send("resume") }
    }

    struct Abort: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a rollout: who has the release keeps it, nobody else gets it."
        )
        @OptionGroup var target: Target
        func run() async throws { try await target.send("abort") }
    }

    struct Revert: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a rollout: the tree before is published again, the release is blocked."
        )
        @OptionGroup var target: Target
        func run() async throws { try await target.send("revert") }
    }

    struct Await: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Waits until workers have applied a release; fails naming those who lag."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The channel.") var channel: String
        @Option(help: "The release; the newest unless said.") var release: Int64?
        @Option(help: "all, a number of workers, or per cent such as 80%.") var quorum = "all"
        @Option(help: "Seconds to wait at most, up to 25.") var wait = 25

        func run() async throws {
            try await reporting {
                let query = JSONClient.query([
                    ("release", release.map { "\($0)" }), ("quorum", quorum), ("wait", "\(wait)"),
                ])
                let path = "/admin/v1/channels/\(JSONClient.segment(channel))/await-applied"
                let answer = try await options.client().get(path + query)
                try printJSON(answer)
                if answer["isReached"] != .bool(true) { throw ExitCode(1) }
            }
        }
    }

    struct Blocks: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the trees that are blocked in a channel."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The channel.") var channel: String

        func run() async throws {
            try await reporting {
                let path = "/admin/v1/channels/\(JSONClient.segment(channel))/blocks"
                try printJSON(await options.client().get(path))
            }
        }
    }

    struct Unblock: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a blocked tree be published and offered again."
        )

        @OptionGroup var options: ManagerOptions
        @Argument(help: "The channel.") var channel: String
        @Argument(help: "The tree: 64 hexadecimal digits.") var root: String
        @Option(help: "Why; it is kept with the history.") var reason: String?

        func run() async throws {
            try await reporting {
                let channel = JSONClient.segment(channel)
                try await options.client().delete(
                    "/admin/v1/channels/\(channel)/blocks/\(JSONClient.segment(root))"
                        + JSONClient.query([("reason", reason)])
                )
            }
        }
    }
}
#endif
