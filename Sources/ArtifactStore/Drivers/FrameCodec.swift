internal import CZstandard

extension BundleCodec {
    /// Whether this machine can use it. `zstandard` needs `libzstd.so.1`, 1.4.0 or newer, which is
    /// looked for when it is first needed; without it bundles are larger, and full ones of other
    /// machines may not be readable here.
    public var isAvailable: Bool {
        switch self {
        case .plain: true
        case .zstandard: reeve_zstd_version() > 0
        }
    }

    /// The best codec of this machine.
    public static var preferred: BundleCodec {
        BundleCodec.zstandard.isAvailable ? .zstandard : .plain
    }
}

/// Compresses frames, reusing its working memory.
final class FrameCompressor {
    /// The one that is used, which is plain where the library is missing.
    let codec: BundleCodec
    private let context: UnsafeMutableRawPointer?

    init(codec: BundleCodec) {
        self.codec = codec.isAvailable ? codec : .plain
        context = self.codec == .zstandard ? reeve_zstd_compressor() : nil
    }

    deinit { reeve_zstd_compressor_free(context) }

    /// Compresses `source` into `target`.
    ///
    /// - Returns: the codec of the payload now in `target`; `plain`, with `target` untouched, when
    ///   compressing would not make it smaller.
    func compress(
        _ source: UnsafeRawBufferPointer,
        base: UnsafeRawBufferPointer?,
        level: Int32,
        into target: WorkBuffer
    ) -> BundleCodec {
        guard let context, !source.isEmpty else { return .plain }
        let bound = Int(reeve_zstd_bound(source.count))
        guard bound > 0 else { return .plain }
        target.count = 0
        target.reserve(bound)
        let reach = source.count + (base?.count ?? 0)
        let size = reeve_zstd_compress(
            context,
            target.memory.baseAddress,
            target.memory.count,
            source.baseAddress,
            source.count,
            base?.baseAddress,
            base?.count ?? 0,
            level,
            base == nil ? 0 : Self.windowLog(reach),
            reach > Self.longDistance ? 1 : 0
        )
        guard size > 0, size < source.count, size <= BundleFormat.maximumPayloadBytes else {
            return .plain
        }
        target.count = Int(size)
        return .zstandard
    }

    /// From here on long distance matching finds what the ordinary search no longer reaches.
    private static let longDistance = 1 << 20

    /// The window that holds base and source: RFC 8878 gives it as a power of two.
    private static func windowLog(_ bytes: Int) -> Int32 {
        var log: Int32 = 10
        while log < FrameDecompressor.windowLogLimit, 1 << Int(log) < bytes { log += 1 }
        return log
    }
}

/// Decompresses frames. What a frame makes is bounded by what its header declared.
final class FrameDecompressor {
    /// 2^25 = 32 MiB holds the longest base and the longest frame.
    static let windowLogLimit: Int32 = 25
    private var context: UnsafeMutableRawPointer?

    deinit { reeve_zstd_decompressor_free(context) }

    /// Unpacks a frame.
    ///
    /// - Returns: exactly the bytes it declares.
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `codecUnavailable`.
    func unpack(_ frame: PackedFrame) throws(ArtifactStoreError) -> [UInt8] {
        switch frame.codec {
        case .plain:
            guard frame.payload.count == frame.rawBytes else {
                throw .malformed("A plain frame does not have its declared length.")
            }
            return frame.payload
        case .zstandard:
            guard frame.codec.isAvailable else {
                throw ArtifactStoreError(
                    .codecUnavailable,
                    "The bundle is compressed with zstandard and libzstd.so.1 is missing here. Install it "
                        + "(package libzstd1), or publish with the plain codec."
                )
            }
            if context == nil { context = reeve_zstd_decompressor() }
            let bytes = [UInt8](unsafeUninitializedCapacity: frame.rawBytes) { target, count in
                let size = reeve_zstd_decompress(
                    context,
                    target.baseAddress,
                    frame.rawBytes,
                    frame.payload,
                    frame.payload.count,
                    frame.base,
                    frame.base.count,
                    Self.windowLogLimit
                )
                count = size == frame.rawBytes ? frame.rawBytes : 0
            }
            guard bytes.count == frame.rawBytes else {
                throw .malformed("A frame does not decompress to its declared length.")
            }
            return bytes
        }
    }
}
