public import ClusterRole

/// A record that names one tree by digest: what a channel consists of, and what is signed.
public struct Release: Hashable, Sendable {
    /// Whose channel it is; a node takes releases of its own tenant only.
    public let tenant: TenantID
    /// The line of releases it belongs to.
    public let channel: ChannelName
    /// What the tree is, and so which deployer loads it.
    public let kind: ArtifactKind
    /// Its place in the channel.
    public let number: ReleaseNumber
    /// The tree.
    public let root: TreeID
    /// The tree's files: how many, and their bytes.
    public let fileCount: Int
    public let totalBytes: Int64
    /// The length of the encoded manifest, so that a worker knows it before it allocates.
    public let manifestBytes: Int64
    /// The tree of the release before; `nil` for a channel's first.
    public let previousRoot: TreeID?
    /// When it was signed, by the publisher's clock.
    public let created: Timestamp
    /// From then on no node accepts it any more. What was accepted before goes on being served.
    public let expires: Timestamp?
    /// The key it is signed with.
    public let key: SigningKeyID
    /// What links the publisher let into the tree.
    public let links: LinkPolicy

    /// A record to be signed; sizes are taken from the tree.
    public init(
        tenant: TenantID,
        channel: ChannelName,
        kind: ArtifactKind,
        number: ReleaseNumber,
        tree: TreeManifest,
        previousRoot: TreeID?,
        created: Timestamp,
        expires: Timestamp?,
        key: SigningKeyID,
        links: LinkPolicy
    ) {
        self.tenant = tenant
        self.channel = channel
        self.kind = kind
        self.number = number
        root = tree.id
        fileCount = tree.fileCount
        totalBytes = tree.totalBytes
        manifestBytes = Int64(tree.encoded.count)
        self.previousRoot = previousRoot
        self.created = created
        self.expires = expires
        self.key = key
        self.links = links
    }

    /// The canonical binary form, which is what is signed. Version 1:
    /// tenant, channel, kind, number, root, file count, bytes, manifest bytes, previous root,
    /// created, expires, key, links; integers as LEB128, text and blobs with their length before
    /// them.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 256)
        writer.write(Self.version)
        writer.write(tenant.rawValue)
        writer.write(channel.rawValue)
        writer.write(kind.rawValue)
        writer.write(number.rawValue)
        writer.write(root.digest)
        writer.write(Int64(fileCount))
        writer.write(totalBytes)
        writer.write(manifestBytes)
        writer.write(optional: previousRoot) { $0.write($1.digest) }
        writer.write(created.rawValue)
        writer.write(optional: expires) { $0.write($1.rawValue) }
        writer.write(key.rawValue)
        writer.write(links == .allowAbsolute ? UInt8(1) : UInt8(0))
        return writer.bytes
    }

    static let version: UInt8 = 1
}

extension Release {
    /// Decodes ``encoded``. It says nothing about the signature.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        do {
            try reader.expectVersion(Self.version, of: "release records")
            tenant = try TenantID(validating: reader.readString())
            channel = ChannelName(rawValue: try reader.readString())
            kind = try ArtifactKind(validating: reader.readString())
            number = ReleaseNumber(try reader.readInt64())
            root = TreeID(try reader.readDigest())
            let files = try reader.readInt64()
            totalBytes = try reader.readInt64()
            manifestBytes = try reader.readInt64()
            previousRoot = try reader.readOptional { (reader) throws(ClusterRoleError) in
                TreeID(try reader.readDigest())
            }
            created = Timestamp(rawValue: try reader.readInt64())
            expires = try reader.readOptional { (reader) throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            key = SigningKeyID(rawValue: try reader.readString())
            let linkCode = try reader.readByte()
            guard linkCode <= 1, files >= 0, files <= Int64(Int.max) else {
                throw ClusterRoleError(.malformed, "A field is out of range.")
            }
            fileCount = Int(files)
            links = linkCode == 1 ? .allowAbsolute : .insideTree
            try reader.expectEnd()
        } catch {
            throw .malformed("The release record cannot be read.", cause: error)
        }
        _ = try ChannelName(validating: channel.rawValue)
        guard number >= .first, totalBytes >= 0, manifestBytes > 0 else {
            throw .malformed("The release record has a number or size out of range.")
        }
    }
}

/// A release record and its Ed25519 signature (RFC 8032).
///
/// The record's own bytes are kept, so that what is verified is what was signed.
public struct SignedRelease: Hashable, Sendable {
    /// What the record says.
    public let release: Release
    /// ``Release/encoded`` as it was signed.
    public let record: [UInt8]
    /// 64 bytes; whether they match says ``TrustedKeys/verify(_:)``.
    public let signature: [UInt8]

    /// - Throws: ``ArtifactStoreError`` with code `malformed` when the record cannot be read. The
    ///   signature is checked by ``TrustedKeys/verify(_:)``.
    public init(record: [UInt8], signature: [UInt8]) throws(ArtifactStoreError) {
        guard record.count <= Self.maximumRecordBytes, signature.count == 64 else {
            throw .malformed("The signed release has an impossible length.")
        }
        release = try Release(decoding: record)
        self.record = record
        self.signature = signature
    }

    /// The longest record, in bytes: names of at most 255 bytes and fixed fields fit well.
    public static let maximumRecordBytes = 4_096

    /// The bytes under the signature: a fixed text, so that a signature made for something else
    /// never passes for one of a release, and the record.
    public static func signedBytes(of record: [UInt8]) -> [UInt8] {
        Array("reeve release\0".utf8) + record
    }

    /// Version 1: record and signature, each with its length before it.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: record.count + 80)
        writer.write(UInt8(1))
        writer.write(record)
        writer.write(signature)
        return writer.bytes
    }

    /// Decodes ``encoded``.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        let parts: (record: [UInt8], signature: [UInt8])
        do {
            try reader.expectVersion(1, of: "signed releases")
            parts = (try reader.readBytes(), try reader.readBytes())
            try reader.expectEnd()
        } catch {
            throw .malformed("The signed release cannot be read.", cause: error)
        }
        try self.init(record: parts.record, signature: parts.signature)
    }
}
