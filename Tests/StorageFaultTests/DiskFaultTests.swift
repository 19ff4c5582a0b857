#if SQLite
import ClusterRole
import ClusterTestKit
import CrashImageSupport
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteStore
import XCTest

/// A full disk and a disk that fails, at every write and every sync of a small workload.
final class DiskFaultTests: XCTestCase {
    /// The results of SQLite that are injected.
    private enum Code {
        static let full: Int32 = 13
        static let read: Int32 = 10 | 1 << 8
        static let write: Int32 = 10 | 3 << 8
        static let sync: Int32 = 10 | 4 << 8
    }

    private static let shortLog: @Sendable (inout DatabaseFileOptions) -> Void = {
        $0.checkpointPages = 12
    }

    private func open(_ path: String, seed: UInt64 = 17) async throws -> StoreHouse {
        try await StoreHouse.open(path, seed: seed, adjust: Self.shortLog)
    }

    /// Enrols and enqueues until a call fails; returns what was acknowledged and the failure.
    private func work(
        _ house: StoreHouse,
        calls: Int
    ) async -> (acknowledged: [ActivityID], failure: (any Error)?) {
        var acknowledged: [ActivityID] = []
        do {
            let device = try await house.administration.enrol("device-1", groups: ["red"])
            for index in 0..<calls {
                let receipt = try await house.enqueue(
                    index % 2 == 0 ? .group("red") : .devices([device.identity.device])
                )
                acknowledged.append(receipt.activity)
            }
            return (acknowledged, nil)
        } catch {
            return (acknowledged, error)
        }
    }

    private func missing(_ activities: [ActivityID], in house: StoreHouse) async throws -> Int {
        var count = 0
        for activity in activities {
            if try await house.store.activity(activity, tenant: .standard) == nil { count += 1 }
        }
        return count
    }

    /// Fails one sync of a life and hands over what was acknowledged before.
    ///
    /// - Parameter killed: looks at the files before anything is closed.
    private func failSync(
        _ number: Int64,
        suffix: String,
        killed: (CrashRecording, [ActivityID]) async throws -> Void = { _, _ in }
    ) async throws -> (
        recording: CrashRecording, acknowledged: [ActivityID], failure: SQLiteStorageError?
    ) {
        let recording = try await CrashRecording()
        let house = try await open(recording.path)
        crash_fail(Int32(CRASH_FAULT_SYNC), suffix, number, 1, Code.sync)
        let (acknowledged, error) = await work(house, calls: 12)
        var failure = error.flatMap { StorageError.within($0) }
        if crash_failed_calls() == 1 {
            // The failing sync may be that of a checkpoint, behind the last acknowledged call.
            if failure == nil {
                failure = await StorageError.thrown { _ = try await house.enqueue(.group("red")) }
            }
            let later = await StorageError.thrown { _ = try await house.enqueue(.group("red")) }
            XCTAssertEqual(later?.code, .poisoned, "sync \(number)")
            let read = await StorageError.thrown {
                _ = try await house.store.activities(before: nil, limit: 1, tenant: .standard)
            }
            XCTAssertEqual(read?.code, .poisoned, "sync \(number)")
        }
        let hasStruck = crash_failed_calls() == 1
        crash_fail_none()
        if hasStruck { try await killed(recording, acknowledged) }
        try await house.store.close()
        return (recording, acknowledged, failure)
    }

    func test_store_failedSync_poisonsUntilReopenedAndLosesNothing() async throws {
        var struck = 0
        for suffix in ["-wal", ".sqlite"] {
            for number in 0..<Int64(30) {
                let (recording, acknowledged, failure) = try await failSync(number, suffix: suffix)
                guard crash_failed_calls() == 1 else { break }
                struck += 1
                XCTAssertTrue(
                    [.io, .poisoned].contains(failure?.code),
                    "sync \(number) of \(suffix): \(String(describing: failure))"
                )
                let again = try await open(recording.path, seed: 18)
                let lost = try await missing(acknowledged, in: again)
                XCTAssertEqual(lost, 0, "sync \(number) of \(suffix)")
                let more = await work(again, calls: 3)
                XCTAssertNil(more.failure, "sync \(number) of \(suffix)")
                try await again.store.close()
            }
        }
        XCTAssertGreaterThan(struck, 15)
    }

