internal import ClusterRole
internal import Logging
internal import Synchronization

// What one look at the source leads to. The decisions are ActivationCore's.
extension ArtifactSync {
    // MARK: - Looking

    func look(applying: Bool) async throws -> SyncReport {
        let answer = try await source.latestRelease(
            of: channel,
            tenant: configuration.tenant,
            unlessAt: isDamaged || applying && waiting != nil ? nil : seen
        )
        switch answer {
        case .unchanged:
            try await renewTrust()
            if let waiting { return SyncReport(.available, waiting) }
            return SyncReport(.unchanged, served.active?.release)
        case .empty: return SyncReport(.empty)
        case .release(let stored):
            seen = nil
            waiting = nil
            let (report, isSettled) = try await consider(stored.published, applying: applying)
            if isSettled { seen = stored.revision }
            return report
        }
    }

    /// - Returns: the report, and whether looking at the same revision again would be in vain.
    private func consider(
        _ published: PublishedRelease,
        applying: Bool
    ) async throws -> (SyncReport, isSettled: Bool) {
        let signed = published.signed
        let release = signed.release
        do {
            try await believe(signed)
        } catch let error as ArtifactStoreError where error.isRefusal {
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), false)
        }
        guard let (directory, core) = opened else { return (SyncReport(.empty), false) }
        switch core.onOffer(signed, at: configuration.time.now()) {
        case .keep:
            if isDamaged {
                let report = try await repair(published, in: directory)
                return (report, isSettled: !isDamaged)
            }
            await acknowledge(signed, nil)
            return (SyncReport(.unchanged, release), true)
        case .keepRefused(let refusal):
            let error = ArtifactStoreError(.init(rawValue: refusal.code), refusal.message)
            gate?.onRefused(release)
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), true)
        case .refuse(let error):
            await acknowledge(signed, error)
            return (SyncReport(.refused(error), release), true)
        case .adopt, .fetch: break
        }
        guard applying else {
            waiting = release
            return (SyncReport(.available, release), true)
        }
        if let hold = gate?.onOffered(release) {
            if hold.isBlocking { await acknowledge(signed, hold.error) }
            return (SyncReport(.held(hold), release), false)
        }
        return try await take(published, in: directory)
    }

    private func take(
        _ published: PublishedRelease,
        in directory: WorkerDirectory
    ) async throws -> (SyncReport, isSettled: Bool) {
        guard let core = opened?.core else { return (SyncReport(.empty), false) }
        let signed = published.signed
        let release = signed.release
        if !isDamaged, release.root == core.state.active?.release.root {
            var next = core
            let directives = next.onAdopted(signed)
            opened = (directory, next)
            try await perform(directives, in: directory)
            if let active = served.active {
                served.rename(ActiveRelease(release: release, directory: active.directory))
            }
            gate?.onActive(release)
            return (SyncReport(.adopted, release), true)
        }
        return try await advance(to: published, in: directory)
    }

    /// Fetches, prepares and activates a release, or refuses it.
    private func advance(
        to published: PublishedRelease,
        in directory: WorkerDirectory
    ) async throws -> (SyncReport, isSettled: Bool) {
        guard var core = opened?.core else { return (SyncReport(.empty), false) }
        let signed = published.signed
        let before = core.state
        let old = isDamaged ? nil : before.active?.release
        let fetcher = ReleaseFetcher(
            source: source,
            directory: directory,
            configuration: configuration
        )
        do {
            let root = signed.release.root
            let tree = try await fetcher.obtain(
                published,
                from: [old, before.previous?.release].compactMap { $0 },
                isProved: kept.isProved(root, in: directory, at: configuration.time.monotonic())
            )
            if tree.manifest == nil {
                // It is looked at again as soon as it serves.
                watch.raise()
            } else {
                kept.prove(root, in: directory, at: configuration.time.monotonic())
            }
            try await prepare(handle(signed.release, in: directory))
            var report = SyncReport(.activated, signed.release)
            report.transfer = tree.transfer
            report.bytesReceived = fetcher.bytesReceived
            report.filesChanged = changeCount(from: old, to: signed.release, tree, in: directory)
            let directives = core.onPrepared(signed)
            opened = (directory, core)
            do {
                try await perform(directives, in: directory)
            } catch let error as DeploymentFailure {
                let undo = core.onActivationFailed(signed, before: before, error.error)
                opened = (directory, core)
                removable.append(handle(signed.release, in: directory))
                gate?.onRefused(signed.release)
                try await perform(undo, in: directory)
                return (SyncReport(.refused(error.error), signed.release), true)
            } catch {
                // Not switched: the next look begins where this one did, and finds the tree there.
                opened?.core.forget(backTo: before)
                throw error
            }
            setDamaged(false)
            proof = nil
            gate?.onActive(signed.release)
            return (report, true)
        } catch let failure as DeploymentFailure {
            return (try await refuse(signed, failure.error, fetcher, in: directory), true)
        } catch let error as ArtifactStoreError where error.isRefusal {
            guard error.isLasting else {
                await acknowledge(signed, error)
                var report = SyncReport(.refused(error), signed.release)
                report.bytesReceived = fetcher.bytesReceived
                return (report, false)
            }
            return (try await refuse(signed, error, fetcher, in: directory), true)
        }
    }

    private func changeCount(
        from old: Release?,
        to new: Release,
        _ tree: ReleaseFetcher.Obtained,
        in directory: WorkerDirectory
    ) -> Int {
        let pair = Set([old?.root, new.root].compactMap { $0 })
        if pair.count == 2, let lastChange, lastChange.between == pair { return lastChange.count }
        var before = tree.base
        if before?.id != old?.root {
            before = old.flatMap { directory.manifest(of: $0, limits: configuration.limits) }
        }
        guard
            let after = tree.manifest
                ?? directory.manifest(of: new, limits: configuration.limits)
        else { return 0 }
        let count = TreeDifference(from: before, to: after).count
        lastChange = (pair, count)
        return count
    }

    private func refuse(
        _ signed: SignedRelease,
        _ error: ArtifactStoreError,
        _ fetcher: ReleaseFetcher,
        in directory: WorkerDirectory
    ) async throws -> SyncReport {
        guard var core = opened?.core else { return SyncReport(.empty) }
        let directives = core.onRefused(signed, error)
        opened = (directory, core)
        removable.append(handle(signed.release, in: directory))
        gate?.onRefused(signed.release)
        try await perform(directives, in: directory)
        var report = SyncReport(.refused(error), signed.release)
        report.bytesReceived = fetcher.bytesReceived
        return report
    }

    // MARK: - Directives

    struct DeploymentFailure: Error { let error: ArtifactStoreError }

    func failure(_ step: String, _ cause: any Error) -> DeploymentFailure {
        if let known = cause as? ArtifactStoreError, known.code == .deploymentTimedOut {
            return DeploymentFailure(error: known)
        }
        return DeploymentFailure(
            error: ArtifactStoreError(
                .deploymentFailed,
                "The deployer refused to \(step) the release: \(cause). Mend it and publish again.",
                cause: cause
            )
        )
    }

    private func prepare(_ new: ActiveRelease) async throws {
        let old = served.active
        try await asking(.prepare, new) { try await $0.prepare(new, replacing: old) }
        try await asking(.checkHealth, new) { try await $0.checkHealth(of: new) }
    }

    /// Calls the deployer. What it throws refuses the release, unless this task is being stopped.
    private func asking(
        _ step: DeployerStep,
        _ release: ActiveRelease,
        _ body: @escaping @Sendable (any Deployer) async throws -> Void
    ) async throws {
        do {
            let deployer = try deployer(of: release)
            try await calls.call(step, release) { try await body(deployer) }
        } catch {
            if error is CancellationError || Task.isCancelled { throw CancellationError() }
            throw failure(step.inWords, error)
        }
    }

    /// Calls the deployer in a step that cannot refuse anything.
    func telling(
        _ step: DeployerStep,
        _ release: ActiveRelease,
        _ body: @escaping @Sendable (any Deployer) async -> Void
    ) async {
        do {
            let deployer = try deployer(of: release)
            try await calls.call(step, release) { await body(deployer) }
        } catch {
            configuration.logger.warning(
                "The deployer did not finish a step.",
                metadata: [
                    "channel": "\(channel)", "step": "\(step.rawValue)",
                    "number": "\(release.release.number)", "error": "\(error)",
                ]
            )
        }
    }

    func perform(
        _ directives: [ActivationDirective],
        in directory: WorkerDirectory
    ) async throws {
        var retired: ServedReleases.Slot?
        for directive in directives {
            switch directive {
            case .pointCurrent(let signed): try directory.pointCurrent(to: signed.release)
            case .pointNowhere: try directory.pointNowhere()
            case .persist: try persist(in: directory)
            case .activate(let signed):
                let new = handle(signed.release, in: directory)
                guard served.active != new else {
                    // Back to what is served all the while; its refusal would change nothing.
                    await telling(.activate, new) { try? await $0.activate(new) }
                    continue
                }
                try await asking(.activate, new) { try await $0.activate(new) }
                retired = served.activate(new)
            case .drain:
                guard let slot = retired else { continue }
                await drain(slot)
            case .removeOthers: await removeOthers(in: directory)
            case .acknowledge(let signed, let error): await acknowledge(signed, error)
            }
        }
    }

    func persist(in directory: WorkerDirectory) throws {
        guard let state = opened?.core.state else { return }
        try directory.saveState(state, tenant: configuration.tenant, channel: channel)
    }

    func drain(_ slot: ServedReleases.Slot) async {
        let isFree = await slot.retire(
            timeout: configuration.drainTimeout,
            time: configuration.time
        )
        if !isFree {
            lingering.append(slot)
            configuration.logger.warning(
                "Requests still use the old release after the drain timeout.",
                metadata: ["channel": "\(channel)", "number": "\(slot.release.release.number)"]
            )
        }
        let old = slot.release
        await telling(.drain, old) { await $0.drain(old) }
    }

    /// Removes trees that are neither active nor the one before. Failing to is no failure: the next
    /// release tries again.
    private func removeOthers(in directory: WorkerDirectory) async {
        guard let state = opened?.core.state else { return }
        lingering.removeAll { !$0.isInUse }
        let kept = Set(
            [state.active, state.previous].compactMap { $0?.release.root }
                + lingering.map(\.release.release.root)
                + [calls.overdue?.release.release.root].compactMap { $0 }
        )
        for gone in removable where !kept.contains(gone.release.root) {
            await telling(.remove, gone) { await $0.remove(gone) }
        }
        removable = [state.active, state.previous].compactMap {
            $0.map { handle($0.release, in: directory) }
        }
        removable += lingering.map(\.release).filter { !removable.contains($0) }
        self.kept.keep(only: kept)
        do {
            try directory.removeTrees(except: kept)
        } catch {
            configuration.logger.warning(
                "Old trees could not be removed.",
                metadata: ["channel": "\(channel)", "error": "\(error)"]
            )
        }
    }

    // MARK: - Acknowledging

    func acknowledge(_ signed: SignedRelease, _ error: ArtifactStoreError?) async {
        let floor = error?.code == .belowFloor ? opened?.core.state.floor?.encoded : nil
        wordCount += 1
        let word = AppliedRelease(
            node: configuration.node,
            release: signed.release,
            error: error,
            at: configuration.time.now(),
            floorRecord: floor,
            incarnation: diary.incarnation,
            attempt: wordCount
        )
        unsent.removeAll { $0.number == word.number }
        unsent.append(word)
        unsent.removeFirst(max(0, unsent.count - Self.maximumUnsent))
        await sendUnsent()
    }

    /// 8: a word about each release a node met while nobody listened, and no more.
    private static var maximumUnsent: Int { 8 }

    /// An acknowledgement that gets lost is sent again with the next look.
    func sendUnsent() async {
        while let applied = unsent.first {
            do {
                try await source.acknowledge(applied, tenant: configuration.tenant)
                unsent.removeFirst()
            } catch {
                configuration.logger.debug(
                    "An acknowledgement could not be sent; it is kept.",
                    metadata: ["channel": "\(channel)", "error": "\(error)"]
                )
                return
            }
        }
    }
}

extension DeployerStep {
    /// After "The deployer refused to".
    fileprivate var inWords: String {
        switch self {
        case .prepare: "prepare"
        case .checkHealth: "pass as healthy"
        case .activate: "activate"
        case .drain: "drain"
        case .remove: "remove"
        }
    }
}
