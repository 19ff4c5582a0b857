public import ClusterRole
internal import Logging
internal import Metrics
internal import Tracing

/// Publishes trees: the manager's half of deployment synchronization.
///
/// ```swift
/// let publisher = ArtifactPublisher(
///     storage: releases, objects: objects, signer: signer, capability: capability)
/// let publication = try await publisher.publish("/srv/site", to: "web/site")
/// ```
///
/// When a call returns, the release and every byte it names survive a power cut. Errors are
/// ``ArtifactStoreError``; a `ClusterRoleError` with code `revoked` or `fenced` when this node is
/// no longer the coordinator; or what a driver throws.
public actor ArtifactPublisher: ReleaseWriter {
    let storage: any ReleaseStorage
    private let objects: TenantObjects
    let signer: any ReleaseSigner
    let capability: WriteCapability
    let configuration: PublisherConfiguration
    private let catalog: ReleaseCatalog
    private let executor = FileWorkExecutor(label: "reeve.artifacts.publish")

    /// A thread of its own: the work blocks on files.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - storage: the records of releases.
    ///   - objects: where the bundles' bytes go, each tenant's apart.
    ///   - signer: signs each release; nodes must trust its key.
    ///   - capability: the coordinator's right to write; publishing ends when it is revoked.
    ///   - configuration: limits of size and number; the standard ones work.
    public init(
        storage: any ReleaseStorage,
        objects: TenantObjects,
        signer: any ReleaseSigner,
        capability: WriteCapability,
        configuration: PublisherConfiguration = PublisherConfiguration()
    ) {
        self.storage = storage
        self.objects = objects
        self.signer = signer
        self.capability = capability
        self.configuration = configuration
        catalog = ReleaseCatalog(storage: storage)
    }

    /// The same, with one storage for everybody.
    public init(
        storage: any ReleaseStorage,
        objects: any ObjectStorage,
        signer: any ReleaseSigner,
        capability: WriteCapability,
        configuration: PublisherConfiguration = PublisherConfiguration()
    ) {
        self.init(
            storage: storage,
            objects: TenantObjects(shared: objects),
            signer: signer,
            capability: capability,
            configuration: configuration
        )
    }

    /// Publishes the tree of a directory as the next release of a channel.
    ///
    /// The directory must be at rest: a file that changes meanwhile ends the call with
    /// `sourceChanged`, and nothing is published. Two publishers of one channel at a time: one gets
    /// `conflict` with both numbers.
    ///
    /// - Parameters:
    ///   - directory: a path of this machine.
    ///   - channel: where to; it begins with its first release.
    ///   - tenant: the tenant the channel belongs to.
    ///   - options: the kind of artifact, the links it may have, and what to do with a tree that
    ///     is empty or the newest already.
    public func publish(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID = .standard,
        options: PublishOptions = PublishOptions()
    ) async throws -> Publication {
        try await measured("publish", channel, tenant) {
            try await checkNeeds(of: channel, tenant, options)
            let scan = try scan(directory, options)
            let latest = try await storage.latest(of: channel, tenant: tenant)
            if let latest, options.repetition == .returnExisting,
                isCurrent(latest, scan.manifest.id, options)
            {
                return publication(.unchanged, latest)
            }
            let line = Line(tenant: tenant, channel: channel, latest: latest)
            if !configuration.validators.isEmpty {
                try await validate(scan.manifest, of: directory, on: line, options)
            }
            let known = latest.flatMap { $0.release.root == scan.manifest.id ? $0 : nil }
            return try await release(scan, on: line, options, known: known)
        }
    }

    /// Publishes the tree of an older release again, under the next number: history is kept.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `notFound` for a number the channel does not
    ///   have.
    public func rollback(
        _ channel: ChannelName,
        to number: ReleaseNumber,
        tenant: TenantID = .standard
    ) async throws -> Publication {
        try await measured("rollback", channel, tenant) {
            let found = try await storage.releases(
                of: channel,
                tenant: tenant,
                before: number.next,
                limit: 1
            )
            guard let old = found.first, old.release.number == number else {
                throw ArtifactStoreError(
                    .notFound,
                    "Channel \(channel) has no release \(number). Choose one of its history."
                )
            }
            let latest = try await storage.latest(of: channel, tenant: tenant)
            let builder = try builder(of: tenant)
            let scratch = try builder.makeScratch()
            let source = try await builder.unpack(old, in: scratch, as: "source")
            var options = PublishOptions(kind: old.release.kind, links: old.release.links)
            options.emptySource = .publish
            options.dependencies = old.release.dependencies
            options.requirements = old.release.requirements
            try await checkNeeds(of: channel, tenant, options)
            let line = Line(tenant: tenant, channel: channel, latest: latest)
            return try await release(source, on: line, options, known: old)
        }
    }

    // MARK: - Steps

    struct Line {
        let tenant: TenantID
        let channel: ChannelName
        let latest: StoredRelease?
    }

    func scan(_ path: String, _ options: PublishOptions) throws -> LaidOutTree {
        let directory: OpenFile
        do {
            directory = try OpenFile.directory(path)
        } catch {
            throw ArtifactStoreError(
                .missingSource,
                "There is no directory \(path) to publish. Nothing was changed.",
                path: path,
                cause: error
            )
        }
        let memory = configuration.scanMemory.flatMap {
            ScanMemory(of: path, links: options.links, in: $0, limits: configuration.limits)
        }
        let scan = try TreeScanner.scan(
            directory,
            limits: configuration.limits,
            links: options.links,
            keepsTimes: options.keepsTimes,
            known: memory?.known
        )
        memory?.remember(scan)
        let manifest = scan.manifest
        try options.nameClashes.check(manifest)
        guard manifest.fileCount > 0 || options.emptySource == .publish else {
            throw ArtifactStoreError(
                .emptySource,
                "\(path) holds no file. Nothing was changed. If the workers are meant to serve nothing, "
                    + "publish with emptySource set to .publish.",
                path: path
            )
        }
        return LaidOutTree(manifest, in: directory)
    }

    /// Builds what is missing, signs, and appends.
    ///
    /// - Parameter known: a release of the same tree, whose full bundle is used again.
    private func release(
        _ source: LaidOutTree,
        on line: Line,
        _ options: PublishOptions,
        known: StoredRelease?
    ) async throws -> Publication {
        let scratch = try builder(of: line.tenant).makeScratch()
        let full: BundleDescription
        if let existing = try await existingFull(of: known) {
            full = existing
        } else {
            full = try await builder(of: line.tenant).build(source, from: nil, in: scratch)
        }
        var bundles = [full]
        for old in try await recent(before: source, on: line) {
            guard let update = try await buildUpdate(source, from: old, in: scratch),
                update.byteCount < full.byteCount
            else { continue }
            bundles.append(update)
        }
        let number = line.latest?.release.number.next ?? .first
        let now = configuration.time.now()
        let record = Release(
            tenant: line.tenant,
            channel: line.channel,
            kind: options.kind,
            number: number,
            tree: source.manifest,
            previousRoot: line.latest?.release.root,
            created: now,
            expires: options.expiresAfter.map { now + $0 },
            key: signer.publicKey.id,
            links: options.links,
            dependencies: options.dependencies,
            requirements: options.requirements,
            publisher: options.publisher
        )
        let signed = try await signer.sign(record, with: configuration.cosigners)
        let published = PublishedRelease(signed: signed, bundles: bundles)
        let revision = try await append(published, to: line)
        return publication(.published, StoredRelease(published: published, revision: revision))
    }

    private func existingFull(of known: StoredRelease?) async throws -> BundleDescription? {
        guard let known, let full = known.published.bundle(from: nil) else { return nil }
        let objects = try objects.storage(of: known.release.tenant)
        guard try await objects.byteCount(of: full.object) == full.byteCount else { return nil }
        // A collection of garbage that is under way leaves what is young.
        if let inventory = objects as? any ObjectInventory {
            guard try await inventory.renew(full.object) else { return nil }
        }
        return full
    }

    /// The newest releases of other trees, one a tree: what workers most likely stand on.
    private func recent(
        before source: LaidOutTree,
        on line: Line
    ) async throws -> [StoredRelease] {
        let count = min(configuration.updatesFrom, PublishedRelease.maximumBundles - 1)
        guard let latest = line.latest, count > 0 else { return [] }
        var found = count == 1 ? [latest] : []
        if count > 1 {
            found = try await storage.releases(
                of: line.channel,
                tenant: line.tenant,
                before: nil,
                limit: 2 * count
            )
        }
        var roots: Set<TreeID> = [source.manifest.id]
        return Array(found.filter { roots.insert($0.release.root).inserted }.prefix(count))
    }

    /// The bundle from a tree of the channel; `nil` if that tree cannot be had any more.
    private func buildUpdate(
        _ source: LaidOutTree,
        from latest: StoredRelease,
        in scratch: Scratch
    ) async throws -> BundleDescription? {
        let old: LaidOutTree
        do {
            old = try await builder(of: latest.release.tenant)
                .unpack(latest, in: scratch, as: "previous")
        } catch let error as CancellationError {
            throw error
        } catch {
            configuration.logger.warning(
                "The previous release cannot be unpacked; workers will fetch the new one whole.",
                metadata: [
                    "channel": "\(latest.release.channel)", "number": "\(latest.release.number)",
                    "error": "\(error)",
                ]
            )
            return nil
        }
        defer { try? scratch.directory.removeTree("previous") }
        return try await builder(of: latest.release.tenant).build(source, from: old, in: scratch)
    }

    /// The manifest of a published tree, from its full bundle: the digests of carried files are not in
    /// it, so the tree is laid out.
    func manifest(of stored: StoredRelease) async throws -> TreeManifest {
        let builder = try builder(of: stored.release.tenant)
        let scratch = try builder.makeScratch()
        return try await builder.unpack(stored, in: scratch, as: "source").manifest
    }

    func builder(of tenant: TenantID) throws -> BundleBuilder {
        BundleBuilder(objects: try objects.storage(of: tenant), configuration: configuration)
    }

    // MARK: - Observing

    private func publication(
        _ outcome: Publication.Outcome,
        _ stored: StoredRelease
    ) -> Publication {
        Publication(
            outcome: outcome,
            release: stored,
            fileCount: stored.release.fileCount,
            totalBytes: stored.release.totalBytes,
            bundles: stored.published.bundles,
            duration: .zero
        )
    }

    private func measured(
        _ action: String,
        _ channel: ChannelName,
        _ tenant: TenantID,
        _ body: () async throws -> Publication
    ) async throws -> Publication {
        _ = try ChannelName(validating: channel.rawValue)
        _ = try capability.requireEpoch()
        let began = configuration.time.monotonic()
        return try await withSpan("artifacts.\(action)", ofKind: .internal) { span in
            span.attributes["reeve.channel"] = channel.rawValue
            span.attributes["reeve.tenant"] = tenant.rawValue
            var publication: Publication
            do {
                publication = try await body()
            } catch {
                Counter(label: "reeve_artifact_publish_failures_total").increment()
                throw error
            }
            publication.duration = configuration.time.monotonic() - began
            observe(publication, span)
            return publication
        }
    }

    private func observe(_ publication: Publication, _ span: any Span) {
        let release = publication.release.release
        span.attributes["reeve.release"] = release.number.rawValue
        Counter(label: "reeve_artifact_publishes_total").increment()
        Metrics.Timer(label: "reeve_artifact_publish_seconds").recordMilliseconds(
            publication.duration.milliseconds
        )
        configuration.logger.info(
            "A release is published.",
            metadata: [
                "channel": "\(release.channel)", "number": "\(release.number)",
                "root": "\(release.root)", "files": "\(publication.fileCount)",
                "outcome": "\(publication.outcome)",
                "bundles": "\(publication.bundles.map(\.byteCount))",
                "milliseconds": "\(publication.duration.milliseconds)",
            ]
        )
    }
}

extension ArtifactPublisher {
    public nonisolated func latest(
        of channel: ChannelName,
        tenant: TenantID = .standard
    ) async throws -> StoredRelease? {
        try await catalog.latest(of: channel, tenant: tenant)
    }

    public nonisolated func releases(
        of channel: ChannelName,
        tenant: TenantID = .standard,
        before: ReleaseNumber? = nil,
        limit: Int = 100
    ) async throws -> [StoredRelease] {
        try await catalog.releases(of: channel, tenant: tenant, before: before, limit: limit)
    }

    public nonisolated func channels(
        of tenant: TenantID = .standard,
        after: ChannelName? = nil,
        limit: Int = 100
    ) async throws -> [ChannelName] {
        try await catalog.channels(of: tenant, after: after, limit: limit)
    }

    public nonisolated func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID = .standard
    ) async throws -> [AppliedRelease] {
        try await catalog.acknowledgements(of: channel, tenant: tenant)
    }
}
