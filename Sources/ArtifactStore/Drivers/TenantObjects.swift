public import ClusterRole
internal import Synchronization

/// The objects of each tenant, apart from those of every other.
///
/// Equal content of two tenants is stored twice: whether somebody else has a file cannot be found
/// out by publishing it, and what one tenant's history lets go of is never another's.
public struct TenantObjects: Sendable {
    /// A closure behind a struct: a mutex re-wraps a bare one at each reading.
    private struct Opener: Sendable {
        let open: @Sendable (TenantID) throws -> any ObjectStorage
    }

    private final class Opened: Sendable {
        let storages = Mutex<[TenantID: any ObjectStorage]>([:])
    }

    private let opener: Opener
    private let opened = Opened()

    /// - Parameter open: makes the storage of one tenant. It is called once for each.
    public init(_ open: @escaping @Sendable (TenantID) throws -> any ObjectStorage) {
        opener = Opener(open: open)
    }

    /// One storage for everybody: for a product with one tenant, and for tests.
    public init(shared objects: any ObjectStorage) {
        self.init { _ in objects }
        opened.storages.withLock { $0[.standard] = objects }
    }

    /// Directories: the first tenant's objects lie in `path` itself, everybody else's in
    /// `path/tenants/NAME`.
    ///
    /// - Parameters:
    ///   - path: a directory; it is made if it does not exist (its parent must).
    ///   - first: the tenant that was there before there were others.
    ///   - random: for temporary names.
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem`.
    public init(
        directory path: String,
        first: TenantID = .standard,
        random: any RandomSource = SystemRandomSource()
    ) throws(ArtifactStoreError) {
        let own = try DirectoryObjectStorage(path: path, random: random)
        let root = try OpenFile.directory(path)
        try root.makeDirectory("tenants", mode: 0o700)
        self.init { tenant in
            guard tenant != first else { return own }
            _ = try TenantID(validating: tenant.rawValue)
            return try DirectoryObjectStorage(
                path: "\(path)/tenants/\(tenant.rawValue)",
                random: random
            )
        }
        // What is there is readable by name from the start: see ``reader``.
        opened.storages.withLock { $0[first] = own }
        for name in try root.directory(beneath: "tenants").names(limit: .max) {
            _ = try? storage(of: TenantID(rawValue: name.description))
        }
    }

    /// The storage of one tenant.
    ///
    /// - Throws: what opening it throws.
    public func storage(of tenant: TenantID) throws -> any ObjectStorage {
        try opened.storages.withLock { storages in
            if let storage = storages[tenant] { return storage }
            let storage = try opener.open(tenant)
            storages[tenant] = storage
            return storage
        }
    }

    /// Reads any tenant's objects by name, for the manager's end of the link: a worker's token is
    /// not bound to a tenant. It stores and removes nothing.
    public var reader: any ObjectStorage { EveryTenantsObjects(objects: self) }

    fileprivate var all: [any ObjectStorage] {
        opened.storages.withLock { storages in
            storages.sorted { $0.key < $1.key }.map(\.value)
        }
    }
}

private struct EveryTenantsObjects: ObjectStorage {
    let objects: TenantObjects

    func put(_ chunks: ByteChunks) async throws -> StoredObject {
        throw ArtifactStoreError(.invalidName, "Objects are stored for one tenant. Name it.")
    }

    func byteCount(of digest: ContentDigest) async throws -> Int64? {
        for storage in objects.all {
            if let count = try await storage.byteCount(of: digest) { return count }
        }
        return nil
    }

    func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        for storage in objects.all {
            let count = try await storage.byteCount(of: digest)
            if count != nil { return try await storage.read(digest, from: offset) }
        }
        throw ArtifactStoreError.noObject(digest)
    }

    func remove(_ digest: ContentDigest) async throws {
        throw ArtifactStoreError(.invalidName, "Objects are removed for one tenant. Name it.")
    }
}
