import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import XCTest

final class ReleaseTests: XCTestCase {
    /// Values aligned to 16 bytes crash `AsyncStream` (Swift 6.3).
    func test_labels_areReadAsOperatorsWriteThem_andAWrongOneIsNamed() async throws {
        XCTAssertEqual(
            try ReleaseNodeProperties.labels(parsing: ["rack=7", "zone=a=b", "empty="]),
            ["rack": "7", "zone": "a=b", "empty": ""]
        )
        for wrong in ["rack", "=7", ""] {
            await assertThrows(.invalidName) {
                _ = try ReleaseNodeProperties.labels(parsing: ["rack=7", wrong])
            }
        }
        let abilities = try NodeAbilities(parsing: ["gpu"], softwareVersion: "2.1.0")
        XCTAssertEqual(abilities.capabilities, [try CapabilityName(validating: "gpu")])
        XCTAssertEqual(abilities.softwareVersion, try SoftwareVersion(parsing: "2.1.0"))
        XCTAssertEqual(try NodeAbilities(parsing: [], softwareVersion: nil), NodeAbilities())
        XCTAssertThrowsError(try NodeAbilities(parsing: ["no name"], softwareVersion: nil))
        XCTAssertThrowsError(try NodeAbilities(parsing: [], softwareVersion: "newest"))
    }

    func test_digestAndWhatHoldsIt_areAlignedToOneWord() {
        XCTAssertLessThanOrEqual(MemoryLayout<ContentDigest>.alignment, 8)
        XCTAssertLessThanOrEqual(MemoryLayout<AppliedRelease>.alignment, 8)
        XCTAssertLessThanOrEqual(MemoryLayout<ActiveRelease>.alignment, 8)
    }

    func test_publishedRelease_encodedAndDecoded_isTheSame() throws {
        let sample = try ReleaseStorageConformance.sample(7)
        XCTAssertEqual(try PublishedRelease(decoding: sample.encoded), sample)
        XCTAssertEqual(try Release(decoding: sample.release.encoded), sample.release)
        XCTAssertEqual(try SignedRelease(decoding: sample.signed.encoded), sample.signed)
        for length in 0..<sample.encoded.count {
            XCTAssertThrowsError(
                try PublishedRelease(decoding: Array(sample.encoded[..<length]))
            )
        }
    }

    func test_acknowledgement_encodedAndDecoded_isTheSame() throws {
        let release = try ReleaseStorageConformance.sample(7).release
        let error = ArtifactStoreError(
            .deploymentFailed,
            "x" + String(repeating: "é", count: 1_000)
        )
        for word in [
            AppliedRelease(
                node: NodeID(rawValue: "w"),
                release: release,
                at: Timestamp(milliseconds: 5)
            ),
            AppliedRelease(
                node: NodeID(rawValue: "w"),
                release: release,
                error: error,
                at: Timestamp(milliseconds: 5),
                floorRecord: [1, 2],
                incarnation: 1_767_225_600_000,
                attempt: 3
            ),
        ] {
            XCTAssertEqual(try AppliedRelease(decoding: word.encoded), word)
            XCTAssertLessThanOrEqual(word.errorMessage?.utf8.count ?? 0, 1_024)
            for length in 0..<word.encoded.count {
                XCTAssertThrowsError(
                    try AppliedRelease(decoding: Array(word.encoded[..<length]))
                )
            }
        }
    }

    func test_signer_printed_doesNotShowItsSecret() throws {
        let signer = try Ed25519Signer()
        var text = "\(signer) \(String(reflecting: signer))"
        dump(signer, to: &text)
        XCTAssertFalse(text.contains("seed"))
        XCTAssertTrue(text.contains(signer.publicKey.id.rawValue))
    }

    func test_record_hasTheDocumentedBeginning() throws {
        let record = try ReleaseStorageConformance.sample(7).release.encoded
        let names = [7] + Array("default".utf8) + [8] + Array("web/site".utf8)
        XCTAssertEqual(Array(record.prefix(names.count + 1)), [2] + names)
    }

    func test_signature_ofATrustedKey_isAccepted_andNoOther() async throws {
        let signer = try Ed25519Signer()
        let other = try Ed25519Signer()
        let sample = try ReleaseStorageConformance.sample(1).release
        let release = try Release(decoding: sample.encoded)
        let tree = try TreeManifest(entries: [])
        let mine = Release(
            tenant: release.tenant,
            channel: release.channel,
            kind: release.kind,
            number: .first,
            tree: tree,
            previousRoot: nil,
            created: release.created,
            expires: nil,
            key: signer.publicKey.id,
            links: .insideTree
        )
        let signed = try await signer.sign(mine)
        XCTAssertNoThrow(try TrustedKeys(signer.publicKey, other.publicKey).verify(signed))
        await assertThrows(.untrustedSignature) { try TrustedKeys(other.publicKey).verify(signed) }
        await assertThrows(.untrustedSignature) { try TrustedKeys([]).verify(signed) }
        for index in [0, 31, 63] {
            var signature = signed.signature
            signature[index] ^= 1
            let forged = try SignedRelease(record: signed.record, signature: signature)
            await assertThrows(.untrustedSignature) {
                try TrustedKeys(signer.publicKey).verify(forged)
            }
        }
        // The bare record's signature is no release's signature: the message begins with a fixed
        // text.
        let bare = try SignedRelease(
            record: signed.record,
            signature: try await signer.signature(for: signed.record)
        )
        await assertThrows(.untrustedSignature) { try TrustedKeys(signer.publicKey).verify(bare) }
    }

    func test_keyFile_isMadeOnce_isPrivate_andRefusedWhenOthersCanRead() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("key")
        let made = try Ed25519Signer(file: path)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
        XCTAssertEqual((mode as? NSNumber)?.intValue, 0o600)
        XCTAssertEqual(try Ed25519Signer(file: path).publicKey, made.publicKey)
        XCTAssertEqual(
            try ReleasePublicKey(parsing: made.publicKey.description),
            made.publicKey
        )
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        await assertThrows(.fileSystem) { _ = try Ed25519Signer(file: path) }
    }

    func test_channelName_isCheckedPartByPart() {
        for good in ["web", "web/site", "a/b/c-1.2"] {
            XCTAssertNoThrow(try ChannelName(validating: good))
        }
        for bad in [
            "", "/a", "a/", "a//b", "../a", "a/./b", "a b", "a\u{7}",
            String(repeating: "x", count: 256),
        ] {
            XCTAssertThrowsError(try ChannelName(validating: bad), bad)
        }
    }

    func test_digest_isParsedStrictly() throws {
        let text = String(repeating: "0f", count: 32)
        XCTAssertEqual(try ContentDigest(parsing: text).description, text)
        for bad in [
            "", "+" + text.dropFirst(), text.uppercased(), text + "0", " " + text.dropFirst(),
        ] {
            XCTAssertThrowsError(try ContentDigest(parsing: bad), bad)
        }
    }
}
