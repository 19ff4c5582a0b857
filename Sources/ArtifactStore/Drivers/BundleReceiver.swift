/// Turns a bundle into a tree, and believes nothing it says.
final class BundleReceiver {
    private let release: Release
    private let limits: TreeLimits
    private let old: TreeReader?
    private let input: BundleInput
    /// Made when a frame names a file of the old tree.
    private lazy var oldFiles = Self.filesByDigest(old)

    private let decompressor = FrameDecompressor()
    private let unpacker: FrameUnpacker?
    /// What is unpacked meanwhile, and how much memory that takes.
    private var ahead: (bytes: Task<[UInt8], any Error>, byteCount: Int)?

    /// - Parameters:
    ///   - release: what is expected; its signature was verified.
    ///   - old: the tree to build on; `nil` expects a full bundle.
    ///   - input: the bundle.
    ///   - isParallel: whether a frame is unpacked on a thread of its own while the one before is written.
    ///     Otherwise everything happens where the caller runs, with less memory.
    init(
        _ release: Release,
        limits: TreeLimits,
        old: TreeReader?,
        input: BundleInput,
        isParallel: Bool = false
    ) {
        self.release = release
        self.limits = limits
        self.old = old
        self.input = input
        unpacker = isParallel ? FrameUnpacker() : nil
    }

    private static func filesByDigest(_ old: TreeReader?) -> [ContentDigest: Int] {
        var files: [ContentDigest: Int] = [:]
        for (index, entry) in (old?.manifest.entries ?? []).enumerated() {
            if let digest = entry.fileDigest, files[digest] == nil { files[digest] = index }
        }
        return files
    }

    /// Receives everything and lays it out in `directory`, which is empty.
    ///
    /// - Returns: the manifest, whose id is the release's root. The tree in `directory` is that
    ///   tree; it is not durable yet.
    func receive(
        into directory: OpenFile,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> Received {
        let header = try await readHeader(isolation: isolation)
        let bundled = try await readManifest(header, isolation: isolation)
        let stage = TreeStage(bundled, in: directory, old: old)
        try stage.begin()
        try await readContent(into: stage, after: header.manifestBytes, isolation: isolation)
        guard try await input.isAtEnd(isolation: isolation) else {
            throw ArtifactStoreError.malformed("The bundle goes on after its end.")
        }
        let manifest = try bundled.completed(with: stage.digests, root: release.root)
        try stage.finish()
        return Received(manifest: manifest, marks: stage.marks)
    }

    /// A tree that was laid out.
    struct Received {
        let manifest: TreeManifest
        /// What the file system says of its files, by entry.
        let marks: [FileMark?]
    }

    private func readContent(
        into stage: TreeStage,
        after manifestBytes: Int64,
        isolation: isolated (any Actor)?
    ) async throws {
        let total = manifestBytes + stage.contentBytes
        var announced = manifestBytes
        while true {
            let frame = try await readFrame(isolation: isolation)
            if case .end(let declared) = frame {
                try await writeAhead(to: stage, isolation: isolation)
                guard declared == total, announced == total else {
                    throw ArtifactStoreError.malformed("The bundle ends too early.")
                }
                return
            }
            guard frame.rawBytes <= total - announced else { throw tooMuch() }
            announced += frame.rawBytes
            let group = stage.groupBase(next: frame.rawBytes)
            if case .copy(let digest, let offset, let length) = frame {
                try await writeAhead(to: stage, isolation: isolation)
                try copy(digest, from: offset, count: length, to: stage)
                continue
            }
            let packed = try await readPayload(of: frame, group: group, isolation: isolation)
            guard let unpacker else {
                try stage.write(decompressor.unpack(packed))
                continue
            }
            let room = BundleFormat.maximumBytesAhead - packed.byteCount
            if let ahead, ahead.byteCount > room {
                try await writeAhead(to: stage, isolation: isolation)
            }
            let before = ahead
            ahead = (Task { try await unpacker.unpack(packed) }, packed.byteCount)
            if let before { try stage.write(await before.bytes.value) }
        }
    }

    /// Writes what was unpacked meanwhile.
    private func writeAhead(
        to stage: TreeStage,
        isolation: isolated (any Actor)?
    ) async throws {
        guard let unpacked = ahead?.bytes else { return }
        ahead = nil
        try stage.write(await unpacked.value)
    }

    private func readHeader(isolation: isolated (any Actor)?) async throws -> BundleHeader {
        let lead = try await input.bytes(BundleHeader.leadBytes, isolation: isolation)
        let rest = try await input.bytes(
            BundleHeader.restBytes(lead: lead),
            isolation: isolation
        )
        let header = try BundleHeader(decoding: lead + rest)
        guard header.to == release.root, header.from == old?.manifest.id,
            header.manifestBytes <= release.manifestBytes
        else {
            throw ArtifactStoreError.malformed("The bundle is not the one that was asked for.")
        }
        guard release.manifestBytes <= limits.manifestBytes else {
            throw ArtifactStoreError(
                .limitExceeded,
                "The manifest has \(release.manifestBytes) bytes; the limit is \(limits.manifestBytes). "
                    + "Make the tree smaller, or raise the limit on this node."
            )
        }
        return header
    }

    /// What it says is bounded by what was signed; whether it is true shows when all has arrived.
    private func readManifest(
        _ header: BundleHeader,
        isolation: isolated (any Actor)?
    ) async throws -> BundledManifest {
        let length = Int(header.manifestBytes)
        var collected: [UInt8] = []
        while collected.count < length {
            let frame = try await readFrame(isolation: isolation)
            guard frame.rawBytes <= Int64(length - collected.count) else { throw tooMuch() }
            if case .copy(let digest, let offset, let count) = frame {
                collected += try base(digest, offset: offset, count: Int(count))
            } else {
                let packed = try await readPayload(of: frame, group: nil, isolation: isolation)
                collected += try decompressor.unpack(packed)
            }
        }
        let bundled = try decode(collected)
        guard bundled.totalBytes == release.totalBytes, bundled.fileCount == release.fileCount
        else {
            throw ArtifactStoreError.malformed("The manifest's sizes are not the release's.")
        }
        return bundled
    }

    /// Nothing was proved yet: what is wrong with this manifest is the bundle's fault, not the
    /// release's, and must not make the node refuse that for good.
    private func decode(_ bytes: [UInt8]) throws(ArtifactStoreError) -> BundledManifest {
        do throws(ArtifactStoreError) {
            return try BundledManifest(decoding: bytes, limits: limits, links: release.links)
        } catch  where error.isLasting && TreeID(ContentDigest(of: bytes)) != release.root {
            throw ArtifactStoreError(
                .malformed,
                "The bundle is none a manager makes. \(error.message)",
                path: error.path,
                cause: error
            )
        }
    }

    private func readFrame(isolation: isolated (any Actor)?) async throws -> BundleFrame {
        let length = try await input.bytes(1, isolation: isolation)[0]
        return try BundleFrame(
            decoding: await input.bytes(Int(length), isolation: isolation)
        )
    }

    /// Reads what a data frame or a group is unpacked from.
    ///
    /// - Parameter group: the files of the old tree that are the base of a group; `nil` where none
    ///   can be.
    private func readPayload(
        of frame: BundleFrame,
        group: [Int]?,
        isolation: isolated (any Actor)?
    ) async throws -> PackedFrame {
        switch frame {
        case .data(let codec, let rawBytes, let payloadBytes, let frameBase):
            let payload = try await input.bytes(payloadBytes, isolation: isolation)
            var packed = PackedFrame(codec: codec, rawBytes: rawBytes, payload: payload)
            if let frameBase {
                packed.base = try base(
                    frameBase.digest,
                    offset: frameBase.offset,
                    count: frameBase.length
                )
            }
            return packed
        case .group(let codec, let rawBytes, let payloadBytes):
            guard let group, let old else {
                throw ArtifactStoreError.malformed("A group stands where none can be.")
            }
            let payload = try await input.bytes(payloadBytes, isolation: isolation)
            return PackedFrame(
                codec: codec,
                rawBytes: rawBytes,
                payload: payload,
                base: try base(of: group, in: old)
            )
        case .copy, .end: throw ArtifactStoreError.malformed("The bundle ends too early.")
        }
    }

    /// Writes a part of the old tree as it is, in pieces of at most 1 MiB.
    private func copy(
        _ digest: ContentDigest,
        from offset: Int64,
        count: Int64,
        to stage: TreeStage
    ) throws(ArtifactStoreError) {
        var (offset, rest) = (offset, count)
        while rest > 0 {
            let count = Int(min(rest, 1 << 20))
            try stage.write(base(digest, offset: offset, count: count))
            offset += Int64(count)
            rest -= Int64(count)
        }
    }

    private func tooMuch() -> ArtifactStoreError {
        .malformed("The bundle holds more than its manifest says.")
    }

    /// Whole files of the old tree, one after the other.
    private func base(
        of group: [Int],
        in old: TreeReader
    ) throws(ArtifactStoreError) -> [UInt8] {
        var total = 0
        for index in group {
            let size = old.manifest.fileSize(at: index) ?? 0
            guard size <= Int64(BundleFormat.maximumBaseBytes - total) else {
                throw .malformed("The base of a group is too long.")
            }
            total += Int(size)
        }
        return try bytes(total) { space throws(ArtifactStoreError) in
            var filled = 0
            for index in group {
                let size = Int(old.manifest.fileSize(at: index) ?? 0)
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: space[filled..<filled + size]
                )
                guard try old.open(index).read(into: part, at: 0) == size else { throw shorter() }
                filled += size
            }
        }
    }

