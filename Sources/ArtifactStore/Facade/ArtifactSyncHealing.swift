internal import ClusterRole
internal import Logging
internal import Metrics
internal import Synchronization

// What goes wrong with files that were right once, and a channel's end.
extension ArtifactSync {
    /// Compares the files under the active release with what was released, and mends them: from
    /// what this node has, else from the source. The tree is laid out beside and swapped in one
    /// step; the release goes on being served, and the deployer is not asked to load it again.
    ///
    /// ``run()`` does it every ``SyncConfiguration/verifyInterval``.
    ///
    /// - Parameter readingAll: whether every file is read, whatever its metadata says. Otherwise
    ///   those are whose metadata changed since they were last read.
    /// - Returns: what was found; `nil` if all is as released. ``ChannelStatus/isDamaged`` says
    ///   whether it could not be mended.
    /// - Throws: what the source throws when the files have to be fetched; `fileSystem` if the
    ///   directory vanished and cannot be made again. The release is served on from memory.
    @discardableResult
    public func verifyFiles(readingAll: Bool = false) async throws -> TreeDrift? {
        await takeTurn()
        defer { endTurn() }
        guard let (before, core) = opened, let active = core.state.active?.release else {
            return nil
        }
        let now = configuration.time.monotonic()
        if readingAll || now - (lastDigested ?? now) >= configuration.digestInterval { proof = nil }
        if proof == nil { lastDigested = now }
        let drift: TreeDrift
        var directory = before
        if before.isInPlace {
            guard let found = compare(active, in: before) else {
                kept.prove(active.root, in: before, at: now)
                watchPrevious(in: before, at: now)
                return nil
            }
            drift = found
        } else {
            var vanished = TreeDrift()
            vanished.note(TreePath("."), .removed)
            drift = vanished
            directory = try before.reopened()
            opened = (directory, core)
            try persist(in: directory)
        }
        report(drift, of: active)
        if mend(active, in: directory) {
            if !directory.isCurrent(active) { try directory.pointCurrent(to: active) }
            setDamaged(false)
            configuration.logger.notice(
                "The files of the active release are mended.",
                metadata: ["channel": "\(channel)", "number": "\(active.number)"]
            )
        } else {
            setDamaged(true)
            _ = try await look(applying: status.mode == .automatic)
        }
        return drift
    }

    /// - Returns: what differs; `nil` if nothing does.
    private func compare(_ active: Release, in directory: WorkerDirectory) -> TreeDrift? {
        var drift = TreeDrift()
        if let tree = directory.manifest(of: active, limits: configuration.limits),
            let root = try? directory.releases.directory(beneath: WorkerDirectory.name(active.root))
        {
            var verifier = TreeVerifier(tree, in: root, proof: proof)
            proof = verifier.verify()
            drift = verifier.drift
        } else {
            drift.note(TreePath("."), .removed)
        }
        if !directory.isCurrent(active) { drift.note(TreePath("current"), .link) }
        return drift.isEmpty ? nil : drift
    }

    /// The tree before is looked at as often as the active one, so that going back need not wait for it. One
    /// that changed is made sure of when it is wanted.
    private func watchPrevious(in directory: WorkerDirectory, at now: Duration) {
        guard let previous = opened?.core.state.previous?.release,
            kept.isWorn(previous.root, at: now)
        else { return }
        if directory.isWhole(previous, limits: configuration.limits, by: .marks) {
            kept.prove(previous.root, in: directory, at: now)
        } else {
            kept.forget(previous.root)
        }
    }

    private func report(_ drift: TreeDrift, of active: Release) {
        proof = nil
        kept.forgetAll()
        current.withLock { $0.lastDrift = drift }
        Counter(label: "reeve_artifact_drifts_total").increment()
        configuration.logger.error(
            "Files under the active release are not as they were released.",
            metadata: [
                "channel": "\(channel)", "number": "\(active.number)", "paths": "\(drift.count)",
                "first":
                    "\(drift.findings.first.map { "\($0.path): \($0.change.rawValue)" } ?? "")",
            ]
        )
    }

    /// Lays the tree of a release out again from what is on the disk.
    ///
    /// - Returns: whether all of it was there.
    func mend(_ release: Release, in directory: WorkerDirectory) -> Bool {
        guard let manifest = directory.manifest(of: release, limits: configuration.limits) else {
            return false
        }
        let previous = opened?.core.state.previous?.release
        let sources = [release, previous].compactMap { $0 }.compactMap {
            directory.tree($0, limits: configuration.limits)
        }
        guard let stage = try? directory.makeStage(random: configuration.random) else {
            return false
        }
        do {
            try TreeRepair(manifest, from: sources).layOut(in: stage.directory)
            try directory.keep(stage, as: manifest, marks: [])
            return true
        } catch {
            directory.discard(stage)
            return false
        }
    }

    /// Fetches the active release once more, whole, because its files were damaged.
    func repair(
        _ published: PublishedRelease,
        in directory: WorkerDirectory
    ) async throws -> SyncReport {
        let fetcher = ReleaseFetcher(
            source: source,
            directory: directory,
            configuration: configuration
        )
        // Its marks may be what they were although its bytes are not.
        let tree = try await fetcher.obtain(published, from: [], by: .digests)
        try directory.pointCurrent(to: published.release)
        var error: ArtifactStoreError?
        if served.active?.release.root != published.release.root {
            error = await restore(handle(published.release, in: directory))
        }
        setDamaged(error != nil)
        proof = nil
        await acknowledge(published.signed, error)
        var report = SyncReport(error.map { .refused($0) } ?? .activated, published.release)
        report.transfer = tree.transfer
        report.bytesReceived = fetcher.bytesReceived
        return report
    }

    /// Stops serving the channel, tells its deployer, and removes its trees. What was seen stays
    /// remembered, so that the channel never goes back if it is kept again. Doing it twice is
    /// harmless.
    ///
    /// Nothing but a configuration that does not name the channel any more leads here; a source
    /// that is empty or gone never does.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem` or `locked`.
    public func undeploy() async throws {
        await takeTurn()
        defer { endTurn() }
        try openDirectory()
        guard let (directory, core) = opened else { return }
        // The directory is given back, whatever happens: the channel may be kept again.
        defer {
            opened = nil
            isRestored = false
        }
        var next = core
        let directives = next.onUndeployed()
        if let slot = served.deactivate() { await drain(slot) }
        guard !directives.isEmpty else { return }
        opened = (directory, next)
        seen = nil
        proof = nil
        setDamaged(false)
        try await perform(directives, in: directory)
        configuration.logger.notice("A channel is undeployed.", metadata: ["channel": "\(channel)"])
    }
}
