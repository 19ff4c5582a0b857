internal import ClusterRole

// The canonical form, version 1:
//   version (1 byte), number of entries,
//   then for each entry, sorted by path: kind (1 byte), path, mode, and
//     for a file its size and its SHA-256, for a link its target.
// Integers are LEB128 in their shortest spelling; paths and targets have their length before them.
// Version 2, of a tree that keeps times, has behind the mode of each file the time of its content.
// One tree has exactly one form, so that its digest is the tree's name.

extension TreeManifest {
    static let version: UInt8 = 1
    /// With the times of files.
    static let timedVersion: UInt8 = 2

    enum EntryKind: UInt8 {
        case directory = 0
        case file = 1
        case link = 2
        // In bundles only: see BundledManifest.
        case carriedFile = 3
        case twinFile = 4
    }

    /// Makes the manifest of a tree.
    ///
    /// - Parameters:
    ///   - entries: in any order; every directory that holds something is an entry itself.
    ///   - limits: how large the tree may be.
    ///   - links: where its symbolic links may point.
    /// - Throws: ``ArtifactStoreError`` with code `unsafePath`, `unsafeLink`, `unsupportedEntry` or
    ///   `limitExceeded`, and the path it is about.
    public init(
        entries: [TreeEntry],
        limits: TreeLimits = TreeLimits(),
        links: LinkPolicy = .insideTree
    ) throws(ArtifactStoreError) {
        let sorted = entries.sorted { $0.path < $1.path }
        var rules = TreeRules(limits: limits, links: links, count: sorted.count)
        for entry in sorted { try rules.check(entry) }
        try rules.checkLinks()
        try rules.checkTimes(kept: sorted.contains { $0.modified != nil })
        let encoded = Self.encode(sorted)
        try rules.checkManifest(bytes: encoded.count)
        self.init(checked: sorted, encoded: encoded)
    }

    /// Decodes ``encoded``, which came from outside: nothing in it is trusted.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `malformed` for anything but a canonical
    ///   manifest, or as ``init(entries:limits:links:)``.
    public init(
        decoding bytes: [UInt8],
        limits: TreeLimits = TreeLimits(),
        links: LinkPolicy = .insideTree
    ) throws(ArtifactStoreError) {
        var reader = ByteReader(bytes)
        var rules = TreeRules(limits: limits, links: links, count: 0)
        try rules.checkManifest(bytes: bytes.count)
        var entries: [TreeEntry] = []
        do {
            let version = try reader.expectVersion(
                Self.version...Self.timedVersion,
                of: "tree manifests"
            )
            let count = try reader.readCount(elementSize: 4)
            try rules.checkCount(count)
            entries.reserveCapacity(count)
            for _ in 0..<count {
                let kind = try Self.readKind(from: &reader)
                let entry = try Self.readEntry(kind, version, from: &reader)
                try rules.check(entry)
                entries.append(entry)
            }
            try reader.expectEnd()
            try rules.checkTimes(kept: version == Self.timedVersion)
        } catch let error as ArtifactStoreError {
            throw error
        } catch {
            throw .malformed("The tree manifest cannot be read.", cause: error)
        }
        try rules.checkLinks()
        self.init(checked: entries, encoded: bytes)
    }

    static func encode(_ entries: [TreeEntry]) -> [UInt8] {
        var writer = ByteWriter(capacity: entries.count * 112 + 16)
        let keepsTimes = entries.contains { $0.modified != nil }
        writer.write(keepsTimes ? timedVersion : version)
        writer.writeVariable(UInt64(entries.count))
        for entry in entries { write(entry, to: &writer) }
        return writer.bytes
    }

    static func write(_ entry: TreeEntry, to writer: inout ByteWriter) {
        switch entry.content {
        case .directory:
            writeHead(of: entry, kind: .directory, to: &writer)
        case .file(let size, let digest):
            writeHead(of: entry, kind: .file, to: &writer)
            writer.writeVariable(UInt64(size))
            writer.write(digest)
        case .link(let target):
            writeHead(of: entry, kind: .link, to: &writer)
            writer.write(target.bytes)
        }
    }

    static func writeHead(of entry: TreeEntry, kind: EntryKind, to writer: inout ByteWriter) {
        writer.write(kind.rawValue)
        writer.write(entry.path.bytes)
        writer.writeVariable(UInt64(entry.mode))
        if let modified = entry.modified { writer.writeVariable(UInt64(modified)) }
    }

    static func readKind(from reader: inout ByteReader) throws -> EntryKind {
        guard let kind = EntryKind(rawValue: try reader.readByte()) else { throw unknownKind }
        return kind
    }

    static var unknownKind: ArtifactStoreError {
        ArtifactStoreError(
            .unsupportedEntry,
            "The manifest holds an entry that is no file, directory or link."
        )
    }

    /// - Parameter hasTime: whether a time follows.
    static func readHead(
        hasTime: Bool,
        from reader: inout ByteReader
    ) throws -> (path: TreePath, mode: UInt16, modified: Int64?) {
        let path = TreePath(bytes: try reader.readBytes())
        let mode = try reader.readVariable()
        guard mode <= UInt64(UInt16.max) else {
            throw ClusterRoleError(.malformed, "A mode is out of range.")
        }
        guard hasTime else { return (path, UInt16(mode), nil) }
        let time = try reader.readVariable()
        guard time <= UInt64(TreeEntry.maximumTime) else {
            throw ClusterRoleError(.malformed, "A time is out of range.")
        }
        return (path, UInt16(mode), Int64(time))
    }

    static func readSize(from reader: inout ByteReader) throws -> Int64 {
        let size = try reader.readVariable()
        guard size <= UInt64(Int64.max) else {
            throw ClusterRoleError(.malformed, "A size is out of range.")
        }
        return Int64(size)
    }

    /// An entry as the canonical form has it.
    static func readEntry(
        _ kind: EntryKind,
        _ version: UInt8,
        from reader: inout ByteReader
    ) throws -> TreeEntry {
        let hasTime = version == timedVersion && kind == .file
        let (path, mode, modified) = try readHead(hasTime: hasTime, from: &reader)
        let content: TreeEntry.Content
        switch kind {
        case .directory: content = .directory
        case .file:
            let size = try readSize(from: &reader)
            content = .file(size: size, digest: try reader.readDigest())
        case .link: content = .link(target: TreePath(bytes: try reader.readBytes()))
        case .carriedFile, .twinFile: throw unknownKind
        }
        return TreeEntry(path: path, mode: mode, content: content, modified: modified)
    }
}
