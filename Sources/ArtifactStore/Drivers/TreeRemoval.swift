internal import CReeveSystem

extension OpenFile {
    /// Removes what `name` is, with all beneath it. Links are removed, never followed. What does
    /// not exist is fine.
    func removeTree(_ name: TreePath) throws(ArtifactStoreError) {
        guard let status = try status(of: name) else { return }
        guard Int(status.kind) == Int(REEVE_KIND_DIRECTORY) else {
            return try removeFile(name)
        }
        let directory = try directory(beneath: name)
        if status.mode & 0o700 != 0o700 { try directory.changeMode(0o700) }
        for child in try directory.names(limit: .max) { try directory.removeTree(child) }
        let result = name.withCPath { reeve_remove_directory(descriptor, $0) }
        if result != -reeve_error_not_found {
            try check(result, "remove the directory", name.description)
        }
    }
}
