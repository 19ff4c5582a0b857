internal import CReeveSystem

/// What a file's metadata said when its content was last proved.
struct FileStamp: Hashable {
    let inode: UInt64
    let size: Int64
    let modified: Int64
}

/// The files of a tree as they were when they were proved.
struct TreeProof {
    let root: TreeID
    /// By the index of the entry; `nil` for what is no file.
    let stamps: [FileStamp?]
}

/// Compares a laid-out tree with its manifest: names, kinds, permissions and links always, the
/// content of a file if its metadata is not what it was when it was last read.
struct TreeVerifier {
    private let manifest: TreeManifest
    private let root: OpenFile
    private let proof: TreeProof?
    private let buffer = WorkBuffer(capacity: 1 << 20)
    private var stamps: [FileStamp?]
    private(set) var drift = TreeDrift()

    /// - Parameter proof: what was proved before; without it every file is read.
    init(_ manifest: TreeManifest, in root: OpenFile, proof: TreeProof?) {
        self.manifest = manifest
        self.root = root
        self.proof = proof?.root == manifest.id ? proof : nil
        stamps = Array(repeating: nil, count: manifest.entries.count)
    }

    /// Looks at everything.
    ///
    /// - Returns: the proof for the next time; `nil` if anything differs.
    mutating func verify() -> TreeProof? {
        var children: [TreePath?: [Int]] = [:]
        for (index, entry) in manifest.entries.enumerated() {
            children[entry.path.parent, default: []].append(index)
        }
        verify(nil, children)
        return drift.isEmpty ? TreeProof(root: manifest.id, stamps: stamps) : nil
    }

    private mutating func verify(_ path: TreePath?, _ children: [TreePath?: [Int]]) {
        let expected = children[path] ?? []
        guard let directory = try? root.directory(beneath: path),
            let names = try? directory.names(limit: .max)
        else { return drift.note(path ?? TreePath("."), .removed) }
        let known = Set(expected.map { manifest.entries[$0].path.name })
        for name in names where !known.contains(name) {
            drift.note((path ?? TreePath(bytes: [])).appending(name.bytes), .added)
        }
        for index in expected {
            let entry = manifest.entries[index]
            guard verify(index, in: directory) else { continue }
            if entry.content == .directory { verify(entry.path, children) }
        }
    }

    /// - Returns: whether there is something of the right kind.
    private mutating func verify(_ index: Int, in directory: OpenFile) -> Bool {
        let entry = manifest.entries[index]
        var status = reeve_status()
        var modified: Int64 = 0
        let result = entry.path.name.withCPath {
            reeve_stamp_at(directory.descriptor, $0, &status, &modified)
        }
        guard result == 0 else {
            drift.note(entry.path, .removed)
            return false
        }
        let kind =
            switch entry.content {
            case .directory: Int(REEVE_KIND_DIRECTORY)
            case .file: Int(REEVE_KIND_FILE)
            case .link: Int(REEVE_KIND_LINK)
            }
        guard Int(status.kind) == kind else {
            drift.note(entry.path, .kind)
            return false
        }
        switch entry.content {
        case .directory:
            if UInt16(status.mode) & 0o777 != entry.mode { drift.note(entry.path, .permission) }
        case .link(let target):
            if self.target(entry.path.name, in: directory) != target {
                drift.note(entry.path, .link)
            }
        case .file(let size, let digest):
            let stamp = FileStamp(inode: status.inode, size: status.size, modified: modified)
            stamps[index] = stamp
            if UInt16(status.mode) != entry.mode { drift.note(entry.path, .permission) }
            if !entry.hasTime(of: TreeEntry.clamped(modified)) { drift.note(entry.path, .time) }
            guard status.size == size else {
                drift.note(entry.path, .content)
                return true
            }
            if let proof, proof.stamps[index] == stamp { return true }
            if self.digest(entry.path.name, in: directory, size: size) != digest {
                drift.note(entry.path, .content)
            }
        }
        return true
    }

    private func digest(_ name: TreePath, in directory: OpenFile, size: Int64) -> ContentDigest? {
        guard let file = try? directory.file(name) else { return nil }
        return try? TreeScanner.digest(of: file, size: size, buffer: buffer)
    }

    private func target(_ name: TreePath, in directory: OpenFile) -> TreePath? {
        let length = name.withCPath {
            reeve_read_link(
                directory.descriptor,
                $0,
                buffer.memory.baseAddress!.assumingMemoryBound(to: CChar.self),
                buffer.memory.count
            )
        }
        guard length >= 0 else { return nil }
        return TreePath(bytes: Array(buffer.memory[..<Int(length)]))
    }
}
