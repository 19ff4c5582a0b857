public import ClusterRole
internal import Synchronization

/// What is kept of rollouts.
struct InMemoryRollouts {
    /// In the order of their beginning.
    var rollouts: [ReleaseRollout] = []
    var transitions: [ReleaseRolloutID: [ReleaseRolloutTransition]] = [:]
    var blocks: [InMemoryReleaseStorage.Line: [TreeID: ReleaseBlock]] = [:]
    var health: [InMemoryReleaseStorage.Line: [NodeID: ReleaseHealth]] = [:]

    func standing(_ line: InMemoryReleaseStorage.Line) -> ChannelStanding {
        ChannelStanding(
            rollout: rollouts.first {
                !$0.state.isClosed && $0.tenant == line.tenant && $0.channel == line.channel
            },
            blocks: (blocks[line] ?? [:]).values.sorted { $0.root < $1.root }
        )
    }
}

extension InMemoryReleaseStorage: RolloutStorage {
    public func write(
        _ change: ReleaseRolloutChange,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        let line = Line(tenant: tenant, channel: change.channel)
        return try ledger.guarded(epoch: epoch) { _ in
            try state.withLock { state in
                let known = change.rollout.flatMap { rollout in
                    state.rollouts.rollouts.firstIndex {
                        $0.id == rollout.id && $0.tenant == tenant
                    }
                }
                let refusal = change.refusal(
                    stored: known.map { state.rollouts.rollouts[$0].version },
                    open: state.rollouts.standing(line).rollout?.id,
                    newest: state.releases[line]?.last?.release.number
                )
                if let refusal { throw refusal }
                if let rollout = change.rollout {
                    if let known {
                        state.rollouts.rollouts[known] = rollout
                    } else {
                        state.rollouts.rollouts.append(rollout)
                    }
                }
                for transition in change.transitions {
                    state.rollouts.transitions[transition.rollout, default: []].append(transition)
                }
                for block in change.blocks {
                    state.rollouts.blocks[line, default: [:]][block.root] = block
                }
                for root in change.unblocked { state.rollouts.blocks[line]?[root] = nil }
            }
            return ([.channel(tenant: tenant, name: change.channel.rawValue)], ())
        }.revision
    }

    public func standing(of channel: ChannelName, tenant: TenantID) async throws -> ChannelStanding
    {
        state.withLock { $0.rollouts.standing(Line(tenant: tenant, channel: channel)) }
    }

    public func rollouts(
        _ filter: ReleaseRolloutFilter,
        tenant: TenantID?,
        before: ReleaseRolloutID?,
        limit: Int
    ) async throws -> [ReleaseRollout] {
        state.withLock { state in
            let own = state.rollouts.rollouts.filter { tenant == nil || $0.tenant == tenant }
            let end = before.map { id in own.firstIndex { $0.id == id } ?? 0 } ?? own.count
            let found = own[..<end].reversed().filter { rollout in
                switch filter {
                case .all: true
                case .open: !rollout.state.isClosed
                case .channel(let channel): rollout.channel == channel
                case .id(let id): rollout.id == id
                }
            }
            return Array(found.prefix(max(1, limit)))
        }
    }

    public func transitions(
        of rollout: ReleaseRolloutID,
        tenant: TenantID
    ) async throws -> [ReleaseRolloutTransition] {
        state.withLock { state in
            let isOwn = state.rollouts.rollouts.contains { $0.id == rollout && $0.tenant == tenant }
            return isOwn ? state.rollouts.transitions[rollout] ?? [] : []
        }
    }

    public func record(
        _ health: ReleaseHealth,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try ledger.guarded(epoch: epoch) { _ in
            state.withLock { state in
                let line = Line(tenant: tenant, channel: health.channel)
                let earlier = state.rollouts.health[line]?[health.node]
                if earlier.map(health.supersedes) ?? true {
                    state.rollouts.health[line, default: [:]][health.node] = health
                }
            }
            return ([], ())
        }.revision
    }

    public func health(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [ReleaseHealth] {
        state.withLock { state in
            let line = Line(tenant: tenant, channel: channel)
            return (state.rollouts.health[line] ?? [:]).values.sorted { $0.node < $1.node }
        }
    }
}
