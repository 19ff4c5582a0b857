internal import CReeveSystem
internal import ClusterRole

extension OpenFile {
    /// Takes the lock (flock) of this file or directory, which ends with the process at the latest.
    ///
    /// - Returns: whether nobody else holds it.
    func claim() throws(ArtifactStoreError) -> Bool {
        let result = reeve_lock_exclusive(descriptor)
        if result == -reeve_error_would_block { return false }
        try check(result, "lock", nil)
        return true
    }

    /// Makes something of a new name in this directory and claims it, so that
    /// ``removeUnclaimed(prefix:)`` of another process leaves it alone.
    func makeClaimed(
        prefix: String,
        random: any RandomSource,
        _ make: (TreePath) throws(ArtifactStoreError) -> OpenFile
    ) throws(ArtifactStoreError) -> (name: TreePath, file: OpenFile) {
        while true {
            let name = TreePath(prefix + IncarnationID(from: random).description)
            let made = try make(name)
            // Between making and claiming, a process that starts may have taken it for a leftover.
            if try made.claim(), try status(of: name)?.inode == made.status().inode {
                return (name, made)
            }
        }
    }

    /// Removes what processes that are gone left behind. What cannot be removed stays.
    func removeUnclaimed(prefix: String) {
        let start = Array(prefix.utf8)
        for name in (try? names(limit: .max)) ?? [] where name.bytes.starts(with: start) {
            guard let file = try? file(name), (try? file.claim()) == true else { continue }
            try? removeTree(name)
        }
    }
}
