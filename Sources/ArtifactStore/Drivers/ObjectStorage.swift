public import ClusterRole

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

/// One object of an inventory.
public struct ObjectRecord: Hashable, Sendable {
    /// What it is.
    public let object: StoredObject
    /// When it was stored, or stored or renewed again, by the storage's clock.
    public let storedAt: Timestamp

    /// What a driver returns.
    public init(object: StoredObject, storedAt: Timestamp) {
        self.object = object
        self.storedAt = storedAt
    }
}

/// A storage whose objects can be counted through, renewed, and removed by age: what garbage
/// collection and scrubbing need. Both drivers of this module are one.
public protocol ObjectInventory: ObjectStorage {
    /// Objects in the order of their digests.
    ///
    /// - Parameters:
    ///   - after: only those behind it; `nil` begins at the first.
    ///   - limit: at most so many; at least 1.
    func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord]

    /// Makes an object as young as if it were stored now: who is about to name it in a release calls
    /// this first, and a collection under way leaves it.
    ///
    /// - Returns: whether it is there.
    func renew(_ digest: ContentDigest) async throws -> Bool

    /// Removes an object unless it was stored or renewed at `time` or later, also if that happens
    /// at this moment in another process.
    ///
    /// - Returns: whether it was removed.
    func remove(_ digest: ContentDigest, storedBefore time: Timestamp) async throws -> Bool
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
