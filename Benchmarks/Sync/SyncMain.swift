import Foundation

/// Commands that `Benchmarks/sync` drives: a manager and workers as processes of their own, each of
/// which reads what it is to do from its standard input and prints one JSON object a step.
@main
struct SyncMain {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count >= 4 else {
            throw Misuse(
                "ReeveSync manager DIRECTORY PORT | ReeveSync worker URL DIRECTORY | "
                    + "ReeveSync local DIRECTORY TREE TREE"
            )
        }
        switch arguments[1] {
        case "manager":
            guard let port = Int(arguments[3]) else { throw Misuse("a port is a number") }
            try await BenchmarkManager(directory: arguments[2], port: port).run()
        case "worker":
            try await BenchmarkWorker(manager: arguments[2], directory: arguments[3]).run()
        case "local":
            try await LocalRun(directory: arguments[2]).run(Array(arguments[3...]))
        default: throw Misuse("unknown part \(arguments[1])")
        }
    }
}

struct Misuse: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What a step cost this process.
struct Step {
    private let began = ContinuousClock.now
    private let processor = Step.processorSeconds()

    init() { try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8) }

    /// Prints the step with what else is to be said of it.
    func report(_ facts: [String: any Sendable] = [:]) throws {
        let passed = (ContinuousClock.now - began).components
        var object: [String: Any] = facts
        object["cpu"] = Self.processorSeconds() - processor
        object["wall"] = Double(passed.seconds) + Double(passed.attoseconds) / 1e18
        object["peak"] = Self.field("VmHWM:")
        object["anonymous"] = Self.field("RssAnon:")
        try say(object)
    }

    /// User and system time of all threads.
    static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func field(_ name: String) -> Double {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else {
            return 0
        }
        for row in text.split(separator: "\n") where row.hasPrefix(name) {
            return (Double(row.filter(\.isNumber)) ?? 0) / 1_024
        }
        return 0
    }
}

func say(_ object: [String: Any]) throws {
    let data = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
    FileHandle.standardOutput.write(data + Data("\n".utf8))
}

/// The words of each line of the standard input, until it ends.
func eachCommand(_ body: ([String]) async throws -> Void) async throws {
    while let line = readLine() {
        let words = line.split(separator: " ").map(String.init)
        if words.isEmpty { continue }
        try await body(words)
    }
}
