#if Server && SQLite && Push
import Foundation
import HTTPHandling

/// One simulated device, as a value: what it does with what an exchange hands it.
struct FleetDevice: Sendable {
    let index: Int
    let id: String
    var credential: String?
    var isRegistered = false
    /// Results not yet taken by a worker, by execution.
    var outstanding: [String: JSONValue] = [:]
    /// What it said of each execution it has finished: it does nothing twice.
    var finished: [String: String] = [:]
    var hasDeferred: Set<String> = []
    /// Whether it must send its information before it answers.
    var owesInformation = false
    var acknowledged: Set<String> = []
    var worker: Int
    var failuresInARow = 0

    init(index: Int, workers: Int) {
        self.index = index
        id = "device-" + String(format: "%05d", index)
        worker = index % workers
    }

    /// Half of the fleet ignores pushes and finds its work by polling.
    var ignoresPushes: Bool { index % 2 == 1 }
    /// One in fifty answers NotNow first.
    var answersNotNowFirst: Bool { index % 50 == 7 }
    /// One in a hundred reports an error.
    var reportsAnError: Bool { index % 100 == 42 }

    /// The code of the operation that asks for information.
    static let informationCode = "device-information"

    /// Runs an operation and notes the answer.
    mutating func run(_ operation: JSONValue, counters: inout FleetCounters) {
        guard let execution = operation["execution"]?.stringValue else { return }
        let attempt = operation["attempt"] ?? .null
        let code = operation["code"]?.stringValue ?? ""
        counters.handedOut += 1
        if let status = finished[execution] {
            // At-least-once: say again what was said, run nothing again.
            counters.redelivered += 1
            outstanding[execution] = result(execution, attempt, status)
            return
        }
        if code == Self.informationCode {
            owesInformation = true
        } else if answersNotNowFirst && hasDeferred.insert(execution).inserted {
            counters.deferred += 1
            outstanding[execution] = .object([
                "execution": .string(execution), "attempt": attempt, "status": "notNow",
                "retryAfter": 1,
            ])
            return
        }
        let status = reportsAnError && code != Self.informationCode ? "failed" : "completed"
        finished[execution] = status
        counters.executed += 1
        outstanding[execution] = result(execution, attempt, status)
    }

    private func result(_ execution: String, _ attempt: JSONValue, _ status: String) -> JSONValue {
        .object([
            "execution": .string(execution), "attempt": attempt, "status": .string(status),
            "detail": .object(["device": .string(id)]),
        ])
    }

    /// What the device tells about itself.
    var information: JSONValue {
        .object([
            "location": .object([
                "latitude": .number(52 + Double(index) / 10_000), "longitude": 13,
            ]),
            "applications": .array([
                .object(["identifier": "shell", "version": .string("1.\(index % 7)")]),
                .object(["identifier": "viewer", "version": "4.2"]),
            ]),
        ])
    }
}

/// What the fleet counts; the demonstration reads it.
struct FleetCounters: Codable, Sendable {
    var devices = 0
    var enrolled = 0
    var exchanges = 0
    /// Calls that found no worker: the device goes to the other one and repeats.
    var failedCalls = 0
    /// Exchanges that failed at every worker in a row.
    var stranded = 0
    var handedOut = 0
    var executed = 0
    var redelivered = 0
    var deferred = 0
    var wakeUps = 0
    var ignoredWakeUps = 0
    var informed = 0
    /// Final results a worker has taken, by operation and status.
    var acknowledged: [String: [String: Int]] = [:]
    /// Results a device still holds.
    var outstanding = 0
}
#endif
