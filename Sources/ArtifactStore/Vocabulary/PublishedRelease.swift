public import ClusterRole

/// One static file that carries a release: its name, and where its bytes lie.
public struct BundleDescription: Hashable, Sendable, Codable {
    /// The tree a receiver must have; `nil` for a full bundle.
    public let from: TreeID?
    /// The tree it makes.
    public let to: TreeID
    /// The object in ``ObjectStorage`` with the bundle's bytes.
    public let object: ContentDigest
    /// The bundle's length: what a full transfer costs.
    public let byteCount: Int64

    /// A bundle that was stored.
    public init(from: TreeID?, to: TreeID, object: ContentDigest, byteCount: Int64) {
        self.from = from
        self.to = to
        self.object = object
        self.byteCount = byteCount
    }

    /// `full-<root>` or `<from>-<to>`: the file's name on a web server or a content network.
    public var name: String { from.map { "\($0)-\(to)" } ?? "full-\(to)" }
}

/// A signed release with the bundles that carry it: one row of a channel.
///
/// Only the release is signed. Bundles are hints where to find bytes; the signed root proves them.
public struct PublishedRelease: Hashable, Sendable {
    /// What workers verify.
    public let signed: SignedRelease
    /// The full bundle first; then incremental ones that are smaller than it.
    public let bundles: [BundleDescription]

    /// At most ``maximumBundles`` bundles.
    public init(signed: SignedRelease, bundles: [BundleDescription]) {
        self.signed = signed
        self.bundles = bundles
    }

    /// The record, which is worth what its signature is worth.
    public var release: Release { signed.release }

    /// The bundle for a node that stands on `root`, if one was made.
    public func bundle(from root: TreeID?) -> BundleDescription? {
        bundles.first { $0.from == root && $0.to == release.root }
    }

    /// The most bundles a release has: one full, and incremental ones.
    public static let maximumBundles = 16

    /// Version 1: the signed release, then each bundle's from, to, object and length.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.write(UInt8(1))
        writer.write(signed.encoded)
        writer.write(array: bundles) { writer, bundle in
            writer.write(optional: bundle.from) { $0.write($1.digest) }
            writer.write(bundle.to.digest)
            writer.write(bundle.object)
            writer.write(bundle.byteCount)
        }
        return writer.bytes
    }

    /// Decodes ``encoded``.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        let parts: (signed: [UInt8], bundles: [BundleDescription])
        do {
            try reader.expectVersion(1, of: "published releases")
            let signed = try reader.readBytes()
            let bundles = try reader.readArray(elementSize: 66) {
                (reader) throws(ClusterRoleError) in
                let from = try reader.readOptional { (reader) throws(ClusterRoleError) in
                    TreeID(try reader.readDigest())
                }
                let to = TreeID(try reader.readDigest())
                let object = try reader.readDigest()
                let length = try reader.readInt64()
                return BundleDescription(from: from, to: to, object: object, byteCount: length)
            }
            try reader.expectEnd()
            parts = (signed, bundles)
        } catch {
            throw .malformed("The published release cannot be read.", cause: error)
        }
        guard parts.bundles.count <= Self.maximumBundles,
            parts.bundles.allSatisfy({ $0.byteCount >= 0 })
        else { throw .malformed("The published release has impossible bundles.") }
        self.init(signed: try SignedRelease(decoding: parts.signed), bundles: parts.bundles)
    }
}

/// A published release and the revision that appended it.
public struct StoredRelease: Hashable, Sendable {
    /// The release as it was appended.
    public let published: PublishedRelease
    /// A reader that shows this revision again is told `unchanged` while it is the newest.
    public let revision: Revision

    /// A row that was read back.
    public init(published: PublishedRelease, revision: Revision) {
        self.published = published
        self.revision = revision
    }

    /// The record, which is worth what its signature is worth.
    public var release: Release { published.release }
}
