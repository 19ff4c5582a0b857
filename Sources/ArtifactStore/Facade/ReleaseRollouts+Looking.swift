internal import ClusterRole
internal import Logging
internal import Metrics

// How rollouts follow their plan.
extension ReleaseRollouts {
    /// Looks at every open rollout and does what its plan says. One that fails does not hold up the
    /// others.
    ///
    /// - Throws: `ClusterRoleError` when this node may no longer write, or what listing them throws.
    public func tick() async throws {
        _ = try capability.requireEpoch()
        let open = try await storage.rollouts(
            .open,
            tenant: nil,
            before: nil,
            limit: Self.maximumPage
        )
        for rollout in open {
            try Task.checkCancellation()
            do {
                _ = try await look(at: rollout)
            } catch let error as CancellationError {
                throw error
            } catch {
                settings.logger.warning(
                    "A rollout could not be looked at; it is tried again.",
                    metadata: ["rollout": "\(rollout.id)", "error": "\(error)"]
                )
            }
        }
    }

    /// Looks once, and once more after what followed from it was published. One at a time for each rollout:
    /// who comes second sees what the first one published.
    func look(at rollout: ReleaseRollout) async throws -> ReleaseRollout {
        try await looks.run(rollout.id) { try await lookAlone(at: rollout) }
    }

    private func lookAlone(at rollout: ReleaseRollout) async throws -> ReleaseRollout {
        var before = rollout
        for _ in 0..<2 {
            guard let sight = try await sight(of: before) else { return before }
            var after = before
            let directives = after.onLook(sight, at: settings.clock.now())
            try await write(directives, from: before, to: after)
            before = after
            for case .publishAgain(let number) in directives {
                _ = try await publisher.rollback(after.channel, to: number, tenant: after.tenant)
            }
            guard after.state == .reverting else { break }
        }
        return before
    }

    func write(
        _ directives: [ReleaseRolloutDirective],
        from before: ReleaseRollout,
        to after: ReleaseRollout
    ) async throws {
        for case .refuse(let error) in directives { throw error }
        if after != before {
            _ = try await storage.write(
                ReleaseRolloutChange(
                    channel: after.channel,
                    rollout: after,
                    version: before.version,
                    unpublished: before.state == .awaitingRelease && after.state.isClosed
                        ? after.candidate : nil,
                    transitions: directives.compactMap(\.transition),
                    blocks: directives.compactMap(\.block)
                ),
                tenant: after.tenant,
                epoch: try capability.requireEpoch()
            )
            for transition in directives.compactMap(\.transition) { observe(transition, of: after) }
        }
    }

    private func observe(_ transition: ReleaseRolloutTransition, of rollout: ReleaseRollout) {
        Counter(
            label: "reeve_release_rollout_transitions_total",
            dimensions: [("event", "\(transition.event)")]
        ).increment()
        settings.logger.info(
            "A rollout moves.",
            metadata: [
                "channel": "\(rollout.channel)", "rollout": "\(rollout.id)",
                "event": "\(transition.event)", "wave": "\(transition.wave)",
                "by": "\(transition.by)", "reason": "\(transition.reason)",
            ]
        )
    }
}

extension ReleaseRolloutDirective {
    var transition: ReleaseRolloutTransition? {
        if case .persist(let transition) = self { transition } else { nil }
    }

    var block: ReleaseBlock? {
        if case .block(let block) = self { block } else { nil }
    }
}
