import ArtifactStore
import ClusterRole
import Foundation
import XCTest

final class SealedValueTests: XCTestCase {
    private let secret = Array("correct horse battery staple".utf8)

    func test_sealedValue_isOpenedByEachRecipient_andByNobodyElse() async throws {
        let keys = try (0..<3).map { _ in try OpeningKey() }
        let sealed = try SealedValue(
            sealing: secret,
            as: "database-password",
            to: [keys[0].publicKey, keys[1].publicKey, keys[0].publicKey]
        )
        XCTAssertEqual(sealed.recipients.count, 2)
        let read = try SealedValue(decoding: sealed.encoded)
        XCTAssertEqual(read, sealed)
        XCTAssertEqual(try keys[0].open(read), secret)
        XCTAssertEqual(try keys[1].open(read, name: "database-password"), secret)
        await assertThrows(.notRecipient) { _ = try keys[2].open(read) }
        await assertThrows(.wrongChannel) { _ = try keys[0].open(read, tenant: "other") }
        await assertThrows(.wrongChannel) { _ = try keys[0].open(read, name: "other") }
    }

    func test_sealedValue_withAnyBitFlippedOrCut_isNotOpened() throws {
        let key = try OpeningKey()
        let sealed = try SealedValue(sealing: secret, as: "x", to: [key.publicKey])
        for bit in 0..<sealed.encoded.count * 8 {
            var bytes = sealed.encoded
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            XCTAssertThrowsError(
                try key.open(SealedValue(decoding: bytes), tenant: .standard, name: "x"),
                "bit \(bit)"
            )
        }
        for length in 0..<sealed.encoded.count {
            XCTAssertThrowsError(try SealedValue(decoding: Array(sealed.encoded[..<length])))
        }
    }

    func test_sealingTwice_looksDifferent_andSaysNothingOfTheSecret() throws {
        let key = try OpeningKey()
        let one = try SealedValue(sealing: secret, as: "x", to: [key.publicKey])
        let two = try SealedValue(sealing: secret, as: "x", to: [key.publicKey])
        XCTAssertNotEqual(one.encoded, two.encoded)
        XCTAssertFalse(contains(one.encoded, secret))
        XCTAssertThrowsError(
            try SealedValue(
                sealing: [UInt8](repeating: 1, count: SealedValue.maximumBytes + 1),
                as: "x",
                to: [key.publicKey]
            )
        )
        XCTAssertThrowsError(try SealedValue(sealing: secret, as: "x", to: []))
    }

    func test_openingKey_ofAFile_isMadeOnce_isPrivate_andNeverPrinted() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("opening-key")
        let key = try OpeningKey(file: path)
        XCTAssertEqual(try OpeningKey(file: path).publicKey, key.publicKey)
        XCTAssertEqual(
            try SealingPublicKey(parsing: key.publicKey.description),
            key.publicKey
        )
        var text = "\(key) \(String(reflecting: key))"
        dump(key, to: &text)
        XCTAssertFalse(text.contains("seed"))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        await assertThrows(.fileSystem) { _ = try OpeningKey(file: path) }
    }

    func test_secretInATree_neverLiesInPlaintext_inObjectsBundlesOrTheWorkersDirectory()
        async throws
    {
        let harness = try Harness(codec: .plain)
        let key = try OpeningKey()
        let sealed = try SealedValue(
            sealing: secret,
            as: "database-password",
            to: [key.publicKey]
        )
        let source = try harness.directory.write(["page": "hello"], in: "source")
        try Data(sealed.encoded).write(to: URL(fileURLWithPath: "\(source)/password.sealed"))
        _ = try await harness.publisher.publish(source, to: Harness.channel)
        let sync = harness.sync()
        try await sync.syncOnce()
        let active = try XCTUnwrap(sync.active)
        XCTAssertEqual(try active.secret(at: "password.sealed", with: key), secret)
        let stranger = try OpeningKey()
        await assertThrows(.notRecipient) {
            _ = try active.secret(at: "password.sealed", with: stranger)
        }
        var looked = 0
        for digest in harness.objects.digests {
            let bytes = try await harness.objects.read(digest, from: 0).collect(upTo: 1 << 24)
            XCTAssertFalse(contains(bytes, secret))
            looked += 1
        }
        let all = try FileManager.default.subpathsOfDirectory(atPath: harness.directory.path)
        for name in all {
            guard let data = FileManager.default.contents(atPath: harness.directory.path(name))
            else { continue }
            XCTAssertFalse(contains(Array(data), secret), name)
            looked += 1
        }
        XCTAssertGreaterThan(looked, 5)
    }

    private func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        Data(bytes).range(of: Data(part)) != nil
    }
}
