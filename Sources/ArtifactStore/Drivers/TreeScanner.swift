internal import CReeveSystem

/// Reads a tree from a directory, without following a link.
struct TreeScanner {
    private let limits: TreeLimits
    private let links: LinkPolicy
    private let buffer = WorkBuffer(capacity: 1 << 20)
    private var entries: [TreeEntry] = []
    private var totalBytes: Int64 = 0

    private init(limits: TreeLimits, links: LinkPolicy) {
        self.limits = limits
        self.links = links
    }

    /// - Throws: ``ArtifactStoreError``: `unsupportedEntry` for what is no file, directory or link,
    ///   `sourceChanged` if a file changes meanwhile, or as ``TreeManifest``'s initialisers.
    static func scan(
        _ root: OpenFile,
        limits: TreeLimits,
        links: LinkPolicy
    ) throws(ArtifactStoreError) -> TreeManifest {
        var scanner = TreeScanner(limits: limits, links: links)
        try scanner.scan(root, at: TreePath(bytes: []))
        return try TreeManifest(entries: scanner.entries, limits: limits, links: links)
    }

    private mutating func scan(
        _ directory: OpenFile,
        at path: TreePath
    ) throws(ArtifactStoreError) {
        for name in try directory.names(limit: limits.entries) {
            let childPath = path.appending(name.bytes)
            guard childPath.bytes.count <= limits.pathBytes, entries.count < limits.entries else {
                throw ArtifactStoreError(
                    .limitExceeded,
                    "The tree has more than \(limits.entries) entries, or a path of more than "
                        + "\(limits.pathBytes) bytes. Make it smaller, or raise the limit.",
                    path: childPath.description
                )
            }
            guard let status = try directory.status(of: name) else { throw changed(childPath) }
            try scan(name, status, in: directory, at: childPath)
        }
    }

    private mutating func scan(
        _ name: TreePath,
        _ status: reeve_status,
        in directory: OpenFile,
        at path: TreePath
    ) throws(ArtifactStoreError) {
        let mode = UInt16(status.mode)
        switch Int(status.kind) {
        case Int(REEVE_KIND_DIRECTORY):
            // A set-gid directory hands its group on; that is the machine's matter, not the tree's.
            entries.append(TreeEntry(path: path, mode: mode & 0o777, content: .directory))
            try scan(directory.directory(beneath: name), at: path)
        case Int(REEVE_KIND_FILE):
            entries.append(
                TreeEntry(path: path, mode: mode, content: try readFile(name, directory, path))
            )
        case Int(REEVE_KIND_LINK):
            let target = try readTarget(name, directory, path)
            entries.append(TreeEntry(path: path, mode: 0o777, content: .link(target: target)))
        default:
            throw ArtifactStoreError(
                .unsupportedEntry,
                "\(path) is a device, socket or pipe. A tree holds files, directories and links only.",
                path: path.description
            )
        }
    }

    private mutating func readFile(
        _ name: TreePath,
        _ directory: OpenFile,
        _ path: TreePath
    ) throws(ArtifactStoreError) -> TreeEntry.Content {
        let file = try directory.file(name)
        let status = try file.status()
        guard Int(status.kind) == Int(REEVE_KIND_FILE) else { throw changed(path) }
        let allowed = min(limits.fileBytes, limits.totalBytes - totalBytes)
        guard status.size <= allowed else {
            throw ArtifactStoreError(
                .limitExceeded,
                "\(path) has \(status.size) bytes, which is above the limit of a file or of the whole "
                    + "tree. Make it smaller, or raise the limit on both ends.",
                path: path.description
            )
        }
        let digest = try Self.digest(of: file, size: status.size, buffer: buffer)
        guard let digest else { throw changed(path) }
        totalBytes += status.size
        return .file(size: status.size, digest: digest)
    }

    /// The digest of a file of exactly `size` bytes; `nil` if it has more or fewer.
    static func digest(
        of file: OpenFile,
        size: Int64,
        buffer: WorkBuffer
    ) throws(ArtifactStoreError) -> ContentDigest? {
        var hasher = ContentHasher()
        var offset: Int64 = 0
        while true {
            let count = try file.read(into: buffer.memory, at: offset)
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.memory[..<count]))
            offset += Int64(count)
            if offset > size { return nil }
            if count < buffer.memory.count { break }
        }
        return offset == size ? hasher.finish() : nil
    }

    private func readTarget(
        _ name: TreePath,
        _ directory: OpenFile,
        _ path: TreePath
    ) throws(ArtifactStoreError) -> TreePath {
        let capacity = limits.linkTargetBytes + 1
        let length = name.withCPath {
            reeve_read_link(
                directory.descriptor,
                $0,
                buffer.memory.baseAddress!.assumingMemoryBound(to: CChar.self),
                min(capacity, buffer.memory.count)
            )
        }
        try check(Int32(clamping: min(length, 0)), "read the link", path.description)
        return TreePath(bytes: Array(buffer.memory[..<Int(length)]))
    }

    private func changed(_ path: TreePath) -> ArtifactStoreError {
        ArtifactStoreError(
            .sourceChanged,
            "\(path) changed while it was read. Publish again when the tree is at rest.",
            path: path.description
        )
    }
}
