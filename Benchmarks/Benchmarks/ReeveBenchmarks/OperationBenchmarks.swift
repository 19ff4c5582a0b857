import Benchmark
import ClusterRole
import DeviceRegistry
import OperationQueue

/// Enqueue, exchange and poll.
enum OperationBenchmarks {
    static func register() {
        for driver in Driver.allCases {
            enqueue(driver)
            for size in [1_000, 100_000] { enqueueToGroup(driver, size) }
            for clients in [1, 16] { exchange(driver, clients) }
            emptyPoll(driver)
        }
        for clients in [1, 16] { exchangeWithWorker(clients) }
        emptyPollOfWorker()
    }

    /// One operation for one of a thousand devices. It is durable when the call returns.
    private static func enqueue(_ driver: Driver) {
        measure(
            "Enqueue to one device, \(driver.rawValue)",
            .thousandfold,
            make: { try await Fleet(driver, size: 1_000) },
            close: { try await $0.store.close() }
        ) { benchmark, fleet in
            let enqueuer = fleet.store.enqueuer
            for index in benchmark.scaledIterations {
                let device = fleet.devices[index % fleet.devices.count].device
                let request = EnqueueRequest("lock", to: .devices([device]))
                blackHole(try await enqueuer.enqueue(request))
            }
        }
    }

    /// One operation for all members of a group: one row, whatever their number.
    private static func enqueueToGroup(_ driver: Driver, _ size: Int) {
        measure(
            "Enqueue to a group of \(size), \(driver.rawValue)",
            .once,
            make: { try await Fleet(driver, size: size) },
            close: { try await $0.store.close() }
        ) { _, fleet in
            let request = EnqueueRequest("lock", to: .group(Fleet.group))
            blackHole(try await fleet.store.enqueuer.enqueue(request))
        }
    }

    /// A device fetches its operation, then reports it completed: two calls, the second durable.
    private static func exchange(_ driver: Driver, _ clients: Int) {
        measure(
            "Fetch and report, \(clients) clients, \(driver.rawValue)",
            .thousandfold,
            make: { try await Fleet(driver, size: 1_000) },
            close: { try await $0.store.close() }
        ) { benchmark, fleet in
            let request = EnqueueRequest("lock", to: .group(Fleet.group))
            _ = try await fleet.store.enqueuer.enqueue(request)
            benchmark.startMeasurement()
            try await fetchAndReport(benchmark, fleet.devices, with: fleet.store.exchange, clients)
            benchmark.stopMeasurement()
        }
    }

    private static func exchangeWithWorker(_ clients: Int) {
        measure(
            "Fetch and report, \(clients) clients, worker's replica and spool",
            .thousandfold,
            make: { try Worker(try await Fleet(.inMemory, size: 1_000)) },
            close: { try await $0.close() }
        ) { benchmark, worker in
            let request = EnqueueRequest("lock", to: .group(Fleet.group))
            _ = try await worker.fleet.store.enqueuer.enqueue(request)
            try await worker.follow()
            benchmark.startMeasurement()
            try await fetchAndReport(
                benchmark,
                worker.fleet.devices,
                with: worker.exchange,
                clients
            )
            benchmark.stopMeasurement()
        }
    }

    private static func fetchAndReport(
        _ benchmark: Benchmark,
        _ devices: [DeviceIdentity],
        with exchange: DeviceExchange,
        _ clients: Int
    ) async throws {
        try await forEach(below: benchmark.scaledIterations.count, width: clients) { index in
            let device = devices[index % devices.count]
            let offered = try await exchange.exchange(device: device).operations
            let results = offered.map {
                ExecutionResult(execution: $0.execution, outcome: .completed)
            }
            guard !results.isEmpty else { throw UnexpectedOutcome("nothing was offered") }
            let report = ExchangeReport(results: results)
            blackHole(try await exchange.exchange(device: device, report: report))
        }
    }

    /// A device asks and there is nothing: on a store in process, for the embedded one through SQL.
    private static func emptyPoll(_ driver: Driver) {
        measure(
            "Empty poll, \(driver.rawValue)",
            .thousandfold,
            make: { try await Fleet(driver, size: 1_000) },
            close: { try await $0.store.close() }
        ) { benchmark, fleet in
            let exchange = fleet.store.exchange
            for index in benchmark.scaledIterations {
                let device = fleet.devices[index % fleet.devices.count]
                blackHole(try await exchange.exchange(device: device))
            }
        }
    }

    /// The same on a worker, which answers from its replica in memory.
    private static func emptyPollOfWorker() {
        measure(
            "Empty poll, worker's replica",
            .thousandfold,
            make: {
                let worker = try Worker(try await Fleet(.inMemory, size: 1_000))
                try await worker.follow()
                return worker
            },
            close: { try await $0.close() }
        ) { benchmark, worker in
            for index in benchmark.scaledIterations {
                let device = worker.fleet.devices[index % worker.fleet.devices.count]
                blackHole(try await worker.exchange.exchange(device: device))
            }
        }
    }
}
