internal import ClusterRole
internal import Logging
internal import Synchronization

// What a start brings back, without asking anybody.
extension ArtifactSync {
    func open() async throws {
        try openDirectory()
        guard !isRestored, let directory = opened?.directory else { return }
        try await restoreActive(in: directory)
        isRestored = true
    }

    /// Opens the directory and reads what is remembered; nothing is loaded.
    ///
    /// - Returns: the release that was active.
    func remembered() async throws -> Release? {
        await takeTurn()
        defer { endTurn() }
        try openDirectory()
        return opened?.core.state.active?.release
    }

    func openDirectory() throws {
        guard opened == nil else { return }
        let directory = try WorkerDirectory(path: path)
        let (state, damage) = try directory.loadState(
            tenant: configuration.tenant,
            channel: channel
        )
        if let damage {
            configuration.logger.error(
                "The remembered state is damaged and was set aside; this node begins anew.",
                metadata: ["channel": "\(channel)", "error": "\(damage)"]
            )
        }
        try openTrust(in: directory)
        let core = ActivationCore(
            tenant: configuration.tenant,
            channel: channel,
            kinds: Set(deployers.keys),
            state: state
        )
        opened = (directory, core)
        beginDiary(in: directory)
        removable = [state.active, state.previous].compactMap {
            $0.map { handle($0.release, in: directory) }
        }
    }

    /// A new life begins: of the last one, the times are remembered.
    private func beginDiary(in directory: WorkerDirectory) {
        diary = directory.loadDiary()
        diary.begin(at: configuration.time.now())
        directory.saveDiary(diary)
        current.withLock { status in
            status.lastLook = diary.lastLook
            status.lastApply = diary.lastApply
        }
    }

    func note(_ status: ChannelStatus, at now: Timestamp) {
        guard diary.lastApply != status.lastApply || diary.isWorn(at: now) else { return }
        diary.lastLook = status.lastLook
        diary.lastApply = status.lastApply
        opened?.directory.saveDiary(diary)
    }

    private func restoreActive(in directory: WorkerDirectory) async throws {
        guard let active = opened?.core.state.active?.release else { return }
        if configuration.startCheck == .digests {
            let isWhole =
                directory.isWhole(active, limits: configuration.limits)
                || mend(active, in: directory)
            guard isWhole else {
                setDamaged(true)
                configuration.logger.error(
                    "The active tree does not match its digests; it is not served but fetched again.",
                    metadata: ["channel": "\(channel)", "number": "\(active.number)"]
                )
                return
            }
        }
        if !directory.isCurrent(active) { try directory.pointCurrent(to: active) }
        setDamaged(await restore(handle(active, in: directory)) != nil)
    }

    func setDamaged(_ damaged: Bool) {
        isDamaged = damaged
        current.withLock { $0.isDamaged = damaged }
    }

    /// Loads a release whose tree is on the disk, with nothing beside it.
    func restore(_ release: ActiveRelease) async -> ArtifactStoreError? {
        do {
            let deployer = try deployer(of: release)
            try await calls.call(.prepare, release) {
                try await deployer.prepare(release, replacing: nil)
            }
            try await calls.call(.activate, release) { try await deployer.activate(release) }
            _ = served.activate(release)
            gate?.onActive(release.release)
            configuration.logger.info(
                "The last good release is served again.",
                metadata: ["channel": "\(channel)", "number": "\(release.release.number)"]
            )
            return nil
        } catch {
            configuration.logger.error(
                "The last good release could not be loaded again.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
            return failure("load again", error).error
        }
    }

    func deployer(of release: ActiveRelease) throws -> any Deployer {
        guard let deployer = deployers[release.release.kind] else {
            throw ArtifactStoreError(
                .wrongChannel,
                "Nobody on this node loads releases of kind \(release.release.kind). Give \(channel) a "
                    + "deployer for it."
            )
        }
        return deployer
    }

    func handle(_ release: Release, in directory: WorkerDirectory) -> ActiveRelease {
        ActiveRelease(release: release, directory: directory.treePath(release.root))
    }
}
