import ArtifactStore
import ClusterRole
import Foundation
import XCTest

final class RootRecordTests: XCTestCase {
    private func root(
        _ version: Int64,
        _ keys: [Ed25519Signer],
        threshold: Int = 1,
        expires: Timestamp? = nil
    ) throws -> RootRecord {
        let role = try RoleKeys(keys.map(\.publicKey), threshold: threshold)
        return try RootRecord(
            version: version,
            rootKeys: role,
            releaseKeys: role,
            pointerKeys: role,
            expires: expires
        )
    }

    func test_root_encodedAndDecoded_isTheSame_andEveryCutIsRefused() async throws {
        let keys = try (0..<3).map { _ in try Ed25519Signer() }
        let signed = try await SignedRoot.signed(
            try root(7, keys, threshold: 2, expires: Timestamp(milliseconds: 5)),
            by: keys
        )
        XCTAssertEqual(try SignedRoot(decoding: signed.encoded), signed)
        XCTAssertEqual(signed.signatures.count, 3)
        for length in 0..<signed.encoded.count {
            XCTAssertThrowsError(try SignedRoot(decoding: Array(signed.encoded[..<length])))
        }
    }

    func test_nextRoot_needsTheOldAndTheNewKeys_andTheNextNumber() async throws {
        let old = try Ed25519Signer()
        let new = try Ed25519Signer()
        var keys = TrustedKeys(old.publicKey)
        XCTAssertEqual(keys.version, 0)
        let next = try root(1, [new])
        for signers in [[old], [new]] {
            let signed = try await SignedRoot.signed(next, by: signers)
            await assertThrows(.untrustedSignature) { try keys.accept(signed) }
        }
        let skipped = try await SignedRoot.signed(try root(2, [new]), by: [old, new])
        await assertThrows(.belowFloor) { try keys.accept(skipped) }
        let good = try await SignedRoot.signed(next, by: [old, new])
        try keys.accept(good)
        XCTAssertEqual(keys.version, 1)
        await assertThrows(.belowFloor) { try keys.accept(good) }
        let third = try await SignedRoot.signed(try root(2, [old]), by: [old])
        await assertThrows(.untrustedSignature) { try keys.accept(third) }
    }

    func test_threshold_countsDifferentKeys_andCannotBeZero() async throws {
        let keys = try (0..<2).map { _ in try Ed25519Signer() }
        await assertThrows(.malformed) { _ = try RoleKeys(keys.map(\.publicKey), threshold: 0) }
        await assertThrows(.malformed) { _ = try RoleKeys(keys.map(\.publicKey), threshold: 3) }
        await assertThrows(.malformed) { _ = try RoleKeys([]) }
        await assertThrows(.malformed) {
            _ = try RoleKeys([keys[0].publicKey, keys[0].publicKey], threshold: 2)
        }
        let record = try root(1, keys, threshold: 2)
        let once = try await keys[0].signature(for: SignedRoot.signedBytes(of: record.encoded))
        let one = try KeySignature(key: keys[0].publicKey.id, bytes: once)
        let other = try KeySignature(key: keys[1].publicKey.id, bytes: once)
        await assertThrows(.malformed) {
            _ = try SignedRoot(record: record.encoded, signatures: [one, one])
        }
        // The same signature under another key's name counts for nothing.
        for list in [[one], [one, other]] {
            let signed = try SignedRoot(record: record.encoded, signatures: list)
            await assertThrows(.untrustedSignature) { _ = try TrustedKeys(pinning: signed) }
        }
        let both = try await SignedRoot.signed(record, by: keys)
        XCTAssertNoThrow(try TrustedKeys(pinning: both))
    }

