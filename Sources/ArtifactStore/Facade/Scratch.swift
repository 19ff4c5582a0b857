internal import ClusterRole

/// A directory for intermediate files that goes away with the work; if the process is killed, the
/// next one removes it.
final class Scratch {
    let directory: OpenFile
    private let parent: OpenFile
    private let name: TreePath

    private static let prefix = "reeve-publish-"

    init(in path: String, random: any RandomSource) throws(ArtifactStoreError) {
        let parent = try OpenFile.directory(path)
        parent.removeUnclaimed(prefix: Self.prefix)
        (name, directory) = try parent.makeClaimed(prefix: Self.prefix, random: random) {
            (name) throws(ArtifactStoreError) in
            try parent.makeDirectory(name, mode: 0o700)
            return try parent.directory(beneath: name)
        }
        self.parent = parent
    }

    deinit { try? parent.removeTree(name) }

    func makeDirectory(_ name: TreePath) throws(ArtifactStoreError) -> OpenFile {
        try directory.makeDirectory(name, mode: 0o700)
        return try directory.directory(beneath: name)
    }
}
