/// Turns a bundle into a tree, and believes nothing it says.
final class BundleReceiver {
    private let release: Release
    private let limits: TreeLimits
    private let old: TreeReader?
    private let input: BundleInput
    /// Made when a frame names a file of the old tree.
    private lazy var oldFiles = Self.filesByDigest(old)

    private let decompressor = FrameDecompressor()
    private let payload = WorkBuffer(capacity: 1 << 20)
    private let raw = WorkBuffer(capacity: 1 << 20)
    private let base = WorkBuffer(capacity: 1 << 20)

    /// - Parameters:
    ///   - release: what is expected; its signature was verified.
    ///   - old: the tree to build on; `nil` expects a full bundle.
    init(_ release: Release, limits: TreeLimits, old: TreeReader?, input: BundleInput) {
        self.release = release
        self.limits = limits
        self.old = old
        self.input = input
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
        var streamBytes = header.manifestBytes
        let total = streamBytes + stage.contentBytes
        while true {
            let frame = try await readFrame(isolation: isolation)
            if case .end(let declared) = frame {
                guard declared == total, streamBytes == total else {
                    throw ArtifactStoreError.malformed("The bundle ends too early.")
                }
                break
            }
            guard frame.rawBytes <= total - streamBytes else { throw tooMuch() }
            let group = stage.groupBase(next: frame.rawBytes)
            try await make(frame, group: group, isolation: isolation) {
                streamBytes += Int64($0.count)
                try stage.write($0)
            }
        }
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
        let collected = WorkBuffer(capacity: min(length, BundleFormat.maximumFrameBytes))
        while collected.count < length {
            let frame = try await readFrame(isolation: isolation)
            guard frame.rawBytes <= Int64(length - collected.count) else { throw tooMuch() }
            try await make(frame, group: nil, isolation: isolation) {
                collected.append($0)
            }
        }
        let bundled = try decode(Array(collected.used))
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

    /// Makes the bytes a frame stands for and hands them on, in pieces of at most 8 MiB.
    ///
    /// - Parameter group: the files of the old tree that are the base of a group; `nil` where none
    ///   can be.
    private func make(
        _ frame: BundleFrame,
        group: [Int]?,
        isolation: isolated (any Actor)?,
        _ use: (UnsafeRawBufferPointer) throws -> Void
    ) async throws {
        switch frame {
        case .data(let codec, let rawBytes, let payloadBytes, let frameBase):
            try await input.read(payloadBytes, into: payload, isolation: isolation)
            if let frameBase {
                try readBase(frameBase.digest, offset: frameBase.offset, count: frameBase.length)
            }
            try decompressor.decompress(
                payload.used,
                codec: codec,
                base: frameBase == nil ? nil : base.used,
                rawBytes: rawBytes,
                into: raw
            )
            try use(raw.used)
        case .group(let codec, let rawBytes, let payloadBytes):
            guard let group, let old else {
                throw ArtifactStoreError.malformed("A group stands where none can be.")
            }
            try await input.read(payloadBytes, into: payload, isolation: isolation)
            try readBase(of: group, in: old)
            try decompressor.decompress(
                payload.used,
                codec: codec,
                base: base.count == 0 ? nil : base.used,
                rawBytes: rawBytes,
                into: raw
            )
            try use(raw.used)
        case .copy(let digest, var offset, var length):
            while length > 0 {
                let count = Int(min(length, 1 << 20))
                try readBase(digest, offset: offset, count: count)
                try use(base.used)
                offset += Int64(count)
                length -= Int64(count)
            }
        case .end: throw ArtifactStoreError.malformed("The bundle ends too early.")
        }
    }

    private func tooMuch() -> ArtifactStoreError {
        .malformed("The bundle holds more than its manifest says.")
    }

    /// Reads whole files of the old tree, one after the other, into `base`.
    private func readBase(of group: [Int], in old: TreeReader) throws(ArtifactStoreError) {
        base.count = 0
        var total = 0
        for index in group {
            let size = old.manifest.fileSize(at: index) ?? 0
            guard size <= Int64(BundleFormat.maximumBaseBytes - total) else {
                throw .malformed("The base of a group is too long.")
            }
            total += Int(size)
        }
        base.reserve(total)
        for index in group {
            let size = Int(old.manifest.fileSize(at: index) ?? 0)
            let space = UnsafeMutableRawBufferPointer(
                rebasing: base.memory[base.count..<base.count + size]
            )
            let filled = try old.open(index).read(into: space, at: 0)
            guard filled == size else { throw shorter() }
            base.count += size
        }
    }

    private func shorter() -> ArtifactStoreError {
        ArtifactStoreError(
            .digestMismatch,
            "A file of the older tree is shorter than it should be. A full bundle is fetched."
        )
    }

    /// Reads a part of the old tree, or of its manifest, into `base`.
    private func readBase(
        _ digest: ContentDigest,
        offset: Int64,
        count: Int
    ) throws(ArtifactStoreError) {
        base.count = 0
        base.reserve(count)
        guard let old else {
            throw .malformed("A frame of a full bundle refers to an older tree.")
        }
        if digest == old.manifest.id.digest {
            let bytes = old.manifest.encoded
            guard offset <= Int64(bytes.count), count <= bytes.count - Int(offset) else {
                throw .malformed("A frame refers beyond the older manifest.")
            }
            bytes.withUnsafeBytes {
                base.append(
                    UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + count])
                )
            }
            return
        }
        guard let index = oldFiles[digest] else {
            throw .malformed("A frame refers to a file the older tree does not have.")
        }
        let size = old.manifest.fileSize(at: index) ?? 0
        guard offset <= size, Int64(count) <= size - offset else {
            throw .malformed("A frame refers beyond the end of an older file.")
        }
        let filled = try old.open(index).read(
            into: UnsafeMutableRawBufferPointer(rebasing: base.memory[..<count]),
            at: offset
        )
        guard filled == count else { throw shorter() }
        base.count = filled
    }
}
