#if Server
internal import ArtifactStore
internal import ClusterRole

extension AdminMessages.ReleaseRolloutRequest {
    /// The plan it asks for; ``ReleaseRolloutPlan/validate()`` does the rest.
    ///
    /// - Throws: ``ManagerConsoleError`` with code `invalidField`.
    func plan() throws -> ReleaseRolloutPlan {
        ReleaseRolloutPlan(
            waves: try waves.map { try $0.wave() },
            failure: try failure?.threshold() ?? ReleaseFailureThreshold()
        )
    }
}

extension AdminMessages.ReleaseWave {
    fileprivate func wave() throws -> ReleaseRolloutWave {
        let range = Duration.zero...ReleaseRolloutPlan.maximumDuration
        func seconds(_ value: Double?, _ field: String) throws -> Duration? {
            try value.map { try Duration(seconds: $0, of: field, in: range) }
        }
        if let percent, !(0...100).contains(percent) {
            throw ManagerConsoleError(.invalidField, "The field percent is 0 to 100.")
        }
        return ReleaseRolloutWave(
            ReleaseAudience(
                labels: labels ?? [:],
                share: percent.map { Int32(($0 * 100).rounded()) },
                count: count
            ),
            acknowledgedPercent: acknowledged ?? 100,
            health: try health.map { name in
                try ReleaseRolloutWave.HealthGate(named: name)
            } ?? .unlessUnhealthy,
            soak: try seconds(soak, "soak") ?? .zero,
            timeout: try seconds(timeout, "timeout")
        )
    }

    init(_ wave: ReleaseRolloutWave) {
        let audience = wave.audience
        self.init(
            labels: audience.labels.isEmpty ? nil : audience.labels,
            percent: audience.share.map { Double($0) / 100 },
            count: audience.count,
            acknowledged: wave.acknowledgedPercent,
            health: wave.health.name,
            soak: wave.soak.inSeconds,
            timeout: wave.timeout?.inSeconds
        )
    }
}

extension AdminMessages.ReleaseFailure {
    fileprivate func threshold() throws -> ReleaseFailureThreshold {
        ReleaseFailureThreshold(
            percent: percent ?? 0,
            minimum: minimum ?? 1,
            action: try action.map { name in
                let known = ReleaseFailureThreshold.Action.allCases.first { "\($0)" == name }
                guard let known else {
                    throw ManagerConsoleError(
                        .invalidField,
                        "The field action is pause, abort or revert."
                    )
                }
                return known
            } ?? .revert
        )
    }

    init(_ failure: ReleaseFailureThreshold) {
        self.init(
            percent: failure.percent,
            minimum: failure.minimum,
            action: "\(failure.action)"
        )
    }
}

extension ReleaseRolloutWave.HealthGate {
    fileprivate var name: String {
        switch self {
        case .unlessUnhealthy: "unless-unhealthy"
        case .reportedHealthy: "reported-healthy"
        }
    }

    fileprivate init(named name: String) throws {
        switch name {
        case Self.unlessUnhealthy.name: self = .unlessUnhealthy
        case Self.reportedHealthy.name: self = .reportedHealthy
        default:
            throw ManagerConsoleError(
                .invalidField,
                "The field health is unless-unhealthy or reported-healthy."
            )
        }
    }
}

extension AdminMessages.ReleaseRolloutView {
    init(_ rollout: ReleaseRollout) {
        self.init(
            rollout: rollout.id.description,
            channel: rollout.channel.rawValue,
            release: rollout.candidate.rawValue,
            root: rollout.candidateRoot?.description,
            baseline: rollout.baseline?.number.rawValue,
            state: "\(rollout.state)",
            wave: rollout.wave + 1,
            waves: rollout.plan.waves.map { AdminMessages.ReleaseWave($0) },
            failure: AdminMessages.ReleaseFailure(rollout.plan.failure),
            initiator: rollout.initiator,
            startedAt: rollout.startedAt.milliseconds,
            waveBegan: rollout.waveBegan?.milliseconds,
            satisfiedSince: rollout.satisfiedSince?.milliseconds,
            closedAt: rollout.closedAt?.milliseconds,
            reason: rollout.reason.isEmpty ? nil : rollout.reason
        )
    }
}

extension AdminMessages.ReleaseProgressView {
    init(_ progress: ReleaseProgress) {
        self.init(
            channel: progress.channel.rawValue,
            release: progress.number.rawValue,
            nodes: progress.nodes,
            applied: progress.applied,
            laggards: progress.laggards.map { laggard in
                var code: String?
                if case .refused(let refusal, _) = laggard.standing { code = refusal }
                return AdminMessages.ReleaseLaggardView(
                    node: laggard.node.rawValue,
                    reason: laggard.standing.code,
                    explanation: laggard.standing.explanation,
                    errorCode: code
                )
            }
        )
    }
}

extension AdminMessages.ReleaseRolloutAnswer {
    init(_ status: ReleaseRolloutStatus, _ history: [ReleaseRolloutTransition]) {
        self.init(
            rollout: AdminMessages.ReleaseRolloutView(status.rollout),
            waves: status.waves.map {
                AdminMessages.ReleaseWaveProgress(
                    wave: $0.index + 1,
                    nodes: $0.nodes,
                    applied: $0.applied,
                    failed: $0.failed,
                    unfit: $0.unfit
                )
            },
            progress: AdminMessages.ReleaseProgressView(status.progress),
            history: history.map {
                AdminMessages.ReleaseTransitionView(
                    number: $0.number,
                    event: "\($0.event)",
                    state: "\($0.state)",
                    wave: $0.wave + 1,
                    at: $0.at.milliseconds,
                    by: $0.by,
                    reason: $0.reason
                )
            }
        )
    }
}

extension AdminMessages.ReleaseBlockView {
    init(_ block: ReleaseBlock) {
        self.init(
            root: block.root.description,
            release: block.number.rawValue,
            rollout: block.rollout.description,
            at: block.at.milliseconds,
            by: block.by,
            reason: block.reason
        )
    }
}
#endif
