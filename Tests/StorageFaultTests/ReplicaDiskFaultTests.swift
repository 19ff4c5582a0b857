#if SQLite
import ClusterRole
import ClusterTestKit
import CrashImageSupport
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteReplica
import XCTest

/// A full disk and a disk that fails under a worker's replica and spool: what a device was answered for
/// is on the disk or with the manager.
final class ReplicaDiskFaultTests: XCTestCase {
    private enum Code {
        static let full: Int32 = 13
        static let read: Int32 = 10 | 1 << 8
        static let write: Int32 = 10 | 3 << 8
        static let sync: Int32 = 10 | 4 << 8
    }

    /// A worker that serves two devices and hands on a little, until a call fails.
    private struct Life {
        let cluster: InMemoryCluster
        let worker: ReplicaHouse
        let devices: [DeviceIdentity]
        var step = 0
        /// What devices were answered for.
        var accepted: [[UInt8]] = []

        static func open(_ path: String) async throws -> Life {
            let cluster = InMemoryCluster(seed: 21)
            var devices: [DeviceIdentity] = []
            for index in 0..<2 {
                devices.append(try await cluster.enrol("device-\(index)", groups: ["field"]))
            }
            let worker = try ReplicaHouse.open(path, cluster)
            return Life(cluster: cluster, worker: worker, devices: devices)
        }

        /// - Returns: the error that ended it.
        mutating func live(steps: Int) async -> (any Error)? {
            do {
                for _ in 0..<steps { try await next() }
                return nil
            } catch {
                return error
            }
        }

        private mutating func next() async throws {
            defer { step += 1 }
            cluster.time.advance(by: .seconds(5))
            if step % 4 == 0 {
                _ = try await cluster.enqueuer.enqueue(
                    EnqueueRequest("lock", to: .group("field"), payload: [1, 2, 3])
                )
                return try await worker.follow()
            }
            if step % 4 == 3 { return try await worker.drain() }
            let device = devices[step % 2]
            let exchange = DeviceExchange(
                reader: worker.replica,
                inbox: worker.replica,
                settings: .init(clock: cluster.time, random: cluster.random)
            )
            guard let offer = try await exchange.exchange(device: device).operations.first else {
                return
            }
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
            accepted.append(detail)
        }

        /// Results that are neither in the file at `path` nor with the manager.
        func missing(in path: String) async throws -> [String] {
            let again = try ReplicaHouse.open(path, cluster)
            var present: Set<[UInt8]> = []
            for entry in try await again.replica.pendingEntries(limit: 10_000) {
                if case .result(_, _, _, let detail) = entry.entry.body { present.insert(detail) }
            }
            try await again.replica.close()
            for activity in try await cluster.browser.activities().activities {
                for execution in try await cluster.browser.executions(of: activity.id).executions {
                    present.insert(execution.detail)
                }
            }
            return accepted.filter { !present.contains($0) }
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func assertTyped(
        _ error: (any Error)?,
        _ codes: [SQLiteStorageError.Code],
        _ what: String
    ) {
        guard let error else { return }
        let found = StorageError.within(error)?.code
        XCTAssertTrue(found.map(codes.contains) ?? false, "\(what): \(error)")
    }

    func test_replica_failedSync_losesNoAcceptedResult_closedOrKilled() async throws {
        var struck = 0
        for suffix in ["-wal", ".sqlite"] {
            for number in 0..<Int64(30) {
                let recording = try await CrashRecording()
                var life = try await Life.open(recording.path)
                crash_fail(Int32(CRASH_FAULT_SYNC), suffix, number, 1, Code.sync)
                let error = await life.live(steps: 24)
                let hasStruck = crash_failed_calls() == 1
                crash_fail_none()
                guard hasStruck else {
                    try await life.worker.replica.close()
                    break
                }
                struck += 1
                let what = "sync \(number) of \(suffix)"
                assertTyped(error, [.io, .poisoned], what)
                // Killed here: nothing is closed. What the disk holds is one of these.
                for kept in [CRASH_KEEP_NONE, CRASH_KEEP_ALL, CRASH_KEEP_SOME] {
                    let image = try recording.image(
                        after: recording.events,
                        keeping: kept,
                        seed: UInt64(number)
                    )
                    let lost = try await life.missing(in: image)
                    XCTAssertEqual(lost, [], "\(what), killed, kept \(kept)")
                }
                try await life.worker.replica.close()
                let lost = try await life.missing(in: recording.path)
                XCTAssertEqual(lost, [], "\(what), closed")
            }
        }
        XCTAssertGreaterThan(struck, 15)
    }

    func test_replica_fullDisk_isATypedErrorAndPassesWhenThereIsRoom() async throws {
        var struck = 0
        for suffix in ["-wal", ".sqlite"] {
            for number in 0..<Int64(60) {
                let recording = try await CrashRecording()
                var life = try await Life.open(recording.path)
                crash_fail(Int32(CRASH_FAULT_GROWTH), suffix, number, .max, Code.full)
                let error = await life.live(steps: 24)
                let hasStruck = crash_failed_calls() > 0
                crash_fail_none()
                if hasStruck {
                    struck += 1
                    assertTyped(error, [.full], "write \(number) of \(suffix)")
                    try await life.worker.follow()
                    let later = await life.live(steps: 8)
                    XCTAssertNil(later, "write \(number) of \(suffix)")
                }
                try await life.worker.replica.close()
                let lost = try await life.missing(in: recording.path)
                XCTAssertEqual(lost, [], "write \(number) of \(suffix)")
                if !hasStruck { break }
            }
        }
        XCTAssertGreaterThan(struck, 30)
    }

    func test_replica_failedWriteOrRead_isATypedErrorAndLosesNothing() async throws {
        for (fault, code) in [(CRASH_FAULT_WRITE, Code.write), (CRASH_FAULT_READ, Code.read)] {
            for number in stride(from: Int64(0), to: 60, by: 2) {
                let recording = try await CrashRecording()
                var life = try await Life.open(recording.path)
                crash_fail(Int32(fault), "", number, 1, code)
                let error = await life.live(steps: 24)
                crash_fail_none()
                assertTyped(error, [.io, .poisoned], "fault \(fault), call \(number)")
                try await life.worker.replica.close()
                let lost = try await life.missing(in: recording.path)
                XCTAssertEqual(lost, [], "fault \(fault), call \(number)")
            }
        }
    }
}
#endif
