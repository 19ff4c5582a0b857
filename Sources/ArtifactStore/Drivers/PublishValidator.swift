public import ClusterRole

/// A tree that is about to be published, as validators see it.
public struct PublishCandidate: Sendable {
    /// Whose channel it goes to.
    public let tenant: TenantID
    /// Where to.
    public let channel: ChannelName
    /// The directory it was read from. Its files may be read; the manifest has their digests.
    public let directory: String
    /// Every entry, with its digest.
    public let tree: TreeManifest
    /// What it would change.
    public let changes: TreeChanges
    /// The channel's newest release; `nil` for a channel that begins.
    public let current: Release?
    /// How it is to be published.
    public let options: PublishOptions
}

/// What a validator says.
public enum PublishVerdict: Hashable, Sendable {
    case accept
    /// The reason is told to whoever publishes.
    case refuse(reason: String)
}

/// Looks at each tree before it is published: the place for a company's own rules, such as a
/// scanner for secrets, or a ban on Fridays.
///
/// It is asked after the tree was read and before anything is stored, and again when the same tree
/// is published again. It may be called for several channels at a time.
public protocol PublishValidator: Sendable {
    /// - Returns: whether it may be published.
    /// - Throws: anything, if that cannot be told now. Nothing is published then.
    func verdict(on candidate: PublishCandidate) async throws -> PublishVerdict
}

/// What a new tree changes, in paths and bytes.
public struct TreeChanges: Hashable, Sendable {
    /// Paths only the new tree has.
    public let added: [TreePath]
    /// Paths of both whose content or kind differs.
    public let changed: [TreePath]
    /// Paths of both of which only the mode, or the time that is kept, differs.
    public let modeChanged: [TreePath]
    /// Paths only the current release has.
    public let removed: [TreePath]
    /// The bytes of files that were added or changed, as they are in the new tree: no more than
    /// these travel to a worker that has the current release.
    public let newBytes: Int64
    /// The bytes of files that are gone, as they were.
    public let removedBytes: Int64

    /// Whether nothing differs.
    public var isEmpty: Bool {
        added.isEmpty && changed.isEmpty && modeChanged.isEmpty && removed.isEmpty
    }

    /// Compares two trees; `nil` is a tree without entries.
    public init(from old: TreeManifest?, to new: TreeManifest) {
        let difference = TreeDifference(from: old, to: new)
        added = difference.added
        changed = difference.changed
        modeChanged = difference.modeChanged
        removed = difference.removed
        let fresh = Set(added + changed)
        newBytes = new.entries.reduce(0) {
            fresh.contains($1.path) ? $0 + ($1.fileSize ?? 0) : $0
        }
        let gone = Set(removed)
        removedBytes = (old?.entries ?? []).reduce(0) {
            gone.contains($1.path) ? $0 + ($1.fileSize ?? 0) : $0
        }
    }
}
