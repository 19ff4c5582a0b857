import ArtifactStore
import ClusterRole
import Foundation
import Logging
import XCTest

/// Ways out of a tree: sixty, each tried where it would come from.
final class EscapeTableTests: XCTestCase {
    /// What a hostile manifest says, and what decoding it is refused with.
    private struct Hostile {
        let name: String
        let entries: [[UInt8]]
        let code: ArtifactStoreError.Code
        var links = LinkPolicy.insideTree

        init(
            _ name: String,
            _ code: ArtifactStoreError.Code,
            _ entries: [[UInt8]],
            _ links: LinkPolicy = .insideTree
        ) {
            self.name = name
            self.code = code
            self.entries = entries
            self.links = links
        }
    }

    private static func path(_ text: String, _ before: [[UInt8]] = []) -> [[UInt8]] {
        before + [Handmade.file(Array(text.utf8))]
    }

    private static func target(_ path: String, _ target: String) -> [UInt8] {
        Handmade.link(path, Array(target.utf8))
    }

    private static let paths: [Hostile] = {
        let a = Handmade.folder("a")
        return [
            Hostile("empty path", .unsafePath, path("")),
            Hostile("parent", .unsafePath, path("..")),
            Hostile("parent's file", .unsafePath, path("../x")),
            Hostile("two up", .unsafePath, path("../../etc/passwd")),
            Hostile("down and up", .unsafePath, path("a/..", [a])),
            Hostile("down and two up", .unsafePath, path("a/../../x", [a])),
            Hostile("up in the middle", .unsafePath, path("a/../b", [a])),
            Hostile("up at the end with a slash", .unsafePath, path("a/../", [a])),
            Hostile("here", .unsafePath, path(".")),
            Hostile("here in the middle", .unsafePath, path("a/./b", [a])),
            Hostile("absolute", .unsafePath, path("/etc/passwd")),
            Hostile("root", .unsafePath, path("/")),
            Hostile("two slashes at the front", .unsafePath, path("//x")),
            Hostile("two slashes in the middle", .unsafePath, path("a//b", [a])),
            Hostile("slash at the end", .unsafePath, path("a/", [a])),
            Hostile("NUL at the end", .unsafePath, path("x\0")),
            Hostile("NUL that hides a suffix", .unsafePath, path("x\0.txt")),
            Hostile("NUL then parent", .unsafePath, path("a\0/../../x")),
            Hostile("beneath nothing", .unsafePath, path("a/b")),
            Hostile("beneath a file", .unsafePath, path("f/x", [Handmade.file("f")])),
            Hostile("beneath a link", .unsafePath, path("l/x", [a, target("l", "a")])),
            Hostile(
                "beneath a link to the parent",
                .unsafePath,
                path("l/x", [target("l", "..")])
            ),
            Hostile("the same name twice", .unsafePath, [Handmade.file("f"), Handmade.file("f")]),
            Hostile(
                "a link in the place of a directory",
                .unsafePath,
                [a, target("a", "/"), Handmade.file("a/x")]
            ),
            Hostile("unsorted", .unsafePath, [Handmade.file("b"), Handmade.file("a")]),
            Hostile("a name too long", .limitExceeded, path(String(repeating: "n", count: 256))),
            Hostile(
                "a path too long",
                .limitExceeded,
                path(String(repeating: "n", count: 1_025))
            ),
            Hostile("set-uid", .unsupportedEntry, [Handmade.file([102], mode: 0o4755)]),
            Hostile("set-gid", .unsupportedEntry, [Handmade.file([102], mode: 0o2755)]),
            Hostile("sticky", .unsupportedEntry, [Handmade.file([102], mode: 0o1777)]),
            Hostile("a device", .unsupportedEntry, [Handmade.entry(5, [100], 0o600, [1, 3])]),
            Hostile("a socket", .unsupportedEntry, [Handmade.entry(6, [115], 0o600, [])]),
        ]
    }()

