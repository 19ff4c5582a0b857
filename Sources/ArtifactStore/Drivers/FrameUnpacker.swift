/// A frame as it arrived, with all that unpacking it takes.
struct PackedFrame: Sendable {
    let codec: BundleCodec
    let rawBytes: Int
    let payload: [UInt8]
    /// What the codec takes for known; empty without one.
    var base: [UInt8] = []

    /// The memory it takes, unpacked bytes included.
    var byteCount: Int { rawBytes + payload.count + base.count }
}

/// Unpacks frames on a thread of its own, so that one is unpacked while the one before is digested and
/// written. No frame is made of another: what they are made of is the old tree.
actor FrameUnpacker {
    private let executor = FileWorkExecutor(label: "reeve.artifacts.frames")
    private let decompressor = FrameDecompressor()

    nonisolated var unownedExecutor: UnownedSerialExecutor {
        executor.asUnownedSerialExecutor()
    }

    /// - Throws: as ``FrameDecompressor/unpack(_:)``.
    func unpack(_ frame: PackedFrame) throws(ArtifactStoreError) -> [UInt8] {
        try decompressor.unpack(frame)
    }
}
