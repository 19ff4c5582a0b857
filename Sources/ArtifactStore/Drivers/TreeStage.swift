internal import CReeveSystem

/// Lays out a tree in an empty directory: what the old tree has is linked, the rest arrives as one
/// stream of bytes. Every file is digested on its way, also the linked ones.
final class TreeStage {
    private let reader: TreeReader
    private let old: TreeReader?
    private let plan: BundlePlan
    private let root: OpenFile
    private let buffer = WorkBuffer(capacity: 1 << 20)

    private struct Current {
        let entry: Int
        let file: OpenFile
        var remaining: Int64
        var hasher = ContentHasher()
    }
    private var current: Current?
    private var nextCarried = 0

    init(_ manifest: TreeManifest, in root: OpenFile, old: TreeReader?) {
        self.root = root
        self.old = old
        reader = TreeReader(manifest, in: root)
        plan = BundlePlan(from: old?.manifest, to: manifest)
    }

    private var entries: [TreeEntry] { reader.manifest.entries }

    /// The length of the stream that is still to come.
    var contentBytes: Int64 { plan.contentBytes }

    /// Makes directories, and links the files the old tree has.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch` for a file of the old tree that
    ///   is not what it should be: a full bundle mends that.
    func begin() throws(ArtifactStoreError) {
        for entry in entries where entry.content == .directory {
            try reader.parent(of: entry.path).makeDirectory(entry.path.name, mode: 0o700)
        }
        for (index, origin) in plan.files {
            switch origin {
            case .bundle, .twin: continue
            case .empty:
                let file = try reader.parent(of: entries[index].path)
                    .create(entries[index].path.name)
                try file.changeMode(entries[index].mode)
                guard entries[index].fileDigest == ContentHasher().finish() else {
                    throw mismatch(entries[index].path)
                }
            case .old(let oldIndex): try carry(oldIndex, to: index)
            }
        }
    }

    private func carry(_ oldIndex: Int, to index: Int) throws(ArtifactStoreError) {
        guard let old else { return }
        let oldEntry = old.manifest.entries[oldIndex]
        let file = try old.open(oldIndex)
        let status = try file.status()
        let digest = try TreeScanner.digest(of: file, size: oldEntry.fileSize ?? 0, buffer: buffer)
        guard digest == oldEntry.fileDigest, Int(status.kind) == Int(REEVE_KIND_FILE) else {
            throw mismatch(oldEntry.path)
        }
        let directory = try old.parent(of: oldEntry.path)
        try link(
            oldEntry.path.name,
            of: directory,
            file,
            isSameMode: UInt16(status.mode) == entries[index].mode,
            to: index
        )
    }

    /// Links a finished file, or copies it where a link cannot be.
    private func link(
        _ name: TreePath,
        of directory: OpenFile,
        _ file: OpenFile,
        isSameMode: Bool,
        to index: Int
    ) throws(ArtifactStoreError) {
        let entry = entries[index]
        let parent = try reader.parent(of: entry.path)
        if isSameMode {
            let result = name.withCPath { from in
                entry.path.name.withCPath {
                    reeve_link(directory.descriptor, from, parent.descriptor, $0)
                }
            }
            if result == 0 { return }
            guard result == -reeve_error_too_many_links || result == -reeve_error_cross_device
            else {
                throw systemError(-result, "link", entry.path.description)
            }
        }
        let copy = try parent.create(entry.path.name)
        var offset: Int64 = 0
        while true {
            let count = try file.read(into: buffer.memory, at: offset)
            if count == 0 { break }
            try copy.write(UnsafeRawBufferPointer(rebasing: buffer.memory[..<count]))
            offset += Int64(count)
        }
        try copy.changeMode(entry.mode)
    }

    /// Takes the next bytes of the stream.
    func write(_ bytes: UnsafeRawBufferPointer) throws(ArtifactStoreError) {
        var rest = bytes
        while !rest.isEmpty {
            if current == nil { try openNext() }
            guard var file = current else { return }
            let count = Int(min(Int64(rest.count), file.remaining))
            let part = UnsafeRawBufferPointer(rebasing: rest[..<count])
            try file.file.write(part)
            file.hasher.update(part)
            file.remaining -= Int64(count)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            current = file
            if file.remaining == 0 { try closeCurrent() }
        }
    }

    private func openNext() throws(ArtifactStoreError) {
        guard nextCarried < plan.carried.count else {
            throw .malformed("The bundle holds more than its manifest says.")
        }
        let index = plan.carried[nextCarried]
        nextCarried += 1
        let path = entries[index].path
        let file = try reader.parent(of: path).create(path.name)
        current = Current(entry: index, file: file, remaining: entries[index].fileSize ?? 0)
    }

    private func closeCurrent() throws(ArtifactStoreError) {
        guard let file = current else { return }
        current = nil
        let entry = entries[file.entry]
        guard file.hasher.finish() == entry.fileDigest else { throw mismatch(entry.path) }
        try file.file.changeMode(entry.mode)
    }

    /// Makes what remains once the stream has ended: twins, links, and the modes of directories.
    func finish() throws(ArtifactStoreError) {
        guard current == nil, nextCarried == plan.carried.count else {
            throw .malformed("The bundle holds less than its manifest says.")
        }
        for case (let index, .twin(let first)) in plan.files {
            let path = entries[first].path
            let file = try reader.open(first)
            try link(
                path.name,
                of: root.directory(beneath: path.parent),
                file,
                isSameMode: entries[first].mode == entries[index].mode,
                to: index
            )
        }
        for entry in entries {
            guard case .link(let target) = entry.content else { continue }
            let parent = try reader.parent(of: entry.path)
            let result = target.withCPath { target in
                entry.path.name.withCPath { reeve_make_link(target, parent.descriptor, $0) }
            }
            try check(result, "make the link", entry.path.description)
        }
        for entry in entries.reversed() where entry.content == .directory {
            try root.directory(beneath: entry.path).changeMode(entry.mode)
        }
    }

    private func mismatch(_ path: TreePath) -> ArtifactStoreError {
        ArtifactStoreError(
            .digestMismatch,
            "The content of \(path) is not what the release names. It is fetched again.",
            path: path.description
        )
    }
}
