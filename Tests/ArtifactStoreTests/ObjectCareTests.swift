import ArtifactStore
import ClusterRole
import ClusterTestKit
import Foundation
import Logging
import Synchronization
import XCTest

/// Collecting garbage, finding damage, keeping copies.
final class ObjectCareTests: XCTestCase {
    private func text(_ version: Int) -> String {
        (0..<200).map { "\(($0 &+ version) &* 2_654_435_761)\n" }.joined()
    }

    // MARK: - Collection

    func test_collection_leavesWhatIsNewServedBeforePinnedOrYoung_andRemovesTheRest() async throws {
        let harness = try Harness(updatesFrom: 0)
        var objects: [ContentDigest] = []
        let sync = harness.sync()
        for version in 1...8 {
            let publication = try await harness.publish(["a": text(version)])
            objects.append(publication.bundles[0].object)
            if version == 3 { try await sync.syncOnce() }
        }
        var policy = ObjectCollectionPolicy()
        policy.keptReleases = 2
        let collector = ObjectCollector(
            storage: harness.releases,
            objects: harness.objects,
            policy: policy,
            time: harness.time
        )
        let young = try await collector.collect(tenants: [.standard])
        XCTAssertEqual(young.removed, [])
        harness.time.advance(by: .seconds(25 * 3_600))
        let fresh = try await harness.objects.put(ByteChunks([[1, 2, 3]])).digest
        let pin = ObjectCollector.Pin(ReleaseNumber(5), of: Harness.channel, tenant: .standard)
        let report = try await collector.collect(
            tenants: [.standard],
            pins: [pin],
            inUse: [objects[5]]
        )
        // Served is 3, before it was 2, pinned 5, in use 6, the newest 7 and 8.
        XCTAssertEqual(Set(report.removed), [objects[0], objects[3]])
        XCTAssertEqual(
            Set(harness.objects.digests),
            Set([1, 2, 4, 5, 6, 7].map { objects[$0] } + [fresh])
        )
        XCTAssertEqual(report.examined, 9)
    }

    func test_collection_thatCannotReadTheReleases_removesNothing() async throws {
        let harness = try Harness()
        _ = try await harness.objects.put(ByteChunks([[1]]))
        harness.time.advance(by: .seconds(100 * 3_600))
        let collector = ObjectCollector(
            storage: FailingReleases(),
            objects: harness.objects,
            time: harness.time
        )
        do {
            _ = try await collector.collect(tenants: [.standard])
            XCTFail("nothing was thrown")
        } catch is FailingReleases.Failure {}
        XCTAssertEqual(harness.objects.digests.count, 1)
    }

    /// The census is over, the object is old and named by nothing that is kept; in that moment it is
    /// published again.
    func test_collection_overtakenByAPublish_leavesWhatThatNames() async throws {
        let harness = try Harness(updatesFrom: 0)
        let first = try await harness.publish(["a": text(1)])
        for version in 2...4 { _ = try await harness.publish(["a": text(version)]) }
        harness.time.advance(by: .seconds(25 * 3_600))
        var policy = ObjectCollectionPolicy()
        policy.keptReleases = 1
        let publisher = harness.publisher
        let objects = InterruptedInventory(harness.objects) {
            _ = try await publisher.rollback(Harness.channel, to: .first)
        }
        let collector = ObjectCollector(
            storage: harness.releases,
            objects: objects,
            policy: policy,
            time: harness.time
        )
        let report = try await collector.collect(tenants: [.standard])
        XCTAssertEqual(report.removed.count, 2)
        let sync = harness.sync()
        let applied = try await sync.syncOnce()
        XCTAssertTrue(applied.isApplied)
        XCTAssertEqual(sync.active?.release.root, first.release.release.root)
    }

