/// What to do with names that some file systems take for one and the same: `Readme` and `README`, or an
/// `é` that is one code point and one that is two.
public enum NameClashes: Hashable, Sendable {
    /// They are two files, as on Linux.
    case allow
    /// The tree is refused: it may be laid out where they are one.
    case refuse

    /// - Throws: ``ArtifactStoreError`` with code `unsafePath`, naming both.
    func check(_ manifest: TreeManifest) throws(ArtifactStoreError) {
        guard self == .refuse else { return }
        var known: [String: TreePath] = [:]
        for entry in manifest.entries {
            // Equal strings are equal in Unicode's eyes, however they are composed.
            let folded = entry.path.description.lowercased()
            if let other = known.updateValue(entry.path, forKey: folded) {
                throw ArtifactStoreError(
                    .unsafePath,
                    "\(other) and \(entry.path) differ in case or composition only. Rename one of them.",
                    path: entry.path.description
                )
            }
        }
    }
}
