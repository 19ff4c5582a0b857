internal import ClusterRole

/// Decides what a node does with a release. It knows no clock, no disk and no network.
///
/// Its caller verifies the signature first: a record that is not signed by a trusted key never
/// reaches it and changes nothing.
struct ActivationCore {
    let tenant: TenantID
    let channel: ChannelName
    /// The kinds somebody on this node loads.
    let kinds: Set<ArtifactKind>
    private(set) var state: ActivationState

    init(
        tenant: TenantID,
        channel: ChannelName,
        kinds: Set<ArtifactKind>,
        state: ActivationState
    ) {
        self.tenant = tenant
        self.channel = channel
        self.kinds = kinds
        self.state = state
    }

    /// The source offers this release as the newest of the channel.
    func onOffer(_ signed: SignedRelease, at now: Timestamp) -> OfferDirective {
        let release = signed.release
        guard release.tenant == tenant, release.channel == channel, kinds.contains(release.kind)
        else {
            return .refuse(
                ArtifactStoreError(
                    .wrongChannel,
                    "The release is \(release.kind) for \(release.channel) of \(release.tenant); this node "
                        + "takes \(kinds.sorted().map(\.rawValue).joined(separator: ", ")) for "
                        + "\(channel) of \(tenant)."
                )
            )
        }
        if signed.record == state.active?.record { return .keep }
        if let floor = state.floor?.release {
            guard release.number >= floor.number,
                release.number > floor.number || signed.record == state.floor?.record
            else {
                return .refuse(
                    ArtifactStoreError(
                        .belowFloor,
                        "Release \(release.number) is not above release \(floor.number), which this node has "
                            + "seen. Publish a new release."
                    )
                )
            }
        }
        let earlier = state.refused.last { $0.number == release.number && $0.root == release.root }
        if let earlier { return .keepRefused(earlier) }
        if let expires = release.expires, now >= expires {
            return .refuse(
                ArtifactStoreError(
                    .expired,
                    "Release \(release.number) expired at \(expires). Publish a new release."
                )
            )
        }
        return release.root == state.active?.release.root ? .adopt : .fetch
    }

    /// What ``onOffer(_:at:)`` tells its caller to do.
    enum OfferDirective: Equatable {
        /// It is active already.
        case keep
        /// It was refused for good; say so again, try nothing.
        case keepRefused(ActivationState.Refusal)
        /// Acknowledge the refusal; nothing else changes.
        case refuse(ArtifactStoreError)
        /// The tree is active already under an older number: call ``onAdopted(_:)``, reload
        /// nothing.
        case adopt
        /// Fetch it, lay it out and prepare it; then ``onPrepared(_:)`` or ``onRefused(_:_:)``.
        case fetch
    }

    /// A release with the active tree takes the place of the active one.
    mutating func onAdopted(_ signed: SignedRelease) -> [ActivationDirective] {
        state.active = signed
        state.floor = signed
        return [.persist, .acknowledge(signed, nil)]
    }

    /// The release lies verified on the disk and its deployer is ready.
    mutating func onPrepared(_ signed: SignedRelease) -> [ActivationDirective] {
        let old = state.active
        if let old { state.previous = old }
        state.active = signed
        state.floor = signed
        // The state first: a node that stops between the two goes on to the new release, and a
        // program that follows `current` never sees it go back.
        var directives: [ActivationDirective] = [
            .persist, .pointCurrent(signed), .activate(signed),
        ]
        if let old { directives.append(.drain(old)) }
        return directives + [.removeOthers, .acknowledge(signed, nil)]
    }

    /// The release was verified but cannot be loaded here; what is active stays.
    mutating func onRefused(
        _ signed: SignedRelease,
        _ error: ArtifactStoreError
    ) -> [ActivationDirective] {
        remember(signed, error)
        return [.persist, .removeOthers, .acknowledge(signed, error)]
    }

    /// Activation failed after the switch: back to what was active before.
    mutating func onActivationFailed(
        _ signed: SignedRelease,
        before old: ActivationState,
        _ error: ArtifactStoreError
    ) -> [ActivationDirective] {
        state = old
        remember(signed, error)
        var directives: [ActivationDirective] = [.persist]
        if let active = old.active { directives += [.pointCurrent(active), .activate(active)] }
        return directives + [.removeOthers, .acknowledge(signed, error)]
    }

    /// The node does not keep the channel any more. The floor stays, so that a channel that comes
    /// back does not go back.
    mutating func onUndeployed() -> [ActivationDirective] {
        guard state.active != nil else { return [] }
        state.active = nil
        state.previous = nil
        return [.persist, .pointNowhere, .removeOthers]
    }

    /// The directives could not be carried out, for reasons that are not the release's.
    mutating func forget(backTo old: ActivationState) { state = old }

    private mutating func remember(_ signed: SignedRelease, _ error: ArtifactStoreError) {
        state.floor = signed
        state.refused.append(
            ActivationState.Refusal(
                number: signed.release.number,
                root: signed.release.root,
                code: error.codeName,
                message: error.message
            )
        )
        let excess = state.refused.count - ActivationState.maximumRefusals
        if excess > 0 { state.refused.removeFirst(excess) }
    }
}

/// One step towards, or back from, an active release. They are done in the order given.
enum ActivationDirective: Equatable {
    /// Point the `current` link at the release's tree, durably.
    case pointCurrent(SignedRelease)
    /// Remove the `current` link, durably.
    case pointNowhere
    /// Write the state, durably.
    case persist
    /// Serve from it, and tell the deployer.
    case activate(SignedRelease)
    /// Wait until nobody uses it any more, and tell the deployer.
    case drain(SignedRelease)
    /// Remove every tree but the active one and the one before.
    case removeOthers
    /// Tell the managers, with the error if it was refused.
    case acknowledge(SignedRelease, ArtifactStoreError?)
}
