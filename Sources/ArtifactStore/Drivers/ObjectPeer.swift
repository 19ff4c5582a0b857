public import ClusterRole

/// Another manager, as a place that may have an object or keep a copy of one.
///
/// A peer is not trusted with content: what it sends is digested on its way in.
public protocol ObjectPeer: Sendable {
    /// How errors and reports name it: its address, or its node's name.
    var name: String { get }

    /// The object's bytes; `nil` if the peer itself does not have it. It does not ask its own peers.
    func fetch(_ digest: ContentDigest, tenant: TenantID) async throws -> ByteChunks?

    /// Makes the peer keep a copy. When it returns, the copy survives a power cut there.
    ///
    /// - Throws: also if what arrived does not have this digest.
    func keep(_ object: StoredObject, tenant: TenantID, _ chunks: ByteChunks) async throws

    /// The objects that the peer's own records need: copies of them that are kept here are no garbage,
    /// although nothing here names them.
    func needed(of tenant: TenantID) async throws -> Set<ContentDigest>

    /// Which of these objects the peer itself does not have. It does not read those it has.
    func missing(
        of objects: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest>
}

/// Another storage of the same process as a peer: for tests, and for a second disk. It has the objects
/// of one tenant, and no records.
public struct StoragePeer: ObjectPeer {
    public let name: String
    private let storage: any ObjectStorage

    /// Names a storage.
    public init(name: String, _ storage: any ObjectStorage) {
        self.name = name
        self.storage = storage
    }

    public func fetch(
        _ digest: ContentDigest,
        tenant: TenantID
    ) async throws -> ByteChunks? {
        guard try await storage.byteCount(of: digest) != nil else { return nil }
        return try await storage.read(digest, from: 0)
    }

    public func keep(
        _ object: StoredObject,
        tenant: TenantID,
        _ chunks: ByteChunks
    ) async throws {
        _ = try await storage.put(chunks, expecting: object.digest)
    }

    public func needed(of tenant: TenantID) async throws -> Set<ContentDigest> { [] }

    public func missing(
        of objects: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest> {
        try await storage.missing(of: objects)
    }
}

extension ObjectStorage {
    /// Which of these it does not have.
    func missing(of objects: Set<ContentDigest>) async throws -> Set<ContentDigest> {
        var missing: Set<ContentDigest> = []
        for digest in objects where try await byteCount(of: digest) == nil {
            missing.insert(digest)
        }
        return missing
    }

    /// Stores bytes that should have a digest; if they have another, they are not kept.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch`.
    public func put(
        _ chunks: ByteChunks,
        expecting digest: ContentDigest
    ) async throws -> StoredObject {
        let stored = try await put(ByteChunks(DigestedChunks(base: chunks, expected: digest)))
        return stored
    }
}

/// Passes bytes on and throws at their end unless they have the digest, so that the storage that
/// takes them keeps nothing.
private struct DigestedChunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let base: ByteChunks
    let expected: ContentDigest

    func makeAsyncIterator() -> Iterator {
        Iterator(base: base.makeAsyncIterator(), expected: expected)
    }

    struct Iterator: AsyncIteratorProtocol {
        var base: ByteChunks.AsyncIterator
        let expected: ContentDigest
        var hasher = ContentHasher()

        mutating func next() async throws -> [UInt8]? {
            if let chunk = try await base.next() {
                chunk.withUnsafeBytes { hasher.update($0) }
                return chunk
            }
            guard hasher.finish() == expected else {
                throw ArtifactStoreError(
                    .digestMismatch,
                    "The bytes that arrived are not object \(expected). Fetch it from another manager."
                )
            }
            return nil
        }
    }
}
