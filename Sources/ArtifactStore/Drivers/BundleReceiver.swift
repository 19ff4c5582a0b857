/// Turns a bundle into a tree, and believes nothing it says.
final class BundleReceiver {
    private let release: Release
    private let limits: TreeLimits
    private let old: TreeReader?
    private let input: BundleInput
    private var oldFiles: [ContentDigest: Int] = [:]

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
        for (index, entry) in (old?.manifest.entries ?? []).enumerated() {
            if let digest = entry.fileDigest, oldFiles[digest] == nil { oldFiles[digest] = index }
        }
    }

    /// Receives everything and lays it out in `directory`, which is empty.
    ///
    /// - Returns: the manifest, whose id is the release's root. The tree in `directory` is that
    ///   tree; it is not durable yet.
    func receive(
        into directory: OpenFile,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> TreeManifest {
        try await readHeader(isolation: isolation)
        let manifest = try await readManifest(isolation: isolation)
        let stage = TreeStage(manifest, in: directory, old: old)
        try stage.begin()
        var streamBytes = Int64(manifest.encoded.count)
        let total = streamBytes + stage.contentBytes
        while true {
            let frame = try await readFrame(isolation: isolation)
            if case .end(let declared) = frame {
                guard declared == total, streamBytes == total else {
                    throw ArtifactStoreError.malformed("The bundle ends too early.")
                }
                break
            }
            try await make(frame, upTo: total - streamBytes, isolation: isolation) {
                streamBytes += Int64($0.count)
                try stage.write($0)
            }
        }
        guard try await input.isAtEnd(isolation: isolation) else {
            throw ArtifactStoreError.malformed("The bundle goes on after its end.")
        }
        try stage.finish()
        return manifest
    }

    /// Receives the manifest and stops there; nothing is laid out.
    func receiveManifest(
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> TreeManifest {
        try await readHeader(isolation: isolation)
        return try await readManifest(isolation: isolation)
    }

    private func readHeader(isolation: isolated (any Actor)?) async throws {
        let lead = try await input.bytes(BundleHeader.leadBytes, isolation: isolation)
        let rest = try await input.bytes(
            BundleHeader.restBytes(lead: lead),
            isolation: isolation
        )
        let header = try BundleHeader(decoding: lead + rest)
        guard header.to == release.root, header.from == old?.manifest.id,
            header.manifestBytes == release.manifestBytes
        else {
            throw ArtifactStoreError.malformed("The bundle is not the one that was asked for.")
        }
        guard header.manifestBytes <= limits.manifestBytes else {
            throw ArtifactStoreError(
                .limitExceeded,
                "The manifest has \(header.manifestBytes) bytes; the limit is \(limits.manifestBytes). "
                    + "Make the tree smaller, or raise the limit on this node."
            )
        }
    }

    private func readManifest(isolation: isolated (any Actor)?) async throws -> TreeManifest {
        let length = Int(release.manifestBytes)
        let collected = WorkBuffer(capacity: min(length, BundleFormat.maximumFrameBytes))
        while collected.count < length {
            let frame = try await readFrame(isolation: isolation)
            try await make(frame, upTo: Int64(length - collected.count), isolation: isolation) {
                collected.append($0)
            }
        }
        let bytes = Array(collected.used)
        guard TreeID(ContentDigest(of: bytes)) == release.root else {
            throw ArtifactStoreError(
                .digestMismatch,
                "The manifest is not the one the release was signed for. It is fetched again."
            )
        }
        let manifest = try TreeManifest(decoding: bytes, limits: limits, links: release.links)
        guard manifest.totalBytes == release.totalBytes, manifest.fileCount == release.fileCount
        else {
            throw ArtifactStoreError.malformed("The manifest's sizes are not the release's.")
        }
        return manifest
    }

    private func readFrame(isolation: isolated (any Actor)?) async throws -> BundleFrame {
        let length = try await input.bytes(1, isolation: isolation)[0]
        return try BundleFrame(
            decoding: await input.bytes(Int(length), isolation: isolation)
        )
    }

    /// Makes the bytes a frame stands for and hands them on, in pieces of at most 8 MiB.
    private func make(
        _ frame: BundleFrame,
        upTo limit: Int64,
        isolation: isolated (any Actor)?,
        _ use: (UnsafeRawBufferPointer) throws -> Void
    ) async throws {
        switch frame {
        case .data(let codec, let rawBytes, let payloadBytes, let frameBase):
            guard Int64(rawBytes) <= limit else { throw tooMuch() }
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
        case .copy(let digest, var offset, var length):
            guard length <= limit else { throw tooMuch() }
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
        let size = old.manifest.entries[index].fileSize ?? 0
        guard offset <= size, Int64(count) <= size - offset else {
            throw .malformed("A frame refers beyond the end of an older file.")
        }
        let filled = try old.open(index).read(
            into: UnsafeMutableRawBufferPointer(rebasing: base.memory[..<count]),
            at: offset
        )
        guard filled == count else {
            throw ArtifactStoreError(
                .digestMismatch,
                "A file of the older tree is shorter than it should be. A full bundle is fetched."
            )
        }
        base.count = filled
    }
}
