public import ClusterRole
public import Logging
internal import Synchronization

/// The objects of each tenant, apart from those of every other.
///
/// Equal content of two tenants is stored twice: whether somebody else has a file cannot be found
/// out by publishing it, and what one tenant's history lets go of is never another's.
public struct TenantObjects: Sendable {
    /// A closure behind a struct: a mutex re-wraps a bare one at each reading.
    private struct Opener: Sendable {
        let open: @Sendable (TenantID) throws -> Opening
    }

    /// One tenant's objects.
    private struct Opening: Sendable {
        /// On this machine.
        let own: any ObjectStorage
        /// With what other managers keep.
        let shared: any ObjectStorage
    }

    private final class Opened: Sendable {
        let storages = Mutex<[TenantID: Opening]>([:])
    }

    private let opener: Opener
    private let opened = Opened()

    /// - Parameter open: makes the storage of one tenant. It is called once for each.
    public init(_ open: @escaping @Sendable (TenantID) throws -> any ObjectStorage) {
        opener = Opener { tenant in
            let storage = try open(tenant)
            return Opening(own: storage, shared: storage)
        }
    }

    /// One storage for everybody: for a product with one tenant, and for tests.
    public init(shared objects: any ObjectStorage) {
        self.init { _ in objects }
        opened.storages.withLock { $0[.standard] = Opening(own: objects, shared: objects) }
    }

    /// Directories: the first tenant's objects lie in `path` itself, everybody else's in
    /// `path/tenants/NAME`.
    ///
    /// - Parameters:
    ///   - path: a directory; it is made if it does not exist (its parent must).
    ///   - first: the tenant that was there before there were others.
    ///   - random: for temporary names.
    ///   - peers: other managers; what is missing here is pulled from them.
    ///   - copies: on how many managers an object is durable when it is stored; see
    ///     ``ReplicatedObjectStorage``.
    ///   - logger: where failures of peers go.
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem`.
    public init(
        directory path: String,
        first: TenantID = .standard,
        random: any RandomSource = SystemRandomSource(),
        peers: [any ObjectPeer] = [],
        copies: Int = 1,
        logger: Logger = Logger(label: "reeve.artifacts.objects")
    ) throws(ArtifactStoreError) {
        let firstOwn = try DirectoryObjectStorage(path: path, random: random)
        let root = try OpenFile.directory(path)
        try root.makeDirectory("tenants", mode: 0o700)
        opener = Opener { tenant in
            var own = firstOwn
            if tenant != first {
                _ = try TenantID(validating: tenant.rawValue)
                own = try DirectoryObjectStorage(
                    path: "\(path)/tenants/\(tenant.rawValue)",
                    random: random
                )
            }
            guard !peers.isEmpty || copies > 1 else { return Opening(own: own, shared: own) }
            let shared = ReplicatedObjectStorage(
                local: own,
                peers: peers,
                tenant: tenant,
                copies: copies,
                logger: logger
            )
            return Opening(own: own, shared: shared)
        }
        // What is there is readable by name from the start: see ``reader``.
        _ = try? storage(of: first)
        for name in try root.directory(beneath: "tenants").names(limit: .max) {
            _ = try? storage(of: TenantID(rawValue: name.description))
        }
    }

    /// The storage of one tenant.
    ///
    /// - Throws: what opening it throws.
    public func storage(of tenant: TenantID) throws -> any ObjectStorage {
        try opening(of: tenant).shared
    }

    /// What this manager itself has of one tenant, without its peers.
    func own(of tenant: TenantID) throws -> any ObjectStorage { try opening(of: tenant).own }

    /// The tenants that have been opened, in order: all that have objects in a directory.
    var tenants: [TenantID] { opened.storages.withLock { $0.keys.sorted() } }

    private func opening(of tenant: TenantID) throws -> Opening {
        try opened.storages.withLock { storages in
            if let opening = storages[tenant] { return opening }
            let opening = try opener.open(tenant)
            storages[tenant] = opening
            return opening
        }
    }

    /// Reads any tenant's objects by name, for the manager's end of the link: a worker's token is
    /// not bound to a tenant. It stores and removes nothing.
    public var reader: any ObjectStorage { EveryTenantsObjects(objects: self) }

    /// First everybody's own objects, then everybody's with those of other managers: what is here is
    /// found without asking anybody.
    fileprivate var all: [any ObjectStorage] {
        let openings = opened.storages.withLock { storages in
            storages.sorted { $0.key < $1.key }.map(\.value)
        }
        return openings.map(\.own)
            + openings.map(\.shared).filter { $0 is ReplicatedObjectStorage }
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
