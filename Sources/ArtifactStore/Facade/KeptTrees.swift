internal import CReeveSystem

/// Which trees on this node's disk were lately found to be what they should be: by being laid out, or by
/// being looked at file by file. What was changed since is found by the next look, as in the tree that is
/// served: so a tree that is kept may be served again as long as one may be served on between two looks.
struct KeptTrees {
    private struct Proof {
        let at: Duration
        let inode: UInt64
    }

    private var proofs: [TreeID: Proof] = [:]
    /// How long a proof counts; `nil` for a node that makes sure each time.
    private let lifetime: Duration?

    /// - Parameter configuration: a tree counts for two intervals of the watch over the served one.
    init(_ configuration: SyncConfiguration) {
        lifetime =
            configuration.carryCheck == .marks
            ? (configuration.verifyInterval ?? .seconds(300)) * 2 : nil
    }

    mutating func prove(_ root: TreeID, in directory: WorkerDirectory, at now: Duration) {
        proofs[root] = directory.inode(of: root).map { Proof(at: now, inode: $0) }
    }

    mutating func forget(_ root: TreeID) { proofs[root] = nil }

    mutating func forgetAll() { proofs.removeAll() }

    /// Others went away.
    mutating func keep(only roots: Set<TreeID>) {
        proofs = proofs.filter { roots.contains($0.key) }
    }

    func isProved(_ root: TreeID, in directory: WorkerDirectory, at now: Duration) -> Bool {
        guard let lifetime, let proof = proofs[root] else { return false }
        return now - proof.at <= lifetime && directory.inode(of: root) == proof.inode
    }

    /// Whether a look at it is due, so that it goes on counting.
    func isWorn(_ root: TreeID, at now: Duration) -> Bool {
        guard let lifetime, let proof = proofs[root] else { return true }
        return now - proof.at > lifetime / 2
    }
}

extension WorkerDirectory {
    /// The directory of a tree that is laid out whole: with its manifest.
    fileprivate func inode(of root: TreeID) -> UInt64? {
        let name = Self.name(root)
        guard let tree = try? releases.status(of: name),
            (try? manifests.status(of: name)) != nil
        else { return nil }
        return tree.inode
    }
}
