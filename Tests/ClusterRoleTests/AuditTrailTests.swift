import ClusterRole
import Synchronization
import XCTest

final class AuditTrailTests: XCTestCase {
    private final class Scene: Sendable {
        let ledger = InMemoryLedger()
        let clock = StandingClock()
        let memory: InMemoryAuditLog
        let log: FailingAuditLog
        let capability: WriteCapability
        let trail: AuditTrail

        init(refusalsPerMinute: Int = 600) {
            memory = InMemoryAuditLog(ledger: ledger)
            log = FailingAuditLog(memory)
            capability = WriteCapability(epoch: ledger.raiseEpoch())
            trail = AuditTrail(
                log: log,
                capability: capability,
                limits: AuditTrail.Limits(refusalsPerMinute: refusalsPerMinute),
                clock: clock,
                logger: quiet
            )
        }

        func entries() async throws -> [AuditEntry] {
            try await memory.entries(after: 0, limit: 10_000)
        }
    }

    private let wipe = AuditRecord(who: "nightly", kind: .process, operation: "wipe")

    // MARK: The chain

    private func written(_ count: Int) async throws -> Scene {
        let scene = Scene()
        for index in 0..<count {
            _ = try await scene.trail.begin(AuditRecord(who: "alice", operation: "op-\(index)"))
        }
        return scene
    }

    func test_log_asItWasWritten_verifies() async throws {
        let scene = try await written(2_500)
        let found = try await scene.trail.reader.verify()
        XCTAssertEqual(found.entries, 2_500)
        XCTAssertTrue(found.isWhole)
        XCTAssertEqual(found.head.number, 2_500)
    }

    func test_log_anyMemberOfAnEntryChanged_isFoundAtThatEntry() async throws {
        let changes: [@Sendable (inout AuditRecord) -> Void] = [
            { $0.at = .distantFuture }, { $0.who = "bob" }, { $0.kind = .node },
            { $0.tenant = "other" }, { $0.operation = "nothing" }, { $0.target = "/" },
            { $0.peer = "1" }, { $0.client = "2" }, { $0.outcome = .failed }, { $0.status = 9 },
            { $0.code = "x" }, { $0.revision = "r" }, { $0.begun = 4 }, { $0.suppressed = 1 },
        ]
        for (index, change) in changes.enumerated() {
            let scene = try await written(10)
            scene.memory.tamper { entries in
                var record = entries[4].record
                change(&record)
                entries[4] = AuditEntry(number: 5, record: record, digest: entries[4].digest)
            }
            let found = try await scene.trail.reader.verify()
            XCTAssertEqual(found.brokenAt, 5, "change \(index)")
        }
    }

    func test_log_anEntryDeletedInTheMiddleAtTheStartOrAtTheEnd_isFound() async throws {
        for (place, expected) in [(4, 5), (0, 1), (9, 10)] {
            let scene = try await written(10)
            scene.memory.tamper { $0.remove(at: place) }
            let found = try await scene.trail.reader.verify()
            XCTAssertEqual(found.brokenAt, Int64(expected), "deleted at \(place)")
        }
    }

    func test_log_twoEntriesExchanged_isFound() async throws {
        let scene = try await written(10)
        scene.memory.tamper { $0.swapAt(2, 3) }
        let found = try await scene.trail.reader.verify()
        XCTAssertEqual(found.brokenAt, 3)
    }

    func test_log_anEntryForgedWithItsOwnDigest_isFoundAtTheNext() async throws {
        let scene = try await written(10)
        scene.memory.tamper { entries in
            // What somebody does who knows how digests are made, but does not rewrite all that follows.
            let forged = AuditEntry(
                number: 5,
                record: AuditRecord(who: "mallory", operation: "nothing"),
                digest: entries[5].digest
            )
            entries[4] = forged
        }
        let found = try await scene.trail.reader.verify()
        XCTAssertEqual(found.brokenAt, 5)
    }

    // MARK: What is recorded

    func test_perform_aSuccess_isRecordedBeforeAndAfter() async throws {
        let scene = Scene()
        let seen = try await scene.trail.perform(wipe) {
            try await scene.entries().map(\.record.outcome)
        }
        XCTAssertEqual(seen, [.begun], "it is on record before it is done")
        let entries = try await scene.entries()
        XCTAssertEqual(entries.map(\.record.outcome), [.begun, .done])
        XCTAssertEqual(entries[1].record.begun, entries[0].number)
        XCTAssertEqual(entries[0].record.at, scene.clock.now())
    }

