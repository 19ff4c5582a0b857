/// What an update changes.
public struct TreeDifference: Hashable, Sendable {
    /// Paths only the new tree has.
    public private(set) var added: [TreePath] = []
    /// Paths only the old tree had.
    public private(set) var removed: [TreePath] = []
    /// Paths of both trees whose content or kind differs.
    public private(set) var changed: [TreePath] = []
    /// Paths of both trees of which only the mode, or the time that is kept, differs.
    public private(set) var modeChanged: [TreePath] = []

    /// Whether the trees are equal.
    public var isEmpty: Bool {
        added.isEmpty && removed.isEmpty && changed.isEmpty && modeChanged.isEmpty
    }

    /// How many paths differ in any way.
    public var count: Int { added.count + removed.count + changed.count + modeChanged.count }

    /// Compares two trees. `nil` is a tree without entries.
    public init(from old: TreeManifest?, to new: TreeManifest) {
        let old = old?.entries ?? []
        let new = new.entries
        var (left, right) = (0, 0)
        while left < old.count || right < new.count {
            if right == new.count || (left < old.count && old[left].path < new[right].path) {
                removed.append(old[left].path)
                left += 1
            } else if left == old.count || new[right].path < old[left].path {
                added.append(new[right].path)
                right += 1
            } else {
                if old[left].content != new[right].content {
                    changed.append(new[right].path)
                } else if old[left].mode != new[right].mode
                    || old[left].modified != new[right].modified
                {
                    modeChanged.append(new[right].path)
                }
                left += 1
                right += 1
            }
        }
    }
}
