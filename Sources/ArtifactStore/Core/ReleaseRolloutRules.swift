internal import ClusterRole

/// What somebody may ask of a rollout.
public enum ReleaseRolloutCommand: String, Hashable, Sendable, Codable, CaseIterable {
    case pause
    case resume
    case abort
    case revert
}

/// What a look at the channel shows.
struct ChannelSight: Hashable, Sendable {
    /// The newest release.
    let newest: ReleaseRollout.Target?
    let census: ReleaseCensus
}

/// What a rollout's core tells its caller to do: the notes and blocks in one transaction with the new
/// state, then the rest.
enum ReleaseRolloutDirective: Equatable, Sendable {
    /// Write the new state, with a line of history if there is one to write.
    case persist(ReleaseRolloutTransition?)
    /// Block the candidate's tree.
    case block(ReleaseBlock)
    /// Publish the tree of this release again.
    case publishAgain(ReleaseNumber)
    /// Tell the caller why not; nothing has changed.
    case refuse(ArtifactStoreError)
}

/// The state machine of a rollout. It knows no clock, no storage and no network.
extension ReleaseRollout {
    // MARK: - Commands

    /// Somebody asks for something. Asking for what is so already changes nothing.
    mutating func onCommand(
        _ command: ReleaseRolloutCommand,
        by: String,
        reason: String,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        let note = Note(by: by, reason: reason, at: now)
        switch (command, state) {
        case (.pause, .paused), (.resume, .running), (.abort, .aborted), (.revert, .reverting),
            (.revert, .reverted):
            return []
        case (.pause, .running):
            return move(to: .paused, .paused, note)
        case (.resume, .paused):
            // What was waited for before is waited for again: the world may have changed meanwhile.
            satisfiedSince = nil
            waveBegan = waveBegan.map { _ in now }
            toleratedFailures = max(toleratedFailures, pausingFailures)
            return move(to: .running, .resumed, note)
        case (.abort, .awaitingRelease), (.abort, .running), (.abort, .paused):
            return end(.aborted, .aborted, note)
        case (.revert, .running), (.revert, .paused):
            return revert(note)
        default:
            return [.refuse(refusal(of: command))]
        }
    }

    private func refusal(of command: ReleaseRolloutCommand) -> ArtifactStoreError {
        let hint =
            switch state {
            case .awaitingRelease: "It waits for release \(candidate); publish it, or abort."
            case .running: "It is not paused."
            case .paused: "It is paused; resume, abort or revert it."
            case .reverting: "It is being reverted; wait for that."
            case .completed, .aborted, .reverted:
                "It is over. To go back to an older tree, roll the channel back."
            }
        return ArtifactStoreError(
            .rolloutState,
            "Rollout \(id) cannot \(command.rawValue) now. \(hint)"
        )
    }

    /// Somebody lifted the block of its release: a line of history, in any state.
    mutating func onUnblocked(
        by: String,
        reason: String,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        [persist(.unblocked, Note(by: by, reason: reason, at: now))]
    }

    // MARK: - Looking

    /// The caller looked at the channel.
    mutating func onLook(
        _ sight: ChannelSight,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        switch state {
        case .awaitingRelease:
            guard let newest = sight.newest, newest.number == candidate else { return [] }
            candidateRoot = newest.root
            return beginWave(0, sight.census, at: now)
        case .running:
            if let stop = stopForFailures(sight.census, at: now) { return stop }
            return advance(sight.census, at: now)
        case .paused:
            // It goes no further, but what is broken is still undone.
            guard plan.failure.action != .pause else { return [] }
            return stopForFailures(sight.census, at: now) ?? []
        case .reverting:
            guard let baseline else { return [] }
            guard let newest = sight.newest, newest.number > candidate else {
                return [.publishAgain(baseline.number)]
            }
            return move(
                to: .reverted,
                .reverted,
                Note(by: automatic, reason: "release \(newest.number) has the tree before", at: now)
            )
        case .completed, .aborted, .reverted:
            return []
        }
    }

    private var automatic: String { ReleaseRolloutTransition.automatic }

    /// What the plan says when too many fail, or when the wave takes too long; `nil` if neither is so.
    private mutating func stopForFailures(
        _ census: ReleaseCensus,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective]? {
        let gate = census.gate(plan.waves[wave])
        let threshold = plan.failure
        var reason: String?
        if gate.failed > toleratedFailures, gate.failed >= Int(threshold.minimum),
            gate.failed * 100 >= Int(threshold.percent) * max(1, gate.released)
        {
            let example = census.firstFailure.map {
                "; \($0.node.id): \($0.standing.explanation)"
            }
            reason = "\(gate.failed) of \(gate.released) failed\(example ?? "")"
        } else if state == .running, satisfiedSince == nil, let timeout = plan.waves[wave].timeout,
            let waveBegan, now >= waveBegan + timeout
        {
            reason = "wave \(wave + 1) has \(gate.applied) of \(gate.released) after \(timeout)"
        }
        guard let reason else { return nil }
        pausingFailures = gate.failed
        let note = Note(by: automatic, reason: reason, at: now)
        return switch threshold.action {
        case .pause: move(to: .paused, .paused, note)
        case .abort: end(.aborted, .aborted, note)
        case .revert: revert(note)
        }
    }