    func test_publishesAndCollections_atOnceOnOneDirectory_loseNothing() async throws {
        let directory = try TemporaryDirectory()
        // Two managers' processes on one mount.
        let storages = [
            try DirectoryObjectStorage(path: directory.path("objects")),
            try DirectoryObjectStorage(path: directory.path("objects")),
        ]
        let contents = (0..<8).map { [UInt8](repeating: UInt8($0), count: 50_000) }
        let digests = contents.map { ContentDigest(of: $0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for storage in storages {
                group.addTask {
                    for round in 0..<40 {
                        let content = contents[round % 8]
                        let stored = try await storage.put(ByteChunks([content]))
                        // What was just stored is there, whatever the other one does, and whole.
                        let back = try await storage.read(stored.digest, from: 0)
                            .collect(upTo: 1 << 20)
                        XCTAssertEqual(ContentDigest(of: back), stored.digest)
                    }
                }
                group.addTask {
                    for round in 0..<40 {
                        // Everything before an hour ago may go, which is nothing.
                        let limit = SystemTimeSource().now() - .seconds(3_600)
                        let gone = try await storage.remove(digests[round % 8], storedBefore: limit)
                        XCTAssertFalse(gone)
                        _ = try await storage.renew(digests[round % 8])
                    }
                }
            }
            try await group.waitForAll()
        }
        let report = try await ObjectScrubber(
            objects: storages[0],
            storage: InMemoryReleaseStorage(ledger: InMemoryLedger())
        ).scrub([])
        XCTAssertEqual(report.examined, 8)
        XCTAssertEqual(report.damaged, [])
        let left = try FileManager.default.contentsOfDirectory(
            atPath: directory.path("objects/incoming")
        )
        XCTAssertEqual(left, [])
    }

    // MARK: - Scrubbing

    func test_scrub_mendsADamagedObject_fromAPeer_fromTheReleasesBeside_orReportsIt() async throws {
        let harness = try Harness()
        let path = harness.directory.path("objects")
        let storage = try DirectoryObjectStorage(path: path)
        var configuration = PublisherConfiguration()
        configuration.scratchDirectory = harness.directory.path
        configuration.logger.logLevel = .critical
        let publisher = ArtifactPublisher(
            storage: harness.releases,
            objects: storage,
            signer: harness.signer,
            capability: harness.capability,
            configuration: configuration
        )
        var bundles: [BundleDescription] = []
        for version in 1...2 {
            let source = try harness.directory.write(
                ["a": text(1), "b": text(version)],
                in: "v\(version)"
            )
            bundles = try await publisher.publish(source, to: Harness.channel).bundles
        }
        XCTAssertEqual(bundles.count, 2)
        let copy = InMemoryObjectStorage()
        for bundle in bundles {
            _ = try await copy.put(try await storage.read(bundle.object, from: 0))
        }
        func damage(_ digest: ContentDigest) throws {
            let file = URL(fileURLWithPath: "\(path)/\("\(digest)".prefix(2))/\(digest)")
            var bytes = try Data(contentsOf: file)
            bytes[bytes.count / 2] ^= 4
            try bytes.write(to: file)
        }
        func scrub(_ peers: [any ObjectPeer]) async throws -> [ObjectScrubber.Damage] {
            let scrubber = ObjectScrubber(
                objects: storage,
                peers: peers,
                storage: harness.releases,
                configuration: configuration
            )
            return try await scrubber.scrub([(.standard, Harness.channel)]).damaged
        }
        let peer = StoragePeer(name: "manager-2", copy)
        let liar = StoragePeer(name: "liar", LyingStorage())
        for bundle in bundles {
            try damage(bundle.object)
            let mended = try await scrub([liar, peer])
            XCTAssertEqual(
                mended,
                [.init(object: bundle.object, repair: .fromPeer("manager-2"))]
            )
            try damage(bundle.object)
            let rebuilt = try await scrub([])
            XCTAssertEqual(rebuilt, [.init(object: bundle.object, repair: .rebuilt)])
            let clean = try await scrub([])
            XCTAssertEqual(clean, [])
        }
        for bundle in bundles { try damage(bundle.object) }
        let lost = try await scrub([liar])
        XCTAssertEqual(lost.count, 2)
        XCTAssertTrue(lost.allSatisfy { $0.repair == .failed })
    }

    // MARK: - Copies

    func test_put_returnsWhenEnoughManagersHaveIt_orNamesThoseWhoHaveNot() async throws {
        let (local, second, third) = (
            InMemoryObjectStorage(), InMemoryObjectStorage(), InMemoryObjectStorage()
        )
        let peers: [any ObjectPeer] = [
            AbsentPeer(name: "manager-2"), StoragePeer(name: "manager-3", third),
        ]
        let two = ReplicatedObjectStorage(local: local, peers: peers, copies: 2)
        let stored = try await two.put(ByteChunks([[1, 2], [3]]))
        XCTAssertEqual(local.digests, [stored.digest])
        XCTAssertEqual(third.digests, [stored.digest])
        let three = ReplicatedObjectStorage(local: local, peers: peers, copies: 3)
        let error = await assertThrows(.notReplicated) {
            _ = try await three.put(ByteChunks([[4]]))
        }
        XCTAssertTrue(error?.message.contains("manager-2") ?? false, "\(String(describing: error))")
        XCTAssertFalse(error?.message.contains("manager-3") ?? true)
        let alone = ReplicatedObjectStorage(local: second, peers: [], copies: 1)
        _ = try await alone.put(ByteChunks([[5]]))
        XCTAssertEqual(second.digests.count, 1)
    }

    func test_read_ofAnObjectAnotherManagerHas_pullsItOnce_andBelievesItsDigestOnly() async throws {
        let (local, far) = (InMemoryObjectStorage(), InMemoryObjectStorage())
        let bytes = [UInt8](repeating: 7, count: 100_000)
        let digest = try await far.put(ByteChunks([bytes])).digest
        let counted = CountingPeer(far)
        let storage = ReplicatedObjectStorage(
            local: local,
            peers: [
                AbsentPeer(name: "gone"), StoragePeer(name: "liar", LyingStorage()), counted,
            ],
            copies: 1
        )
        try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<50 {
                group.addTask {
                    try await storage.read(digest, from: 10).collect(upTo: 1 << 20)
                }
            }
            for try await read in group { XCTAssertEqual(read, Array(bytes.dropFirst(10))) }
        }
        XCTAssertEqual(counted.count, 1)
        XCTAssertEqual(local.digests, [digest])
        let missing = ContentDigest(of: [9])
        let length = try await storage.byteCount(of: missing)
        XCTAssertNil(length)
        await assertThrows(.notFound) { _ = try await storage.read(missing, from: 0) }
    }
}

