#if Server && SQLite && Push
import AsyncHTTPClient
import Foundation
import HTTPHandling

/// The process that plays the devices: each enrols, polls, runs what it is handed, reports.
actor Fleet {
    struct Configuration: Sendable {
        var devices: Int
        var workers: [String]
        var group: String
        var secret: String
        /// Where the push transport reaches the devices.
        var pushAddress: String
        /// How often a device polls if nothing else is said.
        var frequency: Duration
        /// Calls under way at once.
        var concurrency = 48
    }

    private let configuration: Configuration
    private let client: HTTPClient
    private var devices: [FleetDevice]
    private var due: [ContinuousClock.Instant]
    private var busy: Set<Int> = []
    private var counters = FleetCounters()
    private let clock = ContinuousClock()

    init(_ configuration: Configuration, client: HTTPClient) {
        self.configuration = configuration
        self.client = client
        devices = (0..<configuration.devices).map {
            FleetDevice(index: $0, workers: configuration.workers.count)
        }
        due = Array(repeating: ContinuousClock.now, count: configuration.devices)
        counters.devices = configuration.devices
    }

    /// Serves the devices until cancelled.
    func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let now = clock.now
                for index in devices.indices where due[index] <= now && !busy.contains(index) {
                    guard busy.count < configuration.concurrency else { break }
                    busy.insert(index)
                    group.addTask { await self.serve(index) }
                }
                try await clock.sleep(for: .milliseconds(10))
            }
        }
    }

    /// A push has arrived for a device.
    func wake(_ id: String) -> Bool {
        guard let index = Int(id.dropFirst("device-".count)), devices.indices.contains(index) else {
            return false
        }
        counters.wakeUps += 1
        if devices[index].ignoresPushes {
            counters.ignoredWakeUps += 1
        } else {
            due[index] = clock.now
        }
        return true
    }

    func snapshot() -> FleetCounters {
        var counters = counters
        counters.outstanding = devices.reduce(0) { $0 + $1.outstanding.count }
        return counters
    }

    private func serve(_ index: Int) async {
        let device = devices[index]
        let delay: Duration
        do {
            if device.credential == nil {
                try await enrol(index)
                delay = .zero
            } else if !device.isRegistered {
                delay = try await register(index)
            } else {
                delay = try await exchange(index)
            }
            devices[index].failuresInARow = 0
        } catch {
            counters.failedCalls += 1
            devices[index].failuresInARow += 1
            devices[index].worker = (devices[index].worker + 1) % configuration.workers.count
            if devices[index].failuresInARow >= configuration.workers.count {
                counters.stranded += 1
            }
            delay = .milliseconds(devices[index].failuresInARow > 1 ? 500 : 50)
        }
        busy.remove(index)
        due[index] = clock.now + delay
    }

    private func connection(_ device: FleetDevice) -> JSONClient {
        JSONClient(
            base: configuration.workers[device.worker],
            token: device.credential,
            client: client
        )
    }

    private func enrol(_ index: Int) async throws {
        let answer = try await connection(devices[index]).post(
            "/device/v1/enrolments",
            .object([
                "device": .string(devices[index].id), "secret": .string(configuration.secret),
                "groups": .array([.string(configuration.group)]),
            ]),
            idempotencyKey: "enrol-\(devices[index].id)"
        )
        guard let credential = answer["credential"]?.stringValue else {
            throw DemoFailure("an enrolment was answered without a credential")
        }
        devices[index].credential = credential
    }

    /// Tells the worker where pushes reach the device.
    private func register(_ index: Int) async throws -> Duration {
        try await connection(devices[index]).put(
            "/device/v1/push-registration",
            .object([
                "transport": "http",
                "address": .string(configuration.pushAddress + "/wake/" + devices[index].id),
            ])
        )
        devices[index].isRegistered = true
        counters.enrolled += 1
        // Spread the first polls over one period.
        return configuration.frequency * (Double(index % 97) / 97)
    }

    private func exchange(_ index: Int) async throws -> Duration {
        if devices[index].owesInformation {
            try await connection(devices[index]).put(
                "/device/v1/information",
                devices[index].information
            )
            devices[index].owesInformation = false
            counters.informed += 1
        }
        let reported = devices[index].outstanding
        let answer = try await connection(devices[index]).post(
            "/device/v1/exchange",
            .object(["results": .array(Array(reported.values)), "limit": 10])
        )
        counters.exchanges += 1
        for (execution, result) in reported { acknowledge(execution, result, of: index) }
        for operation in answer["operations"]?.elements ?? [] {
            devices[index].run(operation, counters: &counters)
        }
        if !devices[index].outstanding.isEmpty { return .zero }
        let seconds = answer["pollAfter"]?.numberValue ?? 0
        return seconds > 0
            ? .milliseconds(Int64(seconds * 1_000)) : configuration.frequency
    }

    /// A worker has taken a result: from here on it must not be lost.
    private func acknowledge(_ execution: String, _ result: JSONValue, of index: Int) {
        devices[index].outstanding[execution] = nil
        guard let status = result["status"]?.stringValue, status != "notNow",
            devices[index].acknowledged.insert(execution).inserted
        else { return }
        let operation = String(execution.prefix { $0 != "." })
        counters.acknowledged[operation, default: [:]][status, default: 0] += 1
    }
}
#endif
