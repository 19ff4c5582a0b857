import ArtifactStore
import ClusterRole
import Foundation
import XCTest

/// Holds the vectors of the article on records and keys, which were made with another
/// implementation (OpenSSL, and HPKE written from RFC 9180), against this one.
final class RecordVectorTests: XCTestCase {
    /// The same byte, for ever: keys with known seeds.
    private struct Repeating: RandomSource {
        let byte: UInt8
        func next() -> UInt64 { 0x0101_0101_0101_0101 &* UInt64(byte) }
    }

    /// The hexadecimal block of the article whose first line is `name`.
    private func vector(_ name: String) throws -> [UInt8] {
        let article = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent(
                "Sources/ArtifactStore/ArtifactStore.docc/RecordsAndKeys.md"
            )
        let text = try String(contentsOf: article, encoding: .utf8)
        let parts = text.components(separatedBy: "```text\n\(name)\n")
        let block = try XCTUnwrap(parts.dropFirst().first, name)
        let digits = try XCTUnwrap(block.components(separatedBy: "```").first)
            .filter { $0.isHexDigit }
        return try stride(from: 0, to: digits.count, by: 2).map { offset in
            let start = digits.index(digits.startIndex, offsetBy: offset)
            let pair = digits[start...].prefix(2)
            return try XCTUnwrap(UInt8(pair, radix: 16))
        }
    }

    private func key(_ byte: UInt8) throws -> Ed25519Signer {
        try Ed25519Signer(random: Repeating(byte: byte))
    }

    private func release() throws -> Release {
        Release(
            tenant: "default",
            channel: "web/site",
            kind: .files,
            number: ReleaseNumber(7),
            root: TreeID(ContentDigest(of: Array("tree".utf8))),
            fileCount: 3,
            totalBytes: 1_000,
            manifestBytes: 250,
            previousRoot: TreeID(ContentDigest(of: Array("before".utf8))),
            created: Timestamp(milliseconds: 1_700_000_000_000),
            expires: nil,
            key: try key(1).publicKey.id,
            links: .insideTree,
            dependencies: [ReleaseDependency("lib/base", atLeast: ReleaseNumber(4))],
            requirements: ReleaseRequirements(
                capabilities: ["java-21", "gpu"],
                softwareVersion: try SoftwareVersion(parsing: "2.10")
            ),
            publisher: "build-server"
        )
    }

    func test_releaseVector_isWhatThisImplementationSigns() async throws {
        let bytes = try vector("release")
        let signed = try SignedRelease(decoding: bytes)
        XCTAssertEqual(signed.release, try release())
        XCTAssertEqual(signed.record, try release().encoded)
        XCTAssertEqual(signed.encoded, bytes)
        try TrustedKeys(key(1).publicKey).verify(signed)
        let own = try await key(1).sign(try release())
        XCTAssertEqual(own.record, signed.record)
        await assertThrows(.untrustedSignature) {
            try TrustedKeys(try self.key(2).publicKey).verify(signed)
        }
    }

    func test_releaseVectorOfVersion1_isStillReadAndBelieved() throws {
        let signed = try SignedRelease(decoding: try vector("release-1"))
        XCTAssertEqual(signed.release.number, ReleaseNumber(7))
        XCTAssertEqual(signed.release.dependencies, [])
        XCTAssertTrue(signed.release.requirements.isEmpty)
        try TrustedKeys(key(1).publicKey).verify(signed)
    }

    func test_pointerVector_isWhatThisImplementationSigns() throws {
        let bytes = try vector("pointer")
        let signed = try SignedPointer(decoding: bytes)
        let expected = ReleasePointer(
            to: try SignedRelease(decoding: try vector("release")),
            issued: Timestamp(milliseconds: 1_700_000_000_000),
            expires: Timestamp(milliseconds: 1_700_003_600_000)
        )
        XCTAssertEqual(signed.pointer, expected)
        XCTAssertEqual(signed.record, expected.encoded)
        XCTAssertEqual(signed.encoded, bytes)
        try TrustedKeys(key(2).publicKey).verify(signed)
    }

    func test_rootVector_isWhatThisImplementationSigns() throws {
        let bytes = try vector("root")
        let signed = try SignedRoot(decoding: bytes)
        let keys = try (1...3).map { try key($0).publicKey }
        let expected = try RootRecord(
            version: 1,
            rootKeys: try RoleKeys(keys, threshold: 2),
            releaseKeys: try RoleKeys([keys[0]]),
            pointerKeys: try RoleKeys([keys[1]]),
            expires: Timestamp(milliseconds: 1_800_000_000_000)
        )
        XCTAssertEqual(signed.root, expected)
        XCTAssertEqual(signed.record, expected.encoded)
        XCTAssertEqual(signed.encoded, bytes)
        let trusted = try TrustedKeys(pinning: signed)
        try trusted.verify(try SignedRelease(decoding: try vector("release")))
        try trusted.verify(try SignedPointer(decoding: try vector("pointer")))
    }

    func test_sealedVector_isOpenedByItsKey() throws {
        let sealed = try SealedValue(decoding: try vector("sealed"))
        let key = try OpeningKey(random: Repeating(byte: 5))
        XCTAssertEqual(try key.open(sealed), Array("correct horse".utf8))
    }
}
