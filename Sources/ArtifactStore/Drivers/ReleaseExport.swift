internal import CReeveSystem
public import ClusterRole

/// A channel's newest release in one file: its signed record and its full bundle.
///
/// It starts a worker while every manager is down, and carries releases to where no network goes.
/// It is worth what its signature is worth: a worker verifies it like an answer of a manager.
///
/// The file, version 1: the 20 bytes `reeve release export`, a byte `1`, the length of the
/// published release (8 bytes, big endian), the published release as
/// ``PublishedRelease/encoded`` with its full bundle only, and that bundle's bytes to the end.
public enum ReleaseExport: Sendable {
    private static let magic = Array("reeve release export".utf8) + [1]
    /// 1 MiB: a published release has a few kilobytes.
    private static let maximumRecordBytes = 1 << 20

    /// Writes the newest release of a channel to a file, which is there whole or not at all.
    ///
    /// - Parameters:
    ///   - channel: the channel whose newest release is written.
    ///   - tenant: the tenant the channel belongs to.
    ///   - source: a manager, a peer, or another export.
    ///   - path: the file; one that is there is replaced.
    /// - Returns: the release that was written.
    /// - Throws: ``ArtifactStoreError`` with code `notFound` for an empty channel, `unavailable` when
    ///   the bundle breaks off, or what the source throws.
    @discardableResult
    public static func write(
        _ channel: ChannelName,
        tenant: TenantID = .standard,
        from source: any ReleaseSource,
        to path: String
    ) async throws -> Release {
        guard
            case .release(let stored) = try await source.latestRelease(
                of: channel,
                tenant: tenant,
                unlessAt: nil
            ), let full = stored.published.bundle(from: nil)
        else {
            throw ArtifactStoreError(
                .notFound,
                "Channel \(channel) has no release to export. Publish one."
            )
        }
        let record = PublishedRelease(signed: stored.published.signed, bundles: [full]).encoded
        let directory = try OpenFile.directory(TreePath(path).parentPath)
        let name = TreePath(path).name
        let beside = TreePath(bytes: name.bytes + Array(".new".utf8))
        try directory.removeFile(beside)
        let file = try directory.create(beside, mode: 0o644)
        do {
            let length = UInt64(record.count)
            let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
            try file.write(magic + prefix + record)
            var hasher = ContentHasher()
            for try await chunk in try await source.bundle(full, from: 0) {
                chunk.withUnsafeBytes { hasher.update($0) }
                try file.write(chunk)
            }
            guard hasher.finish() == full.object else {
                throw ArtifactStoreError(
                    .unavailable,
                    "The bundle broke off or changed on its way. Export it again."
                )
            }
            try file.sync()
            try directory.rename(beside, to: name)
            try directory.sync()
        } catch {
            try? directory.removeFile(beside)
            throw error
        }
        return stored.release
    }

    /// An opened export.
    struct Contents: Sendable {
        let published: PublishedRelease
        let full: BundleDescription
        let file: OpenFile
        let bundleOffset: Int64
    }

    static func read(_ path: String) throws(ArtifactStoreError) -> Contents {
        let file = try OpenFile.directory(TreePath(path).parentPath).file(TreePath(path).name)
        let head = WorkBuffer(capacity: magic.count + 8)
        let count = try file.read(into: head.memory, at: 0)
        guard count == magic.count + 8, head.memory.prefix(magic.count).elementsEqual(magic) else {
            throw .malformed("\(path) is no export of a release.")
        }
        let length = head.memory.dropFirst(magic.count).reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(maximumRecordBytes) else {
            throw .malformed("\(path) has a record of an impossible length.")
        }
        let buffer = WorkBuffer(capacity: Int(length))
        buffer.count = try file.read(
            into: UnsafeMutableRawBufferPointer(rebasing: buffer.memory[..<Int(length)]),
            at: Int64(magic.count + 8)
        )
        let published = try PublishedRelease(decoding: Array(buffer.used))
        guard let full = published.bundle(from: nil) else {
            throw .malformed("\(path) holds no full bundle.")
        }
        return Contents(
            published: published,
            full: full,
            file: file,
            bundleOffset: Int64(magic.count + 8) + Int64(length)
        )
    }
}

/// Exported releases as a source: the last in a list, or the only one of a worker that is set up
/// without a manager.
///
/// The files are opened at each look, so that one may be put there later.
public struct ExportedReleaseSource: ReleaseSource {
    private let paths: [String]

    /// - Parameter paths: files that ``ReleaseExport`` wrote; of two of one channel the higher
    ///   release counts. What is missing or damaged is passed over.
    public init(paths: [String]) { self.paths = paths }

    private var contents: [ReleaseExport.Contents] {
        paths.compactMap { try? ReleaseExport.read($0) }
    }

    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        let newest = contents.map(\.published)
            .filter { $0.release.channel == channel && $0.release.tenant == tenant }
            .max { $0.release.number < $1.release.number }
        guard let newest else { return .empty }
        let known = Revision(
            history: HistoryID(bits: 0),
            number: newest.release.number.rawValue
        )
        return known == revision
            ? .unchanged : .release(StoredRelease(published: newest, revision: known))
    }

    public func bundle(
        _ bundle: BundleDescription,
        from offset: Int64
    ) async throws -> ByteChunks {
        guard let found = contents.first(where: { $0.full == bundle }) else {
            throw ArtifactStoreError.noObject(bundle.object)
        }
        return ByteChunks(file: found.file, from: found.bundleOffset + offset)
    }

    /// - Throws: ``ArtifactStoreError`` with code `unavailable`: a file takes no words.
    public func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        throw ArtifactStoreError(
            .unavailable,
            "An export takes no acknowledgements. They are kept until a manager answers."
        )
    }
}
