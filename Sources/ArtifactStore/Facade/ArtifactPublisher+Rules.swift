public import ClusterRole
internal import Logging

// What must hold before a tree becomes a release.
extension ArtifactPublisher {
    /// The most channels that are looked at to find out whether needs go in a circle. 1,024: each
    /// costs a row, and no node keeps as many.
    public static let maximumDependencyChannels = 1_024

    /// Says what publishing would do, and publishes nothing.
    ///
    /// Everything is checked that ``publish(_:to:tenant:options:)`` checks, validators included; a
    /// refusal is thrown the same way.
    ///
    /// - Parameters:
    ///   - directory: a path of this machine.
    ///   - channel: where it would go.
    ///   - tenant: the tenant the channel belongs to.
    ///   - options: as they would be for publishing.
    public func preview(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID = .standard,
        options: PublishOptions = PublishOptions()
    ) async throws -> PublishPreview {
        _ = try ChannelName(validating: channel.rawValue)
        try await checkNeeds(of: channel, tenant, options)
        let scanned = try scan(directory, options)
        let tree = scanned.manifest
        let latest = try await storage.latest(of: channel, tenant: tenant)
        let line = Line(tenant: tenant, channel: channel, latest: latest)
        let changes = try await validate(tree, of: directory, on: line, options)
        let isSame =
            options.repetition == .returnExisting
            && latest.map { isCurrent($0, tree.id, options) } ?? false
        let sizes = try await bundleSizes(of: scanned, on: line, isPublished: isSame)
        return PublishPreview(
            outcome: isSame ? .unchanged : .published,
            current: latest?.release,
            number: isSame
                ? latest?.release.number ?? .first : latest?.release.number.next ?? .first,
            root: tree.id,
            fileCount: tree.fileCount,
            totalBytes: tree.totalBytes,
            changes: changes,
            fullBundleBytes: sizes.full,
            updateBundleBytes: sizes.update
        )
    }

    /// What the bundles would take. They are made as for publishing, and kept nowhere.
    private func bundleSizes(
        of tree: LaidOutTree,
        on line: Line,
        isPublished: Bool
    ) async throws -> (full: Int64, update: Int64?) {
        if isPublished, let known = line.latest?.published.bundle(from: nil) {
            return (known.byteCount, nil)
        }
        let builder = try builder(of: line.tenant)
        let full = try builder.size(of: tree, from: nil)
        guard let latest = line.latest else { return (full, nil) }
        let scratch = try builder.makeScratch()
        do {
            let old = try await builder.unpack(latest, in: scratch, as: "previous")
            let update = try builder.size(of: tree, from: old)
            return (full, update < full ? update : nil)
        } catch let error as CancellationError {
            throw error
        } catch {
            // The previous release cannot be unpacked: workers would fetch the new one whole.
            return (full, nil)
        }
    }

    /// Whether publishing the tree would only repeat the newest release.
    func isCurrent(_ stored: StoredRelease, _ root: TreeID, _ options: PublishOptions) -> Bool {
        let release = stored.release
        let isAlive = release.expires.map { configuration.time.now() < $0 } ?? true
        let signers = [signer] + configuration.cosigners
        let signed = Set(stored.published.signed.signatures.map(\.key))
        let needs = Set(release.dependencies) == Set(options.dependencies)
        return release.root == root && release.kind == options.kind
            && release.links == options.links && isAlive && needs
            && release.requirements == options.requirements
            && signers.allSatisfy { signed.contains($0.publicKey.id) }
    }

    /// Asks the validators.
    ///
    /// - Returns: what the tree changes.
    @discardableResult
    func validate(
        _ tree: TreeManifest,
        of directory: String,
        on line: Line,
        _ options: PublishOptions
    ) async throws -> TreeChanges {
        var current: TreeManifest?
        if let latest = line.latest {
            current = latest.release.root == tree.id ? tree : await knownManifest(of: latest)
        }
        let candidate = PublishCandidate(
            tenant: line.tenant,
            channel: line.channel,
            directory: directory,
            tree: tree,
            changes: TreeChanges(from: current, to: tree),
            current: line.latest?.release,
            options: options
        )
        for validator in configuration.validators {
            let verdict: PublishVerdict
            do {
                verdict = try await validator.verdict(on: candidate)
            } catch let error as CancellationError {
                throw error
            } catch {
                throw ArtifactStoreError(
                    .rejected,
                    "A validator could not decide about the tree. Nothing was published.",
                    cause: error
                )
            }
            if case .refuse(let reason) = verdict {
                throw ArtifactStoreError(.rejected, "The tree is refused: \(reason)")
            }
        }
        return candidate.changes
    }

