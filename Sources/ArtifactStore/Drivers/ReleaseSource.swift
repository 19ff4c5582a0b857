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

    /// The bytes of a bundle from `offset` on. It is asked again, further on, when they break off.
    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks

    /// Hands a node's word to the managers.
    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws
}

/// The source of a `combined` node, and of tests: the store itself.
public struct InProcessReleaseSource: ReleaseSource {
    private let storage: any ReleaseStorage
    private let objects: any ObjectStorage
    private let capability: WriteCapability
    private let offers: (offers: ReleaseOffers, node: NodeID)?

    /// - Parameters:
    ///   - storage: the records of releases.
    ///   - objects: where the bundles' bytes are read.
    ///   - capability: acknowledgements are written with its epoch; the manager's half of the
    ///     process holds it.
    ///   - offers: decides what this node is offered, as it does for workers over the link; without it
    ///     the node is offered the newest release.
    public init(
        storage: any ReleaseStorage,
        objects: any ObjectStorage,
        capability: WriteCapability,
        offers: (offers: ReleaseOffers, node: NodeID)? = nil
    ) {
        self.storage = storage
        self.objects = objects
        self.capability = capability
        self.offers = offers
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

    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        _ = try await storage.record(
            applied,
            tenant: tenant,
            epoch: try capability.requireEpoch()
        )
    }
}
