internal import CReeveSystem

/// Opens directories of a laid-out tree. It keeps the last one open, since entries come sorted.
final class DirectoryCursor {
    private let root: OpenFile
    private var last: (path: [UInt8], file: OpenFile)?

    init(_ root: OpenFile) { self.root = root }

    /// The directory that holds `path`, opened without following a link.
    func parent(of path: TreePath) throws(ArtifactStoreError) -> OpenFile {
        let length = path.bytes.lastIndex(of: UInt8(ascii: "/")) ?? 0
        if let last, last.path.count == length, Self.begins(path.bytes, with: last.path) {
            return last.file
        }
        let parent = Array(path.bytes[..<length])
        let file = try root.directory(beneath: TreePath(bytes: parent))
        last = (parent, file)
        return file
    }

    func open(_ path: TreePath) throws(ArtifactStoreError) -> OpenFile {
        try parent(of: path).file(path.name)
    }

    private static func begins(_ bytes: [UInt8], with prefix: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            prefix.withUnsafeBytes {
                reeve_compare(bytes.baseAddress, $0.baseAddress, prefix.count) == 0
            }
        }
    }
}

/// Opens the files of a laid-out tree by entry.
final class TreeReader {
    let manifest: TreeManifest
    /// What tells that a file was not written to since it was digested, if that was kept.
    let marks: FileMarks?
    private let cursor: DirectoryCursor

    init(_ manifest: TreeManifest, in root: OpenFile, marks: FileMarks? = nil) {
        self.manifest = manifest
        self.marks = marks
        cursor = DirectoryCursor(root)
    }

    func parent(of path: TreePath) throws(ArtifactStoreError) -> OpenFile {
        try cursor.parent(of: path)
    }

    func open(_ entry: Int) throws(ArtifactStoreError) -> OpenFile {
        try cursor.open(manifest.entries[entry].path)
    }
}
