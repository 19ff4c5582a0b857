internal import CReeveSystem

/// What the last scan of one source directory found, in a file of its own.
///
/// It is a memory, not a store: where it cannot be read or written, files are read instead.
final class ScanMemory {
    private let directory: OpenFile
    private let name: TreePath
    /// When this scan began, by the file system's clock.
    private let time: Int64
    /// What the last scan found.
    let known: TreeScanner.Known?

    /// - Parameter path: the source; each has a file of its own.
    init?(of path: String, links: LinkPolicy, in memory: String, limits: TreeLimits) {
        _ = reeve_make_directory(reeve_current_directory, memory, 0o755)
        name = TreePath(ContentDigest(of: Array(path.utf8)).description)
        let probe = name.appendingSuffix(".time")
        do {
            directory = try OpenFile.directory(memory)
            try directory.removeFile(probe)
            time = try directory.create(probe).status().modified
            try directory.removeFile(probe)
        } catch {
            return nil
        }
        known = Self.load(name, in: directory, links: links, limits: limits)
    }

    private static func load(
        _ name: TreePath,
        in directory: OpenFile,
        links: LinkPolicy,
        limits: TreeLimits
    ) -> TreeScanner.Known? {
        guard let entries = try? directory.file(name.appendingSuffix(".tree")),
            let bytes = try? entries.contents(limit: limits.manifestBytes),
            let manifest = try? TreeManifest(decoding: bytes, limits: limits, links: links),
            let file = try? directory.file(name),
            let marked = try? file.contents(limit: Int64(manifest.entries.count * 32 + 128)),
            let marks = FileMarks(decoding: marked, of: manifest)
        else { return nil }
        return TreeScanner.Known(
            manifest: manifest,
            marks: marks,
            rule: .contentAndChange
        )
    }

    func remember(_ scan: TreeScanner.Scan) {
        let marks = FileMarks(root: scan.manifest.id, time: time, marks: scan.marks)
        try? directory.replaceFile(name, with: marks.encoded)
        try? directory.replaceFile(
            name.appendingSuffix(".tree"),
            with: scan.manifest.encoded
        )
    }
}

extension TreePath {
    fileprivate func appendingSuffix(_ text: String) -> TreePath {
        TreePath(bytes: bytes + Array(text.utf8))
    }
}