    func test_perform_aRefusalOrDefect_isRecordedByItsCode() async throws {
        let scene = Scene()
        let refused = await clusterRoleError {
            try await scene.trail.perform(self.wipe) {
                throw ClusterRoleError(.invalidName, "no")
            }
        }
        XCTAssertEqual(refused?.code, .invalidName)
        _ = try? await scene.trail.perform(wipe) { throw TestFailure() }
        let ends = try await scene.entries().map(\.record).filter { $0.begun != nil }
        XCTAssertEqual(ends.map(\.outcome), [.refused, .failed])
        XCTAssertEqual(ends.map(\.code), ["role.invalid-name", "unknown"])
    }

    func test_perform_whenTheLogCannotBeWritten_doesNothingAndSaysSo() async throws {
        let scene = Scene()
        scene.log.fail(true)
        let wasDone = Mutex(false)
        let error = await clusterRoleError {
            try await scene.trail.perform(self.wipe) { wasDone.withLock { $0 = true } }
        }
        XCTAssertEqual(error?.code, .auditUnavailable)
        XCTAssertEqual(error?.category, .unavailable)
        XCTAssertFalse(wasDone.withLock { $0 })
        XCTAssertEqual(scene.trail.failedEntries, 1)
    }

    func test_begin_afterRevocation_isRefusedAsTheWriteWouldBe() async throws {
        let scene = Scene()
        scene.capability.revoke()
        let revoked = await clusterRoleError { _ = try await scene.trail.begin(self.wipe) }
        XCTAssertEqual(revoked?.code, .revoked)
        let fenced = Scene()
        _ = fenced.ledger.raiseEpoch()
        let error = await clusterRoleError { _ = try await fenced.trail.begin(self.wipe) }
        XCTAssertEqual(error?.code, .fenced)
    }

    func test_texts_longerThanTheLimit_areCutAtACharacter() async throws {
        let scene = Scene()
        let long = String(repeating: "ä", count: 5_000)
        _ = try await scene.trail.begin(AuditRecord(who: long, operation: long, target: long))
        let record = try await scene.entries()[0].record
        XCTAssertEqual(record.who.utf8.count, AuditRecord.maximumTextBytes)
        XCTAssertTrue(long.hasPrefix(record.target))
    }

    // MARK: Floods

    func test_refusals_inAFlood_areCountedInTheNextEntry() async throws {
        let scene = Scene(refusalsPerMinute: 3)
        var refusal = AuditRecord(operation: "listDevices")
        refusal.outcome = .refused
        for _ in 0..<10 { await scene.trail.note(refusal: refusal) }
        let first = try await scene.entries()
        XCTAssertEqual(first.count, 3)
        XCTAssertEqual(scene.trail.suppressedRefusals, 7)
        scene.clock.advance(by: .seconds(60))
        await scene.trail.note(refusal: refusal)
        let later = try await scene.entries()
        XCTAssertEqual(later.last?.record.suppressed, 7)
        XCTAssertEqual(scene.trail.suppressedRefusals, 0)
    }

    func test_refusal_thatCannotBeRecorded_isCountedAndThrowsNothing() async throws {
        let scene = Scene()
        scene.log.fail(true)
        await scene.trail.note(refusal: AuditRecord(operation: "a"))
        await scene.trail.note(refusal: AuditRecord(operation: "b"))
        XCTAssertEqual(scene.trail.suppressedRefusals, 2)
        scene.log.fail(false)
        await scene.trail.note(refusal: AuditRecord(operation: "c"))
        let entries = try await scene.entries()
        XCTAssertEqual(entries.map(\.record.suppressed), [2])
    }

    // MARK: Purging

    func test_purge_byAgeAndCount_keepsTheRestVerifiable() async throws {
        let scene = Scene()
        for _ in 0..<30 {
            _ = try await scene.trail.begin(wipe)
            scene.clock.advance(by: .seconds(86_400))
        }
        let task = AuditPurgeTask(
            log: scene.log,
            retention: AuditRetention(keepFor: .seconds(20 * 86_400), keepAtMost: 15),
            capability: scene.capability,
            clock: scene.clock,
            logger: quiet
        )
        let purged = try await task.tick(at: scene.clock.now())
        XCTAssertEqual(purged, 15)
        let found = try await scene.trail.reader.verify()
        XCTAssertTrue(found.isWhole)
        XCTAssertEqual(found.entries, 15)
    }
}