    /// `nil` if the release's bundle is gone: then everything counts as added.
    private func knownManifest(of stored: StoredRelease) async -> TreeManifest? {
        do {
            return try await manifest(of: stored)
        } catch {
            configuration.logger.warning(
                "The current release cannot be read; everything counts as added.",
                metadata: ["channel": "\(stored.release.channel)", "error": "\(error)"]
            )
            return nil
        }
    }

    /// Checks that what a release needs is there, and needs nothing of it in turn.
    func checkNeeds(
        of channel: ChannelName,
        _ tenant: TenantID,
        _ options: PublishOptions
    ) async throws {
        guard !options.dependencies.isEmpty || !options.requirements.isEmpty else { return }
        try Release.validate(options.dependencies, of: channel)
        try options.requirements.validate()
        var needs = [channel: options.dependencies]
        for need in options.dependencies {
            let newest = try await newest(of: need.channel, tenant)
            guard let newest, newest.number >= need.lowest else {
                throw Self.missing(need, newest, for: channel)
            }
            needs[need.channel] = newest.dependencies
        }
        var open = Array(needs.values.joined())
        while let need = open.popLast() {
            guard needs[need.channel] == nil else { continue }
            guard needs.count < Self.maximumDependencyChannels else {
                throw ArtifactStoreError(
                    .limitExceeded,
                    "More than \(Self.maximumDependencyChannels) channels hang together."
                )
            }
            guard let newest = try await newest(of: need.channel, tenant) else { continue }
            needs[need.channel] = newest.dependencies
            open += newest.dependencies
        }
        _ = try DependencyGraph(needs).order()
    }

    private func newest(of channel: ChannelName, _ tenant: TenantID) async throws -> Release? {
        try await storage.latest(of: channel, tenant: tenant)?.release
    }

    private static func missing(
        _ need: ReleaseDependency,
        _ newest: Release?,
        for channel: ChannelName
    ) -> ArtifactStoreError {
        let stand = newest.map(\.number.description) ?? "none"
        return ArtifactStoreError(
            .dependencyMissing,
            "\(channel) needs \(need.channel) at release \(need.lowest), which is at \(stand). "
                + "Publish that first."
        )
    }

    /// Appends, and tells a publisher that came second who was first.
    func append(_ published: PublishedRelease, to line: Line) async throws -> Revision {
        do {
            return try await storage.append(
                published,
                after: line.latest?.release.number,
                epoch: try capability.requireEpoch()
            )
        } catch let error as ArtifactStoreError where error.code == .conflict {
            let winner = try await storage.latest(of: line.channel, tenant: line.tenant)
            throw ArtifactStoreError(
                .conflict,
                line.channel,
                offered: published.signed,
                expected: error.conflict?.expected,
                newest: winner?.published.signed
            )
        }
    }
}

extension ArtifactStoreError {
    fileprivate init(
        _ code: Code,
        _ channel: ChannelName,
        offered: SignedRelease,
        expected: ReleaseNumber?,
        newest: SignedRelease?
    ) {
        let name = newest.map { newest in
            let release = newest.release
            let who = release.publisher?.rawValue ?? "key \(release.key)"
            return
                "release \(release.number) (tree \(release.root), by \(who) at \(release.created))"
        }
        self.init(
            code,
            "Channel \(channel) is at \(name ?? "no release"), published meanwhile; "
                + "tree \(offered.release.root) was not published. Look at that release, then publish "
                + "again.",
            conflict: Conflict(
                expected: expected,
                actual: newest?.release.number,
                offered: offered,
                newest: newest
            )
        )
    }
}
