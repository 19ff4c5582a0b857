public import ClusterRole

/// What a node serves, as a source for its peers: a new worker can start while every manager is
/// down.
///
/// It only reads. The full bundle of an active tree is made when it is first asked for and kept
/// until another release is active; the signed record is handed on as it came, so a peer verifies
/// it as if it came from a manager. Acknowledgements are not taken: they belong to managers.
public actor HeldReleaseSource: ReleaseSource {
    private let artifacts: ArtifactSet
    private let tenant: TenantID
    /// The bundles; any server can serve them from here.
    public nonisolated let objects: any ObjectStorage
    private let scratch: String
    private let history: HistoryID
    private let codec: BundleCodec
    private let executor = FileWorkExecutor(label: "reeve.artifacts.held")
    private let turn = Turn()
    private var bundles: [ChannelName: BundleDescription] = [:]

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Parameters:
    ///   - artifacts: what the node keeps.
    ///   - tenant: whose channels they are.
    ///   - directory: an absolute path for the bundles; it belongs to this object alone and is made
    ///     if its parent exists.
    ///   - codec: how bundles are compressed.
    ///   - random: for names.
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem`.
    public init(
        _ artifacts: ArtifactSet,
        tenant: TenantID = .standard,
        directory: String,
        codec: BundleCodec = .preferred,
        random: any RandomSource = SystemRandomSource()
    ) throws {
        self.artifacts = artifacts
        self.tenant = tenant
        self.codec = codec
        objects = try DirectoryObjectStorage(path: directory, random: random)
        scratch = directory
        history = HistoryID(from: random)
    }

    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        guard tenant == self.tenant, let sync = artifacts.sync(of: channel),
            let held = await sync.held()
        else { return .empty }
        let current = Revision(
            history: history,
            number: held.signed.release.number.rawValue
        )
        guard current != revision else { return .unchanged }
        let bundle = try await turn.taking { try await self.bundle(of: held) }
        let published = PublishedRelease(signed: held.signed, bundles: [bundle])
        return .release(StoredRelease(published: published, revision: current))
    }

    /// The root record in force on this node, and the pointer it holds for the release it hands out. A
    /// node that is more than one root record behind asks a manager.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        guard tenant == self.tenant, let sync = artifacts.sync(of: channel) else {
            return TrustAnswer()
        }
        return await sync.heldTrust(afterRoot: version)
    }

    private func bundle(of held: HeldRelease) async throws -> BundleDescription {
        let channel = held.signed.release.channel
        if let known = bundles[channel], known.to == held.manifest.id { return known }
        let root = try OpenFile.directory(held.lease.release.directory)
        let directory = try OpenFile.directory(scratch)
        let name = TreePath("making")
        try directory.removeFile(name)
        let file = try directory.create(name)
        defer { try? directory.removeFile(name) }
        let writer = BundleWriter(
            new: TreeReader(held.manifest, in: root),
            old: nil,
            codec: codec,
            levels: BundleLevels()
        ) { try file.write($0) }
        try writer.write()
        let stored = try await objects.put(ByteChunks(file: file, from: 0))
        let bundle = BundleDescription(
            from: nil,
            to: held.manifest.id,
            object: stored.digest,
            byteCount: stored.byteCount
        )
        let before = bundles.updateValue(bundle, forKey: channel)
        if let before, !bundles.values.contains(where: { $0.object == before.object }) {
            try? await objects.remove(before.object)
        }
        return bundle
    }

    public func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        try await objects.read(bundle.object, from: offset)
    }

    /// - Throws: ``ArtifactStoreError`` with code `unavailable`: a peer takes no words.
    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        throw ArtifactStoreError(
            .unavailable,
            "A worker takes no acknowledgements of others. They are kept until a manager answers."
        )
    }
}

/// A release that a node serves, with what proves it.
struct HeldRelease: Sendable {
    let signed: SignedRelease
    let manifest: TreeManifest
    /// Keeps the tree in place.
    let lease: ReleaseLease
}

extension ArtifactSync {
    /// What this node believes itself.
    func heldTrust(afterRoot version: Int64) -> TrustAnswer {
        guard let trust else { return TrustAnswer() }
        return TrustAnswer(
            roots: [trust.keys.root].compactMap { $0 }.filter { $0.root.version > version },
            pointer: trust.pointer
        )
    }

    /// What is served, whole; `nil` if nothing is, or its files are damaged.
    func held() -> HeldRelease? {
        guard let (directory, core) = opened, !isDamaged, let signed = core.state.active,
            let lease = served.lease(), lease.release.release.root == signed.release.root,
            let manifest = directory.manifest(of: signed.release, limits: configuration.limits)
        else { return nil }
        return HeldRelease(signed: signed, manifest: manifest, lease: lease)
    }
}
