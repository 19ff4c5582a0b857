/// One entry of a tree.
public struct TreeEntry: Hashable, Sendable {
    /// What the entry is.
    public enum Content: Hashable, Sendable {
        case directory
        /// A file: its size in bytes and the digest of its content.
        case file(size: Int64, digest: ContentDigest)
        /// A symbolic link and the bytes it points to.
        case link(target: TreePath)
    }

    /// Relative to the tree.
    public let path: TreePath
    /// The permission bits, `0o000` to `0o777`. A link has `0o777`.
    public let mode: UInt16
    /// What it is.
    public let content: Content
    /// When a file's content was last changed, in whole seconds since 1970, 0 to ``maximumTime``; `nil` in a
    /// tree that keeps no times, and for what is no file.
    public let modified: Int64?

    /// The latest time that is kept: in the year 2242, which every file system in use can hold.
    public static let maximumTime: Int64 = (1 << 33) - 1

    /// An entry, which is checked when a manifest is made of it.
    public init(path: TreePath, mode: UInt16, content: Content, modified: Int64? = nil) {
        self.path = path
        self.mode = mode
        self.content = content
        self.modified = modified
    }

    /// What a tree keeps of a time in nanoseconds.
    static func clamped(_ nanoseconds: Int64) -> Int64 {
        max(0, min(maximumTime, nanoseconds / 1_000_000_000))
    }

    /// Whether a file with this time may stand for it.
    func hasTime(of seconds: Int64) -> Bool { modified == nil || modified == seconds }

    /// The size of a file; `nil` for anything else.
    public var fileSize: Int64? {
        if case .file(let size, _) = content { size } else { nil }
    }

    /// The digest of a file's content; `nil` for anything else.
    public var fileDigest: ContentDigest? {
        if case .file(_, let digest) = content { digest } else { nil }
    }
}

/// What a tree consists of: every entry, sorted by the bytes of its path.
///
/// Owners are not part of a tree, and times of files only if the publisher wants them kept. A manifest that exists is valid: it can only be made
/// through ``init(entries:limits:links:)`` or ``init(decoding:limits:links:)``, which check it.
public struct TreeManifest: Hashable, Sendable {
    /// Sorted, unique, each beneath a directory of the tree.
    public let entries: [TreeEntry]
    /// The canonical binary form; its digest is ``id``.
    public let encoded: [UInt8]
    /// The tree's id.
    public let id: TreeID

    init(checked entries: [TreeEntry], encoded: [UInt8]) {
        self.entries = entries
        self.encoded = encoded
        id = TreeID(ContentDigest(of: encoded))
    }

    public static func == (left: Self, right: Self) -> Bool { left.id == right.id }
    public func hash(into hasher: inout Hasher) { hasher.combine(id) }

    /// Whether it holds the times of its files.
    public var keepsTimes: Bool { encoded.first == Self.timedVersion }

    /// How many files it has.
    public var fileCount: Int { entries.count { $0.fileSize != nil } }
    /// The sum of its files' sizes, in bytes.
    public var totalBytes: Int64 { entries.reduce(0) { $0 + ($1.fileSize ?? 0) } }

    /// The place of a path among the entries, if it is one.
    func index(of path: TreePath) -> Int? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].path < path { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].path == path ? low : nil
    }

    // Not inlined: Swift 6.3.1 crashes while it optimizes functions that take an entry apart and throw
    // an error with its path.

    /// The size of a file entry; `nil` for any other.
    @inline(never)
    func fileSize(at index: Int) -> Int64? { entries[index].fileSize }

    /// The digest of a file entry; `nil` for any other.
    @inline(never)
    func fileDigest(at index: Int) -> ContentDigest? { entries[index].fileDigest }
}
