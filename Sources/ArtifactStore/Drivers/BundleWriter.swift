internal import CReeveSystem

/// Writes one bundle, frame by frame: at most one frame, one base and one payload are in memory, at most
/// 32 MiB and what the codec takes.
final class BundleWriter {
    private let new: TreeReader
    private let old: TreeReader?
    private let levels: BundleLevels
    private let compressor: FrameCompressor
    private let output: (UnsafeRawBufferPointer) throws -> Void

    /// What is to become the next frame: many files, or a piece of one that has a base of its own.
    private let pending = WorkBuffer(capacity: BundleFormat.maximumFrameBytes)
    /// What the old tree has at the paths of the files in it, or that base.
    private let base = WorkBuffer(capacity: 1 << 20)
    private let payload = WorkBuffer(capacity: 1 << 20)
    private var streamBytes: Int64 = 0

    /// - Parameters:
    ///   - new: the tree to carry; its files are checked against their digests as they are read.
    ///   - old: the tree a receiver has; `nil` makes a full bundle.
    ///   - output: takes the bundle's bytes in order.
    init(
        new: TreeReader,
        old: TreeReader?,
        codec: BundleCodec,
        levels: BundleLevels,
        output: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) {
        self.new = new
        self.old = old
        self.levels = levels
        self.output = output
        compressor = FrameCompressor(codec: codec)
    }

    func write() throws {
        let manifest = new.manifest
        let plan = BundlePlan(from: old?.manifest, to: manifest)
        let bundled = BundledManifest.encode(manifest, plan)
        let header = BundleHeader(
            from: old?.manifest.id,
            to: manifest.id,
            manifestBytes: Int64(bundled.count)
        )
        try emit(header.encoded)
        try writeManifest(bundled)
        let bases = old.map { BaseFinder(from: $0.manifest, to: manifest) }
        for index in plan.carried { try carry(index, bases) }
        try flushPending()
        try emit(BundleFrame.end(streamBytes: streamBytes).encoded)
    }

    private func carry(_ index: Int, _ bases: BaseFinder?) throws {
        let entry = new.manifest.entries[index]
        guard let bases, let old, let older = bases.base(for: entry) else {
            // What has no base may be cut anywhere, but not within a group.
            if base.count > 0, isFull(after: entry, base: 0) { try flushPending() }
            return try packFile(index)
        }
        let size = Int(clamping: old.manifest.fileSize(at: older) ?? 0)
        let isSmall = max(size, Int(clamping: entry.fileSize ?? 0)) <= BundleFormat.groupBytes
        // Without a codec that takes a base, only the copy runs of single files save anything.
        guard isSmall, compressor.codec != .plain, bases.sameFile(as: entry) == older else {
            try flushPending()
            return try writeFile(index, onto: older)
        }
        if isFull(after: entry, base: size) { try flushPending() }
        let start = base.count
        base.reserve(start + size)
        let filled = try old.open(older).read(
            into: UnsafeMutableRawBufferPointer(
                rebasing: base.memory[start..<start + size]
            ),
            at: 0
        )
        guard filled == size else { throw ArtifactStoreError.malformed("An older file is cut.") }
        base.count += size
        try packFile(index)
    }

    /// Whether one more file is too much for the group.
    private func isFull(after entry: TreeEntry, base size: Int) -> Bool {
        Int64(pending.count) + (entry.fileSize ?? 0) > Int64(BundleFormat.groupBytes)
            || base.count + size > BundleFormat.maximumBaseBytes
    }

    // MARK: - The manifest