    /// The process dies with the error in its hands: nobody closes the file.
    func test_store_killedAfterAFailedSync_losesNothing() async throws {
        var images = 0
        for suffix in ["-wal", ".sqlite"] {
            for number in 0..<Int64(30) {
                _ = try await failSync(number, suffix: suffix) { recording, acknowledged in
                    for kept in [CRASH_KEEP_NONE, CRASH_KEEP_ALL, CRASH_KEEP_SOME] {
                        let image = try recording.image(
                            after: recording.events,
                            keeping: kept,
                            seed: UInt64(number)
                        )
                        images += 1
                        let found = try await self.open(image, seed: 18)
                        let lost = try await self.missing(acknowledged, in: found)
                        XCTAssertEqual(lost, 0, "sync \(number) of \(suffix), kept \(kept)")
                        let more = await self.work(found, calls: 2)
                        XCTAssertNil(more.failure, "sync \(number) of \(suffix), kept \(kept)")
                        try await found.store.close()
                    }
                }
                guard crash_failed_calls() == 1 else { break }
            }
        }
        XCTAssertGreaterThan(images, 45)
    }

    /// The kernel counts the pages of a failed sync as written: a later sync does not bring them to the
    /// disk. What is acknowledged after reopening must not stand on them: closing has moved the log,
    /// as far as it was read back, into the file.
    func test_store_powerCutAfterAFailedSyncAndReopening_losesNothing() async throws {
        var struck = 0
        for number in 0..<Int64(30) {
            let (recording, before, _) = try await failSync(number, suffix: "-wal")
            guard crash_failed_calls() == 1 else { break }
            struck += 1
            let again = try await open(recording.path, seed: 18)
            let (after, failure) = await work(again, calls: 2)
            XCTAssertNil(failure)
            let image = try recording.image(
                after: recording.events,
                keeping: CRASH_KEEP_NONE,
                seed: 0
            )
            try await again.store.close()
            do {
                let found = try await open(image)
                let lost = try await missing(before + after, in: found)
                XCTAssertEqual(lost, 0, "sync \(number)")
                try await found.store.close()
            } catch {
                XCTFail("sync \(number): \(error)")
            }
        }
        XCTAssertGreaterThan(struck, 10)
    }

    func test_store_fullDisk_isATypedErrorAndPassesWhenThereIsRoom() async throws {
        var struck = 0
        for suffix in ["-wal", ".sqlite"] {
            for number in 0..<Int64(60) {
                let recording = try await CrashRecording()
                let house = try await open(recording.path)
                crash_fail(Int32(CRASH_FAULT_GROWTH), suffix, number, .max, Code.full)
                let (acknowledged, error) = await work(house, calls: 12)
                guard crash_failed_calls() > 0 else {
                    try await house.store.close()
                    break
                }
                struck += 1
                if let error {
                    XCTAssertEqual(
                        StorageError.within(error)?.code,
                        .full,
                        "write \(number) of \(suffix): \(error)"
                    )
                }
                let lost = try await missing(acknowledged, in: house)
                XCTAssertEqual(lost, 0, "write \(number) of \(suffix)")
                crash_fail_none()
                let more = await work(house, calls: 3)
                XCTAssertNil(more.failure, "write \(number) of \(suffix)")
                try await house.store.close()
                let again = try await open(recording.path, seed: 18)
                let lostLater = try await missing(acknowledged + more.acknowledged, in: again)
                XCTAssertEqual(lostLater, 0, "write \(number) of \(suffix)")
                try await again.store.close()
            }
        }
        XCTAssertGreaterThan(struck, 30)
    }

    func test_store_failedWriteOrRead_isATypedErrorAndLosesNothing() async throws {
        for fault in [CRASH_FAULT_WRITE, CRASH_FAULT_READ] {
            for number in stride(from: Int64(0), to: 60, by: 3) {
                let recording = try await CrashRecording()
                let house = try await open(recording.path)
                let code = fault == CRASH_FAULT_WRITE ? Code.write : Code.read
                crash_fail(Int32(fault), "", number, 1, code)
                let (acknowledged, error) = await work(house, calls: 12)
                crash_fail_none()
                if let error {
                    let found = StorageError.within(error)?.code
                    XCTAssertTrue(
                        [.io, .poisoned].contains(found),
                        "call \(number): \(error)"
                    )
                }
                try await house.store.close()
                let again = try await open(recording.path, seed: 18)
                let lost = try await missing(acknowledged, in: again)
                XCTAssertEqual(lost, 0, "fault \(fault), call \(number)")
                try await again.store.close()
            }
        }
    }
}
#endif
