public import ClusterRole
internal import Logging

/// Copies: of other managers' objects here, and of this one's objects there.
extension ObjectCare {
    // MARK: - For other managers

    /// What this manager itself has of a tenant: what another manager may read.
    public func own(of tenant: TenantID) throws -> any ObjectStorage {
        try objects.own(of: tenant)
    }

    /// Keeps a copy for another manager. When it returns, the copy is durable, and as young as if it had
    /// just come.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch` if the bytes are not the object; then
    ///   nothing is kept.
    public func keep(
        _ chunks: ByteChunks,
        as digest: ContentDigest,
        tenant: TenantID
    ) async throws {
        let own = try objects.own(of: tenant)
        if let inventory = own as? any ObjectInventory, try await inventory.renew(digest) { return }
        _ = try await own.put(chunks, expecting: digest)
    }

    /// Which of these objects of a tenant this manager itself does not have.
    public func missing(
        of digests: Set<ContentDigest>,
        tenant: TenantID
    ) async throws -> Set<ContentDigest> {
        try await objects.own(of: tenant).missing(of: digests)
    }

    // MARK: - By other managers

    /// What a comparison with the other managers found.
    public struct Replication: Hashable, Sendable {
        /// How many objects were asked for.
        public internal(set) var examined = 0
        /// Those another manager was given, because too few had them.
        public internal(set) var copied: [ContentDigest] = []
        /// Those that are on fewer managers than they should be all the same.
        public internal(set) var lacking: [ContentDigest] = []
    }

    /// Asks the other managers for what this one's records need, and gives them what too few of them have:
    /// one lost its disk, or was away when something was published. The first peers get it first, as when it
    /// was stored. Objects that are missing here are left to ``scrub()``.
    ///
    /// - Throws: the first failure of this manager's own storage, after every tenant had its turn. A peer
    ///   that does not answer has nothing.
    public func replicate() async throws -> Replication {
        var sum = Replication()
        guard copies > 1 else { return sum }
        try await forEachTenant { tenant, own in
            let wanted = try await needed(of: tenant).sorted()
            for start in stride(from: 0, to: wanted.count, by: Self.maximumAsked) {
                let part = wanted[start..<min(start + Self.maximumAsked, wanted.count)]
                try await replicate(Array(part), of: tenant, from: own, &sum)
            }
        }
        return sum
    }

    /// How many objects a peer is asked for at once. 1,000: 32 KB.
    public static let maximumAsked = 1_000

    private func replicate(
        _ wanted: [ContentDigest],
        of tenant: TenantID,
        from own: any ObjectStorage,
        _ sum: inout Replication
    ) async throws {
        var missing: [(peer: any ObjectPeer, objects: Set<ContentDigest>)] = []
        for peer in peers {
            do {
                missing.append((peer, try await peer.missing(of: Set(wanted), tenant: tenant)))
            } catch {
                try Task.checkCancellation()
                note("A manager does not say which objects it has.", peer, error)
            }
        }
        for digest in wanted {
            guard let size = try await own.byteCount(of: digest) else { continue }
            sum.examined += 1
            var count = 1 + missing.count { !$0.objects.contains(digest) }
            var isCopied = false
            let object = StoredObject(digest: digest, byteCount: size)
            for (peer, lacks) in missing where count < copies && lacks.contains(digest) {
                do {
                    try await peer.keep(object, tenant: tenant, own.read(digest, from: 0))
                    count += 1
                    isCopied = true
                } catch {
                    try Task.checkCancellation()
                    note("A manager did not take a copy of an object.", peer, error)
                }
            }
            if isCopied { sum.copied.append(digest) }
            if count < copies { sum.lacking.append(digest) }
        }
    }

    private func note(_ message: Logger.Message, _ peer: any ObjectPeer, _ error: any Error) {
        configuration.logger.warning(
            message,
            metadata: ["peer": "\(peer.name)", "error": "\(error)"]
        )
    }
}
