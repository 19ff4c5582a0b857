/// What makes a list of entries a tree that is safe to lay out.
///
/// Entries are checked one by one, in order, before anything is made of them: a name that is
/// refused never reaches the file system.
struct TreeRules {
    private let limits: TreeLimits
    private let links: LinkPolicy
    private let count: Int
    private var previous: TreePath?
    private var totalBytes: Int64 = 0
    private var directories: Set<TreePath> = []
    private var knownParent: [UInt8] = []
    private var targets: [TreePath: TreePath] = [:]
    private var linkPaths: [TreePath] = []
    /// How many files there were, and how many of them had a time.
    private var files = (all: 0, timed: 0)

    init(limits: TreeLimits, links: LinkPolicy, count: Int) {
        self.limits = limits
        self.links = links
        self.count = count
    }

    func checkCount(_ count: Int) throws(ArtifactStoreError) {
        guard count <= limits.entries else {
            throw exceeded("The tree has \(count) entries; the limit is \(limits.entries).", nil)
        }
    }

    func checkManifest(bytes: Int) throws(ArtifactStoreError) {
        guard Int64(bytes) <= limits.manifestBytes else {
            throw exceeded(
                "The manifest has \(bytes) bytes; the limit is \(limits.manifestBytes).",
                nil
            )
        }
    }

    mutating func check(_ entry: TreeEntry) throws(ArtifactStoreError) {
        if previous == nil { try checkCount(count) }
        try checkPath(entry.path)
        if let previous, !(previous < entry.path) {
            throw ArtifactStoreError(
                .unsafePath,
                "\(entry.path) appears twice or out of order. Entries are unique and sorted by bytes.",
                path: entry.path.description
            )
        }
        previous = entry.path
        if let modified = entry.modified {
            guard entry.fileSize != nil, (0...TreeEntry.maximumTime).contains(modified) else {
                throw .malformed("\(entry.path) has a time that cannot be kept.")
            }
        }
        guard entry.mode <= 0o777 else {
            throw ArtifactStoreError(
                .unsupportedEntry,
                "\(entry.path) has the set-uid, set-gid or sticky bit. Remove it with chmod.",
                path: entry.path.description
            )
        }
        switch entry.content {
        case .directory: directories.insert(entry.path)
        case .file(let size, _):
            files.all += 1
            if entry.modified != nil { files.timed += 1 }
            try checkFile(entry.path, size: size)
        case .link(let target):
            try checkTarget(target, of: entry)
            targets[entry.path] = target
            linkPaths.append(entry.path)
        }
    }

    /// Where links lead can be said only when all of them are known.
    func checkLinks() throws(ArtifactStoreError) {
        for path in linkPaths { try checkStaysInside(path) }
    }

    /// A tree keeps the times of all its files or of none, and has one form.
    func checkTimes(kept: Bool) throws(ArtifactStoreError) {
        guard files.timed == (kept ? files.all : 0), !kept || files.all > 0 else {
            throw .malformed("The tree keeps the times of some files only.")
        }
    }

    // MARK: - One entry

