public import ClusterRole
public import Logging

/// Objects on this manager with copies on others: what is stored is durable on so many managers when
/// the call returns, and what is missing here is pulled from one that has it.
///
/// A copy counts when its manager said that it is durable. Reading never needs more than one manager.
/// Removing removes here only: each manager collects its own garbage.
public struct ReplicatedObjectStorage: ObjectInventory {
    private let local: any ObjectInventory
    private let peers: [any ObjectPeer]
    private let tenant: TenantID
    private let copies: Int
    private let logger: Logger
    private let pulls = SingleFlight<ContentDigest>()

    /// - Parameters:
    ///   - local: this manager's own; it always keeps one of the copies.
    ///   - peers: the other managers, the preferred ones first.
    ///   - tenant: whose objects they are.
    ///   - copies: on how many managers an object is durable when ``put(_:)`` returns; 1 is this one
    ///     alone. More than there are managers fails each time.
    ///   - logger: where failures of peers go.
    public init(
        local: any ObjectInventory,
        peers: [any ObjectPeer],
        tenant: TenantID = .standard,
        copies: Int,
        logger: Logger = Logger(label: "reeve.artifacts.objects")
    ) {
        self.local = local
        self.peers = peers
        self.tenant = tenant
        self.copies = max(1, copies)
        self.logger = logger
    }

    /// Stores here, then on peers in order until there are enough copies.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notReplicated`, naming the managers that did not
    ///   take it. The object is stored here all the same; storing it again tries the others again.
    public func put(_ chunks: ByteChunks) async throws -> StoredObject {
        let stored = try await local.put(chunks)
        var count = 1
        var missing: [String] = []
        var failure: (any Error)?
        for peer in peers where count < copies {
            do {
                let bytes = try await local.read(stored.digest, from: 0)
                try await peer.keep(stored, tenant: tenant, bytes)
                count += 1
            } catch let error as CancellationError {
                throw error
            } catch {
                missing.append(peer.name)
                failure = error
                logger.warning(
                    "A manager did not take a copy of an object.",
                    metadata: [
                        "peer": "\(peer.name)", "object": "\(stored.digest)", "error": "\(error)",
                    ]
                )
            }
        }
        guard count >= copies else {
            let who =
                missing.isEmpty ? "There is no other manager" : missing.joined(separator: ", ")
            throw ArtifactStoreError(
                .notReplicated,
                "An object is durable on \(count) of \(copies) managers; missing: \(who). Bring them "
                    + "back and publish again, or ask for fewer copies.",
                cause: failure
            )
        }
        return stored
    }

    public func byteCount(of digest: ContentDigest) async throws -> Int64? {
        if let known = try await local.byteCount(of: digest) { return known }
        guard try await pull(digest) else { return nil }
        return try await local.byteCount(of: digest)
    }

    public func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        if try await local.byteCount(of: digest) == nil { _ = try await pull(digest) }
        return try await local.read(digest, from: offset)
    }

    public func remove(_ digest: ContentDigest) async throws { try await local.remove(digest) }

    /// Fetches an object from the first peer that has it, once for all who ask meanwhile.
    ///
    /// - Returns: whether it is here now.
    private func pull(_ digest: ContentDigest) async throws -> Bool {
        try await pulls.run(digest) {
            if try await local.byteCount(of: digest) != nil { return true }
            for peer in peers {
                do {
                    guard let chunks = try await peer.fetch(digest, tenant: tenant) else {
                        continue
                    }
                    _ = try await local.put(chunks, expecting: digest)
                    return true
                } catch let error as CancellationError {
                    throw error
                } catch {
                    logger.warning(
                        "An object could not be pulled from a manager.",
                        metadata: [
                            "peer": "\(peer.name)", "object": "\(digest)", "error": "\(error)",
                        ]
                    )
                }
            }
            return false
        }
    }

    public func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord] {
        try await local.objects(after: after, limit: limit)
    }

    public func renew(_ digest: ContentDigest) async throws -> Bool {
        try await local.renew(digest)
    }

    public func remove(
        _ digest: ContentDigest,
        storedBefore time: Timestamp
    ) async throws -> Bool {
        try await local.remove(digest, storedBefore: time)
    }
}
