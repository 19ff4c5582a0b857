internal import CReeveSystem

/// Lays a tree out anew from what is on the disk: each file from wherever its content is still
/// whole.
struct TreeRepair {
    private let manifest: TreeManifest
    private let sources: [(reader: TreeReader, files: [ContentDigest: [Int]])]
    private let buffer = WorkBuffer(capacity: 1 << 20)

    /// - Parameter sources: trees that may hold the files; none of them is trusted.
    init(_ manifest: TreeManifest, from sources: [TreeReader]) {
        self.manifest = manifest
        self.sources = sources.map { reader in
            var files: [ContentDigest: [Int]] = [:]
            for (index, entry) in reader.manifest.entries.enumerated() {
                if let digest = entry.fileDigest { files[digest, default: []].append(index) }
            }
            return (reader, files)
        }
    }

    /// Lays everything out in `root`, which is empty.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch` for a file that nobody has whole.
    func layOut(in root: OpenFile) throws(ArtifactStoreError) {
        let target = TreeReader(manifest, in: root)
        for entry in manifest.entries {
            let parent = try target.parent(of: entry.path)
            switch entry.content {
            case .directory: try parent.makeDirectory(entry.path.name, mode: 0o700)
            case .file: try place(entry, in: parent)
            case .link(let destination):
                let result = destination.withCPath { destination in
                    entry.path.name.withCPath {
                        reeve_make_link(destination, parent.descriptor, $0)
                    }
                }
                try check(result, "make the link", entry.path.description)
            }
        }
        for entry in manifest.entries.reversed() where entry.content == .directory {
            try root.directory(beneath: entry.path).changeMode(entry.mode)
        }
    }

    private func place(_ entry: TreeEntry, in parent: OpenFile) throws(ArtifactStoreError) {
        guard case .file(let size, let digest) = entry.content else { return }
        for (reader, files) in sources {
            for index in files[digest] ?? [] {
                let candidate = reader.manifest.entries[index].path
                guard let directory = try? reader.parent(of: candidate),
                    let file = try? directory.file(candidate.name),
                    let status = try? file.status(), Int(status.kind) == Int(REEVE_KIND_FILE),
                    (try? TreeScanner.digest(of: file, size: size, buffer: buffer)) == digest
                else { continue }
                let isLinked =
                    UInt16(status.mode) == entry.mode
                    && entry.hasTime(of: status.modifiedSeconds)
                    && link(candidate.name, of: directory, status.inode, to: entry, in: parent)
                if !isLinked { try copy(file, to: entry, in: parent) }
                return
            }
        }
        throw ArtifactStoreError(
            .digestMismatch,
            "\(entry.path) is damaged, and this node has no other copy. It is fetched again.",
            path: entry.path.description
        )
    }

    private func link(
        _ name: TreePath,
        of directory: OpenFile,
        _ inode: UInt64,
        to entry: TreeEntry,
        in parent: OpenFile
    ) -> Bool {
        let result = name.withCPath { from in
            entry.path.name.withCPath {
                reeve_link(directory.descriptor, from, parent.descriptor, $0)
            }
        }
        guard result == 0 else { return false }
        // Somebody may have put another file there since it was read.
        if (try? parent.status(of: entry.path.name))?.inode == inode { return true }
        try? parent.removeFile(entry.path.name)
        return false
    }

    private func copy(
        _ file: OpenFile,
        to entry: TreeEntry,
        in parent: OpenFile
    ) throws(ArtifactStoreError) {
        let copy = try parent.create(entry.path.name)
        var hasher = ContentHasher()
        var offset: Int64 = 0
        while true {
            let count = try file.read(into: buffer.memory, at: offset)
            if count == 0 { break }
            let part = UnsafeRawBufferPointer(rebasing: buffer.memory[..<count])
            hasher.update(part)
            try copy.write(part)
            offset += Int64(count)
        }
        guard hasher.finish() == entry.fileDigest else {
            throw ArtifactStoreError(
                .digestMismatch,
                "\(entry.path) changes while it is read. It is fetched again.",
                path: entry.path.description
            )
        }
        try copy.finish(as: entry)
    }
}