private struct AbsentPeer: ObjectPeer {
    struct Absent: Error {}
    let name: String
    func fetch(_ digest: ContentDigest, tenant: TenantID) async throws -> ByteChunks? {
        throw Absent()
    }
    func keep(_ object: StoredObject, tenant: TenantID, _ chunks: ByteChunks) async throws {
        throw Absent()
    }
    func needed(of tenant: TenantID) async throws -> Set<ContentDigest> { throw Absent() }
    func missing(
        of objects: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest> { throw Absent() }
}

private final class CountingPeer: ObjectPeer {
    let name = "counted"
    private let base: any ObjectStorage
    private let calls = Mutex(0)
    init(_ base: any ObjectStorage) { self.base = base }
    var count: Int { calls.withLock { $0 } }

    func fetch(_ digest: ContentDigest, tenant: TenantID) async throws -> ByteChunks? {
        guard try await base.byteCount(of: digest) != nil else { return nil }
        calls.withLock { $0 += 1 }
        return try await base.read(digest, from: 0)
    }

    func keep(_ object: StoredObject, tenant: TenantID, _ chunks: ByteChunks) async throws {}
    func needed(of tenant: TenantID) async throws -> Set<ContentDigest> { [] }
    func missing(
        of objects: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest> { [] }
}

/// Has everything, and gives something else.
private struct LyingStorage: ObjectStorage {
    func put(_ chunks: ByteChunks) async throws -> StoredObject {
        StoredObject(digest: ContentDigest(of: []), byteCount: 0)
    }
    func byteCount(of digest: ContentDigest) async throws -> Int64? { 3 }
    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        ByteChunks([[6, 6, 6]])
    }
    func remove(_ digest: ContentDigest) async throws {}
}

/// Runs something between the census and the first removal.
private final class InterruptedInventory: ObjectInventory {
    private let base: InMemoryObjectStorage
    private let interruption: @Sendable () async throws -> Void
    private let isDone = Mutex(false)

    init(
        _ base: InMemoryObjectStorage,
        _ interruption: @escaping @Sendable () async throws -> Void
    ) {
        self.base = base
        self.interruption = interruption
    }

    func put(_ chunks: ByteChunks) async throws -> StoredObject { try await base.put(chunks) }
    func byteCount(of digest: ContentDigest) async throws -> Int64? {
        try await base.byteCount(of: digest)
    }
    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        try await base.read(digest, from: offset)
    }
    func remove(_ digest: ContentDigest) async throws { try await base.remove(digest) }
    func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord] {
        try await base.objects(after: after, limit: limit)
    }
    func renew(_ digest: ContentDigest) async throws -> Bool { try await base.renew(digest) }
    func remove(_ digest: ContentDigest, storedBefore time: Timestamp) async throws -> Bool {
        let isFirst = isDone.withLock { done in
            defer { done = true }
            return !done
        }
        if isFirst { try await interruption() }
        return try await base.remove(digest, storedBefore: time)
    }
}

private struct FailingReleases: ReleaseStorage {
    struct Failure: Error {}
    func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision { throw Failure() }
    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease? {
        throw Failure()
    }
    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] { throw Failure() }
    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] { throw Failure() }
    func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision { throw Failure() }
    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] { throw Failure() }
}