    /// Exactly `count` bytes, which `fill` puts there.
    private func bytes(
        _ count: Int,
        _ fill: (UnsafeMutableRawBufferPointer) throws(ArtifactStoreError) -> Void
    ) throws(ArtifactStoreError) -> [UInt8] {
        var failure: ArtifactStoreError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let space = UnsafeMutableRawBufferPointer(buffer)
            do throws(ArtifactStoreError) {
                try fill(UnsafeMutableRawBufferPointer(rebasing: space[..<count]))
                filled = count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    private func shorter() -> ArtifactStoreError {
        ArtifactStoreError(
            .digestMismatch,
            "A file of the older tree is shorter than it should be. A full bundle is fetched."
        )
    }

    /// A part of the old tree, or of its manifest.
    private func base(
        _ digest: ContentDigest,
        offset: Int64,
        count: Int
    ) throws(ArtifactStoreError) -> [UInt8] {
        guard let old else {
            throw .malformed("A frame of a full bundle refers to an older tree.")
        }
        if digest == old.manifest.id.digest {
            let bytes = old.manifest.encoded
            guard offset <= Int64(bytes.count), count <= bytes.count - Int(offset) else {
                throw .malformed("A frame refers beyond the older manifest.")
            }
            return Array(bytes[Int(offset)..<Int(offset) + count])
        }
        guard let index = oldFiles[digest] else {
            throw .malformed("A frame refers to a file the older tree does not have.")
        }
        let size = old.manifest.fileSize(at: index) ?? 0
        guard offset <= size, Int64(count) <= size - offset else {
            throw .malformed("A frame refers beyond the end of an older file.")
        }
        return try bytes(count) { space throws(ArtifactStoreError) in
            guard try old.open(index).read(into: space, at: offset) == count else {
                throw shorter()
            }
        }
    }
}
