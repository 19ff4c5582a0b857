internal import ClusterRole

// A bundle, version 2, is a header, frames, and an end frame; nothing follows.
//
//   header   version (1 byte), kind (0 full, 1 incremental), [from: 32 bytes], to: 32 bytes,
//            length of the manifest as it travels (8 bytes, little-endian)
//   frame    length of the frame's header (1 byte), that header, and for a data frame its payload
//
// All frames together spell one stream of bytes: the manifest of the new tree without the digests of
// the files it carries (BundledManifest), then the content of every file the receiver lacks, in the
// manifest's order, without gaps. Version 1 had the canonical manifest there, which is read as well. A frame says how to make
// the next bytes of the stream:
//   data     kind 1, codec, raw length (≤ 8 MiB), payload length, whether there is a base, and the
//            base's digest, offset and length (≤ 16 MiB): the codec's prefix
//   group    kind 3, codec, raw length, payload length: as data; the base is what the old tree has at
//            the paths of all carried files that begin in this frame, one after the other
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
    static let version: UInt8 = 2
    /// What is read: what older managers stored goes on being served.
    static let readableVersions: ClosedRange<UInt8> = 1...version
    /// The most bytes one data frame makes. 8 MiB: what a receiver holds in memory.
    static let maximumFrameBytes = 8 << 20
    /// The longest base of one frame. 16 MiB: a file of frame size that moved by as much.
    static let maximumBaseBytes = 16 << 20
    /// How much content a group gathers. 4 MiB: what one file has in common with the next is found
    /// within it, and the search through its base stays short.
    static let groupBytes = 4 << 20
    /// The longest payload: a codec may at worst add a little.
    static let maximumPayloadBytes = maximumFrameBytes + (64 << 10)
    /// How much memory a receiver spends on the frame it writes and the one it unpacks meanwhile. 16 MiB:
    /// two groups of files; frames of 8 MiB are taken one after the other.
    static let maximumBytesAhead = 16 << 20
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
        guard BundleFormat.readableVersions.contains(lead[0]) else {
            throw ArtifactStoreError(
                .malformed,
                "This build reads versions up to \(BundleFormat.version) of bundles, not \(lead[0]). Upgrade "
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
            _ = try Self.restBytes(lead: [try reader.readByte(), 0])
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
    case group(codec: BundleCodec, rawBytes: Int, payloadBytes: Int)
    case copy(digest: ContentDigest, offset: Int64, length: Int64)
    case end(streamBytes: Int64)

    /// How many bytes of the stream it makes.
    var rawBytes: Int64 {
        switch self {
        case .data(_, let rawBytes, _, _), .group(_, let rawBytes, _): Int64(rawBytes)
        case .copy(_, _, let length): length
        case .end: 0
        }
    }

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
        case .group(let codec, let rawBytes, let payloadBytes):
            writer.write(UInt8(3))
            writer.write(codec.rawValue)
            writer.writeVariable(UInt64(rawBytes))
            writer.writeVariable(UInt64(payloadBytes))
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
                let (codec, raw, payload) = try Self.readMeasures(&reader)
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
            case 3:
                let (codec, raw, payload) = try Self.readMeasures(&reader)
                self = .group(codec: codec, rawBytes: raw, payloadBytes: payload)
            case 255:
                self = .end(streamBytes: Int64(try Self.readLength(&reader, upTo: .max)))
            default: throw ClusterRoleError(.malformed, "The frame is of an unknown kind.")
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("A frame of the bundle cannot be read.", cause: error)
        }
    }

    private static func readMeasures(
        _ reader: inout ByteReader
    ) throws(ClusterRoleError) -> (codec: BundleCodec, raw: Int, payload: Int) {
        guard let codec = BundleCodec(rawValue: try reader.readByte()) else {
            throw ClusterRoleError(.malformed, "The codec is unknown. Upgrade this node.")
        }
        let raw = try readLength(&reader, upTo: BundleFormat.maximumFrameBytes)
        let payload = try readLength(&reader, upTo: BundleFormat.maximumPayloadBytes)
        return (codec, raw, payload)
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
