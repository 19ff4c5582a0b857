import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

@testable import ClusterMembership

final class SharedStateTests: XCTestCase {
    private let ledger = InMemoryLedger()

    private func manager() async throws -> SharedStateWriter {
        let state = SharedState(storage: InMemorySharedStateStorage(ledger: ledger))
        try await state.refresh()
        return state.writer(for: WriteCapability(epoch: ledger.raiseEpoch()))
    }

    private func key(_ name: String) -> SharedStateKey { SharedStateKey(name, in: "flags") }

    /// Brings a worker's copy up to date, as the link does.
    private func replicate(_ writer: SharedStateWriter, to worker: SharedState) async throws {
        if let delta = writer.state.delta(after: worker.revision) { try await worker.apply(delta) }
    }

    func test_copy_followsRandomChanges_whateverItMissed_andNeverGoesBack() async throws {
        for seed in UInt64(1)...20 {
            let random = SeededRandomSource(seed: seed)
            let writer = try await manager()
            let worker = SharedState(record: nil)
            var old: [SharedStateDelta] = []
            var last: Int64 = 0
            for step in 0..<200 {
                let name = key("k\(random.number(below: 12))")
                if random.number(below: 3) == 0 {
                    try await writer.remove(name)
                } else {
                    try await writer.set([UInt8(truncatingIfNeeded: step)], for: name)
                }
                if random.number(below: 4) == 0 {
                    let delta = writer.state.delta(after: worker.revision)
                    if let delta {
                        old.append(delta)
                        try await worker.apply(delta)
                    }
                    XCTAssertEqual(worker.entries(in: "flags"), writer.state.entries(in: "flags"))
                    // What arrives late or twice changes nothing.
                    try await worker.apply(old[Int(random.number(below: UInt64(old.count)))])
                    XCTAssertEqual(worker.entries(in: "flags"), writer.state.entries(in: "flags"))
                }
                let number = worker.revision?.number ?? 0
                XCTAssertGreaterThanOrEqual(number, last, "seed \(seed)")
                last = number
            }
        }
    }

    func test_copy_isThereAfterARestart_andIsReplacedByAnotherHistory() async throws {
        let record = InMemoryNodeRecord()
        let writer = try await manager()
        try await writer.set([1], for: key("a"))
        let worker = SharedState(record: record)
        try await replicate(writer, to: worker)
        let again = SharedState(record: record)
        XCTAssertNil(again.entry(key("a")))
        try await again.restore()
        XCTAssertEqual(again.entry(key("a"))?.value, [1])
        XCTAssertEqual(again.revision, worker.revision)

        let restored = InMemoryLedger(history: HistoryID(bits: 99))
        let other = SharedState(storage: InMemorySharedStateStorage(ledger: restored))
        try await other.refresh()
        let delta = try XCTUnwrap(other.delta(after: again.revision))
        XCTAssertTrue(delta.isSnapshot)
        try await again.apply(delta)
        XCTAssertNil(again.entry(key("a")), "the restored store never had it")
    }

    func test_copy_thatIsDamaged_countsAsNone() async throws {
        let record = InMemoryNodeRecord()
        try await record.save([1, 2, 3])
        let worker = SharedState(record: record)
        try await worker.restore()
        XCTAssertNil(worker.revision)
    }

    func test_fileRecord_withAFlippedBit_isNotRead() async throws {
        let path = NSTemporaryDirectory() + "/reeve-record-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let record = FileNodeRecord(path: path)
        let missing = try await record.load()
        XCTAssertNil(missing)
        try await record.save(Array(0..<50))
        let whole = try await record.load()
        XCTAssertEqual(whole, Array(0..<50))
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        for index in bytes.indices {
            var flipped = bytes
            flipped[index] ^= 4
            try flipped.write(to: URL(fileURLWithPath: path))
            let read = try await record.load()
            XCTAssertNil(read, "byte \(index)")
        }
    }

    func test_compareAndSet_lostByAnother_isAConflict() async throws {
        let writer = try await manager()
        let first = try await writer.set([1], for: key("a"), expecting: .absent)
        try await writer.set([2], for: key("a"), expecting: .version(first.version))
        do {
            try await writer.set([3], for: key("a"), expecting: .version(first.version))
            XCTFail("the version is an old one")
        } catch {
            XCTAssertEqual(error.code, .stateConflict)
        }
        XCTAssertEqual(writer.state.entry(key("a"))?.value, [2])
    }

    func test_change_onACopy_orWithoutTheRight_isRefused() async throws {
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        let worker = SharedState(record: nil).writer(for: capability)
        do {
            try await worker.set([1], for: key("a"))
            XCTFail("a worker wrote")
        } catch {
            XCTAssertEqual(error.code, .noCoordinator)
        }
        let writer = try await manager()
        _ = ledger.raiseEpoch()
        do {
            try await writer.set([1], for: key("a"))
            XCTFail("an old epoch wrote")
        } catch {
            XCTAssertEqual((error.cause as? ClusterRoleError)?.code, .fenced)
        }
    }

    func test_watch_givesTheNewestOfEachKey_andRemovals() async throws {
        let writer = try await manager()
        try await writer.set([1], for: key("before"))
        var changes = writer.state.changes(in: "flags").makeAsyncIterator()
        try await writer.set([2], for: key("a"))
        try await writer.set([3], for: key("a"))
        try await writer.set([9], for: SharedStateKey("b", in: "elsewhere"))
        let first = await changes.next()
        XCTAssertEqual(first?.map(\.key), [key("a")])
        XCTAssertEqual(first?.map(\.value), [[3]])
        try await writer.remove(key("before"))
        try await writer.set([4], for: key("c"))
        let second = await changes.next()
        XCTAssertEqual(second?.map(\.key.key), ["before", "c"])
        XCTAssertEqual(second?.map(\.value), [nil, [4]])
    }

    func test_cache_thatMissedInvalidationsWhileCutOff_isDroppedOnceWhenItIsBack() async throws {
        let writer = try await manager()
        let worker = SharedState(record: nil)
        let caches = CacheInvalidation(state: worker)
        let journal = MessageJournal()
        caches.onInvalidation(of: "prices") { journal.note("prices") }
        caches.onInvalidation(of: "images") { journal.note("images") }
        var dropped = await caches.apply()
        XCTAssertEqual(dropped, [], "nothing is known yet")
        try await replicate(writer, to: worker)
        dropped = await caches.apply()
        XCTAssertEqual(dropped, ["images", "prices"], "what was cached before may be stale")
        dropped = await caches.apply()
        XCTAssertEqual(dropped, [])
        for _ in 0..<3 { try await writer.invalidate(cache: "prices") }
        dropped = await caches.apply()
        XCTAssertEqual(dropped, [], "cut off")
        try await replicate(writer, to: worker)
        dropped = await caches.apply()
        XCTAssertEqual(dropped, ["prices"])
        XCTAssertEqual(journal.all, ["images", "prices", "prices"])
        let generation = try await writer.invalidate(cache: "images")
        let next = try await writer.invalidate(cache: "images")
        XCTAssertGreaterThan(next, generation)
    }
}
