public import ClusterRole
internal import Synchronization

/// Objects in memory: for tests, examples, and small artifacts.
public final class InMemoryObjectStorage: ObjectInventory {
    private struct Kept {
        var bytes: [UInt8]
        var storedAt: Timestamp
    }

    private let kept = Mutex<[ContentDigest: Kept]>([:])
    private let time: any TimeSource

    /// An empty storage; the clock says how old its objects are.
    public init(time: any TimeSource = SystemTimeSource()) { self.time = time }

    /// The names of all objects, sorted.
    public var digests: [ContentDigest] { kept.withLock { $0.keys.sorted() } }

    public func put(_ chunks: ByteChunks) async throws -> StoredObject {
        let bytes = try await chunks.collect(upTo: .max)
        let digest = ContentDigest(of: bytes)
        let now = time.now()
        kept.withLock { $0[digest] = Kept(bytes: bytes, storedAt: now) }
        return StoredObject(digest: digest, byteCount: Int64(bytes.count))
    }

    public func byteCount(of digest: ContentDigest) async throws -> Int64? {
        kept.withLock { $0[digest].map { Int64($0.bytes.count) } }
    }

    public func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        guard let bytes = kept.withLock({ $0[digest]?.bytes }) else {
            throw ArtifactStoreError.noObject(digest)
        }
        guard offset >= 0, offset <= Int64(bytes.count) else {
            throw ArtifactStoreError.beyondEnd(digest, offset)
        }
        let chunkSize = 256 << 10
        return ByteChunks(reading: {
            var position = Int(offset)
            return {
                guard position < bytes.count else { return nil }
                defer { position += chunkSize }
                return Array(bytes[position..<min(bytes.count, position + chunkSize)])
            }
        })
    }

    public func remove(_ digest: ContentDigest) async throws {
        kept.withLock { _ = $0.removeValue(forKey: digest) }
    }

    public func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord] {
        kept.withLock { kept in
            let names = kept.keys.sorted().drop { name in after.map { name <= $0 } ?? false }
            return names.prefix(limit).compactMap { name in
                kept[name].map {
                    ObjectRecord(
                        object: StoredObject(digest: name, byteCount: Int64($0.bytes.count)),
                        storedAt: $0.storedAt
                    )
                }
            }
        }
    }

    public func renew(_ digest: ContentDigest) async throws -> Bool {
        let now = time.now()
        return kept.withLock { kept in
            guard kept[digest] != nil else { return false }
            kept[digest]?.storedAt = now
            return true
        }
    }

    public func remove(
        _ digest: ContentDigest,
        storedBefore time: Timestamp
    ) async throws -> Bool {
        kept.withLock { kept in
            guard let found = kept[digest], found.storedAt < time else { return false }
            kept[digest] = nil
            return true
        }
    }
}
