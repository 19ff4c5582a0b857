public import ClusterRole
internal import Logging

// What people ask of rollouts.
extension ReleaseRollouts {
    /// Pauses, resumes, aborts or reverts a rollout. Asking for what is so already changes nothing.
    ///
    /// - `pause`: nobody is offered the release who has not applied it.
    /// - `resume`: the wave goes on, and what it waits for is waited for again. Failures so far are
    ///   tolerated if they had paused it.
    /// - `abort`: it ends; who has the release keeps it, and the release is blocked for all others.
    /// - `revert`: the tree before is published as a new release and the release is blocked.
    ///
    /// - Parameters:
    ///   - rollout: which.
    ///   - command: what is asked.
    ///   - by: who asks, for the history.
    ///   - reason: why; kept with the history.
    ///   - tenant: the tenant it belongs to.
    /// - Throws: ``ArtifactStoreError``: `unknownRollout`; `rolloutState` if it cannot do that now;
    ///   `conflict` if it changed meanwhile.
    @discardableResult
    public func command(
        _ command: ReleaseRolloutCommand,
        _ rollout: ReleaseRolloutID,
        by: String,
        reason: String = "",
        tenant: TenantID = .standard
    ) async throws -> ReleaseRollout {
        _ = try capability.requireEpoch()
        var attempts = 1
        while true {
            do {
                return try await attemptCommand(command, rollout, by: by, reason, tenant)
            } catch let error as ArtifactStoreError where error.code == .conflict {
                // The plan moved on at the same moment; what is asked is decided anew.
                guard attempts < Self.commandAttempts else { throw error }
                attempts += 1
            }
        }
    }

    /// How often a command is tried beside a rollout that moves by itself.
    private static let commandAttempts = 5

    private func attemptCommand(
        _ command: ReleaseRolloutCommand,
        _ id: ReleaseRolloutID,
        by: String,
        _ reason: String,
        _ tenant: TenantID
    ) async throws -> ReleaseRollout {
        let known = try await rollout(id, tenant: tenant)
        // An armed rollout whose release has just come is not closed as if it had not.
        let before = known.state == .awaitingRelease ? try await look(at: known) : known
        var after = before
        let directives = after.onCommand(command, by: by, reason: reason, at: settings.clock.now())
        try await write(directives, from: before, to: after)
        guard after.state == .reverting else { return after }
        do {
            return try await look(at: after)
        } catch let error as CancellationError {
            throw error
        } catch {
            // What was asked is decided and durable; the next tick publishes.
            settings.logger.warning(
                "The tree before could not be published yet; it is tried again.",
                metadata: ["rollout": "\(id)", "error": "\(error)"]
            )
            return after
        }
    }

    /// Lifts the block of a tree: it may be published and offered again.
    ///
    /// - Parameters:
    ///   - root: the blocked tree.
    ///   - channel: the channel it is blocked in.
    ///   - by: who lifts it, for the history of the rollout that had made it.
    ///   - reason: why.
    ///   - tenant: the tenant the channel belongs to.
    /// - Throws: ``ArtifactStoreError`` with code `unknownRollout` if it is not blocked.
    public func unblock(
        _ root: TreeID,
        in channel: ChannelName,
        by: String,
        reason: String = "",
        tenant: TenantID = .standard
    ) async throws {
        let epoch = try capability.requireEpoch()
        guard
            let block = try await blocks(of: channel, tenant: tenant).first(where: {
                $0.root == root
            })
        else {
            throw ArtifactStoreError(
                .unknownRollout,
                "The tree \(root) is not blocked in channel \(channel)."
            )
        }
        let before = try await self.rollout(block.rollout, tenant: tenant)
        var after = before
        let directives = after.onUnblocked(by: by, reason: reason, at: settings.clock.now())
        _ = try await storage.write(
            ReleaseRolloutChange(
                channel: channel,
                rollout: after,
                version: before.version,
                transitions: directives.compactMap(\.transition),
                unblocked: [root]
            ),
            tenant: tenant,
            epoch: epoch
        )
    }
}
