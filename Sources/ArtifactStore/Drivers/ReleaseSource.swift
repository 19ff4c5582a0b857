public import ClusterRole

/// What a source answers when asked for the newest release of a channel.
public enum ReleaseAnswer: Hashable, Sendable {
    /// Still the one of the revision that was shown.
    case unchanged
    /// The channel has no release.
    case empty
    case release(StoredRelease)
}

/// Where a worker pulls releases from: a store in the same process, or a manager over the link.
///
/// A source is not trusted: everything it hands out is verified by ``ArtifactSync``.
public protocol ReleaseSource: Sendable {
    /// The newest release of a channel.
    ///
    /// - Parameters:
    ///   - channel: the channel whose newest release is asked for.
    ///   - tenant: the tenant the channel belongs to.
    ///   - revision: what the caller has seen; ``ReleaseAnswer/unchanged`` if nothing is newer.
    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer

    /// The root records after a version, and a pointer to the release the caller is offered. Sources
    /// without either need not implement it.
    ///
    /// - Parameters:
    ///   - channel: the channel whose pointer is asked for.
    ///   - tenant: the tenant the channel belongs to.
    ///   - version: of the root record the caller has; 0 for none.
    func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer

    /// The bytes of a bundle from `offset` on. It is asked again, further on, when they break off.
    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks

    /// The bytes, from `offset` on, of the bundle that makes a release's tree of the tree `root`, made
    /// for this caller if need be; `nil` if there is none, or none smaller than the full one. Asked
    /// only when the release lists no bundle for that tree.
    func update(
        from root: TreeID,
        to release: Release,
        at offset: Int64
    ) async throws -> ByteChunks?

    /// Hands a node's word to the managers.
    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws
}

extension ReleaseSource {
    /// For sources that make none.
    public func update(
        from root: TreeID,
        to release: Release,
        at offset: Int64
    ) async throws -> ByteChunks? { nil }
}

/// The source of a `combined` node, and of tests: the store itself.
public struct InProcessReleaseSource: ReleaseSource {
    private let storage: any ReleaseStorage
    private let objects: any ObjectStorage
    private let capability: WriteCapability
    private let maker: BundleMaker?
    private let trust: ReleaseTrust?
    private let offers: (offers: ReleaseOffers, node: NodeID)?

    /// - Parameters:
    ///   - storage: the records of releases.
    ///   - objects: where the bundles' bytes are read.
    ///   - capability: acknowledgements are written with its epoch; the manager's half of the
    ///     process holds it.
    ///   - maker: makes the bundles no publish made; without one such a node fetches the full one.
    ///   - trust: hands out root records and pointers; without it there are none.
    ///   - offers: decides what this node is offered, as it does for workers over the link; without it
    ///     the node is offered the newest release.
    public init(
        storage: any ReleaseStorage,
        objects: any ObjectStorage,
        capability: WriteCapability,
        maker: BundleMaker? = nil,
        trust: ReleaseTrust? = nil,
        offers: (offers: ReleaseOffers, node: NodeID)? = nil
    ) {
        self.maker = maker
        self.storage = storage
        self.objects = objects
        self.capability = capability
        self.trust = trust
        self.offers = offers
    }

    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        guard let trust else { return TrustAnswer() }
        let offered = try await latestRelease(of: channel, tenant: tenant, unlessAt: nil)
        guard case .release(let stored) = offered else {
            return try await trust.answer(for: nil, afterRoot: version)
        }
        return try await trust.answer(for: stored.published.signed, afterRoot: version)
    }

    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        if let (offers, node) = offers {
            return try await offers.offer(
                to: node,
                of: channel,
                tenant: tenant,
                unlessAt: revision
            )
        }
        guard let latest = try await storage.latest(of: channel, tenant: tenant) else {
            return .empty
        }
        return latest.revision == revision ? .unchanged : .release(latest)
    }

    public func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        try await objects.read(bundle.object, from: offset)
    }

    public func update(
        from root: TreeID,
        to release: Release,
        at offset: Int64
    ) async throws -> ByteChunks? {
        let made = try await maker?.bundle(
            from: root,
            to: release.root,
            channel: release.channel,
            tenant: release.tenant
        )
        guard let made else { return nil }
        return try await objects.read(made.object, from: offset)
    }

    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        _ = try await storage.record(
            applied,
            tenant: tenant,
            epoch: try capability.requireEpoch()
        )
    }
}