    private static let links: [Hostile] = {
        let a = Handmade.folder("a")
        return [
            Hostile("link to the parent", .unsafeLink, [target("l", "..")]),
            Hostile("link to the parent's file", .unsafeLink, [target("l", "../x")]),
            Hostile("link two up from one down", .unsafeLink, [a, target("a/l", "../../x")]),
            Hostile("link down, then three up", .unsafeLink, [a, target("l", "a/../../x")]),
            Hostile("absolute link", .unsafeLink, [target("l", "/etc/passwd")]),
            Hostile("link to the root", .unsafeLink, [target("l", "/")]),
            Hostile("link with two slashes at the front", .unsafeLink, [target("l", "//etc")]),
            Hostile(
                "link through a link that goes down",
                .unsafeLink,
                [a, Handmade.folder("a/b"), target("d", "a/b"), target("l", "d/../../../x")]
            ),
            Hostile(
                "link through a link that goes up",
                .unsafeLink,
                [a, target("a/u", ".."), target("l", "a/u/../x")]
            ),
            Hostile(
                "link up through here",
                .unsafeLink,
                [a, target("a/l", "./.././../x")]
            ),
            Hostile(
                "relative escape where absolute is allowed",
                .unsafeLink,
                [target("l", "../x")],
                .allowAbsolute
            ),
            Hostile("link to nothing", .unsafePath, [target("l", "")]),
            Hostile("link with a NUL", .unsafePath, [Handmade.link("l", [97, 0, 98])]),
            Hostile(
                "link with a mode",
                .unsafePath,
                [Handmade.entry(2, [108], 0o755, Handmade.blob([97]))]
            ),
            Hostile(
                "link target too long",
                .limitExceeded,
                [target("l", String(repeating: "t", count: 1_025))]
            ),
        ]
    }()

    func test_escapes_inSixtyWays_areAllRefused_andNothingIsMadeOutside() async throws {
        let hostile = Self.paths + Self.links
        var tried: [String] = []
        for one in hostile {
            let bytes = Handmade.manifest(one.entries)
            XCTAssertThrowsError(
                try TreeManifest(decoding: bytes, links: one.links),
                one.name
            ) { error in
                XCTAssertEqual((error as? ArtifactStoreError)?.code, one.code, one.name)
            }
            try await assertBundleIsRefused(bytes, one)
            tried.append(one.name)
        }
        tried += try await publishesNothingUnsafe()
        tried += try await followsNothingSwappedIn()
        XCTAssertEqual(tried.count, 60, "\(tried)")
        XCTAssertEqual(Set(tried).count, 60)
    }