    private mutating func checkPath(_ path: TreePath) throws(ArtifactStoreError) {
        let bytes = path.bytes
        guard bytes.count <= limits.pathBytes else {
            throw exceeded(
                "A path has \(bytes.count) bytes; the limit is \(limits.pathBytes).",
                path
            )
        }
        try checkParts(of: path)
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return }
        // Sorted entries mostly lie in the directory of the one before.
        if knownParent.count == slash, bytes.starts(with: knownParent) { return }
        let parent = TreePath(bytes: Array(bytes[..<slash]))
        guard directories.contains(parent) else {
            throw unsafe("\(path) lies in something that is not a directory of the tree.", path)
        }
        knownParent = parent.bytes
    }

    private func checkParts(of path: TreePath) throws(ArtifactStoreError) {
        let bytes = path.bytes
        guard bytes.first != UInt8(ascii: "/") else {
            throw unsafe("\(path) is absolute; paths are relative to their tree.", path)
        }
        var start = 0
        for end in 0...bytes.count {
            if end < bytes.count {
                guard bytes[end] != 0 else { throw unsafe("A path holds a NUL byte.", path) }
                guard bytes[end] == UInt8(ascii: "/") else { continue }
            }
            let length = end - start
            let isDots = (length == 1 || length == 2) && bytes[start] == 46 && bytes[end - 1] == 46
            guard length > 0, !isDots else {
                throw unsafe("\(path) has an empty part, or one that is . or ..", path)
            }
            guard length <= limits.nameBytes else {
                throw exceeded(
                    "A name has \(length) bytes; the limit is \(limits.nameBytes).",
                    path
                )
            }
            start = end + 1
        }
    }

    private mutating func checkFile(
        _ path: TreePath,
        size: Int64
    ) throws(ArtifactStoreError) {
        guard size >= 0, size <= limits.fileBytes else {
            throw exceeded(
                "\(path) has \(size) bytes; the limit of a file is \(limits.fileBytes).",
                path
            )
        }
        guard size <= limits.totalBytes - totalBytes else {
            throw exceeded(
                "The files have more than \(limits.totalBytes) bytes, the limit of a tree.",
                path
            )
        }
        totalBytes += size
    }

    private func checkTarget(
        _ target: TreePath,
        of entry: TreeEntry
    ) throws(ArtifactStoreError) {
        guard !target.bytes.isEmpty, !target.bytes.contains(0), entry.mode == 0o777 else {
            throw unsafe("\(entry.path) is a link without a target, or with a mode.", entry.path)
        }
        guard target.bytes.count <= limits.linkTargetBytes else {
            throw exceeded(
                "The target of \(entry.path) has \(target.bytes.count) bytes; the limit is "
                    + "\(limits.linkTargetBytes).",
                entry.path
            )
        }
        guard links == .allowAbsolute || target.bytes.first != UInt8(ascii: "/") else {
            throw ArtifactStoreError(
                .unsafeLink,
                "\(entry.path) points to the absolute path \(target). Make it relative, or allow "
                    + "absolute links when publishing.",
                path: entry.path.description
            )
        }
    }

    // MARK: - Links

    /// As many links as Linux follows in one path (path_resolution(7)); more is an error there.
    private static let maximumHops = 40

    /// Walks where a link leads, as the kernel would, through other links of the tree too: spelling
    /// alone does not tell, because `..` after a link goes up from where that link leads.
    private func checkStaysInside(_ path: TreePath) throws(ArtifactStoreError) {
        var place = path.parent.map { Self.parts(of: $0) } ?? []
        var ahead = Array(Self.parts(of: targets[path] ?? path).reversed())
        if Self.isAbsolute(targets[path]) { return }
        var hops = 0
        while let part = ahead.popLast() {
            if part.isEmpty || part.elementsEqual([46]) { continue }
            if part.elementsEqual([46, 46]) {
                guard place.popLast() != nil else { throw escaping(path) }
                continue
            }
            place.append(part)
            let here = TreePath(bytes: Array(place.joined(separator: [UInt8(ascii: "/")])))
            guard let target = targets[here] else { continue }
            hops += 1
            // An absolute link on the way was allowed on its own account; a loop leads nowhere.
            if hops > Self.maximumHops || Self.isAbsolute(target) { return }
            place.removeLast()
            ahead.append(contentsOf: Self.parts(of: target).reversed())
        }
    }

    private static func isAbsolute(_ path: TreePath?) -> Bool {
        path?.bytes.first == UInt8(ascii: "/")
    }

    private static func parts(of path: TreePath) -> [ArraySlice<UInt8>] {
        path.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    }

    // MARK: - Errors

    private func escaping(_ path: TreePath) -> ArtifactStoreError {
        ArtifactStoreError(
            .unsafeLink,
            "\(path) points to \(targets[path] ?? path), which leaves the tree. Point it inside.",
            path: path.description
        )
    }

    private func unsafe(_ message: String, _ path: TreePath) -> ArtifactStoreError {
        ArtifactStoreError(.unsafePath, message, path: path.description)
    }

    private func exceeded(_ message: String, _ path: TreePath?) -> ArtifactStoreError {
        ArtifactStoreError(
            .limitExceeded,
            message + " Make the tree smaller, or raise the limit on both ends.",
            path: path?.description
        )
    }
}
