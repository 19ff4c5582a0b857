public import ClusterRole

// How far releases have come.
extension ReleaseRollouts {
    /// How far a release of a channel has come: "X of Y applied", and why the others have not.
    ///
    /// - Parameters:
    ///   - release: its number; `nil` for the newest.
    ///   - channel: the channel.
    ///   - tenant: the tenant the channel belongs to.
    /// - Throws: ``ArtifactStoreError`` with code `notFound` for a release the channel does not have.
    public func progress(
        _ release: ReleaseNumber? = nil,
        of channel: ChannelName,
        tenant: TenantID = .standard
    ) async throws -> ReleaseProgress {
        let record = try await self.release(release, of: channel, tenant: tenant)
        guard let record else {
            throw ArtifactStoreError(
                .notFound,
                "Channel \(channel) has no release \(release?.description ?? "yet"). Choose one of its "
                    + "history."
            )
        }
        let standing = try await storage.standing(of: channel, tenant: tenant)
        let census = try await census(of: record, standing, tenant: tenant)
        return census.progress(channel: channel, number: record.number)
    }

    /// How a rollout stands, wave by wave.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `unknownRollout`.
    public func status(
        of id: ReleaseRolloutID,
        tenant: TenantID = .standard
    ) async throws -> ReleaseRolloutStatus {
        let rollout = try await self.rollout(id, tenant: tenant)
        let channel = rollout.channel
        guard let record = try await release(rollout.candidate, of: channel, tenant: tenant) else {
            return ReleaseRolloutStatus(
                rollout: rollout,
                waves: [],
                progress: ReleaseProgress(
                    channel: channel,
                    number: rollout.candidate,
                    nodes: 0,
                    applied: 0,
                    laggards: []
                )
            )
        }
        var standing = try await storage.standing(of: channel, tenant: tenant)
        standing.rollout = rollout
        let census = try await census(of: record, standing, tenant: tenant)
        return ReleaseRolloutStatus(
            rollout: rollout,
            waves: census.waves(of: rollout),
            progress: census.progress(channel: channel, number: record.number)
        )
    }

    /// Waits until enough nodes have applied a release, or a newer one.
    ///
    /// - Parameters:
    ///   - release: its number.
    ///   - channel: the channel.
    ///   - quorum: how many are enough.
    ///   - deadline: how long to wait at most; zero looks once.
    ///   - tenant: the tenant the channel belongs to.
    /// - Returns: whether it was reached, and who lags, each with the reason.
    /// - Throws: ``ArtifactStoreError`` with code `notFound` for a release the channel does not have.
    public func awaitApplied(
        _ release: ReleaseNumber,
        of channel: ChannelName,
        quorum: ReleaseQuorum = .all,
        within deadline: Duration,
        tenant: TenantID = .standard
    ) async throws -> AwaitedRelease {
        let clock = settings.clock
        let end = clock.monotonic() + deadline
        while true {
            let progress = try await progress(release, of: channel, tenant: tenant)
            if quorum.isReached(applied: progress.applied, of: progress.nodes) {
                return AwaitedRelease(isReached: true, progress: progress)
            }
            let left = end - clock.monotonic()
            guard left > .zero else { return AwaitedRelease(isReached: false, progress: progress) }
            try await clock.sleep(for: min(left, settings.lookInterval))
        }
    }

    // MARK: - Looking

    /// What a rollout's core needs to know; `nil` while its release has not come.
    func sight(of rollout: ReleaseRollout) async throws -> ChannelSight? {
        let (channel, tenant) = (rollout.channel, rollout.tenant)
        guard let newest = try await releases.latest(of: channel, tenant: tenant)?.release,
            newest.number >= rollout.candidate
        else { return nil }
        guard
            let record = newest.number == rollout.candidate
                ? newest
                : try await release(rollout.candidate, of: channel, tenant: tenant)
        else { return nil }
        return ChannelSight(
            newest: .init(number: newest.number, root: newest.root),
            census: try await census(
                of: record,
                ChannelStanding(rollout: rollout),
                tenant: tenant
            )
        )
    }

    private func release(
        _ number: ReleaseNumber?,
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> Release? {
        guard let number else {
            return try await releases.latest(of: channel, tenant: tenant)?.release
        }
        guard number >= .first, number.rawValue < Int64.max else { return nil }
        let found = try await releases.releases(
            of: channel,
            tenant: tenant,
            before: number.next,
            limit: 1
        ).first?.release
        return found?.number == number ? found : nil
    }

    private func census(
        of record: Release,
        _ standing: ChannelStanding,
        tenant: TenantID
    ) async throws -> ReleaseCensus {
        ReleaseCensus(
            ReleaseCensus.Input(
                number: record.number,
                root: record.root,
                requirements: record.requirements,
                channel: record.channel,
                rollout: standing.rollout.flatMap {
                    $0.candidate == record.number ? $0 : nil
                },
                block: standing.block(of: record.root),
                nodes: try await nodes.nodes(),
                acknowledgements: try await releases.acknowledgements(
                    of: record.channel,
                    tenant: tenant
                ),
                health: try await storage.health(of: record.channel, tenant: tenant)
            )
        )
    }
}
