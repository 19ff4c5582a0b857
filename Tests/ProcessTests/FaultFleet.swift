#if Server && SQLite && Push && os(Linux)
import ClusterRole
import Foundation
import HTTPHandling
import Synchronization

@testable import reeve

/// Devices that exchange through the workers of a ``FaultCluster``, each with one worker until that does not
/// answer, and what they were told.
final class FaultFleet: Sendable {
    private let cluster: FaultCluster
    let devices: Int
    private let counters = Mutex(FleetCounters())
    /// What speaks against the promises; empty if nothing does.
    private let problems = Mutex<[String]>([])
    /// The newest revision each worker has shown, by worker.
    private let shown = Mutex<[Int: Revision]>([:])

    init(_ cluster: FaultCluster, devices: Int) {
        self.cluster = cluster
        self.devices = devices
    }

    var figures: FleetCounters { counters.withLock { $0 } }
    var complaints: [String] { problems.withLock { $0 } }

    /// Runs the devices and watches the workers' revisions until cancelled.
    func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for number in 0..<devices {
                group.addTask { try await self.live(number) }
            }
            for worker in 1...cluster.workers {
                group.addTask { try await self.watch(worker) }
            }
        }
    }

    /// A worker never goes back, restarts included.
    private func watch(_ worker: Int) async throws {
        while !Task.isCancelled {
            if let revision = await cluster.revision(worker) { note(revision, of: worker) }
            try await Task.sleep(for: .milliseconds(150))
        }
    }

    /// Calls to one worker overtake each other, so only what is asked one after the other is compared.
    private func note(_ revision: Revision, of worker: Int) {
        let before = shown.withLock { $0.updateValue(revision, forKey: worker) }
        if let before, !revision.covers(before) {
            complain("worker-\(worker) went from \(before) back to \(revision)")
        }
    }

    private func complain(_ text: String) { problems.withLock { $0.append(text) } }

    private func live(_ number: Int) async throws {
        // Even numbers: devices that put nothing off, because they would by the worker's clock.
        var device = FleetDevice(index: number * 2, workers: cluster.workers)
        var worker = 1 + number % cluster.workers
        device.credential = try await cluster.enrol(device.id, through: worker)
        counters.withLock { $0.enrolled += 1 }
        var seen: [Int: Revision] = [:]
        while !Task.isCancelled {
            do {
                let revision = try await exchange(&device, worker)
                if let before = seen.updateValue(revision, forKey: worker),
                    !revision.covers(before)
                {
                    complain("\(device.id) met \(revision) at worker-\(worker) after \(before)")
                }
            } catch {
                try Task.checkCancellation()
                counters.withLock { $0.failedCalls += 1 }
                worker = worker % cluster.workers + 1
            }
            if device.outstanding.isEmpty { try await Task.sleep(for: .milliseconds(250)) }
        }
    }

    private func exchange(_ device: inout FleetDevice, _ worker: Int) async throws -> Revision {
        let reported = device.outstanding
        let answer = try await cluster.client(
            worker,
            token: device.credential,
            timeout: .seconds(1)
        ).post(
            "/device/v1/exchange",
            .object([
                "results": .array(Array(reported.values)), "limit": 10,
                // It has nothing in hand that it has not answered: an answer may have been lost.
                "redeliver": true,
            ])
        )
        counters.withLock { counters in
            counters.exchanges += 1
            for (execution, result) in reported {
                device.outstanding[execution] = nil
                guard device.acknowledged.insert(execution).inserted else { continue }
                let operation = String(execution.prefix { $0 != "." })
                let status = result["status"]?.stringValue ?? "?"
                counters.acknowledged[operation, default: [:]][status, default: 0] += 1
            }
            for operation in answer["operations"]?.elements ?? [] {
                device.run(operation, counters: &counters)
            }
        }
        return try Revision(parsing: answer["revision"]?.stringValue ?? "")
    }
}
#endif
