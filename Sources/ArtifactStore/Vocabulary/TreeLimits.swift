/// How large a tree may be. Both ends check it, before they allocate.
public struct TreeLimits: Hashable, Sendable {
    /// Entries of all kinds. 200,000: a manifest is held in memory, at about 300 bytes an entry.
    public var entries = 200_000
    /// Bytes of one path. 1,024: with a node's own directory before it, it stays below PATH_MAX.
    public var pathBytes = 1_024
    /// Bytes of one part of a path. 255: what Linux file systems allow.
    public var nameBytes = 255
    /// Bytes of one link's target. 1,024, as for paths.
    public var linkTargetBytes = 1_024
    /// Bytes of one file. 8 GiB: anything larger is data, not an artifact.
    public var fileBytes: Int64 = 8 << 30
    /// Bytes of all files. 64 GiB: a worker keeps three trees on its disk.
    public var totalBytes: Int64 = 64 << 30
    /// Bytes of an encoded manifest. 64 MiB: it is held in memory.
    public var manifestBytes: Int64 = 64 << 20

    /// The defaults.
    public init() {}
}

/// Where the symbolic links of a tree may point.
public enum LinkPolicy: String, Hashable, Sendable, CaseIterable, Codable {
    /// Only into the tree itself, wherever links on the way lead.
    case insideTree
    /// Into the tree, or to an absolute path of the machine that serves it. Relative links that
    /// leave the tree are refused all the same: what they mean depends on where the tree lies.
    case allowAbsolute
}
