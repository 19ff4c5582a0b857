internal import ClusterRole
internal import DeviceRegistry

/// One large result while it comes in: cuts it into chunks and watches its size and its digest. Pure.
struct ResultUpload: Sendable {
    private let id: UploadID
    private let limit: Int
    private var buffer: [UInt8] = []
    private var next: Int32 = 0
    private var hash = StreamDigest()
    /// How many bytes have come.
    private(set) var bytes = 0

    init(id: UploadID, limit: Int) {
        self.id = id
        self.limit = limit
    }

    /// Bytes came.
    ///
    /// - Returns: chunks that are full; the last one of the upload is never among them.
    /// - Throws: ``OperationQueueError`` with code `tooLarge`.
    mutating func onPiece(_ piece: [UInt8]) throws(OperationQueueError) -> [ResultChunk] {
        guard piece.count <= limit - bytes else { throw Self.tooLarge(limit) }
        bytes += piece.count
        hash.update(piece)
        var chunks: [ResultChunk] = []
        var rest = piece[...]
        while !rest.isEmpty {
            if buffer.count == ResultChunk.maximumBytes { chunks.append(cut(digest: nil)) }
            let taken = rest.prefix(ResultChunk.maximumBytes - buffer.count)
            buffer += taken
            rest = rest.dropFirst(taken.count)
        }
        return chunks
    }

    /// The body ended.
    ///
    /// - Returns: the last chunk, and the digest of everything.
    /// - Throws: ``OperationQueueError`` with code `uploadInterrupted` if more or less has come than
    ///   was said; `digestMismatch`.
    mutating func onEnd(
        of head: LargeResultHead
    ) throws(OperationQueueError) -> (chunk: ResultChunk, digest: [UInt8]) {
        if let declared = head.declaredBytes, declared != bytes {
            throw OperationQueueError(
                .uploadInterrupted,
                "Of the \(declared) bytes that were to come, \(bytes) came. Send all of them again."
            )
        }
        let digest = hash.finish()
        if let said = head.digest, said != digest {
            throw OperationQueueError(
                .digestMismatch,
                "The bytes that came are not those of the digest. Send all of them again."
            )
        }
        return (cut(digest: digest), digest)
    }

    private mutating func cut(digest: [UInt8]?) -> ResultChunk {
        defer {
            next += 1
            buffer.removeAll(keepingCapacity: true)
        }
        return ResultChunk(upload: id, index: next, bytes: buffer, digest: digest)
    }

    /// What stands in the execution's detail instead of the bytes.
    func detail(digest: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        let hex = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return Array("{\"largeResult\":{\"bytes\":\(bytes),\"sha256\":\"".utf8) + hex
            + Array("\"}}".utf8)
    }

    static func tooLarge(_ limit: Int) -> OperationQueueError {
        OperationQueueError(
            .tooLarge,
            "A large result has at most \(limit) bytes. Send less, or store it elsewhere and name it."
        )
    }
}
