internal import ClusterRole

/// Which release a worker is offered: pure.
enum ReleaseOfferDecision: Hashable, Sendable {
    case offer(StoredRelease)
    /// It keeps what it has: the reason the newest release is not for it; `nil` for an empty channel.
    case keep(ReleaseNodeStanding?)

    /// - Parameters:
    ///   - releases: of the channel, newest first.
    ///   - standing: of the channel.
    ///   - node: who asks.
    ///   - word: what it last said of the channel.
    init(
        _ releases: [StoredRelease],
        standing: ChannelStanding,
        to node: ReleaseNode,
        word: AppliedRelease?
    ) {
        var newest: ReleaseNodeStanding?
        for stored in releases {
            let reason = standing.withholding(stored.release, from: node, word: word)
            guard let reason else {
                self = .offer(stored)
                return
            }
            newest = newest ?? reason
        }
        self = .keep(newest)
    }
}

extension ChannelStanding {
    /// Why a release is not for a node; `nil` if it is.
    func withholding(
        _ release: Release,
        from node: ReleaseNode,
        word: AppliedRelease?
    ) -> ReleaseNodeStanding? {
        if let block = block(of: release.root) { return .blocked(reason: block.reason) }
        if let rollout, !rollout.admits(release, to: node, word: word) {
            return .held(rollout.id, isPaused: rollout.state == .paused)
        }
        let unmet = release.requirements.unmet(by: node.abilities)
        return unmet.isEmpty ? nil : .unfit(unmet)
    }

    /// Why a release may not be appended to the channel now; `nil` if it may.
    ///
    /// Drivers of ``ReleaseStorage`` ask in the transaction that appends.
    package func refusal(ofAppending release: Release) -> ArtifactStoreError? {
        if let block = block(of: release.root) {
            return ArtifactStoreError(
                .blocked,
                "The tree \(release.root) is blocked in channel \(release.channel), because release "
                    + "\(block.number) was taken back: \(block.reason). Mend it, or lift the block."
            )
        }
        guard let rollout, !rollout.state.isClosed else { return nil }
        switch rollout.state {
        case .awaitingRelease where release.number == rollout.candidate: return nil
        case .reverting where release.root == rollout.baseline?.root: return nil
        default:
            return ArtifactStoreError(
                .rolloutOpen,
                "Release \(rollout.candidate) of channel \(release.channel) is being rolled out. Wait for "
                    + "rollout \(rollout.id), revert it, or abort it; then publish."
            )
        }
    }
}

extension ReleaseRollout {
    /// Whether an open rollout lets a node have a release of its channel.
    func admits(_ release: Release, to node: ReleaseNode, word: AppliedRelease?) -> Bool {
        if state.isClosed || release.number < candidate { return true }
        // Above the candidate there is only the tree that a revert publishes.
        if release.number > candidate { return state == .reverting }
        switch state {
        case .running:
            return admittingWave(of: node) != nil
        case .paused:
            // Who has it keeps it, also over a restart; nobody else gets it.
            return admittingWave(of: node) != nil && word?.state == .applied
                && word?.number == release.number && word?.root == release.root
        default:
            return false
        }
    }
}
