internal import ClusterRole
internal import Logging
internal import Synchronization

// Whom this worker believes. The decisions are TrustCore's.
extension ArtifactSync {
    /// The most answers that are asked for to catch up with the root records.
    private static var maximumRootAnswers: Int {
        RootRecords.maximumRecords / TrustAnswer.maximumRoots
    }

    /// How sure this node is that its release is the newest, by its clock.
    public nonisolated var freshness: PointerFreshness {
        guard let expires = confirmed.withLock({ $0 }) else { return .unknown }
        let isAlive = configuration.time.now() < expires
        return isAlive ? .confirmed(until: expires) : .expired(since: expires)
    }

    /// Brings back what was remembered beside the state.
    func openTrust(in directory: WorkerDirectory) throws(ArtifactStoreError) {
        trust = rememberedTrust(try directory.loadTrust())
        publishFreshness()
    }

    private func rememberedTrust(_ bytes: [UInt8]?) -> TrustCore {
        let tenant = configuration.tenant
        guard let bytes else {
            return TrustCore(tenant: tenant, channel: channel, keys: trusted)
        }
        do {
            return try TrustCore(
                decoding: bytes,
                configured: trusted,
                tenant: tenant,
                channel: channel
            )
        } catch {
            configuration.logger.error(
                "The remembered keys are damaged; this node begins with the configured ones.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
            return TrustCore(tenant: tenant, channel: channel, keys: trusted)
        }
    }

    /// Checks that an offered release is to be believed, with what the source says beside it.
    ///
    /// - Throws: ``ArtifactStoreError`` when it is not; then nothing of it is remembered, and what
    ///   is active stays.
    func believe(_ signed: SignedRelease) async throws {
        let now = configuration.time.now()
        var pointer: SignedPointer?
        if trust?.needsNews(of: signed, at: now) == true {
            pointer = try await newestPointer()
        }
        try hold(signed, pointer, at: now)
    }

    /// A source that cannot say more than its releases is no failure for a node with a plain key.
    private func newestPointer() async throws -> SignedPointer? {
        do {
            return try await askForTrust()
        } catch let error as CancellationError {
            throw error
        } catch {
            guard trust?.keys.needsPointers == true else { return nil }
            throw error
        }
    }

    private func isActive(_ signed: SignedRelease) -> Bool {
        signed.record == opened?.core.state.active?.record
    }

    private func hold(
        _ signed: SignedRelease,
        _ pointer: SignedPointer?,
        at now: Timestamp
    ) throws(ArtifactStoreError) {
        guard var core = trust else { return }
        let held: SignedPointer?
        do {
            held = try core.onOffer(signed, with: pointer, at: now)
        } catch {
            // What speaks against the release itself is said first.
            if error.isAboutFreshness, case .refuse = opened?.core.onOffer(signed, at: now) {
                return
            }
            guard error.isAboutFreshness, isActive(signed) else { throw error }
            // It is served already; only that it is the newest is not certain.
            warnIfExpired(error)
            return
        }
        // A pointer is held with its release or not at all.
        if case .refuse = opened?.core.onOffer(signed, at: now) { return }
        guard held != core.pointer else { return }
        core.hold(held)
        try remember(core)
    }

    /// The source says that nothing changed: is that still certain?
    func renewTrust() async throws {
        let now = configuration.time.now()
        guard trust?.needsNews(of: nil, at: now) == true else { return }
        do {
            let pointer = try await askForTrust()
            let isRenewed = try renew(with: pointer, at: now)
            if !isRenewed { warnIfExpired(nil) }
        } catch let error as CancellationError {
            throw error
        } catch {
            // Serving goes on; how sure it is that this is the newest, ``freshness`` says.
            warnIfExpired(error)
        }
    }

    private func renew(
        with pointer: SignedPointer?,
        at now: Timestamp
    ) throws(ArtifactStoreError) -> Bool {
        guard var core = trust, let pointer, let active = opened?.core.state.active else {
            return false
        }
        guard try core.onRenewal(of: active, with: pointer, at: now) else {
            // There is another release than the one that was shown: look again.
            seen = nil
            return false
        }
        try remember(core)
        return true
    }

    /// Asks the source, takes the root records it has, and returns its pointer, unverified.
    private func askForTrust() async throws -> SignedPointer? {
        for _ in 0..<Self.maximumRootAnswers {
            let answer = try await source.trust(
                of: channel,
                tenant: configuration.tenant,
                afterRoot: trust?.keys.version ?? 0
            )
            let hasChanged = try take(answer.roots)
            if !hasChanged || answer.roots.count < TrustAnswer.maximumRoots {
                return answer.pointer
            }
        }
        return nil
    }

    /// - Returns: whether another root record is in force now.
    private func take(_ roots: [SignedRoot]) throws(ArtifactStoreError) -> Bool {
        guard var core = trust else { return false }
        do {
            guard try core.onRoots(roots) else { return false }
        } catch {
            configuration.logger.error(
                "A root record is refused; the one in force stays.",
                metadata: [
                    "channel": "\(channel)", "version": "\(core.keys.version)",
                    "error": "\(error)",
                ]
            )
            return false
        }
        try remember(core)
        try forgetUntrustedFloor()
        configuration.logger.notice(
            "A new root record is in force.",
            metadata: ["channel": "\(channel)", "version": "\(core.keys.version)"]
        )
        return true
    }

    /// After keys were replaced, a floor only the old ones vouch for must not keep releases of the
    /// new ones out: whoever stole a key may have signed the highest number there is.
    private func forgetUntrustedFloor() throws(ArtifactStoreError) {
        guard let directory = opened?.directory, let keys = trust?.keys, var core = opened?.core,
            let floor = core.state.floor,
            !keys.believe(floor)
        else { return }
        var state = core.state
        let known = [state.active, state.previous].compactMap { $0 }
        state.floor = known.filter { keys.believe($0) }
            .max { $0.release.number < $1.release.number }
        state.refused.removeAll()
        core.forget(backTo: state)
        opened = (directory, core)
        try directory.saveState(state, tenant: configuration.tenant, channel: channel)
        seen = nil
    }

    /// Durable when it returns.
    private func remember(_ core: TrustCore) throws(ArtifactStoreError) {
        try opened?.directory.saveTrust(core.encoded(anchor: trusted.anchor))
        trust = core
        publishFreshness()
    }

    private func publishFreshness() {
        let expires = trust?.pointer?.pointer.expires
        confirmed.withLock { $0 = expires }
        if case .confirmed = freshness { saysExpired = false }
    }

    /// Once each time it expires: it is said, and serving goes on.
    private func warnIfExpired(_ error: (any Error)?) {
        guard !saysExpired, case .expired(let since) = freshness else { return }
        saysExpired = true
        configuration.logger.warning(
            "Nobody confirms any more that this node's release is the newest. It is served on.",
            metadata: [
                "channel": "\(channel)", "since": "\(since)",
                "error": "\(error.map { "\($0)" } ?? "none")",
            ]
        )
    }
}

extension ArtifactStoreError {
    /// Whether it speaks against the pointer rather than against the release.
    fileprivate var isAboutFreshness: Bool {
        switch code {
        case .pointerExpired, .unconfirmed, .expired, .belowFloor: true
        default: false
        }
    }
}

extension WorkerDirectory {
    private static let trust: TreePath = "trust"
    /// One root record and one pointer, with room.
    private static let maximumTrustBytes: Int64 = 16 << 10

    /// What was remembered, or `nil`.
    func loadTrust() throws(ArtifactStoreError) -> [UInt8]? {
        guard try root.status(of: Self.trust) != nil else { return nil }
        return try root.file(Self.trust).contents(limit: Self.maximumTrustBytes)
    }

    /// Durable when it returns.
    func saveTrust(_ bytes: [UInt8]) throws(ArtifactStoreError) {
        try root.replaceFile(Self.trust, with: bytes)
    }
}
