/// Opens the files of a laid-out tree by entry. It keeps the directory of the last file open, since
/// entries come sorted.
final class TreeReader {
    let manifest: TreeManifest
    private let root: OpenFile
    private var directory: (path: TreePath?, file: OpenFile)?

    init(_ manifest: TreeManifest, in root: OpenFile) {
        self.manifest = manifest
        self.root = root
    }

    /// The directory that holds `path`, opened without following a link.
    func parent(of path: TreePath) throws(ArtifactStoreError) -> OpenFile {
        let parent = path.parent
        if let directory, directory.path == parent { return directory.file }
        let file = try root.directory(beneath: parent)
        directory = (parent, file)
        return file
    }

    func open(_ entry: Int) throws(ArtifactStoreError) -> OpenFile {
        let path = manifest.entries[entry].path
        return try parent(of: path).file(path.name)
    }
}
