public import ClusterRole

/// One upload of a large result. A device that begins anew begins another.
public struct UploadID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// A piece of a result that is too large for an exchange, as it travels from the worker to the store.
///
/// The pieces of an upload are numbered from 0 without gaps; the last one carries the digest of the
/// whole, and makes it a ``LargeResult``.
public struct ResultChunk: Hashable, Sendable {
    /// The most bytes of one: small enough to ride in a batch of the link with others.
    public static let maximumBytes = 262_144
    /// The bytes of a ``digest``.
    public static let digestBytes = 32

    public var upload: UploadID
    /// From 0 on.
    public var index: Int32
    public var bytes: [UInt8]
    /// SHA-256 of the whole result, on its last chunk; `nil` on all others.
    public var digest: [UInt8]?

    public init(upload: UploadID, index: Int32, bytes: [UInt8], digest: [UInt8]? = nil) {
        self.upload = upload
        self.index = index
        self.bytes = bytes
        self.digest = digest
    }
}

/// A large result that is complete in the store; its bytes are read in chunks.
public struct LargeResult: Hashable, Sendable {
    public var execution: ExecutionID
    public var upload: UploadID
    /// The size of the whole.
    public var bytes: Int64
    /// How many chunks it is read in.
    public var chunks: Int32
    /// SHA-256 of the whole, as the worker computed it while it received it.
    public var digest: [UInt8]
    /// When a worker had received the last byte.
    public var receivedAt: Timestamp

    public init(
        execution: ExecutionID,
        upload: UploadID,
        bytes: Int64,
        chunks: Int32,
        digest: [UInt8],
        receivedAt: Timestamp
    ) {
        self.execution = execution
        self.upload = upload
        self.bytes = bytes
        self.chunks = chunks
        self.digest = digest
        self.receivedAt = receivedAt
    }
}
