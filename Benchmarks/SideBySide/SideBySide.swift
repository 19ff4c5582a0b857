import ClusterRole

/// `ReeveSideBySide COMMAND FILE [name=value …]`: does the work of `Peers/limit.c` through the library,
/// on a file of the same content, and prints a line of the same form. See `../side-by-side`.
@main
struct SideBySide {
    static func main() async throws {
        let arguments = try Arguments(CommandLine.arguments)
        switch arguments.command {
        case "prepare": try await Preparation.devices(arguments)
        case "target": try await Preparation.target(arguments)
        case "check": try await Preparation.check(arguments)
        case "w1": try await Workloads.enqueue(arguments)
        case "w2": try await Workloads.exchange(arguments)
        case "w3": try await Workloads.group(arguments)
        case "w4": try await Workloads.poll(arguments)
        case "memory": try await InMemory.all(arguments)
        case "due": try await Fleets.due(arguments)
        case "snapshot": try await Fleets.snapshot(arguments)
        case "idle": try await Fleets.idle(arguments)
        default: throw UsageError("\(arguments.command) is no command")
        }
    }
}

/// What is on the command line.
struct Arguments: Sendable {
    let command: String
    let path: String
    private let values: [String: String]

    init(_ words: [String]) throws {
        guard words.count >= 3 else { throw UsageError("COMMAND FILE [name=value ...]") }
        command = words[1]
        path = words[2]
        var values: [String: String] = [:]
        for word in words.dropFirst(3) {
            let parts = word.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { throw UsageError("\(word) is not name=value") }
            values[String(parts[0])] = String(parts[1])
        }
        self.values = values
    }

    func text(_ name: String, _ standard: String) -> String { values[name] ?? standard }

    func number(_ name: String, _ standard: Int) -> Int {
        values[name].flatMap(Int.init) ?? standard
    }
}

struct UsageError: Error {
    let what: String
    init(_ what: String) { self.what = what }
}
