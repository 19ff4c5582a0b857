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

    /// An entry, which is checked when a manifest is made of it.
    public init(path: TreePath, mode: UInt16, content: Content) {
        self.path = path
        self.mode = mode
        self.content = content
    }

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
/// Owners and times are not part of a tree. A manifest that exists is valid: it can only be made
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

    /// How many files it has.
    public var fileCount: Int { entries.count { $0.fileSize != nil } }
    /// The sum of its files' sizes, in bytes.
    public var totalBytes: Int64 { entries.reduce(0) { $0 + ($1.fileSize ?? 0) } }
}
