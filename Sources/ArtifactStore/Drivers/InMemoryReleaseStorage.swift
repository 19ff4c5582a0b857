public import ClusterRole
internal import Synchronization

/// Releases and their rollouts in memory, on a ledger shared with the other in-memory drivers.
public final class InMemoryReleaseStorage: ReleaseStorage {
    struct Line: Hashable {
        let tenant: TenantID
        let channel: ChannelName
    }

    struct State {
        /// Each line's releases, oldest first.
        var releases: [Line: [StoredRelease]] = [:]
        var acknowledgements: [Line: [NodeID: AppliedRelease]] = [:]
        var rollouts = InMemoryRollouts()
    }

    let ledger: InMemoryLedger
    let state = Mutex(State())

    /// - Parameter ledger: gives epoch and revisions; share it with the other in-memory drivers.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision {
        let record = release.release
        let line = Line(tenant: record.tenant, channel: record.channel)
        let key = ChangeKey.channel(tenant: record.tenant, name: record.channel.rawValue)
        let history = ledger.revision.history
        return try ledger.guarded(epoch: epoch) { number in
            try state.withLock { state in
                let newest = state.releases[line]?.last?.release.number
                guard newest == previous, record.number == previous?.next ?? .first else {
                    throw ArtifactStoreError.conflict(
                        channel: record.channel,
                        expected: previous,
                        actual: newest
                    )
                }
                if let refusal = state.rollouts.standing(line).refusal(ofAppending: record) {
                    throw refusal
                }
                state.releases[line, default: []].append(
                    StoredRelease(
                        published: release,
                        revision: Revision(history: history, number: number)
                    )
                )
            }
            return ([key], ())
        }.revision
    }

    public func latest(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> StoredRelease? {
        state.withLock { $0.releases[Line(tenant: tenant, channel: channel)]?.last }
    }

    public func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease] {
        state.withLock { state in
            let all = state.releases[Line(tenant: tenant, channel: channel)] ?? []
            let older = all.reversed().drop {
                before.map { $0.rawValue } ?? .max <= $0.release.number.rawValue
            }
            return Array(older.prefix(max(1, limit)))
        }
    }

    public func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName] {
        state.withLock { state in
            let names = state.releases.keys.filter { $0.tenant == tenant }.map(\.channel).sorted()
            let rest = names.drop { name in after.map { name <= $0 } ?? false }
            return Array(rest.prefix(max(1, limit)))
        }
    }

    public func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision {
        try ledger.guarded(epoch: epoch) { _ in
            state.withLock { state in
                let line = Line(tenant: tenant, channel: acknowledgement.channel)
                let earlier = state.acknowledgements[line]?[acknowledgement.node]
                if earlier.map(acknowledgement.supersedes) ?? true {
                    state.acknowledgements[line, default: [:]][acknowledgement.node] =
                        acknowledgement
                }
            }
            return ([], ())
        }.revision
    }

    public func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        state.withLock { state in
            let line = Line(tenant: tenant, channel: channel)
            return (state.acknowledgements[line] ?? [:]).values.sorted { $0.node < $1.node }
        }
    }
}

extension ArtifactStoreError {
    /// Another publisher was faster. Drivers of ``ReleaseStorage`` throw it.
    public static func conflict(
        channel: ChannelName,
        expected: ReleaseNumber?,
        actual: ReleaseNumber?
    ) -> ArtifactStoreError {
        ArtifactStoreError(
            .conflict,
            "Channel \(channel) is at release \(actual.map(\.description) ?? "none"), not at "
                + "\(expected.map(\.description) ?? "none"). Look at that release, then publish again.",
            conflict: Conflict(expected: expected, actual: actual)
        )
    }
}
