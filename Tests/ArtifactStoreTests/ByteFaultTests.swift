import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import Synchronization
import XCTest

/// Bytes that are not what they should be: cut, flipped, or claiming to be more than they are.
final class ByteFaultTests: XCTestCase {
    private static let files: [String: String] = {
        var files = ["empty": "", "twin-1": "the same", "twin-2": "the same"]
        for index in 0..<12 {
            files["folder-\(index % 3)/file-\(index)"] = String(
                repeating: "line \(index) \(index &* 2_654_435_761)\n",
                count: 40 + index
            )
        }
        return files
    }()

    private static func changed(_ files: [String: String]) -> [String: String] {
        var files = files
        files["folder-0/file-0"]? += "and one line more\n"
        files["new"] = "new"
        files["twin-2"] = nil
        return files
    }

    /// A worker on release 1 that is offered release 2.
    private func standing() async throws -> (Harness, ArtifactSync, Publication) {
        let harness = try Harness()
        _ = try await harness.publish(Self.files)
        let sync = harness.sync()
        try await sync.syncOnce()
        return (harness, sync, try await harness.publish(Self.changed(Self.files)))
    }

    private func bytes(_ harness: Harness, _ bundle: BundleDescription) async throws -> [UInt8] {
        try await harness.objects.read(bundle.object, from: 0).collect(upTo: 1 << 24)
    }

    // MARK: - Truncation

    /// Where frames begin: walks a bundle as its article documents it.
    private func borders(of bundle: [UInt8]) -> [Int] {
        var position = bundle[1] == 1 ? 2 + 64 + 8 : 2 + 32 + 8
        var found = [0, 2, position]
        while position < bundle.count {
            let head = Int(bundle[position])
            var at = position + 1
            func variable() -> Int {
                var value = 0
                var shift = 0
                while true {
                    let byte = Int(bundle[at])
                    at += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 128 { return value }
                }
            }
            let kind = bundle[at]
            at += 1
            var payload = 0
            if kind == 1 || kind == 3 {
                at += 1
                _ = variable()
                payload = variable()
            }
            position += 1 + head + payload
            found += [position - payload, position]
        }
        return found
    }

    func test_bundle_cutAtEveryFrameAndWithinEach_failsTyped_andTheOldReleaseServes() async throws {
        let (harness, sync, second) = try await standing()
        let old = try listing(of: harness.directory.path("worker-1/current/"))
        for bundle in second.bundles {
            let whole = try await bytes(harness, bundle)
            var cuts = Set(borders(of: whole))
            XCTAssertEqual(cuts.max(), whole.count)
            cuts.formUnion(cuts.map { $0 + 1 })
            cuts.formUnion(cuts.map { $0 / 2 })
            for cut in cuts.sorted() where cut < whole.count {
                // The other bundle is refused too: nothing may help.
                harness.source.damage(
                    full: bundle.from == nil ? .truncate(at: cut) : .truncate(at: 0),
                    update: bundle.from == nil ? .truncate(at: 0) : .truncate(at: cut)
                )
                do {
                    let report = try await sync.syncOnce()
                    guard case .refused = report.outcome else {
                        return XCTFail("cut at \(cut): \(report.outcome)")
                    }
                } catch let error as ArtifactStoreError {
                    XCTAssertEqual(error.code, .unavailable, "cut at \(cut)")
                }
                XCTAssertEqual(sync.active?.release.number, .first, "cut at \(cut)")
                XCTAssertEqual(
                    try listing(of: harness.directory.path("worker-1/current/")),
                    old,
                    "cut at \(cut)"
                )
            }
        }
        harness.source.damage()
        let report = try await sync.syncOnce()
        XCTAssertTrue(report.isApplied)
    }

    func test_bundle_cutAtRandomPlaces_isTakenUpThere_andNothingComesTwice() async throws {
        let harness = try Harness(codec: .plain)
        let second = try await harness.publish(Self.files)
        let random = SeededRandomSource(seed: 17)
        let length = Int(second.bundles[0].byteCount)
        for round in 0..<25 {
            let cuts = (0..<9).map { _ in Int(random.number(below: UInt64(length))) }.sorted()
            let source = CuttingSource(harness.source, at: cuts)
            let sync = ArtifactSync(
                channel: Harness.channel,
                source: source,
                directory: harness.directory.path("cut-\(round)"),
                deployer: DirectoryDeployer(),
                trusted: TrustedKeys(harness.signer.publicKey),
                configuration: {
                    var configuration = SyncConfiguration(node: "cut")
                    configuration.bundleAttempts = 20
                    configuration.logger.logLevel = .critical
                    return configuration
                }()
            )
            let report = try await sync.syncOnce()
            XCTAssertTrue(report.isApplied, "round \(round): \(report.outcome)")
            XCTAssertEqual(report.bytesReceived, Int64(length), "round \(round)")
            XCTAssertEqual(source.handedOut, length, "round \(round)")
        }
    }

