#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteReplica
import XCTest

/// What a power cut at any write leaves of a worker's replica and spool.
final class ReplicaCrashTests: XCTestCase {
    /// A result the worker answered for.
    private struct Accepted: Sendable {
        var events: Int64
        var detail: [UInt8]
    }

    private func live(
        _ recording: CrashRecording,
        steps: Int,
        synchronous: DatabaseFileOptions.Synchronous = .full
    ) async throws -> (accepted: [Accepted], cluster: InMemoryCluster) {
        let cluster = InMemoryCluster(seed: 21)
        var devices: [DeviceIdentity] = []
        for index in 0..<4 {
            devices.append(try await cluster.enrol("device-\(index)", groups: ["field"]))
        }
        let worker = try ReplicaHouse.open(recording.path, cluster, synchronous: synchronous)
        let exchange = DeviceExchange(
            reader: worker.replica,
            inbox: worker.replica,
            settings: .init(clock: cluster.time, random: cluster.random)
        )
        try await worker.follow()
        try recording.acknowledge()
        var accepted: [Accepted] = []
        for step in 0..<steps {
            cluster.time.advance(by: .seconds(5))
            let device = devices[step % devices.count]
            switch step % 5 {
            case 0:
                _ = try await cluster.enqueuer.enqueue(
                    EnqueueRequest("lock", to: .group("field"))
                )
                try await worker.follow()
            case 4:
                try await worker.drain()
            default:
                let offers = try await exchange.exchange(device: device).operations
                try recording.acknowledge()
                guard let offer = offers.first else { continue }
                let detail = Array("result \(step)".utf8)
                let result = ExecutionResult(
                    execution: offer.execution,
                    attempt: offer.attempt,
                    outcome: .completed,
                    detail: detail
                )
                _ = try await exchange.exchange(
                    device: device,
                    report: ExchangeReport(results: [result], limit: 0)
                )
                accepted.append(Accepted(events: recording.events, detail: detail))
            }
            try recording.acknowledge()
        }
        try await worker.replica.close()
        try recording.acknowledge()
        return (accepted, cluster)
    }

    private struct LostResult: Error { var detail: String }

    /// A result is on the worker's disk or with the manager.
    private static func reopen(
        _ path: String,
        _ cluster: InMemoryCluster,
        _ accepted: [Accepted]
    ) async throws {
        let worker = try ReplicaHouse.open(path, cluster)
        var present: Set<[UInt8]> = []
        for entry in try await worker.replica.pendingEntries(limit: 10_000) {
            if case .result(_, _, _, let detail) = entry.entry.body { present.insert(detail) }
        }
        for activity in try await cluster.browser.activities().activities {
            for execution in try await cluster.browser.executions(of: activity.id).executions {
                present.insert(execution.detail)
            }
        }
        try await worker.replica.close()
        for result in accepted where !present.contains(result.detail) {
            throw LostResult(detail: String(decoding: result.detail, as: UTF8.self))
        }
    }

    func test_replica_powerCutAtAnyWrite_losesNoAcceptedResult() async throws {
        let recording = try await CrashRecording()
        let (accepted, cluster) = try await live(recording, steps: 40)
        let found = try await recording.explore(seed: 3, reopenEvery: 8) { path, events in
            try await Self.reopen(path, cluster, accepted.filter { $0.events <= events })
        }
        XCTAssertGreaterThan(accepted.count, 10)
        XCTAssertGreaterThan(found.images, 200)
        XCTAssertEqual(found.losses, 0)
        XCTAssertEqual(found.foreign, 0)
        XCTAssertEqual(found.unreadable, [])
    }

    /// The control.
    func test_replica_withoutSyncedCommits_losesAcceptedResults() async throws {
        let recording = try await CrashRecording {
            try await ReplicaHouse.open($0, InMemoryCluster()).replica.close()
        }
        try recording.acknowledge()
        _ = try await live(recording, steps: 40, synchronous: .normal)
        let found = try await recording.explore(seed: 3, reopenEvery: .max) { _, _ in }
        XCTAssertGreaterThan(found.losses, 10)
        XCTAssertLessThan(found.foreign, 5, "between the two pages of the first snapshot")
        XCTAssertEqual(found.unreadable, [])
    }
}
#endif
