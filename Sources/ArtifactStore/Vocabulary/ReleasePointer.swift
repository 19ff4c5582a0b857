public import ClusterRole

/// Says for a short time which release of a channel the managers hand out. It is signed anew while
/// it lives, so that a worker that is kept from newer releases notices.
public struct ReleasePointer: Hashable, Sendable {
    /// Whose channel it is.
    public let tenant: TenantID
    /// The channel.
    public let channel: ChannelName
    /// The release.
    public let number: ReleaseNumber
    /// The SHA-256 of ``SignedRelease/record``: the release and no other of its number.
    public let record: ContentDigest
    /// When it was signed, by the manager's clock.
    public let issued: Timestamp
    /// From then on it says nothing any more.
    public let expires: Timestamp

    /// A pointer to be signed.
    public init(
        to signed: SignedRelease,
        issued: Timestamp,
        expires: Timestamp
    ) {
        tenant = signed.release.tenant
        channel = signed.release.channel
        number = signed.release.number
        record = ContentDigest(of: signed.record)
        self.issued = issued
        self.expires = expires
    }

    /// The canonical binary form, which is what is signed. Version 1: tenant, channel, number,
    /// digest of the record, issued, expires.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 128)
        writer.write(UInt8(1))
        writer.write(tenant.rawValue)
        writer.write(channel.rawValue)
        writer.write(number.rawValue)
        writer.write(record)
        writer.write(issued.rawValue)
        writer.write(expires.rawValue)
        return writer.bytes
    }

    /// Decodes ``encoded``. It says nothing about signatures.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        do {
            try reader.expectVersion(1, of: "release pointers")
            tenant = try TenantID(validating: reader.readString())
            channel = ChannelName(rawValue: try reader.readString())
            number = ReleaseNumber(try reader.readInt64())
            record = try reader.readDigest()
            issued = Timestamp(rawValue: try reader.readInt64())
            expires = Timestamp(rawValue: try reader.readInt64())
            try reader.expectEnd()
        } catch {
            throw .malformed("The release pointer cannot be read.", cause: error)
        }
        _ = try ChannelName(validating: channel.rawValue)
        guard number >= .first, issued < expires else {
            throw .malformed("The release pointer has a number or time out of range.")
        }
    }

    /// Whether it is about this release and no other.
    func names(_ signed: SignedRelease) -> Bool {
        tenant == signed.release.tenant && channel == signed.release.channel
            && number == signed.release.number && record == ContentDigest(of: signed.record)
    }

    /// When a new one is asked for: half of its life has passed.
    var isWorn: Timestamp { Timestamp(rawValue: issued.rawValue / 2 + expires.rawValue / 2) }
}

/// A pointer and the signatures under it.
public struct SignedPointer: Hashable, Sendable {
    /// What it says.
    public let pointer: ReleasePointer
    /// ``ReleasePointer/encoded`` as it was signed.
    public let record: [UInt8]
    /// One for each key, sorted by the keys' names.
    public let signatures: [KeySignature]

    /// The longest ``encoded`` form, in bytes.
    public static let maximumEncodedBytes = 2_048

    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(record: [UInt8], signatures: [KeySignature]) throws(ArtifactStoreError) {
        pointer = try ReleasePointer(decoding: record)
        self.record = record
        self.signatures = try KeySignature.sorted(signatures)
    }

    /// Has every signer sign the pointer.
    public static func signed(
        _ pointer: ReleasePointer,
        by signers: [any ReleaseSigner]
    ) async throws -> SignedPointer {
        let record = pointer.encoded
        return try SignedPointer(
            record: record,
            signatures: try await allSignatures(by: signers, under: signedBytes(of: record))
        )
    }

    /// The bytes under the signatures: a fixed text, and the record.
    public static func signedBytes(of record: [UInt8]) -> [UInt8] {
        Array("reeve pointer\0".utf8) + record
    }

    /// Version 1: record, then each signature's key and bytes, all with their length before them.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(UInt8(1))
        writer.write(record)
        writer.write(signatures: signatures)
        return writer.bytes
    }

    /// Decodes ``encoded``.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        let (record, signatures) = try SignedRoot.read(
            bytes,
            version: 1,
            upTo: Self.maximumEncodedBytes,
            of: "signed pointers"
        )
        try self.init(record: record, signatures: signatures)
    }
}

/// How sure a worker is that what it serves is the newest.
public enum PointerFreshness: Hashable, Sendable {
    /// No pointer was seen: the worker only has a plain key, and its source has no pointers.
    case unknown
    /// A pointer confirmed it, and does so until then.
    case confirmed(until: Timestamp)
    /// The last pointer expired then. The worker serves on, and takes nothing new without another.
    case expired(since: Timestamp)
}
