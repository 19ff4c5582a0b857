internal import CReeveSystem
public import ClusterRole

/// Objects as files of a directory: `ab/abcdef…`, where any web server can serve them from.
///
/// A file is written beside under a temporary name, made durable, and renamed; the directory is
/// made durable too. So a power cut leaves an object whole or not at all. Several processes may
/// share the directory; what a killed one was writing is removed when the next one opens it.
public struct DirectoryObjectStorage: ObjectStorage {
    private let root: OpenFile
    private let random: any RandomSource

    /// - Parameters:
    ///   - path: the directory; it is made if it does not exist (its parent must).
    ///   - random: for temporary names.
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem`.
    public init(
        path: String,
        random: any RandomSource = SystemRandomSource()
    ) throws(ArtifactStoreError) {
        let made = reeve_make_directory(reeve_current_directory, path, 0o755)
        if made != -reeve_error_exists {
            try check(made, "make the directory", path)
            try OpenFile.directory(TreePath(path).parentPath).sync()
        }
        root = try OpenFile.directory(path)
        self.random = random
        try root.makeDirectory(Self.incoming)
        try root.directory(beneath: Self.incoming).removeUnclaimed(prefix: "")
    }

    private static let incoming: TreePath = "incoming"

    public func put(_ chunks: ByteChunks) async throws -> StoredObject {
        let incoming = try root.directory(beneath: Self.incoming)
        let (name, file) = try incoming.makeClaimed(prefix: "", random: random) {
            (name) throws(ArtifactStoreError) in try incoming.create(name, mode: 0o644)
        }
        do {
            var hasher = ContentHasher()
            var byteCount: Int64 = 0
            for try await chunk in chunks {
                try file.write(chunk)
                chunk.withUnsafeBytes { hasher.update($0) }
                byteCount += Int64(chunk.count)
            }
            try Task.checkCancellation()
            try file.sync()
            let digest = hasher.finish()
            try place(name, in: incoming, as: digest)
            return StoredObject(digest: digest, byteCount: byteCount)
        } catch {
            try? incoming.removeFile(name)
            throw error
        }
    }

    private func place(
        _ name: TreePath,
        in incoming: OpenFile,
        as digest: ContentDigest
    ) throws(ArtifactStoreError) {
        let (shelf, final) = Self.place(of: digest)
        try root.makeDirectory(shelf)
        try root.sync()
        let directory = try root.directory(beneath: shelf)
        let result = name.withCPath { from in
            final.withCPath {
                reeve_rename(incoming.descriptor, from, directory.descriptor, $0)
            }
        }
        try check(result, "rename", final.description)
        try directory.sync()
    }

    public func byteCount(of digest: ContentDigest) async throws -> Int64? {
        let (shelf, name) = Self.place(of: digest)
        guard try root.status(of: shelf) != nil else { return nil }
        return try root.directory(beneath: shelf).status(of: name)?.size
    }

    public func read(_ digest: ContentDigest, from offset: Int64) async throws -> ByteChunks {
        let (shelf, name) = Self.place(of: digest)
        guard try await byteCount(of: digest) != nil else {
            throw ArtifactStoreError.noObject(digest)
        }
        let file = try root.directory(beneath: shelf).file(name)
        guard offset >= 0, offset <= (try file.status().size) else {
            throw ArtifactStoreError.beyondEnd(digest, offset)
        }
        return ByteChunks(file: file, from: offset)
    }

    public func remove(_ digest: ContentDigest) async throws {
        let (shelf, name) = Self.place(of: digest)
        guard try await byteCount(of: digest) != nil else { return }
        let directory = try root.directory(beneath: shelf)
        try directory.removeFile(name)
        try directory.sync()
    }

    private static func place(of digest: ContentDigest) -> (shelf: TreePath, name: TreePath) {
        let text = digest.description
        return (TreePath(String(text.prefix(2))), TreePath(text))
    }
}

extension ByteChunks {
    /// The bytes of a file from an offset on, in pieces of 256 KiB.
    init(file: OpenFile, from offset: Int64) {
        self.init(reading: {
            reeve_expect_sequential(file.descriptor)
            var position = offset
            return {
                var failure: ArtifactStoreError?
                let chunk = [UInt8](unsafeUninitializedCapacity: 256 << 10) { memory, count in
                    do throws(ArtifactStoreError) {
                        count = try file.read(
                            into: UnsafeMutableRawBufferPointer(memory),
                            at: position
                        )
                    } catch {
                        failure = error
                    }
                }
                if let failure { throw failure }
                position += Int64(chunk.count)
                return chunk.isEmpty ? nil : chunk
            }
        })
    }
}
