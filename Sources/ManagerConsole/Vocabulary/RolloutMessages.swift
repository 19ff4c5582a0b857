#if Server
/// Rollouts of releases.
extension AdminMessages {
    /// The body of `POST /rollouts`.
    package struct ReleaseRolloutRequest: Codable, Hashable, Sendable {
        package var channel: String
        /// The channel's newest release; without it the next one that is published.
        package var release: Int64?
        package var waves: [ReleaseWave]
        package var failure: ReleaseFailure?
    }

    /// One wave of a plan.
    package struct ReleaseWave: Codable, Hashable, Sendable {
        package var labels: [String: String]?
        /// Of the nodes, in per cent.
        package var percent: Double?
        package var count: Int32?
        /// How many per cent must have applied it.
        package var acknowledged: Int32?
        /// `unless-unhealthy` or `reported-healthy`.
        package var health: String?
        /// Seconds.
        package var soak: Double?
        package var timeout: Double?
    }

    /// When failures stop a rollout.
    package struct ReleaseFailure: Codable, Hashable, Sendable {
        package var percent: Int32?
        package var minimum: Int32?
        /// `pause`, `abort` or `revert`.
        package var action: String?
    }

    /// The body of a command to a rollout.
    package struct ReleaseRolloutCommandRequest: Codable, Hashable, Sendable {
        package var reason: String?
    }

    /// One rollout.
    package struct ReleaseRolloutView: Codable, Hashable, Sendable {
        package var rollout: String
        package var channel: String
        package var release: Int64
        package var root: String?
        /// What everybody else keeps.
        package var baseline: Int64?
        package var state: String
        /// From 1 on.
        package var wave: Int
        package var waves: [ReleaseWave]
        package var failure: ReleaseFailure
        package var initiator: String
        package var startedAt: Int64
        package var waveBegan: Int64?
        /// Since when the wave has what it asks for.
        package var satisfiedSince: Int64?
        package var closedAt: Int64?
        package var reason: String?
    }

    /// The answer to `GET /rollouts`, newest first.
    package struct ReleaseRolloutList: Codable, Hashable, Sendable {
        package var rollouts: [ReleaseRolloutView]
        package var next: String?
    }

    /// The answer to `GET /rollouts/{rollout}`.
    package struct ReleaseRolloutAnswer: Codable, Hashable, Sendable {
        package var rollout: ReleaseRolloutView
        package var waves: [ReleaseWaveProgress]
        package var progress: ReleaseProgressView
        package var history: [ReleaseTransitionView]
    }

    /// How far a wave has come.
    package struct ReleaseWaveProgress: Codable, Hashable, Sendable {
        /// From 1 on.
        package var wave: Int
        package var nodes: Int
        package var applied: Int
        package var failed: Int
        package var unfit: Int
    }

    /// "X of Y applied".
    package struct ReleaseProgressView: Codable, Hashable, Sendable {
        package var channel: String
        package var release: Int64
        package var nodes: Int
        package var applied: Int
        package var laggards: [ReleaseLaggardView]
    }

    /// A node that has not applied a release, and why.
    package struct ReleaseLaggardView: Codable, Hashable, Sendable {
        package var node: String
        package var reason: String
        package var explanation: String
        /// For `refused`.
        package var errorCode: String?
    }

    /// One line of a rollout's history.
    package struct ReleaseTransitionView: Codable, Hashable, Sendable {
        package var number: Int64
        package var event: String
        package var state: String
        package var wave: Int
        package var at: Int64
        package var by: String
        package var reason: String
    }

    /// The answer to `GET /channels/{channel}/await-applied`.
    package struct AwaitedReleaseAnswer: Codable, Hashable, Sendable {
        package var isReached: Bool
        package var progress: ReleaseProgressView
    }

    /// The answer to `GET /channels/{channel}/blocks`.
    package struct ReleaseBlockList: Codable, Hashable, Sendable {
        package var blocks: [ReleaseBlockView]
    }

    /// A tree that is neither offered nor published.
    package struct ReleaseBlockView: Codable, Hashable, Sendable {
        package var root: String
        package var release: Int64
        package var rollout: String
        package var at: Int64
        package var by: String
        package var reason: String
    }
}
#endif
