import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import XCTest

/// The attacks The Update Framework's specification lists (its section 1.5.2), one test each: what
/// a mirror, a man in the middle, or the thief of a key can do to a worker, and cannot.
final class TUFAttackTests: XCTestCase {
    /// A worker that serves release 1, and a manager that just published release 2.
    private func standing(
        _ scene: RootedScene? = nil
    ) async throws -> (scene: RootedScene, sync: ArtifactSync, first: PublishedRelease) {
        let scene = if let scene { scene } else { try await RootedScene() }
        let first = try await scene.harness.publish(["a": "one"]).release.published
        let sync = scene.sync()
        try await sync.syncOnce()
        XCTAssertEqual(scene.harness.current("a"), "one")
        return (scene, sync, first)
    }

    /// Looks once and expects a refusal with this code, with the first release served on.
    private func assertRefused(
        _ code: ArtifactStoreError.Code,
        _ scene: RootedScene,
        _ sync: ArtifactSync,
        line: UInt = #line
    ) async throws {
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else {
            return XCTFail("\(report.outcome) instead of \(code.rawValue)", line: line)
        }
        XCTAssertEqual(error.code, code, error.message, line: line)
        XCTAssertEqual(scene.harness.current("a"), "one", line: line)
        XCTAssertEqual(sync.active?.release.number, .first, line: line)
    }

