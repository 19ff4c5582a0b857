internal import CReeveSystem
internal import ClusterRole

/// A directory for intermediate files that goes away with the work.
final class Scratch {
    let directory: OpenFile
    private let parent: OpenFile
    private let name: TreePath

    init(in path: String, random: any RandomSource) throws(ArtifactStoreError) {
        parent = try OpenFile.directory(path)
        name = TreePath("reeve-publish-\(IncarnationID(from: random))")
        try parent.makeDirectory(name, mode: 0o700)
        directory = try parent.directory(beneath: name)
    }

    deinit { try? parent.removeTree(name) }

    func makeDirectory(_ name: TreePath) throws(ArtifactStoreError) -> OpenFile {
        try directory.makeDirectory(name, mode: 0o700)
        return try directory.directory(beneath: name)
    }
}
