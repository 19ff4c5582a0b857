public import ClusterRole

/// What a store knows of the uploads of one execution, and what a further chunk means: pure, and the
/// same in every driver.
///
/// A device that was interrupted begins again, perhaps at another worker, and the chunks of both
/// uploads may arrive in any mixture; so each upload is kept apart, and the first that is complete is
/// the execution's ``LargeResult``.
public struct ResultUploads: Hashable, Sendable {
    /// One upload without its bytes.
    public struct Upload: Hashable, Sendable {
        public var id: UploadID
        /// When a worker received its first chunk.
        public var begunAt: Timestamp
        /// Chunks that have come; the next one has this index.
        public var chunks: Int32
        /// Bytes that have come.
        public var bytes: Int64
        /// SHA-256 of the whole; `nil` until the last chunk has come.
        public var digest: [UInt8]?
        /// When a worker received the newest chunk.
        public var receivedAt: Timestamp

        public init(
            id: UploadID,
            begunAt: Timestamp,
            chunks: Int32 = 0,
            bytes: Int64 = 0,
            digest: [UInt8]? = nil,
            receivedAt: Timestamp
        ) {
            self.id = id
            self.begunAt = begunAt
            self.chunks = chunks
            self.bytes = bytes
            self.digest = digest
            self.receivedAt = receivedAt
        }

        public var isComplete: Bool { digest != nil }
    }

    /// What to do with a chunk.
    public enum Directive: Hashable, Sendable {
        /// Store it and the upload as it is now; the other uploads named here go.
        case store(Upload, forgetting: [UploadID])
        /// It is stored already: change nothing.
        case ignore
        /// Keep it as rejected, for this reason.
        case refuse(String)
    }

    /// Uploads of one execution that are kept at once while none is complete: more than devices have
    /// reason to begin; the one begun first makes room.
    public static let maximumUnfinished = 3
    /// The most chunks of one upload: 1 GiB, whatever a worker allows.
    public static let maximumChunks: Int32 = 4_096

    public private(set) var uploads: [Upload]

    public init(_ uploads: [Upload] = []) { self.uploads = uploads }

    /// The complete one, if there is one.
    public var complete: Upload? { uploads.first { $0.isComplete } }

    /// A worker received `chunk` at `time`.
    public mutating func on(_ chunk: ResultChunk, receivedAt time: Timestamp) -> Directive {
        if let complete {
            return complete.id == chunk.upload ? .ignore : .refuse("the large result is complete")
        }
        let index = uploads.firstIndex { $0.id == chunk.upload }
        var upload: Upload
        if let index {
            upload = uploads[index]
        } else if chunk.index == 0 {
            upload = Upload(id: chunk.upload, begunAt: time, receivedAt: time)
        } else {
            return .refuse("chunk \(chunk.index) of an upload that is not known")
        }
        if chunk.index < upload.chunks { return .ignore }
        guard chunk.index == upload.chunks else {
            return .refuse("chunk \(chunk.index) after \(upload.chunks) chunks")
        }
        guard chunk.index < Self.maximumChunks, chunk.bytes.count <= ResultChunk.maximumBytes else {
            return .refuse("the large result is too large")
        }
        upload.chunks += 1
        upload.bytes += Int64(chunk.bytes.count)
        upload.digest = chunk.digest
        upload.receivedAt = time
        if let index { uploads[index] = upload } else { uploads.append(upload) }
        return .store(upload, forgetting: makeRoom(for: upload))
    }

    private mutating func makeRoom(for upload: Upload) -> [UploadID] {
        var others = uploads.filter { $0.id != upload.id }
        if !upload.isComplete {
            others.sort { ($0.begunAt, $0.id) < ($1.begunAt, $1.id) }
            others = Array(others.prefix(max(0, uploads.count - Self.maximumUnfinished)))
        }
        let forgotten = others.map(\.id)
        uploads.removeAll { forgotten.contains($0.id) }
        return forgotten
    }
}
