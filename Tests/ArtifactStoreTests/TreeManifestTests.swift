import ArtifactStore
import ClusterRole
import XCTest

final class TreeManifestTests: XCTestCase {
    private let abc = ContentDigest(of: Array("abc".utf8))

    private func file(_ path: TreePath, mode: UInt16 = 0o644, size: Int64 = 3) -> TreeEntry {
        TreeEntry(path: path, mode: mode, content: .file(size: size, digest: abc))
    }

    private func folder(_ path: TreePath) -> TreeEntry {
        TreeEntry(path: path, mode: 0o755, content: .directory)
    }

    private func link(_ path: TreePath, _ target: TreePath) -> TreeEntry {
        TreeEntry(path: path, mode: 0o777, content: .link(target: target))
    }

    func test_manifest_ofThreeKinds_hasTheDocumentedBytes() throws {
        let manifest = try TreeManifest(
            entries: [link("c", "a/b"), file("a/b"), folder("a")])
        var expected: [UInt8] = [1, 3]
        expected += [0, 1, 0x61, 0xED, 0x03]
        expected += [1, 3, 0x61, 0x2F, 0x62, 0xA4, 0x03, 3] + abc.bytes
        expected += [2, 1, 0x63, 0xFF, 0x03, 3, 0x61, 0x2F, 0x62]
        XCTAssertEqual(manifest.encoded, expected)
        XCTAssertEqual(manifest.id.digest, ContentDigest(of: expected))
        XCTAssertEqual(
            abc.description, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        XCTAssertEqual(manifest.fileCount, 1)
        XCTAssertEqual(manifest.totalBytes, 3)
    }

    func test_manifest_encodedAndDecoded_isTheSame() throws {
        let name = TreePath(bytes: [0xFF, 0xFE, 0x20, 0x0A])
        let manifest = try TreeManifest(
            entries: [folder("é"), file("é/x"), file(name), folder("leer"), link("l", "é/../leer")])
        let decoded = try TreeManifest(decoding: manifest.encoded)
        XCTAssertEqual(decoded.entries, manifest.entries)
        XCTAssertEqual(decoded.id, manifest.id)
        XCTAssertEqual(try TreeManifest(entries: []).entries, [])
    }

    func test_manifest_cutOrFlippedAnywhere_isRefusedOrAnotherTree() throws {
        let manifest = try TreeManifest(
            entries: [folder("a"), file("a/b"), link("c", "a/b"), file("d")])
        for length in 0..<manifest.encoded.count {
            XCTAssertThrowsError(try TreeManifest(decoding: Array(manifest.encoded[..<length])))
        }
        for bit in 0..<manifest.encoded.count * 8 {
            var bytes = manifest.encoded
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            if let other = try? TreeManifest(decoding: bytes) {
                XCTAssertNotEqual(other.id, manifest.id)
            }
        }
        XCTAssertThrowsError(try TreeManifest(decoding: manifest.encoded + [0]))
    }

    private func assertRefused(
        _ code: ArtifactStoreError.Code, _ entries: [TreeEntry], links: LinkPolicy = .insideTree,
        limits: TreeLimits = TreeLimits(), line: UInt = #line
    ) {
        XCTAssertThrowsError(
            try TreeManifest(entries: entries, limits: limits, links: links), line: line
        ) { error in
            XCTAssertEqual((error as? ArtifactStoreError)?.code, code, "\(error)", line: line)
        }
    }

    func test_path_thatCouldLeaveTheTree_isRefused() {
        let bad: [TreePath] = [
            "", "/etc/passwd", "..", "../x", "a/..", ".", "a/./b", "a//b", "a/", "a\0b",
        ]
        for path in bad { assertRefused(.unsafePath, [folder("a"), file(path)]) }
    }

    func test_path_beneathAFileLinkOrNothing_isRefused() {
        assertRefused(.unsafePath, [file("a"), file("a/b")])
        assertRefused(.unsafePath, [link("a", "b"), file("a/b"), folder("b")])
        assertRefused(.unsafePath, [file("a/b")])
    }

    func test_path_twice_isRefused() {
        assertRefused(.unsafePath, [file("a"), file("a")])
        assertRefused(.unsafePath, [folder("a"), link("a", "b")])
    }

    func test_entry_withSetUserOrStickyBit_isRefused() {
        assertRefused(.unsupportedEntry, [file("a", mode: 0o4755)])
        assertRefused(.unsupportedEntry, [file("a", mode: 0o2755)])
        assertRefused(.unsupportedEntry, [file("a", mode: 0o1755)])
    }

    func test_entry_ofAnUnknownKind_isRefused() throws {
        var bytes = try TreeManifest(entries: [file("a")]).encoded
        bytes[2] = 3
        XCTAssertThrowsError(try TreeManifest(decoding: bytes)) { error in
            XCTAssertEqual((error as? ArtifactStoreError)?.code, .unsupportedEntry)
        }
    }

    func test_link_thatLeavesTheTree_isRefused() {
        assertRefused(.unsafeLink, [link("a", "..")])
        assertRefused(.unsafeLink, [folder("d"), link("d/a", "../../x")])
        assertRefused(.unsafeLink, [folder("d"), link("d/a", "x/../../../y")])
        assertRefused(.unsafeLink, [link("a", "/etc/passwd")])
        assertRefused(.unsafePath, [link("a", "")])
        assertRefused(.unsafePath, [link("a", "b\0c")])
    }

    func test_link_thatLeavesTheTreeThroughAnotherLink_isRefused() {
        // Spelled `deep/../..` it seems to stay; but deep leads to the top.
        let entries = [
            folder("a"), folder("a/b"), folder("t"), link("a/b/deep", "../../t"),
            link("m", "a/b/deep/../.."),
        ]
        assertRefused(.unsafeLink, entries)
    }

    func test_link_thatStaysInside_isTaken() throws {
        let entries = [
            folder("a"), folder("a/b"), link("a/b/up", "../.."), link("x", "a/b/up/a"),
            link("loop", "loop"), link("dangling", "not/there"), link("self", "."),
        ]
        XCTAssertEqual(try TreeManifest(entries: entries).entries.count, entries.count)
    }

    func test_absoluteLink_withTheOption_isTaken_butEscapingOnesAreNot() throws {
        let absolute = [link("a", "/etc/passwd")]
        XCTAssertNoThrow(try TreeManifest(entries: absolute, links: .allowAbsolute))
        assertRefused(.unsafeLink, [link("a", "../x")], links: .allowAbsolute)
    }

    func test_limits_areEachEnforced() {
        var limits = TreeLimits()
        limits.entries = 1
        assertRefused(.limitExceeded, [file("a"), file("b")], limits: limits)
        limits = TreeLimits()
        limits.fileBytes = 2
        assertRefused(.limitExceeded, [file("a")], limits: limits)
        limits = TreeLimits()
        limits.totalBytes = 5
        assertRefused(.limitExceeded, [file("a"), file("b")], limits: limits)
        limits = TreeLimits()
        limits.pathBytes = 3
        assertRefused(.limitExceeded, [file("abcd")], limits: limits)
        limits = TreeLimits()
        limits.manifestBytes = 10
        assertRefused(.limitExceeded, [file("abcd")], limits: limits)
        assertRefused(.limitExceeded, [file(TreePath(String(repeating: "n", count: 256)))])
        let target = TreePath(String(repeating: "t", count: 1_025))
        assertRefused(.limitExceeded, [link("a", target)])
    }

    func test_manifest_thatDeclaresAHugeCount_isRefusedBeforeAllocating() {
        XCTAssertThrowsError(
            try TreeManifest(decoding: [1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]))
    }

    func test_difference_namesWhatChanged() throws {
        let old = try TreeManifest(entries: [file("a"), file("b"), file("c"), folder("d")])
        let new = try TreeManifest(
            entries: [file("b", mode: 0o755), file("c", size: 4), folder("d"), file("d/e")])
        let difference = TreeDifference(from: old, to: new)
        XCTAssertEqual(difference.removed, ["a"])
        XCTAssertEqual(difference.modeChanged, ["b"])
        XCTAssertEqual(difference.changed, ["c"])
        XCTAssertEqual(difference.added, ["d/e"])
        XCTAssertEqual(difference.count, 4)
        XCTAssertTrue(TreeDifference(from: new, to: new).isEmpty)
        XCTAssertEqual(TreeDifference(from: nil, to: new).added.count, 4)
    }
}
