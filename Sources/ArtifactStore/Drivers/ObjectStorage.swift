internal import Synchronization

/// What was stored: its name and its length.
public struct StoredObject: Hashable, Sendable {
    /// Its name.
    public let digest: ContentDigest
    /// Its length.
    public let byteCount: Int64

    /// What a driver returns.
    public init(digest: ContentDigest, byteCount: Int64) {
        self.digest = digest
        self.byteCount = byteCount
    }
}

/// Where bytes lie that are named by their SHA-256. A driver for a directory and one in memory are
/// part of this module; a bucket of an object store fits as well.
///
/// Drivers hold the same object once, whoever stores it. They need no index: the name is the
/// content.
public protocol ObjectStorage: Sendable {
    /// Stores bytes and returns their name. When it returns, they survive a power cut.
    ///
    /// Storing what is there already is fine and changes nothing. If `chunks` throws, or the task
    /// is cancelled, nothing is stored.
    func put(_ chunks: ByteChunks) async throws -> StoredObject

    /// The object's length, or `nil` if there is none.
    func byteCount(of digest: ContentDigest) async throws -> Int64?

    /// The object's bytes from `offset` on; nothing if `offset` is its length.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notFound`, at once or when reading begins; and
    ///   `limitExceeded` for an offset beyond the end.
    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks

    /// Removes the object. What does not exist is fine. Readings that have begun end well.
    func remove(_ digest: ContentDigest) async throws
}

extension ArtifactStoreError {
    static func noObject(_ digest: ContentDigest) -> ArtifactStoreError {
        ArtifactStoreError(
            .notFound,
            "There is no object \(digest). Publish the release again with repetition set to .publishAgain."
        )
    }

    static func beyondEnd(_ digest: ContentDigest, _ offset: Int64) -> ArtifactStoreError {
        ArtifactStoreError(
            .limitExceeded,
            "Object \(digest) ends before byte \(offset). Begin again at 0."
        )
    }
}

/// Objects in memory: for tests, examples, and small artifacts.
public final class InMemoryObjectStorage: ObjectStorage {
    private let objects = Mutex<[ContentDigest: [UInt8]]>([:])

    /// An empty storage.
    public init() {}

    /// The names of all objects, sorted.
    public var digests: [ContentDigest] { objects.withLock { $0.keys.sorted() } }

    public func put(_ chunks: ByteChunks) async throws -> StoredObject {
        let bytes = try await chunks.collect(upTo: .max)
        let digest = ContentDigest(of: bytes)
        objects.withLock { $0[digest] = bytes }
        return StoredObject(digest: digest, byteCount: Int64(bytes.count))
    }

    public func byteCount(of digest: ContentDigest) async throws -> Int64? {
        objects.withLock { $0[digest].map { Int64($0.count) } }
    }

    public func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        guard let bytes = objects.withLock({ $0[digest] }) else {
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
        objects.withLock { _ = $0.removeValue(forKey: digest) }
    }
}
