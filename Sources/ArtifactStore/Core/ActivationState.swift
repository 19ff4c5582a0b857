internal import ClusterRole

/// What a node remembers of one channel, across restarts.
struct ActivationState: Hashable, Sendable {
    /// A release this node will not try again, and why.
    struct Refusal: Hashable, Sendable {
        let number: ReleaseNumber
        let root: TreeID
        let code: String
        let message: String
    }

    /// The release that is served.
    var active: SignedRelease?
    /// The release that was served before; its tree stays on the disk, so that going back is quick.
    var previous: SignedRelease?
    /// The newest release this node accepted or refused for good. Older ones are refused.
    var floor: SignedRelease?
    /// The newest refusals, oldest first, at most ``maximumRefusals``.
    var refused: [Refusal] = []

    /// 32: only numbers at the floor are looked up, older ones are evidence for people.
    static let maximumRefusals = 32

    init() {}

    static let version: UInt8 = 1

    /// Version 1: tenant, channel, active, previous, floor, refusals; then the SHA-256 of it all.
    func encoded(tenant: TenantID, channel: ChannelName) -> [UInt8] {
        var writer = ByteWriter(capacity: 1_024)
        writer.write(Self.version)
        writer.write(tenant.rawValue)
        writer.write(channel.rawValue)
        writer.write(optional: active) { $0.write($1.encoded) }
        writer.write(optional: previous) { $0.write($1.encoded) }
        writer.write(optional: floor) { $0.write($1.encoded) }
        writer.write(array: refused) { writer, refusal in
            writer.write(refusal.number.rawValue)
            writer.write(refusal.root.digest)
            writer.write(refusal.code)
            writer.write(refusal.message)
        }
        let digest = ContentDigest(of: writer.bytes)
        writer.write(digest)
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed` for a flipped bit or a cut end,
    ///   `wrongChannel` for the state of another channel.
    init(
        decoding bytes: [UInt8],
        tenant: TenantID,
        channel: ChannelName
    ) throws(ArtifactStoreError) {
        let length = bytes.count - ContentDigest.byteCount
        guard length > 0,
            try ContentDigest(bytes: bytes[length...]) == ContentDigest(of: Array(bytes[..<length]))
        else { throw .malformed("The node's artifact state does not match its checksum.") }
        var reader = ByteReader(bytes[..<length])
        let names: (tenant: String, channel: String)
        do {
            try reader.expectVersion(Self.version, of: "artifact states")
            names = (try reader.readString(), try reader.readString())
            active = try Self.readRelease(&reader)
            previous = try Self.readRelease(&reader)
            floor = try Self.readRelease(&reader)
            refused = try reader.readArray(elementSize: 35) { (reader) throws(ClusterRoleError) in
                Refusal(
                    number: ReleaseNumber(try reader.readInt64()),
                    root: TreeID(try reader.readDigest()),
                    code: try reader.readString(),
                    message: try reader.readString()
                )
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("The node's artifact state cannot be read.", cause: error)
        }
        guard names.tenant == tenant.rawValue, names.channel == channel.rawValue else {
            throw ArtifactStoreError(
                .wrongChannel,
                "The directory holds releases of \(names.channel) of \(names.tenant), not of "
                    + "\(channel) of \(tenant). Give each channel a directory of its own."
            )
        }
    }

    private static func readRelease(_ reader: inout ByteReader) throws -> SignedRelease? {
        guard try reader.readBool() else { return nil }
        return try SignedRelease(decoding: try reader.readBytes())
    }
}