    func test_arbitraryInstallation_ofARecordTheAttackerSigned_isRefused() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let attacker = try Ed25519Signer()
        let genuine = try await scene.newest()
        let forged = try await attacker.sign(genuine.signed.release)
        scene.harness.source.damage(
            release: .replaceRelease { PublishedRelease(signed: forged, bundles: $0.bundles) }
        )
        let pointer = try await scene.pointer(to: forged, by: [attacker])
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: pointer) }
        try await assertRefused(.untrustedSignature, scene, sync)
        // The attacker's signature under the genuine key's name is worth no more.
        let disguised = try SignedRelease(
            record: genuine.signed.record,
            signatures: try genuine.signed.signatures.map {
                try KeySignature(key: $0.key, bytes: forged.signatures[0].bytes)
            }
        )
        scene.harness.source.damage(
            release: .replaceRelease { PublishedRelease(signed: disguised, bundles: $0.bundles) }
        )
        try await assertRefused(.untrustedSignature, scene, sync)
    }

    func test_endlessData_isCutOff_whereTheSignedSizesEnd() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        for afterBundle in [false, true] {
            scene.harness.source.damage(full: .endless(after: afterBundle), update: .refuse)
            let report = try await sync.syncOnce()
            guard case .refused(let error) = report.outcome else {
                return XCTFail("\(report.outcome)")
            }
            XCTAssertEqual(error.code, .malformed)
            XCTAssertLessThan(report.bytesReceived, 1 << 20)
            XCTAssertEqual(scene.harness.current("a"), "one")
        }
        let endless = [UInt8](repeating: 1, count: TrustAnswer.maximumEncodedBytes + 1)
        await assertThrows(.malformed) { _ = try TrustAnswer(decoding: endless) }
        await assertThrows(.malformed) { _ = try SignedRoot(decoding: endless) }
        await assertThrows(.malformed) { _ = try SignedPointer(decoding: endless) }
    }

    func test_extraneousDependencies_thatAMirrorAdds_breakTheSignature() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let genuine = try await scene.newest()
        let more = try Release(decoding: genuine.signed.record).needing("web/extra")
        let forged = try SignedRelease(
            record: more.encoded,
            signatures: genuine.signed.signatures
        )
        scene.harness.source.damage(
            release: .replaceRelease { PublishedRelease(signed: forged, bundles: $0.bundles) }
        )
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots) }
        try await assertRefused(.untrustedSignature, scene, sync)
        // And a publisher cannot name what its tenant does not have.
        var options = PublishOptions()
        options.dependencies = [ReleaseDependency("web/extra")]
        let tree = try scene.harness.directory.write(["a": "three"], in: "three")
        await assertThrows(.dependencyMissing) {
            _ = try await scene.harness.publisher.publish(
                tree,
                to: Harness.channel,
                options: options
            )
        }
    }

    func test_fastForward_byStolenKeys_isUndoneByRotatingThem() async throws {
        let (scene, sync, _) = try await standing()
        // The thief of the release key and the pointer key signs the highest number there is.
        let genuine = try await scene.newest()
        let number = ReleaseNumber(Int64.max)
        let forged = try await scene.harness.signer.sign(
            genuine.signed.release.numbered(number),
            with: [scene.second]
        )
        let pointer = try await scene.pointer(to: forged, by: [scene.pointerKey])
        scene.harness.source.damage(
            release: .replaceRelease { PublishedRelease(signed: forged, bundles: $0.bundles) }
        )
        _ = try await scene.harness.publish(["a": "two"])
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: pointer) }
        let adopted = try await sync.syncOnce()
        XCTAssertEqual(adopted.release?.number, number)
        // Nothing above it can be published: the worker is stuck.
        _ = try await scene.harness.publish(["a": "three"])
        scene.harness.source.damage()
        scene.harness.source.answerTrust(nil)
        let stuck = try await sync.syncOnce()
        guard case .refused(let error) = stuck.outcome, error.code == .belowFloor else {
            return XCTFail("\(stuck.outcome)")
        }
        // New release and pointer keys, signed by the root keys, which were kept elsewhere.
        let keys = [try Ed25519Signer(), try Ed25519Signer()]
        try await scene.rotate(releaseKeys: keys, pointerKey: keys[0])
        let resigned = try await scene.republish(["a": "two"], signedBy: keys)
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report.outcome)")
        XCTAssertEqual(sync.active?.release.number, resigned.number)
        XCTAssertEqual(scene.harness.current("a"), "two")
    }

    func test_indefiniteFreeze_isNoticed_servingGoesOn_andNothingIsActivated() async throws {
        let (scene, sync, first) = try await standing()
        let old = try await scene.harness.source.trust(
            of: Harness.channel,
            tenant: .standard,
            afterRoot: 1
        )
        guard case .confirmed(let until) = sync.freshness else {
            return XCTFail("\(sync.freshness)")
        }
        _ = try await scene.harness.publish(["a": "two"])
        scene.harness.source.damage(release: .replaceRelease { _ in first })
        scene.harness.source.answerTrust { _ in old }
        scene.harness.time.advance(by: .seconds(3_599))
        try await sync.syncOnce()
        XCTAssertEqual(sync.freshness, .confirmed(until: until))
        scene.harness.time.advance(by: .seconds(1))
        let report = try await sync.syncOnce()
        XCTAssertEqual(sync.freshness, .expired(since: until))
        XCTAssertTrue(report.isApplied)
        XCTAssertEqual(scene.harness.current("a"), "one")
        // A newer release with a pointer that is over is not activated, either.
        _ = try await scene.harness.publish(["a": "three"])
        let stale = try await scene.pointer(
            to: try await scene.newest().signed,
            by: [scene.pointerKey],
            issued: until
        )
        scene.harness.time.advance(by: .seconds(10_000))
        scene.harness.source.damage()
        scene.harness.source.answerTrust { _ in TrustAnswer(pointer: stale) }
        try await assertRefused(.pointerExpired, scene, sync)
        let word = try await scene.harness.acknowledgement()
        XCTAssertEqual(word?.errorCode, "artifacts.pointer-expired")
        // No pointer at all is no way around it.
        scene.harness.source.answerTrust { _ in TrustAnswer() }
        try await assertRefused(.unconfirmed, scene, sync)
        scene.harness.source.answerTrust(nil)
        let honest = try await sync.syncOnce()
        XCTAssertTrue(honest.isApplied)
        XCTAssertEqual(scene.harness.current("a"), "three")
        guard case .confirmed = sync.freshness else { return XCTFail("\(sync.freshness)") }
    }

    func test_maliciousMirror_thatDamagesEveryByteOfABundle_changesNothing() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let newest = try await scene.newest()
        let length = Int(try XCTUnwrap(newest.bundle(from: nil)).byteCount)
        var refused = 0
        for byte in stride(from: 0, to: length, by: 7) {
            scene.harness.source.damage(full: .flip(at: byte * 8), update: .refuse)
            guard case .refused = try? await sync.syncOnce().outcome else { continue }
            refused += 1
            XCTAssertEqual(scene.harness.current("a"), "one", "byte \(byte)")
        }
        XCTAssertGreaterThan(refused, 0)
        scene.harness.source.damage()
        try await sync.syncOnce()
        XCTAssertEqual(scene.harness.current("a"), "two")
    }

    func test_mixAndMatch_ofGenuineRecords_isRefused() async throws {
        let (scene, sync, first) = try await standing()
        let second = try await scene.harness.publish(["a": "two"]).release.published
        let third = try await scene.harness.publish(["a": "three"]).release.published
        // The newest pointer with the release before it.
        scene.harness.source.damage(release: .replaceRelease { _ in second })
        try await assertRefused(.unconfirmed, scene, sync)
        // The newest release with the bundles of another.
        let mixed = PublishedRelease(
            signed: third.signed,
            bundles: [
                BundleDescription(
                    from: nil,
                    to: third.release.root,
                    object: try XCTUnwrap(first.bundle(from: nil)).object,
                    byteCount: 100
                )
            ]
        )
        scene.harness.source.damage(release: .replaceRelease { _ in mixed })
        try await assertRefused(.malformed, scene, sync)
    }

    func test_rollback_toAGenuineOlderRelease_isRefused_alsoAfterARestart() async throws {
        let scene = try await RootedScene()
        let old = try await scene.harness.publish(["a": "old"]).release.published
        let oldPointer = try await scene.pointer(to: old.signed, by: [scene.pointerKey])
        scene.harness.time.advance(by: .seconds(1))
        _ = try await scene.harness.publish(["a": "new"])
        var sync: ArtifactSync? = scene.sync()
        try await sync?.syncOnce()
        scene.harness.source.damage(release: .replaceRelease { _ in old })
        scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: oldPointer) }
        _ = try await scene.harness.publish(["a": "newer"])
        for _ in 0..<2 {
            let report = try await sync?.syncOnce()
            guard case .refused(let error) = report?.outcome, error.code == .belowFloor else {
                return XCTFail("\(String(describing: report?.outcome))")
            }
            XCTAssertEqual(scene.harness.current("a"), "new")
            sync = nil
            sync = scene.sync()
        }
    }

    func test_slowRetrieval_isGivenUp_andAnswersTheOldRelease() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let time = scene.harness.time
        scene.harness.source.damage(full: .drip(time), update: .drip(time))
        let outcome = try await withThrowingTaskGroup(of: String?.self) { group in
            group.addTask {
                do {
                    return "\(try await sync.syncOnce().outcome)"
                } catch let error as ArtifactStoreError {
                    return error.codeName
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    if time.sleeperCount >= 2 { time.advance(by: .seconds(10)) }
                    await Task.yield()
                }
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            return first
        }
        XCTAssertEqual(outcome, "artifacts.unavailable")
        XCTAssertEqual(scene.harness.current("a"), "one")
    }

    func test_keyCompromise_belowTheThreshold_isNotEnough_andRotationRemovesTheKey() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let genuine = try await scene.newest()
        // One stolen release key, and the pointer key as well.
        let alone = try SignedRelease(
            record: genuine.signed.record,
            signature: genuine.signed.signature
        )
        scene.harness.source.damage(
            release: .replaceRelease { PublishedRelease(signed: alone, bundles: $0.bundles) }
        )
        try await assertRefused(.untrustedSignature, scene, sync)
        // The root keys replace both; what the old ones sign is not taken any more.
        let keys = [try Ed25519Signer(), try Ed25519Signer()]
        try await scene.rotate(releaseKeys: keys, pointerKey: keys[1])
        scene.harness.source.damage()
        try await assertRefused(.untrustedSignature, scene, sync)
        _ = try await scene.republish(["a": "three"], signedBy: keys)
        try await sync.syncOnce()
        XCTAssertEqual(scene.harness.current("a"), "three")
        // One root key is less than the two that are needed: the thief of one replaces nothing.
        let thief = try Ed25519Signer()
        await assertThrows(.untrustedSignature) {
            try await scene.rotate(
                releaseKeys: [thief],
                pointerKey: thief,
                signedBy: [scene.rootKeys[0], thief]
            )
        }
    }

    func test_wrongSoftware_ofAnotherChannelTenantOrKind_isRefused() async throws {
        let (scene, sync, _) = try await standing()
        _ = try await scene.harness.publish(["a": "two"])
        let genuine = try await scene.newest()
        let release = genuine.signed.release
        let strange: [Release] = [
            release.moved(channel: "web/other"), release.moved(tenant: "other"),
            release.moved(kind: .webApplication),
        ]
        for other in strange {
            let signed = try await scene.harness.signer.sign(other, with: [scene.second])
            scene.harness.source.damage(
                release: .replaceRelease { PublishedRelease(signed: signed, bundles: $0.bundles) }
            )
            let pointer = try await scene.pointer(to: signed, by: [scene.pointerKey])
            scene.harness.source.answerTrust { TrustAnswer(roots: $0.roots, pointer: pointer) }
            try await assertRefused(.wrongChannel, scene, sync)
        }
    }
}
