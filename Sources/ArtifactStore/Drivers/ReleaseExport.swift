internal import CReeveSystem
public import ClusterRole

/// A channel's newest release in one file: its signed record, its full bundle, and what proves that it is
/// the newest.
///
/// It starts a worker while every manager is down, and carries releases to where no network goes.
/// It is worth what its signatures are worth: a worker verifies it like an answer of a manager. The pointer
/// in it lives as long as any other: a worker that goes by a root record takes the export until then.
///
/// The file, version 2: the 20 bytes `reeve release export`, a byte `2`, the length of the
/// published release (8 bytes, big endian), the published release as
/// ``PublishedRelease/encoded`` with its full bundle only, the length of the trust (likewise), a count
/// and so many ``TrustAnswer/encoded`` with their lengths before them (the pointer is in the last), and the
/// bundle's bytes to the end. Version 1 has a byte `1` and no trust.
public enum ReleaseExport: Sendable {
    private static let magic = Array("reeve release export".utf8)
    private static let version: UInt8 = 2
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
        let trust = try await trust(for: stored.published.signed, from: source)
        let directory = try OpenFile.directory(TreePath(path).parentPath)
        let name = TreePath(path).name
        let beside = TreePath(bytes: name.bytes + Array(".new".utf8))
        try directory.removeFile(beside)
        let file = try directory.create(beside, mode: 0o644)
        do {
            try file.write(magic + [version])
            for part in [record, trust] { try file.write(length(of: part) + part) }
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

    private static func length(of bytes: [UInt8]) -> [UInt8] {
        let length = UInt64(bytes.count)
        return (0..<8).map { UInt8(truncatingIfNeeded: length >> (56 - 8 * $0)) }
    }

    /// All root records the source has, and its pointer to the release, if that is the one.
    private static func trust(
        for signed: SignedRelease,
        from source: any ReleaseSource
    ) async throws -> [UInt8] {
        var answers: [TrustAnswer] = []
        while answers.count < Contents.maximumAnswers {
            let version = answers.last?.roots.last?.root.version ?? 0
            var answer = try await source.trust(
                of: signed.release.channel,
                tenant: signed.release.tenant,
                afterRoot: version
            )
            if answer.pointer?.pointer.names(signed) != true { answer.pointer = nil }
            answers.append(answer)
            if answer.roots.count < TrustAnswer.maximumRoots { break }
        }
        var writer = ByteWriter(capacity: 1_024)
        writer.write(array: answers) { $0.write($1.encoded) }
        return writer.bytes
    }

    /// An opened export.
    struct Contents: Sendable {
        /// How many answers hold all root records there can be.
        static let maximumAnswers = RootRecords.maximumRecords / TrustAnswer.maximumRoots + 1

        let published: PublishedRelease
        /// Every root record, and the pointer.
        let trust: [TrustAnswer]
        let full: BundleDescription
        let file: OpenFile
        let bundleOffset: Int64

        /// When its pointer was signed.
        var issued: Timestamp { trust.last?.pointer?.pointer.issued ?? Timestamp(rawValue: 0) }
    }

    static func read(_ path: String) throws(ArtifactStoreError) -> Contents {
        let file = try OpenFile.directory(TreePath(path).parentPath).file(TreePath(path).name)
        let head = try bytes(magic.count + 1, of: file, at: 0)
        guard head.starts(with: magic), let version = head.last, (1...2).contains(version) else {
            throw .malformed("\(path) is no export of a release.")
        }
        var offset = Int64(head.count)
        let record = try part(of: file, at: &offset, path)
        let published = try PublishedRelease(decoding: record)
        guard let full = published.bundle(from: nil) else {
            throw .malformed("\(path) holds no full bundle.")
        }
        let trust = version == 1 ? [] : try answers(in: part(of: file, at: &offset, path))
        return Contents(
            published: published,
            trust: trust,
            full: full,
            file: file,
            bundleOffset: offset
        )
    }

    /// A part with its length before it.
    private static func part(
        of file: OpenFile,
        at offset: inout Int64,
        _ path: String
    ) throws(ArtifactStoreError) -> [UInt8] {
        let length = try bytes(8, of: file, at: offset).reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(maximumRecordBytes) else {
            throw .malformed("\(path) has a part of an impossible length.")
        }
        let part = try bytes(Int(length), of: file, at: offset + 8)
        offset += 8 + Int64(length)
        return part
    }

    private static func bytes(
        _ count: Int,
        of file: OpenFile,
        at offset: Int64
    ) throws(ArtifactStoreError) -> [UInt8] {
        let buffer = WorkBuffer(capacity: count)
        buffer.count = try file.read(
            into: UnsafeMutableRawBufferPointer(rebasing: buffer.memory[..<count]),
            at: offset
        )
        guard buffer.count == count else { throw .malformed("The export is cut short.") }
        return Array(buffer.used)
    }

    private static func answers(in bytes: [UInt8]) throws(ArtifactStoreError) -> [TrustAnswer] {
        var reader = ByteReader(bytes)
        let parts: [[UInt8]]
        do {
            parts = try reader.readArray { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("The trust in the export cannot be read.", cause: error)
        }
        var answers: [TrustAnswer] = []
        for part in parts.prefix(Contents.maximumAnswers) {
            answers.append(try TrustAnswer(decoding: part))
        }
        return answers
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

    /// Of two of one number the one whose pointer was issued later.
    private func newest(of channel: ChannelName, _ tenant: TenantID) -> ReleaseExport.Contents? {
        contents
            .filter {
                $0.published.release.channel == channel && $0.published.release.tenant == tenant
            }
            .max {
                ($0.published.release.number, $0.issued) < ($1.published.release.number, $1.issued)
            }
    }

    /// The root records and the pointer that were exported with the release.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        guard let newest = newest(of: channel, tenant) else { return TrustAnswer() }
        return TrustAnswer(
            roots: newest.trust.flatMap(\.roots).filter { $0.root.version > version },
            pointer: newest.trust.last?.pointer
        )
    }

    public func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        guard let newest = newest(of: channel, tenant)?.published else { return .empty }
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
