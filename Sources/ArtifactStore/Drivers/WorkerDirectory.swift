internal import CReeveSystem
internal import ClusterRole

/// The directory in which a worker keeps one channel:
///
///     current -> releases/<root>      what is served, for programs that only know a path
///     releases/<root>/                whole trees: the active one, and the one before
///     manifests/<root>                their manifests
///     marks/<root>                    FileMarks: which of their files were not written to since
///     staging/                        what is being laid out; emptied at each start
///     state                           ActivationState
///     trust                           TrustCore: the newest root record and pointer
///     diary                           WorkerDiary: which life of the node this is, when it last looked
///     lock                            held by the one process that uses the directory
final class WorkerDirectory {
    let path: String
    let root: OpenFile
    let releases: OpenFile
    let manifests: OpenFile
    private let marks: OpenFile
    let staging: OpenFile
    private let lock: OpenFile

    private static let state: TreePath = "state"
    /// A state has two signed records and 32 refusals of at most a few kilobytes.
    private static let maximumStateBytes: Int64 = 1 << 20

    /// Opens the directory, making what is missing, and takes its lock.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `locked`, naming the process that holds it.
    convenience init(path: String) throws(ArtifactStoreError) {
        try self.init(path: path, after: nil)
    }

    /// The same place once more, after the directory or parts of it went away.
    func reopened() throws(ArtifactStoreError) -> WorkerDirectory {
        try WorkerDirectory(path: path, after: self)
    }

    private init(path: String, after before: WorkerDirectory?) throws(ArtifactStoreError) {
        self.path = path
        let made = reeve_make_directory(reeve_current_directory, path, 0o755)
        if made != -reeve_error_exists { try check(made, "make the directory", path) }
        root = try OpenFile.directory(path)
        if let before, try root.status().inode == before.root.status().inode {
            lock = before.lock
        } else {
            lock = try Self.lock(path, in: root)
        }
        for name in ["releases", "manifests", "marks", "staging"] as [TreePath] {
            try root.makeDirectory(name)
        }
        releases = try root.directory(beneath: "releases")
        manifests = try root.directory(beneath: "manifests")
        marks = try root.directory(beneath: "marks")
        staging = try root.directory(beneath: "staging")
        for leftover in try staging.names(limit: .max) { try staging.removeTree(leftover) }
        try root.sync()
    }

    private static func lock(
        _ path: String,
        in root: OpenFile
    ) throws(ArtifactStoreError) -> OpenFile {
        let lock = OpenFile(
            descriptor: try check(reeve_open_lock(root.descriptor, "lock"), "open", "\(path)/lock")
        )
        let locked = reeve_lock_exclusive(lock.descriptor)
        if locked == -reeve_error_would_block {
            let holder = (try? lock.contents(limit: 64)) ?? []
            throw ArtifactStoreError(
                .locked,
                "Process \(String(decoding: holder, as: UTF8.self)) uses \(path). Stop it, or give this "
                    + "node a directory of its own.",
                path: path
            )
        }
        try check(locked, "lock", path)
        let process = Array("\(reeve_process_id())".utf8)
        try check(
            process.withUnsafeBytes {
                reeve_replace_content(lock.descriptor, $0.baseAddress, $0.count)
            },
            "write",
            "\(path)/lock"
        )
        return lock
    }

    // MARK: - State

    /// The remembered state. A damaged one is set aside as `state.damaged`.
    ///
    /// - Returns: the state, and the error if it was damaged: then the node begins anew.
    func loadState(
        tenant: TenantID,
        channel: ChannelName
    ) throws(ArtifactStoreError) -> (ActivationState, damage: ArtifactStoreError?) {
        guard try root.status(of: Self.state) != nil else { return (ActivationState(), nil) }
        let bytes = try root.file(Self.state).contents(limit: Self.maximumStateBytes)
        do {
            return (try ActivationState(decoding: bytes, tenant: tenant, channel: channel), nil)
        } catch  where error.code == .malformed {
            try root.rename(Self.state, to: "state.damaged")
            try root.sync()
            return (ActivationState(), error)
        }
    }

    func saveState(
        _ state: ActivationState,
        tenant: TenantID,
        channel: ChannelName
    ) throws(ArtifactStoreError) {
        try root.replaceFile(Self.state, with: state.encoded(tenant: tenant, channel: channel))
    }

    // MARK: - Trees

    func treePath(_ root: TreeID) -> String { "\(path)/releases/\(root)" }

    static func name(_ root: TreeID) -> TreePath { TreePath(root.description) }

    /// The tree of a release as it was laid out, or `nil` if it or its manifest is not there. The
    /// manifest is proved by the root; the files are proved when they are read.
    func tree(
        _ release: Release,
        limits: TreeLimits,
        by check: CarryCheck = .digests
    ) -> TreeReader? {
        do {
            let name = Self.name(release.root)
            guard try releases.status(of: name) != nil, try manifests.status(of: name) != nil
            else { return nil }
            guard let manifest = manifest(of: release, limits: limits) else { return nil }
            return TreeReader(
                manifest,
                in: try releases.directory(beneath: name),
                marks: check == .marks ? knownMarks(of: manifest) : nil
            )
        } catch {
            return nil
        }
    }

    /// The manifest of a release, or `nil` if it is not there or not the release's.
    func manifest(of release: Release, limits: TreeLimits) -> TreeManifest? {
        do {
            let bytes = try manifests.file(Self.name(release.root))
                .contents(limit: limits.manifestBytes)
            let manifest = try TreeManifest(decoding: bytes, limits: limits, links: release.links)
            return manifest.id == release.root ? manifest : nil
        } catch {
            return nil
        }
    }

