#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Foundation
import OperationQueue
import SQLiteEngine
import SQLiteReplica
import XCTest

/// One flipped bit anywhere in a worker's file: it is reported, or nothing that is returned differs.
final class ReplicaBitFlipTests: XCTestCase {
    private static let devices: [DeviceID] = (0..<6).map { DeviceID(rawValue: "device-\($0)") }

    private struct Damaged: Error { var damage: ReplicaDamage }

    private static func open(_ path: String, _ time: ManualTimeSource) throws -> WorkerReplica {
        try WorkerReplica(
            path: path,
            node: "worker-1",
            secrets: SecretBox(key: Array(repeating: 7, count: SecretBox.keySize)),
            time: time,
            random: SeededRandomSource(seed: 3),
            logger: quiet
        )
    }

    /// Everything a worker answers with, as one number.
    private static func read(_ replica: WorkerReplica) async throws -> Int {
        if !replica.damage.isNone { throw Damaged(damage: replica.damage) }
        var hasher = Hasher()
        hasher.combine(replica.position.revision)
        hasher.combine(replica.deviceCount)
        hasher.combine(replica.pendingCount)
        for device in devices {
            hasher.combine(try await replica.openWork(for: device, tenant: .standard))
        }
        hasher.combine(try await replica.pendingEntries(limit: 1_000))
        return hasher.finalize()
    }

    /// A replica of a small fleet with entries of every kind in its spool.
    private func fill(_ replica: WorkerReplica, _ cluster: InMemoryCluster) async throws {
        var identities: [DeviceIdentity] = []
        for device in Self.devices {
            identities.append(try await cluster.enrol(device.rawValue, groups: ["field"]))
        }
        for index in 0..<6 {
            _ = try await cluster.enqueuer.enqueue(
                EnqueueRequest(
                    "lock",
                    to: index % 2 == 0 ? .group("field") : .devices(Self.devices)
                )
            )
        }
        var cursor: ReplicaCursor?
        repeat {
            let page = try await cluster.operations.page(
                after: replica.position.revision,
                cursor: cursor,
                limit: 1_000,
                for: "worker-1"
            )
            try await replica.apply(page)
            cursor = page.next
        } while cursor != nil
        let exchange = DeviceExchange(
            reader: replica,
            inbox: replica,
            settings: .init(clock: cluster.time, random: cluster.random)
        )
        for identity in identities {
            let offers = try await exchange.exchange(device: identity).operations
            let results = offers.prefix(2).map {
                ExecutionResult(
                    execution: $0.execution,
                    attempt: $0.attempt,
                    outcome: .completed,
                    detail: [4, 5]
                )
            }
            _ = try await exchange.exchange(
                device: identity,
                report: ExchangeReport(results: results, limit: 0)
            )
            try await exchange.register(push: (transport: "t", address: "a"), device: identity)
        }
    }

    func test_replica_aFlippedBit_isReportedOrChangesNothing() async throws {
        let directory = try TestDirectory()
        let path = directory.path + "/worker.sqlite"
        let cluster = InMemoryCluster(seed: 8)
        let time = cluster.time
        let replica = try Self.open(path, time)
        try await fill(replica, cluster)
        let report = try await replica.verify()
        XCTAssertTrue(report.isSound, report.summary)
        let rows = report.rows
        XCTAssertGreaterThan(rows, 50)
        try await replica.close()
        BitFlips.assertEveryTableHasARow(in: path)
        let reference = try Self.open(path, time)
        let expected = try await Self.read(reference)
        try await reference.close()
        let original = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        let tally = try await BitFlips.flip(original, at: path, count: 2_000, seed: 78) { path in
            let replica = try Self.open(path, time)
            do {
                let found = try await Self.read(replica)
                try await replica.close()
                return found == expected ? .same : .different
            } catch {
                try? await replica.close()
                throw error
            }
        } verify: { path in
            let replica = try Self.open(path, time)
            do {
                let report = try await replica.verify()
                guard report.isSound else { throw DamageFound(summary: report.summary) }
            } catch {
                try? await replica.close()
                throw error
            }
            try await replica.close()
        }
        print("replica: \(tally)")
        XCTAssertGreaterThan(tally.reported, 700)
        XCTAssertEqual(tally.silent, [])
    }
}
#endif
