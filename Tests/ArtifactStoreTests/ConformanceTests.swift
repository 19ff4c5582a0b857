import ArtifactStore
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

final class ArtifactConformanceTests: XCTestCase {
    func test_inMemoryObjectStorage_keepsItsContract() async throws {
        try await ObjectStorageConformance { InMemoryObjectStorage() }.run()
    }

    func test_directoryObjectStorage_keepsItsContract() async throws {
        let directory = try TemporaryDirectory()
        let count = Mutex(0)
        let path = directory.path
        try await ObjectStorageConformance {
            let number = count.withLock { count in
                count += 1
                return count
            }
            return try DirectoryObjectStorage(path: "\(path)/\(number)")
        }.run()
    }

    func test_replicatedObjectStorage_keepsTheContractOfObjectStorage() async throws {
        try await ObjectStorageConformance {
            ReplicatedObjectStorage(
                local: InMemoryObjectStorage(),
                peers: [StoragePeer(name: "peer", InMemoryObjectStorage())],
                copies: 1
            )
        }.run()
    }

    func test_inventories_keepTheirContract() async throws {
        let directory = try TemporaryDirectory()
        let count = Mutex(0)
        let path = directory.path
        try await ObjectInventoryConformance { InMemoryObjectStorage() }.run()
        try await ObjectInventoryConformance {
            let number = count.withLock { count in
                count += 1
                return count
            }
            return try DirectoryObjectStorage(path: "\(path)/\(number)")
        }.run()
        try await ObjectInventoryConformance {
            ReplicatedObjectStorage(local: InMemoryObjectStorage(), peers: [], copies: 1)
        }.run()
    }

    func test_brokenInventories_areFound() async throws {
        for fault in BrokenInventory.Fault.allCases {
            do {
                try await ObjectInventoryConformance { BrokenInventory(fault) }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "ObjectInventory")
            }
        }
    }

    func test_brokenObjectStorages_areFound() async throws {
        for fault in BrokenObjectStorage.Fault.allCases {
            do {
                try await ObjectStorageConformance { BrokenObjectStorage(fault) }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "ObjectStorage")
            }
        }
    }

    func test_brokenReleaseStorages_areFound() async throws {
        for fault in BrokenReleaseStorage.Fault.allCases {
            do {
                try await ReleaseStorageConformance {
                    let ledger = InMemoryLedger()
                    return .init(storage: BrokenReleaseStorage(fault, ledger: ledger)) {
                        ledger.raiseEpoch()
                    }
                }.run()
                XCTFail("\(fault) was not found")
            } catch let failure as ConformanceFailure {
                XCTAssertEqual(failure.suite, "ReleaseStorage")
            }
        }
    }
}

/// A storage with one defect.
struct BrokenObjectStorage: ObjectStorage {
    enum Fault: CaseIterable {
        case losesTheLastByte, ignoresTheOffset, keepsHalves, forgetsToRemove
    }

    private let base = InMemoryObjectStorage()
    private let fault: Fault

    init(_ fault: Fault) { self.fault = fault }

    func put(_ chunks: ByteChunks) async throws -> StoredObject {
        guard fault == .keepsHalves else { return try await base.put(chunks) }
        var collected: [[UInt8]] = []
        do {
            for try await chunk in chunks { collected.append(chunk) }
        } catch {
            _ = try await base.put(ByteChunks(collected))
            throw error
        }
        return try await base.put(ByteChunks(collected))
    }

    func byteCount(of digest: ContentDigest) async throws -> Int64? {
        try await base.byteCount(of: digest)
    }

    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        let chunks = try await base.read(digest, from: fault == .ignoresTheOffset ? 0 : offset)
        guard fault == .losesTheLastByte else { return chunks }
        return ByteChunks([Array(try await chunks.collect(upTo: 1 << 20).dropLast())])
    }

    func remove(_ digest: ContentDigest) async throws {
        if fault != .forgetsToRemove { try await base.remove(digest) }
    }
}

/// An inventory with one defect.
struct BrokenInventory: ObjectInventory {
    enum Fault: CaseIterable {
        case repeatsThePage, forgetsToRenew, removesTheYoung, renewsWhatIsMissing
    }

    private let base = InMemoryObjectStorage()
    private let fault: Fault

    init(_ fault: Fault) { self.fault = fault }

    func put(_ chunks: ByteChunks) async throws -> StoredObject { try await base.put(chunks) }
    func byteCount(of digest: ContentDigest) async throws -> Int64? {
        try await base.byteCount(of: digest)
    }
    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        try await base.read(digest, from: offset)
    }
    func remove(_ digest: ContentDigest) async throws { try await base.remove(digest) }

    func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord] {
        try await base.objects(after: fault == .repeatsThePage ? nil : after, limit: limit)
    }

    func renew(_ digest: ContentDigest) async throws -> Bool {
        switch fault {
        case .forgetsToRenew: try await base.byteCount(of: digest) != nil
        case .renewsWhatIsMissing: true
        default: try await base.renew(digest)
        }
    }

    func remove(_ digest: ContentDigest, storedBefore time: Timestamp) async throws -> Bool {
        guard fault == .removesTheYoung else {
            return try await base.remove(digest, storedBefore: time)
        }
        try await base.remove(digest)
        return true
    }
}

/// A storage with one defect.
struct BrokenReleaseStorage: ReleaseStorage {
    enum Fault: CaseIterable {
        case forgetsTheEpoch, overwrites, mixesTenants, keepsStaleWords, pagesOldestFirst
    }

    private let ledger: InMemoryLedger
    private let base: InMemoryReleaseStorage
    private let fault: Fault

    init(_ fault: Fault, ledger: InMemoryLedger) {
        self.fault = fault
        self.ledger = ledger
        base = InMemoryReleaseStorage(ledger: ledger)
    }

    private func epoch(_ epoch: Epoch) -> Epoch {
        fault == .forgetsTheEpoch ? ledger.epoch : epoch
    }

    func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision {
        do {
            return try await base.append(release, after: previous, epoch: self.epoch(epoch))
        } catch let error as ArtifactStoreError where fault == .overwrites {
            guard error.code == .conflict else { throw error }
            return ledger.revision
        }
    }

    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease? {
        let tenant = fault == .mixesTenants ? TenantID.standard : tenant
        return try await base.latest(of: channel, tenant: tenant)
    }

    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] {
        let page = try await base.releases(
            of: channel,
            tenant: tenant,
            before: before,
            limit: limit
        )
        return fault == .pagesOldestFirst ? page.reversed() : page
    }

    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] {
        try await base.channels(of: tenant, after: after, limit: limit)
    }

    func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        var word = acknowledgement
        if fault == .keepsStaleWords {
            word = AppliedRelease(
                node: word.node,
                channel: word.channel,
                number: ReleaseNumber(99),
                root: word.root,
                state: word.state,
                errorCode: word.errorCode,
                errorMessage: word.errorMessage,
                at: Timestamp(milliseconds: 99),
                floorRecord: word.floorRecord
            )
        }
        return try await base.record(word, tenant: tenant, epoch: self.epoch(epoch))
    }

    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        try await base.acknowledgements(of: channel, tenant: tenant)
    }
}