    // MARK: - Bombs

    private func refusal(of bundle: (TreeID) -> [UInt8]) async throws -> ArtifactStoreError? {
        let harness = try Harness()
        let names = (0..<40).map { ("a name as long as it takes to fill a manifest \($0)", "x") }
        let published = try await harness.publish(Dictionary(uniqueKeysWithValues: names))
        let sync = ArtifactSync(
            channel: Harness.channel,
            source: HandmadeSource(
                base: harness.source,
                bytes: bundle(published.release.release.root)
            ),
            directory: harness.directory.path("worker"),
            deployer: DirectoryDeployer(),
            trusted: TrustedKeys(harness.signer.publicKey),
            configuration: {
                var configuration = SyncConfiguration(node: "worker")
                configuration.logger.logLevel = .critical
                return configuration
            }()
        )
        let report = try await sync.syncOnce()
        XCTAssertNil(sync.active)
        guard case .refused(let error) = report.outcome else { return nil }
        return error
    }

    /// One megabyte of zeros as zstandard packs it: RLE blocks of 128 KiB, written by hand.
    private func bomb(saying length: UInt32, blocks: Int) -> [UInt8] {
        var bytes: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xA0]
        withUnsafeBytes(of: length.littleEndian) { bytes += $0 }
        for block in 0..<blocks {
            let head = UInt32(131_072) << 3 | 1 << 1 | (block == blocks - 1 ? 1 : 0)
            bytes += [UInt8(head & 0xFF), UInt8(head >> 8 & 0xFF), UInt8(head >> 16 & 0xFF), 0]
        }
        return bytes
    }

    func test_frame_thatExpandsBeyondItsClaim_isRefused_beforeMemoryIsTaken() async throws {
        try XCTSkipUnless(BundleCodec.zstandard.isAvailable, "libzstd.so.1 is not on this machine")
        let frames: [(String, [UInt8])] = [
            ("says 1 MiB inside, 100 outside", bomb(saying: 1 << 20, blocks: 8)),
            ("says 100 on both sides, holds 1 GiB", bomb(saying: 100, blocks: 8_192)),
        ]
        for (name, payload) in frames {
            let error = try await refusal { root in
                Handmade.header(root, manifestBytes: 100)
                    + Handmade.frame(payload, claims: 100, codec: 1)
            }
            XCTAssertEqual(error?.code, .malformed, name)
        }
    }

    func test_claims_ofGigabytes_areRefused_beforeMemoryIsTaken() async throws {
        let huge: [(String, (TreeID) -> [UInt8])] = [
            ("a manifest of 4 GiB", { Handmade.header($0, manifestBytes: 4 << 30) }),
            ("a manifest of 2^63", { Handmade.header($0, manifestBytes: .min) }),
            (
                "a frame of 4 GiB",
                { Handmade.header($0, manifestBytes: 100) + Handmade.frame([0], claims: 4 << 30) }
            ),
            (
                "a manifest of 4 billion entries",
                {
                    Handmade.bundle($0, [1] + Handmade.variable(4 << 30) + Handmade.folder("a"))
                }
            ),
            (
                "a path of 4 GiB",
                { Handmade.bundle($0, [1, 1, 0] + Handmade.variable(4 << 30) + [0x61, 0, 0, 0]) }
            ),
            (
                "a file of 4 GiB under a release of forty bytes",
                {
                    Handmade.bundle(
                        $0,
                        Handmade.manifest([Handmade.carried([0x61], size: 4 << 30)])
                    )
                }
            ),
            (
                "a twin of a file that never came",
                {
                    Handmade.bundle(
                        $0,
                        Handmade.manifest([Handmade.entry(4, [0x61], 0o644, [7])])
                    )
                }
            ),
        ]
        for (name, bundle) in huge {
            let error = try await refusal(of: bundle)
            XCTAssertEqual(error?.code, .malformed, name)
        }
    }

    /// The stream goes on where the manifest ended: no end, no end in sight.
    func test_bundle_thatNeverEnds_isRefused_asSoonAsItIsTooLong() async throws {
        let error = try await refusal { root in
            let names = (0..<40).map { Handmade.carried(Array("file \($0 + 10)".utf8), size: 1) }
            let manifest = Handmade.manifest(names)
            let rest = (0..<1_000).flatMap { _ in
                Handmade.frame(Array(repeating: 1, count: 1_000))
            }
            return Handmade.header(root, manifestBytes: Int64(manifest.count))
                + Handmade.frame(manifest) + rest
        }
        XCTAssertEqual(error?.code, .malformed)
    }

    // MARK: - Flips

    func test_twoThousandFlippedBits_areNeverSilent() async throws {
        var (seen, silent) = (0, [String]())
        let random = SeededRandomSource(seed: 2_000)
        func bit(_ count: Int) -> Int { Int(random.number(below: UInt64(count * 8))) }

        // Bundles on their way: both, so that one cannot make up for the other.
        var (harness, sync, second) = try await standing()
        let old = try listing(of: harness.directory.path("worker-1/current/"))
        let new = try await {
            let whole = harness.sync("whole")
            try await whole.syncOnce()
            return try listing(of: harness.directory.path("whole/current/"))
        }()
        for _ in 0..<600 {
            let lengths = second.bundles.map { Int($0.byteCount) }
            harness.source.damage(
                full: .flip(at: bit(lengths[0])),
                update: .flip(at: bit(lengths[1]))
            )
            _ = try? await sync.syncOnce()
            // A bit that means nothing to the codec changes nothing: then all of it arrived.
            let isOld = sync.active?.release.number == .first
            let found = try listing(of: harness.directory.path("worker-1/current/"))
            if found != (isOld ? old : new) { silent.append("bundle") }
            if !isOld { (harness, sync, second) = try await standing() }
            seen += 1
        }

        // Manifests.
        let manifest = try TreeManifest(
            entries: (0..<40).map {
                TreeEntry(
                    path: TreePath("file \($0 + 100)"),
                    mode: 0o644,
                    content: .file(size: 1, digest: ContentDigest(of: [UInt8($0)]))
                )
            }
        )
        for _ in 0..<700 {
            var bytes = manifest.encoded
            let at = bit(bytes.count)
            bytes[at / 8] ^= 1 << UInt8(at % 8)
            if (try? TreeManifest(decoding: bytes))?.id == manifest.id { silent.append("manifest") }
            seen += 1
        }

        // Stored objects: found by scrubbing, and no worker takes them.
        let stored = try DirectoryObjectStorage(path: harness.directory.path("objects"))
        let object = try await stored.put(
            try await harness.objects.read(second.bundles[0].object, from: 0)
        )
        let shelf = "\(object.digest)".prefix(2)
        let file = URL(fileURLWithPath: harness.directory.path("objects/\(shelf)/\(object.digest)"))
        let good = try Data(contentsOf: file)
        var quiet = PublisherConfiguration()
        quiet.logger.logLevel = .critical
        let scrubber = ObjectScrubber(
            objects: stored,
            storage: harness.releases,
            configuration: quiet
        )
        for _ in 0..<400 {
            var bytes = good
            let at = bit(bytes.count)
            bytes[at / 8] ^= 1 << UInt8(at % 8)
            try bytes.write(to: file)
            let report = try await scrubber.scrub([])
            if report.damaged.map(\.object) != [object.digest] { silent.append("object") }
            seen += 1
        }

        // What a worker keeps: its state, the manifest, the marks and the files of its tree.
        seen += try await flipWhatAWorkerKeeps(300, bit, &silent)
        XCTAssertEqual(seen, 2_000)
        XCTAssertEqual(silent, [])
    }

    private func flipWhatAWorkerKeeps(
        _ count: Int,
        _ bit: (Int) -> Int,
        _ silent: inout [String]
    ) async throws -> Int {
        let harness = try Harness()
        let release = try await harness.publish(Self.files).release.release
        let want = try await {
            let sync = harness.sync()
            try await sync.syncOnce()
            return try listing(of: harness.directory.path("worker-1/current/"))
        }()
        let root = harness.directory.path("worker-1")
        let kept = [
            "state", "manifests/\(release.root)", "marks/\(release.root)",
            "releases/\(release.root)/folder-1/file-1", "releases/\(release.root)/twin-1",
        ]
        for round in 0..<count {
            let name = kept[round % kept.count]
            let url = URL(fileURLWithPath: "\(root)/\(name)")
            var bytes = try Data(contentsOf: url)
            let at = bit(bytes.count)
            bytes[at / 8] ^= 1 << UInt8(at % 8)
            try bytes.write(to: url)
            // A new process: whatever it serves is the release, and it comes back to it by itself.
            let sync = harness.sync()
            try await sync.start()
            let early = try listing(of: harness.directory.path("worker-1/current/"))
            if sync.active != nil, early != want { silent.append("\(name) at the start") }
            try await sync.syncOnce()
            let late = try listing(of: harness.directory.path("worker-1/current/"))
            if sync.active?.release != release || late != want {
                silent.append("\(name) after a look, bit \(at)")
            }
        }
        return count
    }
}

/// Ends each answer at the next of some places in the bundle.
private final class CuttingSource: ReleaseSource {
    private let base: any ReleaseSource
    private let cuts: [Int]
    private let total = Mutex(0)

    init(_ base: any ReleaseSource, at cuts: [Int]) {
        self.base = base
        self.cuts = cuts
    }

    var handedOut: Int { total.withLock { $0 } }

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        let rest = try await base.bundle(bundle, from: offset).collect(upTo: 1 << 24)
        let end = cuts.first { $0 > Int(offset) } ?? .max
        let part = Array(rest.prefix(end - Int(offset)))
        total.withLock { $0 += part.count }
        return ByteChunks([part])
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await base.acknowledge(applied, tenant: tenant)
    }
}
