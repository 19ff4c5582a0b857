public import ClusterRole

/// Decides which release a worker is offered: by the channel's rollout and blocks, and by what the
/// release asks of the worker and the worker can do.
///
/// The manager's end of the link and the source of a `combined` node ask the same object, so that both
/// decide alike. A worker the managers do not know has no labels and no abilities.
public struct ReleaseOffers: Sendable {
    private let releases: any ReleaseStorage
    /// Where rollouts are, and what nodes say of their health.
    package let rollouts: any RolloutStorage
    private let nodes: any ReleaseNodeReader

    /// How many releases are looked at for one a worker may have. 64: blocked releases are few, and a
    /// worker that fits none of them keeps what it has.
    public static let lookBack = 64

    /// - Parameters:
    ///   - releases: the channels.
    ///   - rollouts: of the same store.
    ///   - nodes: what the workers are.
    public init(
        releases: any ReleaseStorage,
        rollouts: any RolloutStorage,
        nodes: any ReleaseNodeReader
    ) {
        self.releases = releases
        self.rollouts = rollouts
        self.nodes = nodes
    }

    /// What a worker is offered now.
    ///
    /// It is offered nothing older than what it last acknowledged, unless it shows no revision: it may
    /// then have lost its disk.
    ///
    /// - Parameters:
    ///   - node: who asks.
    ///   - channel: which channel.
    ///   - tenant: the tenant the channel belongs to.
    ///   - revision: what it has seen.
    /// - Returns: `unchanged` if there is nothing newer for it, `empty` if there is nothing for it at all.
    public func offer(
        to node: NodeID,
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        guard let newest = try await releases.latest(of: channel, tenant: tenant) else {
            return .empty
        }
        let standing = try await rollouts.standing(of: channel, tenant: tenant)
        // The usual case: nothing to decide, and nothing more is read.
        if standing.rollout == nil, standing.block(of: newest.release.root) == nil,
            newest.release.requirements.isEmpty
        {
            return newest.revision == revision ? .unchanged : .release(newest)
        }
        let facts = try await nodes.nodes().first { $0.id == node } ?? ReleaseNode(node)
        let word = try await releases.acknowledgements(of: channel, tenant: tenant)
            .first { $0.node == node }
        var decision = ReleaseOfferDecision([newest], standing: standing, to: facts, word: word)
        if case .keep = decision {
            let older = try await releases.releases(
                of: channel,
                tenant: tenant,
                before: newest.release.number,
                limit: Self.lookBack
            )
            decision = ReleaseOfferDecision(older, standing: standing, to: facts, word: word)
        }
        guard case .offer(let stored) = decision else {
            return revision == nil ? .empty : .unchanged
        }
        let isOlder = word.map { stored.release.number < $0.number } ?? false
        if stored.revision == revision || (isOlder && revision != nil) { return .unchanged }
        return .release(stored)
    }
}