    private func writeManifest(_ bundled: [UInt8]) throws {
        try bundled.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let count = min(BundleFormat.maximumFrameBytes, bytes.count - offset)
                let piece = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
                guard let old else {
                    try writeData(piece, base: nil, frameBase: nil)
                    offset += count
                    continue
                }
                try old.manifest.encoded.withUnsafeBytes { oldBytes in
                    let window = Self.window(at: Int64(offset), of: Int64(oldBytes.count))
                    let range = Int(window.lowerBound)..<Int(window.upperBound)
                    try writeData(
                        piece,
                        base: UnsafeRawBufferPointer(rebasing: oldBytes[range]),
                        frameBase: BundleFrame.Base(
                            digest: old.manifest.id.digest,
                            offset: window.lowerBound,
                            length: range.count
                        )
                    )
                }
                offset += count
            }
        }
    }

    // MARK: - Files without a base: many to a frame

    private func packFile(_ index: Int) throws {
        let file = try new.open(index)
        let size = new.manifest.entries[index].fileSize ?? 0
        var hasher = ContentHasher()
        var offset: Int64 = 0
        while true {
            if pending.count == BundleFormat.maximumFrameBytes { try flushPending() }
            let count = try file.read(
                into: UnsafeMutableRawBufferPointer(
                    rebasing: pending.memory[pending.count..<BundleFormat.maximumFrameBytes]
                ),
                at: offset
            )
            if count == 0 { break }
            let start = pending.count
            pending.count += count
            hasher.update(UnsafeRawBufferPointer(rebasing: pending.memory[start..<pending.count]))
            offset += Int64(count)
            guard offset <= size else { break }
        }
        try requireUnchanged(index, read: offset, hasher)
    }

    private func flushPending() throws {
        guard pending.count > 0 else { return }
        if base.count == 0 {
            try writeData(pending.used, base: nil, frameBase: nil)
        } else {
            try writeGroup()
        }
        pending.count = 0
        base.count = 0
    }

    // MARK: - Files with a base: frames of their own

    /// The frame before was flushed: this uses its memory.
    private func writeFile(_ index: Int, onto baseIndex: Int) throws {
        guard let old, let digest = old.manifest.entries[baseIndex].fileDigest else { return }
        let file = try new.open(index)
        let baseFile = try old.open(baseIndex)
        let size = new.manifest.entries[index].fileSize ?? 0
        let baseSize = old.manifest.entries[baseIndex].fileSize ?? 0
        var hasher = ContentHasher()
        var offset: Int64 = 0
        while offset < size {
            let wanted = Int(min(size - offset, Int64(BundleFormat.maximumFrameBytes)))
            pending.count = try file.read(
                into: UnsafeMutableRawBufferPointer(rebasing: pending.memory[..<wanted]),
                at: offset
            )
            hasher.update(pending.used)
            guard pending.count == wanted else { break }
            let window = Self.window(at: offset, of: baseSize)
            base.count = 0
            base.reserve(window.count)
            base.count = try baseFile.read(
                into: UnsafeMutableRawBufferPointer(rebasing: base.memory[..<window.count]),
                at: window.lowerBound
            )
            try writeChunk(at: offset, digest, baseSize: baseSize - size, window.lowerBound)
            offset += Int64(wanted)
        }
        pending.count = 0
        base.count = 0
        try requireUnchanged(index, read: offset, hasher)
    }

    /// Writes `pending`: a run equal to the base at the same offset, one equal at the same distance
    /// from the end, and what is between them.
    private func writeChunk(
        at offset: Int64,
        _ digest: ContentDigest,
        baseSize shift: Int64,
        _ windowStart: Int64
    ) throws {
        var middle = 0..<pending.count
        let ahead = Int(offset - windowStart)
        let comparable = min(pending.count, base.count - ahead)
        if comparable >= BundleFormat.copyRunMinimum {
            let run = reeve_common_prefix(
                pending.memory.baseAddress,
                base.memory.baseAddress! + ahead,
                comparable
            )
            if run >= BundleFormat.copyRunMinimum {
                try writeCopy(digest, offset: offset, count: run)
                middle = run..<pending.count
            }
        }
        let endInBase = ahead + pending.count + Int(clamping: shift)
        var tail = 0
        if middle.count >= BundleFormat.copyRunMinimum, endInBase >= 0, endInBase <= base.count {
            let run = reeve_common_suffix(
                pending.memory.baseAddress! + pending.count,
                base.memory.baseAddress! + endInBase,
                min(middle.count, endInBase)
            )
            if run >= BundleFormat.copyRunMinimum { tail = run }
        }
        middle = middle.lowerBound..<middle.upperBound - tail
        if !middle.isEmpty {
            try writeData(
                UnsafeRawBufferPointer(rebasing: pending.memory[middle]),
                base: base.count == 0 ? nil : base.used,
                frameBase: base.count == 0
                    ? nil
                    : BundleFrame.Base(digest: digest, offset: windowStart, length: base.count)
            )
        }
        if tail > 0 {
            try writeCopy(
                digest,
                offset: windowStart + Int64(endInBase - tail),
                count: tail
            )
        }
    }

    /// What of a base of `size` bytes stands around `offset`: a quarter before, the rest after.
    private static func window(at offset: Int64, of size: Int64) -> Range<Int64> {
        let length = Int64(BundleFormat.maximumBaseBytes)
        guard size > length else { return 0..<size }
        let start = max(0, min(offset - length / 4, size - length))
        return start..<start + length
    }

    // MARK: - Frames

    private func writeData(
        _ bytes: UnsafeRawBufferPointer,
        base: UnsafeRawBufferPointer?,
        frameBase: BundleFrame.Base?
    ) throws {
        let level = base == nil ? levels.plain : levels.onBase
        let codec = compressor.compress(bytes, base: base, level: level, into: payload)
        let body = codec == .plain ? bytes : payload.used
        let frame = BundleFrame.data(
            codec: codec,
            rawBytes: bytes.count,
            payloadBytes: body.count,
            base: codec == .plain ? nil : frameBase
        )
        try emit(frame.encoded)
        try output(body)
        streamBytes += Int64(bytes.count)
    }

    private func writeGroup() throws {
        let codec = compressor.compress(
            pending.used,
            base: base.used,
            level: levels.onBase,
            into: payload
        )
        guard codec != .plain else {
            return try writeData(pending.used, base: nil, frameBase: nil)
        }
        let frame = BundleFrame.group(
            codec: codec,
            rawBytes: pending.count,
            payloadBytes: payload.count
        )
        try emit(frame.encoded)
        try output(payload.used)
        streamBytes += Int64(pending.count)
    }

    private func writeCopy(_ digest: ContentDigest, offset: Int64, count: Int) throws {
        try emit(BundleFrame.copy(digest: digest, offset: offset, length: Int64(count)).encoded)
        streamBytes += Int64(count)
    }

    private func emit(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try output($0) } }

    private func requireUnchanged(_ index: Int, read: Int64, _ hasher: ContentHasher) throws {
        if isUnchanged(new.manifest.entries[index].content, read: read, hasher.finish()) { return }
        let path = new.manifest.entries[index].path
        throw ArtifactStoreError(
            .sourceChanged,
            "\(path) changed while it was published. Publish again when the tree is at rest.",
            path: path.description
        )
    }

    /// Apart, and not inlined: Swift 6.3.1 crashes while it optimizes the two as one function.
    @inline(never)
    private func isUnchanged(
        _ content: TreeEntry.Content,
        read: Int64,
        _ digest: ContentDigest
    ) -> Bool {
        if case .file(let size, let expected) = content {
            read == size && digest == expected
        } else {
            false
        }
    }
}

/// How much work compression puts in.
struct BundleLevels: Hashable {
    /// Without a base. 5: smaller than what tar and `zstd -3` make of the same tree, also where one file
    /// is cut into frames.
    var plain: Int32 = 5
    /// On a base. 6: within a hundredth of what twice the time saves.
    var onBase: Int32 = 6
}
