internal import ClusterRole

/// Where every node of a channel stands to one release, at one moment: pure.
struct ReleaseCensus: Hashable, Sendable {
    /// One node.
    struct Entry: Hashable, Sendable {
        let node: ReleaseNode
        let standing: ReleaseNodeStanding
        /// The first wave of the rollout that admits it; `nil` if none has.
        let wave: Int?
        /// Whether it says that it is healthy on this release.
        let isReportedHealthy: Bool
    }

    /// What a census is taken of.
    struct Input {
        var number: ReleaseNumber
        /// The release's tree; a word about another tree of that number is of another history.
        var root: TreeID
        var requirements = ReleaseRequirements.none
        var channel: ChannelName
        /// The rollout that brings it, if it is one.
        var rollout: ReleaseRollout?
        var block: ReleaseBlock?
        var nodes: [ReleaseNode]
        var acknowledgements: [AppliedRelease] = []
        var health: [ReleaseHealth] = []
    }

    /// By node.
    let entries: [Entry]

    init(_ input: Input) {
        let words = Dictionary(
            input.acknowledgements.map { ($0.node, $0) },
            uniquingKeysWith: { $1.supersedes($0) ? $1 : $0 }
        )
        let health = Dictionary(
            input.health.map { ($0.node, $0) },
            uniquingKeysWith: { $1.supersedes($0) ? $1 : $0 }
        )
        entries = input.nodes.filter { node in
            node.channels?.contains(input.channel) ?? (words[node.id] != nil)
        }.sorted { $0.id < $1.id }.map { node in
            let report = health[node.id].flatMap {
                $0.number == input.number && $0.root == input.root ? $0 : nil
            }
            return Entry(
                node: node,
                standing: Self.standing(of: node, words[node.id], report, input),
                wave: input.rollout?.admittingWave(of: node),
                isReportedHealthy: report?.state == .healthy
            )
        }
    }

    private static func standing(
        of node: ReleaseNode,
        _ word: AppliedRelease?,
        _ report: ReleaseHealth?,
        _ input: Input
    ) -> ReleaseNodeStanding {
        // Of the very release, or of a newer one; a stale word counts for nothing.
        let isOfThis = word.map { $0.number == input.number && $0.root == input.root } ?? false
        let isNewer = word.map { $0.number > input.number } ?? false
        if let word, isOfThis || isNewer {
            if word.state == .refused {
                return .refused(
                    code: word.errorCode ?? ArtifactStoreError.Code.deploymentFailed.rawValue,
                    message: word.errorMessage ?? ""
                )
            }
            if isNewer { return .applied }
            if let report, report.state == .unhealthy { return .unhealthy(report.message) }
            if case .lost(let since) = node.presence { return .lost(since: since) }
            if case .left(let since) = node.presence { return .notConnected(since: since) }
            return .applied
        }
        let unmet = input.requirements.unmet(by: node.abilities)
        if !unmet.isEmpty { return .unfit(unmet) }
        switch node.presence {
        case .lost(let since), .left(let since): return .notConnected(since: since)
        case .connected: break
        }
        if let block = input.block { return .blocked(reason: block.reason) }
        if let rollout = input.rollout, !rollout.state.isClosed {
            let isPaused = rollout.state == .paused
            if isPaused || rollout.admittingWave(of: node) == nil {
                return .held(rollout.id, isPaused: isPaused)
            }
        }
        return .behind(word?.number)
    }

    // MARK: - Counting

    /// The nodes that have begun to be released and are waited for.
    private var released: [Entry] {
        entries.filter { entry in
            guard entry.wave != nil else { return false }
            switch entry.standing {
            case .unfit, .notConnected: return false
            default: return true
            }
        }
    }

    /// What a wave's gate looks at.
    func gate(_ wave: ReleaseRolloutWave) -> (released: Int, applied: Int, failed: Int) {
        let released = released
        let applied = released.count {
            $0.standing == .applied
                && (wave.health == .unlessUnhealthy || $0.isReportedHealthy)
        }
        return (released.count, applied, released.count { $0.standing.isFailure })
    }

    /// The first failure, for the reason a rollout gives.
    var firstFailure: Entry? { released.first { $0.standing.isFailure } }

    /// The nodes a wave that counts chooses by name: of those that are there and fit, the lowest ranks.
    func chosen(for audience: ReleaseAudience, of rollout: ReleaseRolloutID) -> [NodeID] {
        let candidates = entries.filter { entry in
            if case .unfit = entry.standing { return false }
            return audience.matches(entry.node) && entry.node.presence == .connected
        }.map { (rank: rollout.rank(of: $0.node.id), node: $0.node.id) }.sorted { $0 < $1 }
        if let count = audience.count {
            return candidates.filter { $0.rank < audience.share ?? ReleaseAudience.whole }
                .prefix(Int(count)).map(\.node)
        }
        guard let share = audience.share, let first = candidates.first, first.rank >= share else {
            return []
        }
        return [first.node]
    }

    func progress(channel: ChannelName, number: ReleaseNumber) -> ReleaseProgress {
        let laggards = entries.filter { $0.standing != .applied }
        return ReleaseProgress(
            channel: channel,
            number: number,
            nodes: entries.count,
            applied: entries.count - laggards.count,
            laggards: laggards.map { ReleaseLaggard(node: $0.node.id, standing: $0.standing) }
        )
    }

    func waves(of rollout: ReleaseRollout) -> [ReleaseRolloutStatus.Wave] {
        guard rollout.waveBegan != nil else { return [] }
        return (0...rollout.wave).map { index in
            let own = entries.filter { $0.wave == index }
            return ReleaseRolloutStatus.Wave(
                index: index,
                nodes: own.count,
                applied: own.count { $0.standing == .applied },
                failed: own.count { $0.standing.isFailure },
                unfit: own.count { if case .unfit = $0.standing { true } else { false } }
            )
        }
    }
}

extension ReleaseNodeStanding {
    /// Whether it speaks against the release.
    var isFailure: Bool {
        switch self {
        case .refused, .unhealthy, .lost: true
        default: false
        }
    }
}
