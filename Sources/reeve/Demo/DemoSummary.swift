#if Server && SQLite && Push
import Foundation
import HTTPHandling
import Synchronization

/// The table that ends the demonstration, and the check behind its exit status.
final class DemoSummary: Sendable {
    private let releases = Mutex<[[String]]>([])

    func add(
        release: Int64,
        node: String,
        files: Int,
        bytes: Int,
        kind: String,
        time: Duration
    ) {
        releases.withLock {
            $0.append([
                "release \(release)", node, "\(files) files",
                "\(Figures.bytes(bytes)) (\(kind))", Figures.seconds(time),
            ])
        }
    }

    /// One activity in a line.
    static func describe(_ activity: JSONValue) -> String {
        let counts = (activity["counts"]?.members ?? [:]).filter { $0.value.count > 0 }
            .sorted { $0.key < $1.key }.map { "\($0.value.count) \($0.key)" }
        let code = activity["code"]?.stringValue ?? "?"
        return "\(code): \(activity["addressed"]?.count ?? 0) addressed, "
            + counts.joined(separator: ", ")
    }

    func text(
        activities: [JSONValue],
        figures: FleetCounters,
        status: JSONValue,
        processes: [(name: String, processID: Int32, peakMemory: Int)],
        elapsed: Duration
    ) -> String {
        func total(_ state: String) -> Int {
            activities.reduce(0) { $0 + ($1["counts"]?[state]?.count ?? 0) }
        }
        let addressed = activities.reduce(0) { $0 + ($1["addressed"]?.count ?? 0) }
        let wakes = status["wakes"]
        let sections: [(String, [[String]])] = [
            ("Artifacts", releases.withLock { $0 }),
            (
                "Operations",
                [
                    ["enqueued", "\(addressed) executions in \(activities.count) activities"],
                    ["delivered", "\(figures.handedOut) (\(figures.redelivered) again)"],
                    ["completed", "\(total("completed"))"],
                    ["failed", "\(total("failed"))"],
                    ["deferred", "\(figures.deferred) answered NotNow first"],
                    [
                        "still pending",
                        "\(addressed - ["completed", "failed", "expired"].reduce(0) { $0 + total($1) })",
                    ],
                ]
            ),
            (
                "Wake-ups",
                [
                    ["sent", "\(wakes?["sent"]?.count ?? 0)"],
                    ["coalesced", "\(wakes?["coalesced"]?.count ?? 0)"],
                    ["failed", "\(wakes?["abandoned"]?.count ?? 0)"],
                    [
                        "found by polling",
                        "\(wakes?["foundByPolling"]?.count ?? 0) before a push, "
                            + "\(figures.ignoredWakeUps) pushes ignored",
                    ],
                ]
            ),
            (
                "Processes",
                processes.map {
                    [$0.name, "process \($0.processID)", "peak \(Figures.bytes($0.peakMemory))"]
                }
            ),
        ]
        return sections.map { "   \($0.0)\n" + Figures.table($0.1.map { [" "] + $0 }) }
            .joined(separator: "\n") + "\n   Took \(Figures.seconds(elapsed))"
    }

    /// Holds what the devices were told against what the manager stores.
    static func requireNothingLost(
        activities: [JSONValue],
        figures: FleetCounters,
        devices: Int
    ) throws {
        var problems: [String] = []
        for state in ["completed", "failed"] {
            let stored = activities.reduce(0) { $0 + ($1["counts"]?[state]?.count ?? 0) }
            let told = figures.acknowledged.values.reduce(0) { $0 + ($1[state] ?? 0) }
            if stored != told {
                problems.append(
                    "devices were told of \(told) \(state) results, \(stored) are stored"
                )
            }
        }
        for activity in activities {
            var ends = ["completed", "failed"]
            // What is asked for again in each period expires when the next one begins: on a busy machine
            // some devices answer the next one instead.
            if activity["code"]?.stringValue == FleetDevice.informationCode {
                ends.append("expired")
            }
            let done = ends.reduce(0) { $0 + (activity["counts"]?[$1]?.count ?? 0) }
            if done != activity["addressed"]?.count {
                problems.append("not all done: " + describe(activity))
            }
        }
        if figures.enrolled != devices {
            problems.append("\(figures.enrolled) of \(devices) enrolled")
        }
        guard problems.isEmpty else { throw DemoFailure(problems.joined(separator: "; ")) }
    }
}

/// Compares a published directory with what a worker activated.
enum TreeComparison {
    static func requireEqual(_ source: URL, _ active: URL) throws {
        let expected = try list(source)
        let found = try list(active.resolvingSymlinksInPath())
        for (path, entry) in expected where found[path] != entry {
            throw DemoFailure("\(active.path)/\(path) differs from the source")
        }
        if let extra = found.keys.first(where: { expected[$0] == nil }) {
            throw DemoFailure("\(active.path)/\(extra) is not in the source")
        }
    }

    private enum Entry: Equatable {
        case directory
        case link(String)
        case file(Data)
    }

    private static func list(_ root: URL) throws -> [String: Entry] {
        let files = FileManager.default
        var entries: [String: Entry] = [:]
        for path in try files.subpathsOfDirectory(atPath: root.path) {
            let full = root.path + "/" + path
            switch try files.attributesOfItem(atPath: full)[.type] as? FileAttributeType {
            case .typeSymbolicLink:
                entries[path] = .link(try files.destinationOfSymbolicLink(atPath: full))
            case .typeDirectory: entries[path] = .directory
            default:
                entries[path] = .file(
                    try Data(contentsOf: URL(fileURLWithPath: full), options: .mappedIfSafe)
                )
            }
        }
        return entries
    }
}
#endif
