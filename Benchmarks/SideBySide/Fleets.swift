import ClusterRole
import DeviceRegistry
import Foundation
import NotificationDispatch
import OperationQueue
import SQLiteReplica
import SQLiteStore

/// What a large fleet costs.
enum Fleets {
    /// Finds the due wake-ups, `limit=N` of them, among one wake a device.
    static func due(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let limit = arguments.number("limit", 10)
        var request = Site.request(.group(Site.group))
        request.wake = .push
        _ = try await site.enqueuer.enqueue(request)
        let now = SystemTimeSource().now()
        let epoch = try site.capability.requireEpoch()
        let expansion = Measurement()
        var wakes = 0
        while true {
            let receipt = try await site.store.expand(limit: 1_000, epoch: epoch, at: now)
            wakes += receipt.added + receipt.coalesced
            if receipt.isFinished { break }
        }
        expansion.report("reeve", "wake expansion", wakes)
        // Most are put off: a few are due among very many.
        let first: [DueWakeUp] = try await site.store.due(at: now, limit: wakes)
        let later = now + .seconds(3_600)
        for start in stride(from: limit, to: first.count, by: 1_000) {
            let part = first[start..<min(start + 1_000, first.count)].map {
                WakeSettlement(
                    tenant: $0.wake.tenant,
                    device: $0.wake.device,
                    generation: $0.wake.generation,
                    verdict: .retry(at: later, failure: "busy")
                )
            }
            try await site.store.settle(part, epoch: epoch, at: now)
        }
        let count = arguments.number("n", 1_000)
        let start = Measurement()
        for _ in 0..<count {
            let due: [DueWakeUp] = try await site.store.due(at: now, limit: 1_000)
            try expect(due.count == limit, "\(limit) are due, not \(due.count)")
        }
        start.report("reeve", "due wake-ups", count, note: "\(limit) due among \(wakes)")
        try await site.close()
    }

    /// A new worker takes a snapshot.
    static func snapshot(_ arguments: Arguments) async throws {
        let site = try await Site(arguments.path)
        let before = Resident.anonymous
        let start = Measurement()
        let worker = try await Worker(site, path: arguments.path + ".worker")
        let note = String(
            format: "%d devices; %.0f MB before, %.0f after",
            worker.replica.deviceCount,
            before,
            Resident.anonymous
        )
        start.report("reeve worker", "snapshot", worker.replica.deviceCount, note: note)
        try await worker.replica.close()
        try await site.close()
    }

    /// The memory of an idle process: `half=manager` with the store, `half=worker` with the file that
    /// ``snapshot(_:)`` made.
    static func idle(_ arguments: Arguments) async throws {
        let start = Measurement()
        let half = arguments.text("half", "manager")
        if half == "worker" {
            let replica = try WorkerReplica(
                path: arguments.path,
                node: "worker",
                secrets: SecretBox(key: [UInt8](repeating: 7, count: SecretBox.keySize))
            )
            report(start, "reeve worker", replica.deviceCount)
            try await replica.close()
        } else {
            let site = try await Site(arguments.path)
            _ = try await site.store.currentRevision()
            report(start, "reeve manager", arguments.number("devices", 1_000_000))
            try await site.close()
        }
    }

    private static func report(_ start: Measurement, _ contender: String, _ devices: Int) {
        let note = String(
            format: "%.0f MB resident, %.0f of them anonymous",
            Resident.present,
            Resident.anonymous
        )
        start.report(contender, "idle", devices, note: note)
    }
}
