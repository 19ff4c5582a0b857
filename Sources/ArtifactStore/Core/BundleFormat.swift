internal import ClusterRole

// A bundle, version 1, is a header, frames, and an end frame; nothing follows.
//
//   header   version (1 byte), kind (0 full, 1 incremental), [from: 32 bytes], to: 32 bytes,
//            length of the manifest (8 bytes, little-endian)
//   frame    length of the frame's header (1 byte), that header, and for a data frame its payload
//
// All frames together spell one stream of bytes: the manifest of the new tree, then the content of
// every file the receiver lacks, in the manifest's order, without gaps. A frame says how to make
// the next bytes of the stream:
//   data     kind 1, codec, raw length (≤ 8 MiB), payload length, whether there is a base, and the
//            base's digest, offset and length (≤ 16 MiB): the codec's prefix
//   copy     kind 2, raw length, the base's digest and offset: those bytes as they are
//   end      kind 255, length of the stream
// A base is a file of the old tree, named by its digest, or the old manifest, named by the old
// root.

/// How the payload of a frame is compressed.
public enum BundleCodec: UInt8, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Not at all.
    case plain = 0
    /// Zstandard (RFC 8878), one frame, with the base as its prefix.
    case zstandard = 1

    public var description: String { self == .plain ? "plain" : "zstandard" }
}

enum BundleFormat {
    static let version: UInt8 = 1
    /// The most bytes one data frame makes. 8 MiB: what a receiver holds in memory.
    static let maximumFrameBytes = 8 << 20
    /// The longest base of one frame. 16 MiB: a file of frame size that moved by as much.
    static let maximumBaseBytes = 16 << 20
    /// The longest payload: a codec may at worst add a little.
    static let maximumPayloadBytes = maximumFrameBytes + (64 << 10)
    /// The shortest run worth a copy frame. 64 KiB: below, the codec spends no more on it.
    static let copyRunMinimum = 64 << 10
}

struct BundleHeader: Hashable {
    let from: TreeID?
    let to: TreeID
    let manifestBytes: Int64

    /// The part that says how long the rest is.
    static let leadBytes = 2

    static func restBytes(lead: [UInt8]) throws(ArtifactStoreError) -> Int {
        guard lead[0] == BundleFormat.version else {
            throw ArtifactStoreError(
                .malformed,
                "This build reads version \(BundleFormat.version) of bundles, not \(lead[0]). Upgrade "
                    + "the older side."
            )
        }
        guard lead[1] <= 1 else { throw .malformed("The bundle is of an unknown kind.") }
        return ContentDigest.byteCount * (lead[1] == 1 ? 2 : 1) + 8
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 80)
        writer.write(BundleFormat.version)
        writer.write(from == nil ? UInt8(0) : UInt8(1))
        if let from { writer.write(from.digest) }
        writer.write(to.digest)
        withUnsafeBytes(of: manifestBytes.littleEndian) { writer.writeRaw($0) }
        return writer.bytes
    }

    init(from: TreeID?, to: TreeID, manifestBytes: Int64) {
        self.from = from
        self.to = to
        self.manifestBytes = manifestBytes
    }

    init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        do {
            var reader = ByteReader(bytes)
            try reader.expectVersion(BundleFormat.version, of: "bundles")
            from = try reader.readBool() ? TreeID(try reader.readDigest()) : nil
            to = TreeID(try reader.readDigest())
            var length: UInt64 = 0
            for (index, byte) in try reader.readRaw(8).enumerated() {
                length |= UInt64(byte) << UInt64(8 * index)
            }
            try reader.expectEnd()
            guard length > 0, length <= UInt64(Int64.max) else {
                throw ClusterRoleError(.malformed, "The manifest's length is out of range.")
            }
            manifestBytes = Int64(length)
        } catch {
            throw .malformed("The bundle's header cannot be read.", cause: error)
        }
    }
}

enum BundleFrame: Hashable {
    struct Base: Hashable {
        let digest: ContentDigest
        let offset: Int64
        let length: Int
    }

    case data(codec: BundleCodec, rawBytes: Int, payloadBytes: Int, base: Base?)
    case copy(digest: ContentDigest, offset: Int64, length: Int64)
    case end(streamBytes: Int64)

    /// The header with its length before it.
    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        switch self {
        case .data(let codec, let rawBytes, let payloadBytes, let base):
            writer.write(UInt8(1))
            writer.write(codec.rawValue)
            writer.writeVariable(UInt64(rawBytes))
            writer.writeVariable(UInt64(payloadBytes))
            writer.write(optional: base) { writer, base in
                writer.write(base.digest)
                writer.writeVariable(UInt64(base.offset))
                writer.writeVariable(UInt64(base.length))
            }
        case .copy(let digest, let offset, let length):
            writer.write(UInt8(2))
            writer.writeVariable(UInt64(length))
            writer.write(digest)
            writer.writeVariable(UInt64(offset))
        case .end(let streamBytes):
            writer.write(UInt8(255))
            writer.writeVariable(UInt64(streamBytes))
        }
        return [UInt8(writer.bytes.count)] + writer.bytes
    }

    /// Decodes a header without its length byte. Every number is within its bound afterwards.
    init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        do {
            var reader = ByteReader(bytes)
            switch try reader.readByte() {
            case 1:
                guard let codec = BundleCodec(rawValue: try reader.readByte()) else {
                    throw ClusterRoleError(.malformed, "The codec is unknown. Upgrade this node.")
                }
                let raw = try Self.readLength(&reader, upTo: BundleFormat.maximumFrameBytes)
                let payload = try Self.readLength(&reader, upTo: BundleFormat.maximumPayloadBytes)
                let base = try reader.readOptional { (reader) throws(ClusterRoleError) in
                    Base(
                        digest: try reader.readDigest(),
                        offset: Int64(try Self.readLength(&reader, from: 0, upTo: .max)),
                        length: try Self.readLength(&reader, upTo: BundleFormat.maximumBaseBytes)
                    )
                }
                self = .data(codec: codec, rawBytes: raw, payloadBytes: payload, base: base)
            case 2:
                let length = Int64(try Self.readLength(&reader, upTo: .max))
                let digest = try reader.readDigest()
                let offset = Int64(try Self.readLength(&reader, from: 0, upTo: .max))
                self = .copy(digest: digest, offset: offset, length: length)
            case 255:
                self = .end(streamBytes: Int64(try Self.readLength(&reader, upTo: .max)))
            default: throw ClusterRoleError(.malformed, "The frame is of an unknown kind.")
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("A frame of the bundle cannot be read.", cause: error)
        }
    }

    private static func readLength(
        _ reader: inout ByteReader,
        from low: Int = 1,
        upTo high: Int
    ) throws(ClusterRoleError) -> Int {
        let value = try reader.readVariable()
        guard value >= UInt64(low), value <= UInt64(high) else {
            throw ClusterRoleError(.malformed, "A length is out of range.")
        }
        return Int(value)
    }
}
