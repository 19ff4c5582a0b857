internal import ClusterRole
internal import Logging

/// Brings a release's tree onto the disk by the cheapest way that works.
final class ReleaseFetcher {
    private let source: any ReleaseSource
    private let directory: WorkerDirectory
    private let configuration: SyncConfiguration
    /// Over all attempts.
    private(set) var bytesReceived: Int64 = 0

    init(
        source: any ReleaseSource,
        directory: WorkerDirectory,
        configuration: SyncConfiguration
    ) {
        self.source = source
        self.directory = directory
        self.configuration = configuration
    }

    struct Obtained {
        /// What was laid out or read; `nil` for a tree that is known to be there.
        var manifest: TreeManifest?
        /// The tree it was made of, if one was.
        var base: TreeManifest?
        let transfer: SyncReport.Transfer
    }

    /// - Parameters:
    ///   - bases: releases whose trees are on the disk, the best first.
    ///   - check: how a tree that is there is made sure of; `nil` for what is configured.
    ///   - isProved: whether the release's tree is on the disk and was lately found to be whole.
    /// - Throws: the error of the last way that was tried.
    func obtain(
        _ published: PublishedRelease,
        from bases: [Release],
        isProved: Bool = false,
        by check: CarryCheck? = nil,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> Obtained {
        let release = published.release
        try checkLimits(release)
        let check = check ?? configuration.carryCheck
        if isProved { return Obtained(transfer: .none) }
        if let whole = directory.wholeTree(release, limits: configuration.limits, by: check) {
            return Obtained(manifest: whole, transfer: .none)
        }
        // What was made already costs the manager nothing: that goes before the best base.
        let listed = bases.filter { published.bundle(from: $0.root) != nil }
        for base in listed + bases.filter({ published.bundle(from: $0.root) == nil }) {
            guard
                let old = directory.tree(
                    base,
                    limits: configuration.limits,
                    by: configuration.carryCheck
                )
            else { continue }
            do {
                let manifest = try await receive(
                    published.bundle(from: base.root),
                    release,
                    onto: old,
                    isolation: isolation
                )
                return Obtained(
                    manifest: manifest,
                    base: old.manifest,
                    transfer: .incremental
                )
            } catch let error as CancellationError {
                throw error
            } catch is BundleInput.NotMade {
                continue
            } catch {
                configuration.logger.warning(
                    "The incremental bundle is of no use; the full one is fetched.",
                    metadata: ["from": "\(base.root)", "error": "\(error)"]
                )
            }
        }
        guard let full = published.bundle(from: nil) else {
            throw ArtifactStoreError(
                .notFound,
                "Release \(release.number) has no full bundle. Publish it again."
            )
        }
        let manifest = try await receive(full, release, onto: nil, isolation: isolation)
        return Obtained(manifest: manifest, transfer: .full)
    }

    private func checkLimits(_ release: Release) throws(ArtifactStoreError) {
        let limits = configuration.limits
        guard release.totalBytes <= limits.totalBytes, release.fileCount <= limits.entries,
            release.manifestBytes <= limits.manifestBytes
        else {
            throw ArtifactStoreError(
                .limitExceeded,
                "The release is larger than this node takes. Make the tree smaller, or raise the limits."
            )
        }
        guard release.links == .insideTree || configuration.links == .allowAbsolute else {
            throw ArtifactStoreError(
                .unsafeLink,
                "The release allows absolute links and this node does not. Publish it without them."
            )
        }
    }

    private func receive(
        _ bundle: BundleDescription?,
        _ release: Release,
        onto old: TreeReader?,
        isolation: isolated (any Actor)?
    ) async throws -> TreeManifest {
        let stage = try directory.makeStage(random: configuration.random)
        let (pace, time) = (configuration.pace, configuration.time)
        let input = BundleInput(attempts: configuration.bundleAttempts) {
            [source, root = old?.manifest.id] offset, _ in
            let chunks: ByteChunks
            if let bundle {
                chunks = try await source.bundle(bundle, from: offset)
            } else {
                guard let root,
                    let made = try await source.update(from: root, to: release, at: offset)
                else { throw BundleInput.NotMade() }
                chunks = made
            }
            return ByteChunks(PacedChunks(base: chunks, pace: pace, time: time))
        }
        defer { bytesReceived += input.received }
        do {
            let receiver = BundleReceiver(
                release,
                limits: configuration.limits,
                old: old,
                input: input,
                isParallel: configuration.executor == nil
            )
            let received = try await receiver.receive(into: stage.directory, isolation: isolation)
            try directory.keep(stage, as: received.manifest, marks: received.marks)
            return received.manifest
        } catch {
            directory.discard(stage)
            throw error
        }
    }
}
