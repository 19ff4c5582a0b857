/// How the files under a release differ from what was released.
public struct TreeDrift: Hashable, Sendable {
    /// What is wrong with one path.
    public enum Change: String, Hashable, Sendable, Codable {
        /// The content of a file.
        case content
        /// Something that does not belong there.
        case added
        case removed
        /// The permission bits.
        case permission
        /// The time of a file's content, in a tree that keeps times.
        case time
        /// Where a symbolic link points to.
        case link
        /// A file instead of a directory, a link instead of a file, and so on.
        case kind
    }

    /// One path, relative to the tree, and what is wrong with it.
    public struct Finding: Hashable, Sendable {
        public let path: TreePath
        public let change: Change

        /// What a scan found.
        public init(path: TreePath, change: Change) {
            self.path = path
            self.change = change
        }
    }

    /// The first ``maximumFindings``, in no particular order.
    public private(set) var findings: [Finding] = []
    /// How many paths differ.
    public private(set) var count = 0

    /// 100: enough to see what happened; a removed tree has as many as it had files.
    public static let maximumFindings = 100

    /// Whether everything is as released.
    public var isEmpty: Bool { count == 0 }

    init() {}

    mutating func note(_ path: TreePath, _ change: Change) {
        count += 1
        if findings.count < Self.maximumFindings {
            findings.append(Finding(path: path, change: change))
        }
    }
}
