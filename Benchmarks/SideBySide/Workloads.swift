import ClusterRole
import DeviceRegistry
import Foundation
import OperationQueue
import SQLiteReplica
import SQLiteStore

/// The four workloads that `Peers/limit.c` does too.
enum Workloads {
    /// W1: enqueues that name every device; one operation is one device.
    static func enqueue(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let devices = try await site.devices().map(\.device)
        let count = arguments.number("n", 1)
        let start = Measurement()
        for _ in 0..<count {
            let receipt = try await site.enqueuer.enqueue(Site.request(.devices(devices)))
            try expect(receipt.addressed == devices.count, "all devices are addressed")
        }
        start.report("reeve", "W1 named", devices.count * count)
        try await site.close()
    }

    /// W2: a device fetches its operation and reports it completed, durable when it is answered.
    static func exchange(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let devices = try await site.devices()
        let clients = arguments.number("clients", 1)
        let count = min(arguments.number("n", 1_000), devices.count)
        if arguments.text("on", "store") == "worker" {
            let worker = try await Worker(site, path: arguments.path + ".worker")
            try await run(worker.exchange, devices, count, clients, "reeve worker")
            try await worker.close()
        } else {
            try await run(site.exchange, devices, count, clients, "reeve")
        }
        try await site.close()
    }

    private static func run(
        _ exchange: DeviceExchange,
        _ devices: [DeviceIdentity],
        _ count: Int,
        _ clients: Int,
        _ contender: String
    ) async throws {
        let start = Measurement()
        try await forEach(below: count, width: clients) { index in
            let device = devices[scattered(index, of: devices.count)]
            let offered = try await exchange.exchange(device: device).operations
            let results = offered.map {
                ExecutionResult(
                    execution: $0.execution,
                    attempt: $0.attempt,
                    outcome: .completed,
                    detail: Site.detail
                )
            }
            try expect(results.count == 1, "one operation is offered")
            let answer = try await exchange.exchange(
                device: device,
                report: ExchangeReport(results: results)
            )
            try expect(answer.operations.isEmpty, "no other is offered")
        }
        start.report(contender, "W2 c=\(clients)", count)
    }

    /// W3: one operation for the whole group, again and again.
    static func group(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let count = arguments.number("n", 200)
        // One that is not counted: it opens the log file.
        _ = try await site.enqueuer.enqueue(Site.request(.group(Site.group)))
        let start = Measurement()
        var times: [Double] = []
        for _ in 0..<count {
            let began = ContinuousClock.now
            _ = try await site.enqueuer.enqueue(Site.request(.group(Site.group)))
            times.append((ContinuousClock.now - began) / .microseconds(1))
        }
        times.sort()
        let middle = times.isEmpty ? 0 : times[count / 2]
        let note = String(format: "median %.0f us each", middle)
        start.report("reeve", "W3 group", max(1, count), note: note)
        try await site.close()
    }

    /// W4: polls that find nothing, through SQL or from a replica's memory.
    static func poll(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let devices = try await site.devices()
        let count = arguments.number("n", 100_000)
        switch arguments.text("from", "exchange") {
        case "replica", "replica-exchange":
            let worker = try await Worker(site, path: arguments.path + ".worker")
            if arguments.text("from", "") == "replica" {
                try await read(worker.replica, devices, count, "reeve replica")
            } else {
                try await poll(worker.exchange, devices, count, "reeve replica")
            }
            try await worker.close()
        case "reader": try await read(site.store, devices, count, "reeve")
        default: try await poll(site.exchange, devices, count, "reeve")
        }
        try await site.close()
    }

    /// Asks a driver what is open.
    private static func read(
        _ reader: some PendingWorkReader,
        _ devices: [DeviceIdentity],
        _ count: Int,
        _ contender: String
    ) async throws {
        let start = Measurement()
        for index in 0..<count {
            let device = devices[scattered(index, of: devices.count)].device
            let work = try await reader.openWork(for: device, tenant: .standard)
            try expect(work?.items.isEmpty ?? false, "nothing is open")
        }
        start.report(contender, "W4 open work", count)
    }

    /// Whole exchanges, with the contacts they note.
    private static func poll(
        _ exchange: DeviceExchange,
        _ devices: [DeviceIdentity],
        _ count: Int,
        _ contender: String
    ) async throws {
        let start = Measurement()
        for index in 0..<count {
            let device = devices[scattered(index, of: devices.count)]
            let answer = try await exchange.exchange(device: device)
            try expect(answer.operations.isEmpty, "nothing is offered")
        }
        start.report(contender, "W4 exchange", count)
    }
}

/// A worker's replica of a store, with the link's work done by calls.
struct Worker: Sendable {
    let site: Site
    let replica: WorkerReplica
    let path: String

    init(_ site: Site, path: String) async throws {
        self.site = site
        self.path = path
        replica = try WorkerReplica(
            path: path,
            node: "worker",
            secrets: SecretBox(key: [UInt8](repeating: 7, count: SecretBox.keySize))
        )
        try await follow()
    }

    var exchange: DeviceExchange { DeviceExchange(reader: replica, inbox: replica) }

    /// Takes pages until nothing is missing.
    func follow() async throws {
        var cursor: ReplicaCursor?
        while true {
            let page = try await site.store.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 10_000,
                for: replica.node
            )
            try await replica.apply(page)
            cursor = page.next
            let newest = try await site.store.currentRevision()
            if page.content == .delta, page.revision == newest { return }
        }
    }

    func close() async throws {
        try await replica.close()
        for suffix in ["", "-wal", "-shm", ".lock"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
        }
    }
}

/// What was measured must also have been done.
func expect(_ condition: Bool, _ what: String) throws {
    if !condition { throw UsageError("expected that \(what)") }
}