    func test_records_ofADirectory_areAChain_andAGapOrAForgeryIsRefused() async throws {
        let directory = try TemporaryDirectory()
        let key = try Ed25519Signer()
        let path = directory.path("roots")
        let records = try RootRecords(directory: path)
        let one = try await SignedRoot.signed(try root(1, [key]), by: [key])
        let two = try await SignedRoot.signed(try root(2, [key]), by: [key])
        await assertThrows(.belowFloor) { try records.install(two) }
        try records.install(one)
        try records.install(two)
        let again = try RootRecords(directory: path)
        XCTAssertEqual(again.records(after: 0), [one, two])
        XCTAssertEqual(again.records(after: 1), [two])
        XCTAssertEqual(again.records(after: 9), [])
        let thief = try Ed25519Signer()
        let forged = try await SignedRoot.signed(try root(3, [thief]), by: [thief])
        await assertThrows(.untrustedSignature) { try again.install(forged) }
        try Data(forged.encoded).write(to: URL(fileURLWithPath: "\(path)/2.root"))
        await assertThrows(.belowFloor) { _ = try RootRecords(directory: path) }
    }

    func test_plainKey_followsToARootRecord_andRemembersItAcrossARestart() async throws {
        let harness = try Harness()
        _ = try await harness.publish(["a": "one"])
        try await harness.sync().syncOnce()
        let new = try Ed25519Signer()
        let role = try RoleKeys([new.publicKey])
        let both = try RoleKeys([harness.signer.publicKey, new.publicKey])
        let next = try RootRecord(
            version: 1,
            rootKeys: role,
            releaseKeys: both,
            pointerKeys: try RoleKeys([harness.signer.publicKey])
        )
        try harness.trust.roots.install(
            try await SignedRoot.signed(next, by: [harness.signer, new])
        )
        harness.time.advance(by: .seconds(1_800))
        _ = try await harness.publish(["a": "two"])
        try await harness.sync().syncOnce()
        XCTAssertEqual(harness.current("a"), "two")
        // The plain key alone may not replace the record any more, also for a new process.
        let forged = try await SignedRoot.signed(
            try root(2, [harness.signer]),
            by: [harness.signer]
        )
        harness.source.answerTrust { TrustAnswer(roots: [forged], pointer: $0.pointer) }
        _ = try await harness.publish(["a": "three"])
        let sync = harness.sync()
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(harness.current("a"), "three")
        await assertThrows(.untrustedSignature) { try harness.trust.roots.install(forged) }
    }

    func test_expiredRoot_gatesNewReleases_andServesOn() async throws {
        let harness = try Harness()
        let expires = harness.time.now() + .seconds(100)
        let first = try await SignedRoot.signed(
            try root(1, [harness.signer], expires: expires),
            by: [harness.signer]
        )
        try harness.trust.roots.install(first)
        let pinned = try TrustedKeys(pinning: first)
        let sync = harness.sync(trusted: pinned)
        _ = try await harness.publish(["a": "one"])
        try await sync.syncOnce()
        harness.time.advance(by: .seconds(100))
        _ = try await harness.publish(["a": "two"])
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome, error.code == .expired else {
            return XCTFail("\(report.outcome)")
        }
        XCTAssertEqual(harness.current("a"), "one")
        let next = try await SignedRoot.signed(try root(2, [harness.signer]), by: [harness.signer])
        try harness.trust.roots.install(next)
        let renewed = try await sync.syncOnce()
        XCTAssertTrue(renewed.isApplied, "\(renewed.outcome)")
        XCTAssertEqual(harness.current("a"), "two")
    }

    func test_rememberedKeys_thatAreDamaged_areSetAside_andTheConfiguredOnesRule() async throws {
        let scene = try await RootedScene()
        _ = try await scene.harness.publish(["a": "one"])
        try await scene.sync().syncOnce()
        let path = "\(scene.harness.directory.path("worker-1"))/trust"
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        for bit in stride(from: 0, to: bytes.count * 8, by: 41) {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            try flipped.write(to: URL(fileURLWithPath: path))
            let sync = scene.sync()
            let report = try await sync.syncOnce()
            XCTAssertTrue(report.isApplied, "bit \(bit): \(report.outcome)")
            XCTAssertEqual(scene.harness.current("a"), "one")
        }
    }
}
