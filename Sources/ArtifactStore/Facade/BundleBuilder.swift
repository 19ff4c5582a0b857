internal import ClusterRole

/// A tree on this machine's disk.
final class LaidOutTree {
    let manifest: TreeManifest
    let directory: OpenFile
    private let scratch: Scratch?

    init(_ manifest: TreeManifest, in directory: OpenFile, scratch: Scratch? = nil) {
        self.manifest = manifest
        self.directory = directory
        self.scratch = scratch
    }

    var reader: TreeReader { TreeReader(manifest, in: directory) }
}

/// Makes bundles of trees and trees of bundles, in a scratch directory.
struct BundleBuilder {
    let objects: any ObjectStorage
    let configuration: PublisherConfiguration

    func makeScratch() throws(ArtifactStoreError) -> Scratch {
        try Scratch(in: configuration.scratchDirectory, random: configuration.random)
    }

    /// Stores the bundle that makes `source` of `old`; of nothing without it.
    func build(
        _ source: LaidOutTree,
        from old: LaidOutTree?,
        in scratch: Scratch,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> BundleDescription {
        let name: TreePath = old == nil ? "full" : "update"
        let file = try scratch.directory.create(name)
        let writer = BundleWriter(
            new: source.reader,
            old: old?.reader,
            codec: configuration.codec,
            levels: BundleLevels()
        ) { try file.write($0) }
        try writer.write()
        let stored = try await objects.put(ByteChunks(file: file, from: 0))
        try scratch.directory.removeFile(name)
        return BundleDescription(
            from: old?.manifest.id,
            to: source.manifest.id,
            object: stored.digest,
            byteCount: stored.byteCount
        )
    }

    /// How long that bundle would be; nothing is stored.
    func size(of source: LaidOutTree, from old: LaidOutTree?) throws -> Int64 {
        var count: Int64 = 0
        let writer = BundleWriter(
            new: source.reader,
            old: old?.reader,
            codec: configuration.codec,
            levels: BundleLevels()
        ) { count += Int64($0.count) }
        try writer.write()
        return count
    }

    /// Lays out a published tree from its full bundle.
    func unpack(
        _ stored: StoredRelease,
        in scratch: Scratch,
        as name: TreePath,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> LaidOutTree {
        guard let full = stored.published.bundle(from: nil) else {
            throw ArtifactStoreError(
                .notFound,
                "Release \(stored.release.number) has no full bundle any more."
            )
        }
        return try await unpack(
            stored.release,
            full,
            onto: nil,
            in: scratch,
            as: name,
            isolation: isolation
        )
    }

    /// Lays out a tree from one bundle.
    func unpack(
        _ release: Release,
        _ bundle: BundleDescription,
        onto old: LaidOutTree?,
        in scratch: Scratch,
        as name: TreePath,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> LaidOutTree {
        let directory = try scratch.makeDirectory(name)
        let input = BundleInput(attempts: 1) { [objects] offset, _ in
            try await objects.read(bundle.object, from: offset)
        }
        let receiver = BundleReceiver(
            release,
            limits: configuration.limits,
            old: old?.reader,
            input: input
        )
        let received = try await receiver.receive(into: directory, isolation: isolation)
        return LaidOutTree(received.manifest, in: directory, scratch: scratch)
    }
}