    /// The same manifest inside a bundle, under a release that is signed for another tree.
    private func assertBundleIsRefused(_ manifest: [UInt8], _ one: Hostile) async throws {
        let harness = try Harness()
        // Long enough that the hostile manifest is not refused for its length.
        let name = String(repeating: "n", count: 100)
        let files = Dictionary(uniqueKeysWithValues: (0..<20).map { ("\(name)\($0)", "x") })
        let release = try await harness.publish(files).release.release
        let outside = try listing(of: harness.directory.path)
        let bundle = Handmade.bundle(release.root, manifest, content: Array("x".utf8))
        let sync = ArtifactSync(
            channel: Harness.channel,
            source: HandmadeSource(base: harness.source, bytes: bundle),
            directory: harness.directory.path("worker"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(harness.signer.publicKey),
            configuration: Self.quiet
        )
        let report = try await sync.syncOnce()
        guard case .refused(let error) = report.outcome else {
            return XCTFail("\(one.name): \(report.outcome)")
        }
        let reason = (error.cause as? ArtifactStoreError)?.code ?? error.code
        XCTAssertEqual(reason, one.code, "\(one.name): \(error)")
        XCTAssertNil(sync.active, one.name)
        let inside = try FileManager.default.contentsOfDirectory(
            atPath: harness.directory.path("worker/releases")
        )
        XCTAssertEqual(inside, [], one.name)
        let after = try listing(of: harness.directory.path).filter { !$0.hasPrefix("worker") }
        XCTAssertEqual(after, outside, one.name)
    }

    private static var quiet: SyncConfiguration {
        var configuration = SyncConfiguration(node: "worker")
        configuration.logger.logLevel = .critical
        return configuration
    }

    // MARK: - On the publisher's file system

    private func publishesNothingUnsafe() async throws -> [String] {
        let manager = FileManager.default
        let cases: [(String, ArtifactStoreError.Code, (String) throws -> Void)] = [
            (
                "a link to the machine's files", .unsafeLink,
                { try manager.createSymbolicLink(atPath: "\($0)/l", withDestinationPath: "/etc") }
            ),
            (
                "a link to a sibling of the tree", .unsafeLink,
                { try manager.createSymbolicLink(atPath: "\($0)/l", withDestinationPath: "../s") }
            ),
            (
                "a file with set-uid", .unsupportedEntry,
                { try manager.setAttributes([.posixPermissions: 0o4755], ofItemAtPath: "\($0)/f") }
            ),
            ("a pipe", .unsupportedEntry, { XCTAssertEqual(mkfifo("\($0)/p", 0o600), 0) }),
            ("a socket on the disk", .unsupportedEntry, { try Self.makeSocket("\($0)/s") }),
            (
                "a device node", .unsupportedEntry,
                { try XCTSkipUnless(mknod("\($0)/d", S_IFCHR | 0o600, 259) == 0, "no mknod") }
            ),
        ]
        for (name, code, make) in cases {
            let harness = try Harness()
            let source = try harness.directory.write(["f": "x"])
            do { try make(source) } catch is XCTSkip { continue }
            let publisher = harness.publisher
            let error = await assertThrows(code) {
                _ = try await publisher.publish(source, to: Harness.channel)
            }
            XCTAssertNotNil(error?.path, name)
            XCTAssertEqual(harness.objects.digests, [], name)
        }
        return cases.map(\.0)
    }

    private static func makeSocket(_ path: String) throws {
        let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(file) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let short = "/tmp/reeve-\(UUID().uuidString.prefix(8))"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: short.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        XCTAssertEqual(bound, 0)
        try FileManager.default.moveItem(atPath: short, toPath: path)
    }

    // MARK: - Beneath the worker

    /// Somebody swaps links into the worker's directory between two releases.
    private func followsNothingSwappedIn() async throws -> [String] {
        let places: [(name: String, path: (String, String) -> String, isDirectory: Bool)] = [
            ("a file of the old tree became a link", { "\($0)/releases/\($1)/same" }, false),
            ("a folder of the old tree became a link", { "\($0)/releases/\($1)/d" }, true),
            ("the old tree became a link", { "\($0)/releases/\($1)" }, true),
            ("the manifest became a link", { "\($0)/manifests/\($1)" }, false),
            ("the marks became a link", { "\($0)/marks/\($1)" }, false),
            ("the current link points elsewhere", { worker, _ in "\(worker)/current" }, true),
            ("the state's new file is a link", { worker, _ in "\(worker)/state.new" }, false),
        ]
        for place in places {
            let harness = try Harness()
            let victim = try harness.directory.write(
                ["same": "victim", "x": "victim", "f": "victim"],
                in: "victim"
            )
            let before = try listing(of: victim)
            let release = try await harness.publish(["same": "same", "d/f": "1", "n": "1"])
                .release.release
            let sync = harness.sync()
            try await sync.syncOnce()
            let path = place.path(harness.directory.path("worker-1"), "\(release.root)")
            try? FileManager.default.removeItem(atPath: path)
            try FileManager.default.createSymbolicLink(
                atPath: path,
                withDestinationPath: place.isDirectory ? victim : "\(victim)/same"
            )
            _ = try await harness.publish(["same": "same", "d/f": "1", "n": "2"])
            let report = try await sync.syncOnce()
            XCTAssertTrue(report.isApplied, "\(place.name): \(report.outcome)")
            XCTAssertEqual(harness.current("same"), "same", place.name)
            XCTAssertEqual(harness.current("d/f"), "1", place.name)
            XCTAssertEqual(harness.current("n"), "2", place.name)
            XCTAssertEqual(try listing(of: victim), before, place.name)
        }
        return places.map(\.name)
    }
}
