internal import ClusterRole

/// Brings a release to the workers of a channel in waves, and stops when too many of them fail.
public struct ReleaseRolloutPlan: Hashable, Sendable {
    /// In order; the last one is everybody.
    public let waves: [ReleaseRolloutWave]
    /// When it goes no further, and what happens then.
    public let failure: ReleaseFailureThreshold

    /// - Parameters:
    ///   - waves: in order. If the last one is not everybody, such a one is added, which asks for what
    ///     the standard wave asks for.
    ///   - failure: by default one failure reverts the rollout.
    public init(
        waves: [ReleaseRolloutWave],
        failure: ReleaseFailureThreshold = ReleaseFailureThreshold()
    ) {
        let isWhole = waves.last?.audience == .everyone
        self.waves = isWhole ? waves : waves + [ReleaseRolloutWave(.everyone)]
        self.failure = failure
    }

    /// The most waves of one plan.
    public static let maximumWaves = 32
    /// The longest soak, and the longest a wave may take: a year.
    public static let maximumDuration = Duration.seconds(366 * 86_400)

    /// Refuses a plan that can never work.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `invalidPlan`.
    public func validate() throws(ArtifactStoreError) {
        func require(_ isGood: Bool, _ message: String) throws(ArtifactStoreError) {
            if !isGood { throw ArtifactStoreError(.invalidPlan, message) }
        }
        try require(
            waves.count <= Self.maximumWaves,
            "A rollout has at most \(Self.maximumWaves) waves."
        )
        let durations = Duration.zero...Self.maximumDuration
        for (index, wave) in waves.enumerated() {
            let audience = wave.audience
            try require(
                audience != .everyone || index == waves.count - 1,
                "Wave \(index + 1) is everybody, and is not the last."
            )
            try require(
                (1...ReleaseAudience.whole).contains(audience.share ?? 1),
                "A share is 1 to \(ReleaseAudience.whole) ten-thousandths."
            )
            try require(
                (1...ReleaseAudience.maximumCount).contains(audience.count ?? 1),
                "A wave names at most \(ReleaseAudience.maximumCount) nodes; use a share instead."
            )
            try require(
                audience.labels.count <= ReleaseNodeProperties.maximumLabels
                    && audience.labels.allSatisfy {
                        $0.key.utf8.count + $0.value.utf8.count
                            <= ReleaseNodeProperties.maximumValueBytes
                    },
                "A wave asks for at most \(ReleaseNodeProperties.maximumLabels) labels."
            )
            try require(
                (1...100).contains(wave.acknowledgedPercent),
                "The acknowledgements asked for are 1 to 100 per cent."
            )
            try require(
                durations.contains(wave.soak)
                    && durations.contains(wave.timeout ?? .zero) && wave.timeout != .zero,
                "Soak and timeout are at most a year, and a timeout is not zero."
            )
        }
        try require(
            (0...100).contains(failure.percent) && failure.minimum >= 1,
            "Failures are counted in 0 to 100 per cent, and from at least one on."
        )
    }
}

/// One step of a rollout: to whom the release goes, and what must be so before the next one.
public struct ReleaseRolloutWave: Hashable, Sendable {
    /// What a worker must have said of its health to count.
    public enum HealthGate: UInt8, Hashable, Sendable, Codable {
        /// Anything but that it is unhealthy.
        case unlessUnhealthy = 0
        /// That it is healthy, on this release.
        case reportedHealthy = 1
    }

    /// Who gets it, beside those of the waves before.
    public var audience: ReleaseAudience
    /// How many per cent of all who may have it must have applied it.
    public var acknowledgedPercent: Int32
    public var health: HealthGate
    /// How long that must then hold.
    public var soak: Duration
    /// How long the wave may take to get its acknowledgements; longer counts as a failed wave. `nil` waits
    /// for ever.
    public var timeout: Duration?

    public init(
        _ audience: ReleaseAudience,
        acknowledgedPercent: Int32 = 100,
        health: HealthGate = .unlessUnhealthy,
        soak: Duration = .zero,
        timeout: Duration? = nil
    ) {
        self.audience = audience
        self.acknowledgedPercent = acknowledgedPercent
        self.health = health
        self.soak = soak
        self.timeout = timeout
    }
}

/// Nodes, by what they are labelled with, how many, or what part of them.
///
/// All that is set must hold: three nodes labelled `zone` = `eu`, say.
public struct ReleaseAudience: Hashable, Sendable {
    /// Each of these labels, with this value.
    public var labels: [String: String]
    /// Nodes with a rank below it (``ReleaseRolloutID/rank(of:)``), in ten-thousandths; never none while
    /// a node has the labels.
    public var share: Int32?
    /// So many, the lowest ranks first. They are chosen when the wave begins and stay the ones, so that
    /// a node that dies of a release is not followed by the next.
    public var count: Int32?

    public init(labels: [String: String] = [:], share: Int32? = nil, count: Int32? = nil) {
        self.labels = labels
        self.share = share
        self.count = count
    }

    /// Every node, those to come too.
    public static let everyone = ReleaseAudience()

    /// So many nodes.
    public static func nodes(_ count: Int32) -> ReleaseAudience { ReleaseAudience(count: count) }

    /// So many per cent of the nodes.
    public static func percent(_ percent: Int32) -> ReleaseAudience {
        ReleaseAudience(share: percent * (whole / 100))
    }

    /// The nodes with these labels.
    public static func labelled(_ labels: [String: String]) -> ReleaseAudience {
        ReleaseAudience(labels: labels)
    }

    /// The share that is everybody.
    public static let whole: Int32 = 10_000
    /// The most nodes a wave names.
    public static let maximumCount: Int32 = 1_000

    /// Whether a node has the labels.
    func matches(_ node: ReleaseNode) -> Bool {
        labels.allSatisfy { node.labels[$0.key] == $0.value }
    }
}

/// When failures stop a rollout of a release.
public struct ReleaseFailureThreshold: Hashable, Sendable {
    /// What happens then.
    public enum Action: UInt8, Hashable, Sendable, Codable, CaseIterable {
        /// It goes no further until somebody resumes it.
        case pause = 0
        /// It ends; who has the release keeps it, nobody else gets it.
        case abort = 1
        /// The tree before is published again, and the rollout ends when it is.
        case revert = 2
    }

    /// Of the nodes that may have it, in per cent. Refusals, nodes that say they are unhealthy, and
    /// nodes lost after they had applied it count.
    public var percent: Int32
    /// Fewer failures than this never stop it.
    public var minimum: Int32
    public var action: Action

    public init(percent: Int32 = 0, minimum: Int32 = 1, action: Action = .revert) {
        self.percent = percent
        self.minimum = minimum
        self.action = action
    }
}
