internal import Synchronization

/// The root records a manager hands to its workers: a chain without gaps.
///
/// Root records are made and signed away from the managers, where the root keys are, and installed
/// here. A manager cannot make one.
public final class RootRecords: Sendable {
    private let directory: OpenFile?
    private let chain: Mutex<[SignedRoot]>

    /// The most records: one a day for more than two years.
    public static let maximumRecords = 1_024

    /// A chain in memory.
    public init() {
        directory = nil
        chain = Mutex([])
    }

    /// The chain of a directory, as files `1.root`, `2.root`, …; it is made if it is missing.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `fileSystem`, or as ``install(_:)`` when a file of
    ///   the chain is damaged or does not follow on the one before.
    public init(directory path: String) throws(ArtifactStoreError) {
        let parent = try OpenFile.directory(TreePath(path).parentPath)
        try parent.makeDirectory(TreePath(path).name, mode: 0o700)
        let directory = try OpenFile.directory(path)
        self.directory = directory
        var found: [SignedRoot] = []
        while found.count < Self.maximumRecords {
            let name = Self.name(Int64(found.count) + 1)
            guard try directory.status(of: name) != nil else { break }
            let bytes = try directory.file(name)
                .contents(limit: Int64(SignedRoot.maximumEncodedBytes))
            let root = try SignedRoot(decoding: bytes)
            try Self.check(root, after: found.last)
            found.append(root)
        }
        chain = Mutex(found)
    }

    private static func name(_ version: Int64) -> TreePath { TreePath("\(version).root") }

    /// The record in force; `nil` while workers go by plain keys.
    public var newest: SignedRoot? { chain.withLock { $0.last } }

    /// The records after a version, in turn, at most ``TrustAnswer/maximumRoots``.
    public func records(after version: Int64) -> [SignedRoot] {
        chain.withLock { chain in
            guard version < Int64(chain.count) else { return [] }
            return Array(chain.dropFirst(Int(max(0, version))).prefix(TrustAnswer.maximumRoots))
        }
    }

    /// Adds the next record. When it returns, it survives a power cut.
    ///
    /// The first one is to be signed by the workers' plain key too, so that they can follow.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `untrustedSignature` unless enough keys of the
    ///   record before and of its own signed it; `belowFloor` unless it is the next version;
    ///   `limitExceeded`; `fileSystem`.
    public func install(_ root: SignedRoot) throws(ArtifactStoreError) {
        try chain.withLock { chain throws(ArtifactStoreError) in
            try Self.add(root, to: &chain, in: directory)
        }
    }

    private static func add(
        _ root: SignedRoot,
        to chain: inout [SignedRoot],
        in directory: OpenFile?
    ) throws(ArtifactStoreError) {
        guard chain.count < maximumRecords else {
            throw ArtifactStoreError(
                .limitExceeded,
                "There are \(maximumRecords) root records. Give workers a newer one to begin with, and "
                    + "begin a new chain."
            )
        }
        try check(root, after: chain.last)
        try directory?.replaceFile(name(root.root.version), with: root.encoded)
        chain.append(root)
    }

    private static func check(
        _ root: SignedRoot,
        after last: SignedRoot?
    ) throws(ArtifactStoreError) {
        if let last {
            var keys = try TrustedKeys(pinning: last)
            try keys.accept(root)
        } else {
            guard root.root.version == 1 else {
                throw ArtifactStoreError(
                    .belowFloor,
                    "The first root record has version 1, not \(root.root.version)."
                )
            }
            try root.verifyOwnSignatures()
        }
    }
}