    private func knownMarks(of manifest: TreeManifest) -> FileMarks? {
        // At most 29 bytes a mark.
        let limit = Int64(manifest.entries.count * 32 + 128)
        guard let file = try? marks.file(Self.name(manifest.id)),
            let bytes = try? file.contents(limit: limit)
        else { return nil }
        return FileMarks(decoding: bytes, of: manifest)
    }

    /// Whether the tree on the disk is, entry by entry, the release's: by each file's bytes, or by
    /// the marks of files that were not written to.
    func isWhole(_ release: Release, limits: TreeLimits, by check: CarryCheck = .digests) -> Bool {
        wholeTree(release, limits: limits, by: check) != nil
    }

    /// The manifest of a tree that is whole; `nil` for any other.
    func wholeTree(
        _ release: Release,
        limits: TreeLimits,
        by check: CarryCheck
    ) -> TreeManifest? {
        do {
            let directory = try releases.directory(beneath: Self.name(release.root))
            var known: TreeScanner.Known?
            if check == .marks, let tree = tree(release, limits: limits, by: .marks),
                let marks = tree.marks
            {
                known = TreeScanner.Known(manifest: tree.manifest, marks: marks, rule: .content)
            }
            let manifest = known?.manifest ?? manifest(of: release, limits: limits)
            let found = try TreeScanner.scan(
                directory,
                limits: limits,
                links: release.links,
                keepsTimes: manifest?.keepsTimes ?? false,
                known: known
            )
            return found.manifest.id == release.root ? found.manifest : nil
        } catch {
            return nil
        }
    }

    /// Something being laid out.
    struct Stage {
        let name: TreePath
        let directory: OpenFile
    }

    func makeStage(random: any RandomSource) throws(ArtifactStoreError) -> Stage {
        let name = TreePath(IncarnationID(from: random).description)
        try staging.makeDirectory(name)
        return Stage(name: name, directory: try staging.directory(beneath: name))
    }

    func discard(_ stage: Stage) { try? staging.removeTree(stage.name) }

    /// Gives a finished stage its place under `releases`, durably. A tree that is there already was
    /// found damaged and is replaced in one step.
    func keep(
        _ stage: Stage,
        as manifest: TreeManifest,
        marks found: [FileMark?]
    ) throws(ArtifactStoreError) {
        let name = Self.name(manifest.id)
        try manifests.replaceFile(name, with: manifest.encoded)
        try writeMarks(found, of: manifest)
        try root.syncFileSystem()
        var isThere = try releases.status(of: name) != nil
        if isThere, exchange(stage.name, name) < 0 {
            // A file system that cannot exchange: the damaged tree goes first.
            try releases.removeTree(name)
            isThere = false
        }
        if !isThere {
            let result = stage.name.withCPath { from in
                name.withCPath {
                    reeve_rename_new(staging.descriptor, from, releases.descriptor, $0)
                }
            }
            try check(result, "rename", name.description)
        }
        try releases.sync()
        if isThere { discard(stage) }
    }

    /// The time of the marks is that of the file they are kept in: what was written in the same
    /// tick of the file system's clock is read again.
    private func writeMarks(
        _ found: [FileMark?],
        of manifest: TreeManifest
    ) throws(ArtifactStoreError) {
        let name = Self.name(manifest.id)
        try marks.removeFile(name)
        let file = try marks.create(name)
        let time = try file.status().modified
        try file.write(FileMarks(root: manifest.id, time: time, marks: found).encoded)
    }

    private func exchange(_ staged: TreePath, _ name: TreePath) -> Int32 {
        staged.withCPath { from in
            name.withCPath {
                reeve_rename_exchange(staging.descriptor, from, releases.descriptor, $0)
            }
        }
    }

    /// Points `current` at a release's tree: a link under another name, then a rename.
    func pointCurrent(to release: Release) throws(ArtifactStoreError) {
        let beside: TreePath = "current.new"
        try root.removeFile(beside)
        try check(
            reeve_make_link("releases/\(release.root)", root.descriptor, "current.new"),
            "make the link",
            "current"
        )
        try root.rename(beside, to: "current")
        try root.sync()
    }

    /// Removes `current`: nothing is served any more.
    func pointNowhere() throws(ArtifactStoreError) {
        try root.removeFile("current")
        try root.sync()
    }

    /// Whether the directory is still the one that `path` names: not removed, not unmounted.
    var isInPlace: Bool {
        guard let mine = try? root.status(), let there = try? OpenFile.directory(path).status(),
            mine.inode == there.inode, mine.device == there.device
        else { return false }
        let parts: [(TreePath, OpenFile)] = [
            ("releases", releases), ("manifests", manifests), ("staging", staging),
        ]
        return parts.allSatisfy { name, directory in
            guard let found = try? root.status(of: name), let held = try? directory.status()
            else { return false }
            return found.inode == held.inode
        }
    }

    /// Whether `current` points at the release's tree.
    func isCurrent(_ release: Release) -> Bool {
        var buffer = [CChar](repeating: 0, count: 256)
        let length = reeve_read_link(root.descriptor, "current", &buffer, buffer.count)
        guard length > 0 else { return false }
        let target = buffer.prefix(Int(length)).map { UInt8(bitPattern: $0) }
        return target == Array("releases/\(release.root)".utf8)
    }

    /// Removes every tree but those in `kept`.
    func removeTrees(except kept: Set<TreeID>) throws(ArtifactStoreError) {
        let names = Set(kept.map(Self.name))
        for directory in [releases, manifests, marks] {
            for name in try directory.names(limit: .max).sorted() where !names.contains(name) {
                try directory.removeTree(name)
            }
        }
    }
}
