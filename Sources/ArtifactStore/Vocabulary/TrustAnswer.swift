public import ClusterRole

/// What a source hands out beside a release, so that a worker can tell that it is the newest.
public struct TrustAnswer: Hashable, Sendable {
    /// Root records after the one the worker has, in turn; at most ``maximumRoots``.
    public var roots: [SignedRoot]
    /// The pointer to the release the worker is offered; `nil` from a source without pointers.
    public var pointer: SignedPointer?

    /// The most root records of one answer.
    public static let maximumRoots = 16
    /// The longest ``encoded`` form, in bytes.
    public static let maximumEncodedBytes =
        maximumRoots * SignedRoot.maximumEncodedBytes + 2 * SignedPointer.maximumEncodedBytes

    /// Nothing, unless said otherwise.
    public init(roots: [SignedRoot] = [], pointer: SignedPointer? = nil) {
        self.roots = Array(roots.prefix(Self.maximumRoots))
        self.pointer = pointer
    }

    /// Version 1: root records, pointer, each in its encoded form.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 512)
        writer.write(UInt8(1))
        writer.write(array: roots) { $0.write($1.encoded) }
        writer.write(optional: pointer) { $0.write($1.encoded) }
        return writer.bytes
    }

    /// Decodes ``encoded``. It says nothing about signatures.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` or `invalidName`.
    public init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        guard bytes.count <= Self.maximumEncodedBytes else {
            throw .malformed("The answer about trust is too long.")
        }
        var reader = ByteReader(bytes)
        let parts: (roots: [[UInt8]], pointer: [UInt8]?)
        do {
            try reader.expectVersion(1, of: "answers about trust")
            let roots = try reader.readArray { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            let pointer = try reader.readOptional { (reader) throws(ClusterRoleError) in
                try reader.readBytes()
            }
            try reader.expectEnd()
            parts = (roots, pointer)
        } catch {
            throw .malformed("The answer about trust cannot be read.", cause: error)
        }
        guard parts.roots.count <= Self.maximumRoots else {
            throw .malformed("The answer about trust has too many root records.")
        }
        var list: [SignedRoot] = []
        for one in parts.roots { list.append(try SignedRoot(decoding: one)) }
        roots = list
        if let bytes = parts.pointer { pointer = try SignedPointer(decoding: bytes) }
    }
}

extension ReleaseSource {
    /// A source without root records and pointers.
    public func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer { TrustAnswer() }
}