    private mutating func advance(
        _ census: ReleaseCensus,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        let rule = plan.waves[wave]
        let gate = census.gate(rule)
        // A wave without a node has shown nothing; it waits for one.
        guard gate.released > 0 else {
            return chooseNodes(census) ? [persist()] : []
        }
        let isSatisfied = gate.applied * 100 >= gate.released * Int(rule.acknowledgedPercent)
        guard isSatisfied else {
            guard satisfiedSince != nil else { return [] }
            satisfiedSince = nil
            return [persist(.unsatisfied, Note(by: automatic, reason: "", at: now))]
        }
        guard let since = satisfiedSince else {
            satisfiedSince = now
            if rule.soak > .zero {
                let reason = "\(gate.applied) of \(gate.released) applied"
                return [persist(.satisfied, Note(by: automatic, reason: reason, at: now))]
            }
            return pass(census, at: now)
        }
        return now >= since + rule.soak ? pass(census, at: now) : []
    }

    private mutating func pass(
        _ census: ReleaseCensus,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        if wave + 1 < plan.waves.count { return beginWave(wave + 1, census, at: now) }
        return end(.completed, .completed, Note(by: automatic, reason: "", at: now))
    }

    private mutating func beginWave(
        _ index: Int,
        _ census: ReleaseCensus,
        at now: Timestamp
    ) -> [ReleaseRolloutDirective] {
        wave = index
        waveBegan = now
        satisfiedSince = nil
        _ = chooseNodes(census)
        return move(to: .running, .waveBegan, Note(by: automatic, reason: "", at: now))
    }

    /// Chooses who is named. A wave does so once: a node that dies of a release is not followed by the
    /// next.
    ///
    /// - Returns: whether somebody was chosen.
    private mutating func chooseNodes(_ census: ReleaseCensus) -> Bool {
        guard namingWave != wave else { return false }
        let chosen = census.chosen(for: plan.waves[wave].audience, of: id)
        guard !chosen.isEmpty else { return false }
        namingWave = wave
        named.formUnion(chosen)
        return true
    }

    // MARK: - Changing

    /// Who, why and when.
    struct Note {
        let by: String
        let reason: String
        let at: Timestamp
    }

    private mutating func revert(_ note: Note) -> [ReleaseRolloutDirective] {
        // There is nothing to go back to: nobody else gets it.
        guard let baseline else { return end(.aborted, .aborted, note) }
        let directives = move(to: .reverting, .reverting, note)
        return directives + block(note) + [.publishAgain(baseline.number)]
    }

    private mutating func end(
        _ state: ReleaseRolloutState,
        _ event: ReleaseRolloutTransition.Event,
        _ note: Note
    ) -> [ReleaseRolloutDirective] {
        let directives = move(to: state, event, note)
        return state == .aborted ? directives + block(note) : directives
    }

    private mutating func move(
        to state: ReleaseRolloutState,
        _ event: ReleaseRolloutTransition.Event,
        _ note: Note
    ) -> [ReleaseRolloutDirective] {
        self.state = state
        reason = [.running, .completed].contains(state) ? "" : note.reason
        if state.isClosed { closedAt = note.at }
        return [persist(event, note)]
    }

    private mutating func persist() -> ReleaseRolloutDirective {
        version += 1
        return .persist(nil)
    }

    private mutating func persist(
        _ event: ReleaseRolloutTransition.Event,
        _ note: Note
    ) -> ReleaseRolloutDirective {
        version += 1
        let isFleeting = event == .satisfied || event == .unsatisfied
        // A wave that flickers must not fill the store; what people do is always kept.
        if isFleeting && version > Self.maximumFleeting { return .persist(nil) }
        return .persist(
            ReleaseRolloutTransition(
                rollout: id,
                number: version,
                event: event,
                state: state,
                wave: wave,
                at: note.at,
                by: note.by,
                reason: note.reason.shortened(
                    toBytes: ReleaseRolloutTransition.maximumReasonBytes
                )
            )
        )
    }

    /// Changes after which a wave's satisfaction coming and going is no longer written down.
    static let maximumFleeting: Int64 = 1_000

    /// A tree that others have under an older number is not blocked: there would be nothing left.
    private func block(_ note: Note) -> [ReleaseRolloutDirective] {
        guard let root = candidateRoot, root != baseline?.root else { return [] }
        return [
            .block(
                ReleaseBlock(
                    channel: channel,
                    root: root,
                    number: candidate,
                    rollout: id,
                    at: note.at,
                    by: note.by,
                    reason: note.reason
                )
            )
        ]
    }
}
