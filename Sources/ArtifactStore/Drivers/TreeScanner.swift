internal import CReeveSystem

/// Reads a tree from a directory, without following a link.
struct TreeScanner {
    private let limits: TreeLimits
    private let links: LinkPolicy
    private let keepsTimes: Bool
    private let known: Known?
    private let buffer = WorkBuffer(capacity: 1 << 20)
    private var found: [(entry: TreeEntry, mark: FileMark?)] = []
    private var totalBytes: Int64 = 0

    /// What an earlier scan found: a file whose mark still holds is not read.
    struct Known {
        let manifest: TreeManifest
        let marks: FileMarks
        let rule: FileMarks.Rule

        fileprivate func content(of path: TreePath, _ status: reeve_status) -> TreeEntry.Content? {
            guard let index = manifest.index(of: path),
                manifest.entries[index].fileSize == status.size,
                marks.isUnchanged(index, status.mark, by: rule)
            else { return nil }
            return manifest.entries[index].content
        }
    }

    /// A tree as it was found.
    struct Scan {
        let manifest: TreeManifest
        /// By entry.
        let marks: [FileMark?]
        /// How many files were read.
        let readCount: Int
    }
    private var readCount = 0

    private init(limits: TreeLimits, links: LinkPolicy, keepsTimes: Bool, known: Known?) {
        self.keepsTimes = keepsTimes
        self.limits = limits
        self.links = links
        self.known = known
    }

    /// - Throws: ``ArtifactStoreError``: `unsupportedEntry` for what is no file, directory or link,
    ///   `sourceChanged` if a file changes meanwhile, or as ``TreeManifest``'s initialisers.
    static func scan(
        _ root: OpenFile,
        limits: TreeLimits,
        links: LinkPolicy,
        keepsTimes: Bool = false,
        known: Known? = nil
    ) throws(ArtifactStoreError) -> Scan {
        var scanner = TreeScanner(
            limits: limits,
            links: links,
            keepsTimes: keepsTimes,
            known: known
        )
        try scanner.scan(root, at: TreePath(bytes: []))
        let sorted = scanner.found.sorted { $0.entry.path < $1.entry.path }
        let manifest = try TreeManifest(
            entries: sorted.map(\.entry),
            limits: limits,
            links: links
        )
        return Scan(
            manifest: manifest,
            marks: sorted.map(\.mark),
            readCount: scanner.readCount
        )
    }

    private mutating func scan(
        _ directory: OpenFile,
        at path: TreePath
    ) throws(ArtifactStoreError) {
        for name in try directory.names(limit: limits.entries) {
            let childPath = path.appending(name.bytes)
            guard childPath.bytes.count <= limits.pathBytes, found.count < limits.entries else {
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
            found.append((TreeEntry(path: path, mode: mode & 0o777, content: .directory), nil))
            try scan(directory.directory(beneath: name), at: path)
        case Int(REEVE_KIND_FILE):
            if let content = known?.content(of: path, status) {
                try count(status.size, path)
                found.append((entry(path, mode, content, status.modified), status.mark))
                return
            }
            let (content, mark) = try readFile(name, directory, path)
            found.append((entry(path, mode, content, mark.modified), mark))
        case Int(REEVE_KIND_LINK):
            let target = try readTarget(name, directory, path)
            found.append(
                (TreeEntry(path: path, mode: 0o777, content: .link(target: target)), nil)
            )
        default:
            throw ArtifactStoreError(
                .unsupportedEntry,
                "\(path) is a device, socket or pipe. A tree holds files, directories and links only.",
                path: path.description
            )
        }
    }

    private func entry(
        _ path: TreePath,
        _ mode: UInt16,
        _ content: TreeEntry.Content,
        _ modified: Int64
    ) -> TreeEntry {
        TreeEntry(
            path: path,
            mode: mode,
            content: content,
            modified: keepsTimes ? TreeEntry.clamped(modified) : nil
        )
    }

    private mutating func readFile(
        _ name: TreePath,
        _ directory: OpenFile,
        _ path: TreePath
    ) throws(ArtifactStoreError) -> (TreeEntry.Content, FileMark) {
        let file = try directory.file(name)
        let status = try file.status()
        guard Int(status.kind) == Int(REEVE_KIND_FILE) else { throw changed(path) }
        try count(status.size, path)
        let digest = try Self.digest(of: file, size: status.size, buffer: buffer)
        guard let digest else { throw changed(path) }
        readCount += 1
        return (.file(size: status.size, digest: digest), status.mark)
    }

    private mutating func count(_ size: Int64, _ path: TreePath) throws(ArtifactStoreError) {
        guard size <= min(limits.fileBytes, limits.totalBytes - totalBytes) else {
            throw ArtifactStoreError(
                .limitExceeded,
                "\(path) has \(size) bytes, which is above the limit of a file or of the whole "
                    + "tree. Make it smaller, or raise the limit on both ends.",
                path: path.description
            )
        }
        totalBytes += size
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
