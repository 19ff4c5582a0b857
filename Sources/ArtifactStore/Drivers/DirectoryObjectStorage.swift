internal import CReeveSystem
public import ClusterRole

/// Objects as files of a directory: `ab/abcdef…`, where any web server can serve them from.
///
/// A file is written beside under a temporary name, made durable, and renamed; the directory is
/// made durable too. So a power cut leaves an object whole or not at all. Several processes may
/// share the directory; what a killed one was writing is removed when the next one opens it.
public struct DirectoryObjectStorage: ObjectInventory {
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

    // MARK: - Inventory

    public func objects(after: ContentDigest?, limit: Int) async throws -> [ObjectRecord] {
        var found: [ObjectRecord] = []
        let first = after.map { Self.place(of: $0).shelf }
        for shelf in try root.names(limit: .max).sorted() where shelf.bytes.count == 2 {
            if let first, shelf < first { continue }
            let directory = try root.directory(beneath: shelf)
            for name in try directory.names(limit: .max).sorted() {
                guard let digest = try? ContentDigest(parsing: name.description),
                    after.map({ $0 < digest }) ?? true, let status = try directory.status(of: name),
                    status.isFile
                else { continue }
                found.append(
                    ObjectRecord(
                        object: StoredObject(digest: digest, byteCount: status.size),
                        storedAt: status.modifiedAt
                    )
                )
                if found.count == limit { return found }
            }
        }
        return found
    }

    public func renew(_ digest: ContentDigest) async throws -> Bool {
        let (shelf, name) = Self.place(of: digest)
        guard try root.status(of: shelf) != nil else { return false }
        let directory = try root.directory(beneath: shelf)
        let result = name.withCPath { reeve_touch(directory.descriptor, $0) }
        if result == -reeve_error_not_found { return false }
        try check(result, "renew", name.description)
        return true
    }

    /// The object is taken aside first: then nobody can renew it unseen. One that was renewed in
    /// time goes back.
    public func remove(
        _ digest: ContentDigest,
        storedBefore time: Timestamp
    ) async throws -> Bool {
        let (shelf, name) = Self.place(of: digest)
        guard try root.status(of: shelf) != nil else { return false }
        let directory = try root.directory(beneath: shelf)
        guard let before = try directory.status(of: name), before.modifiedAt < time else {
            return false
        }
        let incoming = try root.directory(beneath: Self.incoming)
        let aside = TreePath("\(IncarnationID(from: random))")
        let moved = name.withCPath { from in
            aside.withCPath { reeve_rename(directory.descriptor, from, incoming.descriptor, $0) }
        }
        if moved == -reeve_error_not_found { return false }
        try check(moved, "set aside", name.description)
        if let now = try incoming.status(of: aside), now.modifiedAt >= time {
            let back = aside.withCPath { from in
                name.withCPath {
                    reeve_rename_new(incoming.descriptor, from, directory.descriptor, $0)
                }
            }
            if back != -reeve_error_exists { try check(back, "put back", name.description) }
            try incoming.removeFile(aside)
            return false
        }
        try incoming.removeFile(aside)
        try directory.sync()
        return true
    }

    private static func place(of digest: ContentDigest) -> (shelf: TreePath, name: TreePath) {
        let text = digest.description
        return (TreePath(String(text.prefix(2))), TreePath(text))
    }
}

extension reeve_status {
    fileprivate var modifiedAt: Timestamp { Timestamp(milliseconds: modified / 1_000_000) }
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
