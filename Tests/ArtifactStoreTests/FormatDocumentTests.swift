import ArtifactStore
import ClusterRole
import Foundation
import XCTest

/// Holds the articles about formats and the code together.
final class FormatDocumentTests: XCTestCase {
    /// The code blocks of an article that hold nothing but hexadecimal digits.
    private func vectors(of article: String) throws -> [[UInt8]] {
        let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Sources/ArtifactStore/ArtifactStore.docc/\(article).md")
        let text = try String(contentsOf: url, encoding: .utf8)
        let blocks = text.components(separatedBy: "```").enumerated().filter { $0.offset % 2 == 1 }
        return blocks.compactMap { block in
            let digits = Array(block.element.filter { !$0.isWhitespace })
            guard digits.count % 2 == 0 else { return nil }
            var bytes: [UInt8] = []
            for index in stride(from: 0, to: digits.count, by: 2) {
                guard let byte = UInt8(String(digits[index...index + 1]), radix: 16) else {
                    return nil
                }
                bytes.append(byte)
            }
            return bytes
        }
    }

    func test_manifestVectors_ofTheArticle_areWhatTheCodeWritesAndReads() throws {
        let vectors = try vectors(of: "ManifestFormat")
        XCTAssertEqual(vectors.count, 10)
        for index in stride(from: 0, to: vectors.count, by: 2) {
            let (bytes, root) = (vectors[index], vectors[index + 1])
            let manifest = try TreeManifest(decoding: bytes)
            XCTAssertEqual(manifest.id.digest.bytes, root)
            XCTAssertEqual(try TreeManifest(entries: manifest.entries.reversed()).encoded, bytes)
        }
        let tree = try TreeManifest(decoding: vectors[4])
        XCTAssertEqual(
            tree.entries.map(\.path.description),
            ["bin", "bin/empty", "bin/run", "start"]
        )
        XCTAssertEqual(tree.entries.map(\.mode), [0o755, 0o644, 0o755, 0o777])
        XCTAssertEqual(try TreeManifest(decoding: vectors[6]).entries.last?.path.bytes, [0xFF])
        let timed = try TreeManifest(decoding: vectors[8])
        XCTAssertTrue(timed.keepsTimes)
        XCTAssertFalse(tree.keepsTimes)
        XCTAssertEqual(timed.entries.map(\.modified), [1_767_225_600])
    }

    func test_bundleVector_ofTheArticle_isWhatAPublisherStores() async throws {
        let harness = try Harness(codec: .plain)
        let publication = try await harness.publish(["a": "abc"])
        let bytes = try await harness.objects.read(publication.bundles[0].object, from: 0)
            .collect(upTo: 1_000)
        XCTAssertEqual([bytes], try vectors(of: "BundlesOnTheWire"))
        XCTAssertEqual(
            publication.release.release.root.digest.bytes,
            try vectors(of: "ManifestFormat")[3]
        )
    }

    /// What older managers stored: the canonical manifest inside the bundle.
    func test_bundleOfVersionOne_isStillRead() async throws {
        let harness = try Harness()
        let release = try await harness.publish(["a": "abc"]).release.release
        let manifest = Handmade.manifest([Handmade.file([0x61], "abc")])
        XCTAssertEqual(release.root.digest, ContentDigest(of: manifest))
        var bundle = Handmade.bundle(release.root, manifest, content: Array("abc".utf8))
        bundle[0] = 1
        let sync = ArtifactSync(
            channel: Harness.channel,
            source: HandmadeSource(base: harness.source, bytes: bundle),
            directory: harness.directory.path("worker-1"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(harness.signer.publicKey),
            configuration: SyncConfiguration(node: "worker-1")
        )
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied, "\(report.outcome)")
        XCTAssertEqual(harness.current("a"), "abc")
    }

    func test_names_thatDifferInCaseOrComposition_areRefusedIfAskedFor() async throws {
        let clashes = [
            ("Readme", "README"), ("d/\u{E9}", "d/e\u{301}"), ("A/x", "a/y"),
        ]
        for (first, second) in clashes {
            let harness = try Harness()
            _ = try harness.directory.write([first: "1"])
            let source = try harness.directory.write([second: "2"])
            let publisher = harness.publisher
            var options = PublishOptions()
            options.nameClashes = .refuse
            await assertThrows(.unsafePath) {
                _ = try await publisher.publish(source, to: Harness.channel, options: options)
            }
            XCTAssertEqual(harness.objects.digests, [])
            options.nameClashes = .allow
            _ = try await publisher.publish(source, to: Harness.channel, options: options)
        }
    }
}
