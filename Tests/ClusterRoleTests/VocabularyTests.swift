import ClusterRole
import XCTest

final class VocabularyTests: XCTestCase {
    private struct CountingRandomSource: RandomSource {
        let value: UInt64
        func next() -> UInt64 { value }
    }

    func test_name_thatIsEmptyLongOrDirty_isRefused() {
        let bad = ["", String(repeating: "x", count: 256), "a b", "a/b", "a\nb", "..", "\u{7F}"]
        for name in bad {
            XCTAssertThrowsError(try NodeID(validating: name), name) {
                XCTAssertEqual(($0 as? ClusterRoleError)?.code, .invalidName)
            }
        }
        XCTAssertEqual(try NodeID(validating: "wörker-1").rawValue, "wörker-1")
    }

    func test_systemRandomness_manyDrawersAtOnce_givesNoWordTwice() async {
        let words = await withTaskGroup(of: [UInt64].self) { group in
            for _ in 0..<8 {
                group.addTask { (0..<1_000).map { _ in SystemRandomSource().next() } }
            }
            return await group.reduce(into: Set<UInt64>()) { $0.formUnion($1) }
        }
        // Two equal ones of 8,000 are as likely as 1 in 10^12.
        XCTAssertEqual(words.count, 8_000)
        let ones = words.reduce(0) { $0 + $1.nonzeroBitCount }
        XCTAssertLessThan(abs(Double(ones) / 8_000 - 32), 1)
    }

    func test_identifier_inText_roundTrips() throws {
        let id = IncarnationID(from: CountingRandomSource(value: 7))
        XCTAssertEqual(id.description, "00000000000000070000000000000007")
        XCTAssertEqual(try IncarnationID(parsing: id.description), id)
        for bad in [
            "", "zz", String(repeating: "g", count: 32), "+" + String(repeating: "1", count: 31),
        ] {
            XCTAssertThrowsError(try IncarnationID(parsing: bad), bad)
        }
    }

    /// Values aligned to 16 bytes crash `AsyncStream` (Swift 6.3).
    func test_revisionAndIdentifiers_areAlignedToOneWord() {
        XCTAssertLessThanOrEqual(MemoryLayout<Revision>.alignment, 8)
        XCTAssertLessThanOrEqual(MemoryLayout<HistoryID>.alignment, 8)
        XCTAssertLessThanOrEqual(MemoryLayout<IncarnationID>.alignment, 8)
    }

    func test_revision_ofAnotherHistory_isNotCovered() throws {
        let one = Revision(history: HistoryID(bits: 1), number: 5)
        let two = Revision(history: HistoryID(bits: 2), number: 1)
        XCTAssertFalse(one.covers(two))
        XCTAssertTrue(one.covers(Revision(history: HistoryID(bits: 1), number: 5)))
        XCTAssertEqual(try Revision(parsing: one.description), one)
        XCTAssertThrowsError(try Revision(parsing: "1:-1"))
    }

    func test_domain_containsItsParts() throws {
        let whole = try ClusterDomain(parsing: "reeve")
        let part = try ClusterDomain(parsing: "reeve/worker")
        XCTAssertTrue(whole.contains(part))
        XCTAssertFalse(part.contains(whole))
        XCTAssertEqual(ClusterDomain.standard(for: .worker), part)
        XCTAssertThrowsError(try ClusterDomain(parsing: "reeve/a/b"))
    }

    func test_jitter_staysWithinItsFraction() {
        let source = SystemRandomSource()
        for _ in 0..<1_000 {
            let value = source.jittered(.seconds(10), by: 0.1)
            XCTAssertTrue((.seconds(9))...(.seconds(11)) ~= value, "\(value)")
        }
        XCTAssertEqual(source.jittered(.zero, by: 0.5), .zero)
    }

    func test_bytes_ofAnyCount_areThatMany() {
        for count in [0, 1, 7, 8, 9, 32] {
            XCTAssertEqual(SystemRandomSource().bytes(count).count, count)
        }
    }
}

final class WriteCapabilityTests: XCTestCase {
    func test_capability_afterRevocation_refuses() throws {
        let capability = WriteCapability(epoch: Epoch(rawValue: 3))
        XCTAssertEqual(try capability.requireEpoch(), Epoch(rawValue: 3))
        capability.revoke()
        capability.revoke()
        XCTAssertThrowsError(try capability.requireEpoch()) {
            XCTAssertEqual(($0 as? ClusterRoleError)?.code, .revoked)
        }
    }
}

final class InMemoryLedgerTests: XCTestCase {
    func test_guardedWrite_ofAnOlderEpoch_isFencedAndChangesNothing() throws {
        let ledger = InMemoryLedger()
        let old = ledger.raiseEpoch()
        let new = ledger.raiseEpoch()
        XCTAssertThrowsError(
            try ledger.guarded(epoch: old) { _ in ([.member(NodeID(rawValue: "n"))], ()) }
        ) {
            XCTAssertEqual(($0 as? ClusterRoleError)?.currentEpoch, new)
        }
        XCTAssertEqual(ledger.revision.number, 0)
    }

    func test_guardedWrite_withoutKeys_takesNoRevision() throws {
        let ledger = InMemoryLedger()
        let epoch = ledger.raiseEpoch()
        let first = try ledger.guarded(epoch: epoch) { ([.member(NodeID(rawValue: "n"))], $0) }
        XCTAssertEqual(first.result, 1)
        XCTAssertEqual(first.revision.number, 1)
        XCTAssertEqual(try ledger.guarded(epoch: epoch) { _ in ([], ()) }.revision.number, 1)
        XCTAssertEqual(ledger.changes(after: 0).map(\.number), [1])
        XCTAssertTrue(ledger.changes(after: 1).isEmpty)
    }
}
