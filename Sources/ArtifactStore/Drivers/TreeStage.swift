internal import CReeveSystem

/// Lays out a tree in an empty directory: what the old tree has is linked, the rest arrives as one
/// stream of bytes. What arrives is digested on its way; so is what is linked, unless its mark tells
/// that nobody wrote to it since it was.
final class TreeStage {
    private let entries: [TreeEntry]
    private let old: TreeReader?
    private let plan: BundlePlan
    private let root: OpenFile
    private let cursor: DirectoryCursor
    private let buffer = WorkBuffer(capacity: 1 << 20)

    private struct Current {
        let entry: Int
        let file: OpenFile
        var remaining: Int64
        var hasher = ContentHasher()
    }
    private var current: Current?
    private var nextCarried = 0
    /// Which carried file is the first that begins behind the bytes asked for, and where.
    private var nextInGroup = 0
    private var groupStart: Int64 = 0
    private var groupEnd: Int64 = 0

    /// The digests of the files that arrived, by entry.
    private(set) var digests: [Int: ContentDigest] = [:]
    /// What the file system says of the files, by entry.
    private(set) var marks: [FileMark?]

    init(_ manifest: BundledManifest, in root: OpenFile, old: TreeReader?) {
        self.root = root
        self.old = old
        entries = manifest.entries
        cursor = DirectoryCursor(root)
        marks = Array(repeating: nil, count: manifest.entries.count)
        plan = BundlePlan(from: old?.manifest, to: manifest)
    }

    /// The length of the stream that is still to come.
    var contentBytes: Int64 { plan.contentBytes }

    /// The files of the old tree at the paths of those carried files that begin in the next `count`
    /// bytes of content: the base of a group. Asked once for each piece, in order.
    func groupBase(next count: Int64) -> [Int] {
        groupEnd += count
        var found: [Int] = []
        while nextInGroup < plan.carried.count, groupStart < groupEnd {
            let entry = entries[plan.carried[nextInGroup]]
            if let index = old?.manifest.index(of: entry.path),
                let size = old?.manifest.fileSize(at: index), size > 0
            {
                found.append(index)
            }
            groupStart += entry.fileSize ?? 0
            nextInGroup += 1
        }
        return found
    }

    /// Makes directories, and links the files the old tree has.
    ///
    /// - Throws: ``ArtifactStoreError`` with code `digestMismatch` for a file of the old tree that
    ///   is not what it should be: a full bundle mends that.
    func begin() throws(ArtifactStoreError) {
        for entry in entries where entry.content == .directory {
            try cursor.parent(of: entry.path).makeDirectory(entry.path.name, mode: 0o700)
        }
        for (index, origin) in plan.files {
            switch origin {
            case .bundle, .twin: continue
            case .empty:
                let file = try cursor.parent(of: entries[index].path)
                    .create(entries[index].path.name)
                try file.finish(as: entries[index])
                guard entries[index].fileDigest == ContentHasher().finish() else {
                    throw mismatch(entries[index].path)
                }
            case .old(let oldIndex): try carry(oldIndex, to: index)
            }
        }
    }

    private func carry(_ oldIndex: Int, to index: Int) throws(ArtifactStoreError) {
        guard let old else { return }
        let path = old.manifest.entries[oldIndex].path
        let directory = try old.parent(of: path)
        let status = try found(oldIndex, in: directory)
        marks[index] = status.mark
        let isSameMode =
            UInt16(status.mode) == entries[index].mode
            && entries[index].hasTime(of: status.modifiedSeconds)
        if isSameMode, isUntouched(oldIndex, status) {
            let isLinked = try tryLink(path.name, of: directory, to: index)
            if isLinked { return }
        }
        let file = try proved(oldIndex, in: directory)
        try link(path.name, of: directory, file, isSameMode: isSameMode, to: index)
    }

    private func isUntouched(_ oldIndex: Int, _ status: reeve_status) -> Bool {
        old?.marks?.isUnchanged(oldIndex, status.mark, by: .content) ?? false
    }

    /// What a file of the old tree is now.
    private func found(
        _ oldIndex: Int,
        in directory: OpenFile
    ) throws(ArtifactStoreError) -> reeve_status {
        guard let old else { throw .malformed("There is no older tree.") }
        let path = old.manifest.entries[oldIndex].path
        guard let status = try directory.status(of: path.name) else { throw mismatch(path) }
        let isSame = status.isFile && status.size == old.manifest.fileSize(at: oldIndex)
        if isSame { return status }
        throw mismatch(path)
    }

    /// A file of the old tree, read and found to be what it should be.
    private func proved(
        _ oldIndex: Int,
        in directory: OpenFile
    ) throws(ArtifactStoreError) -> OpenFile {
        guard let old else { throw .malformed("There is no older tree.") }
        let path = old.manifest.entries[oldIndex].path
        let size = old.manifest.fileSize(at: oldIndex) ?? 0
        let file = try directory.file(path.name)
        let status = try file.status()
        let digest = try TreeScanner.digest(of: file, size: size, buffer: buffer)
        let isSame = status.isFile && digest == old.manifest.fileDigest(at: oldIndex)
        if isSame { return file }
        throw mismatch(path)
    }

    /// - Returns: whether it is linked; a link may not be possible where a copy is.
    private func tryLink(
        _ name: TreePath,
        of directory: OpenFile,
        to index: Int
    ) throws(ArtifactStoreError) -> Bool {
        let entry = entries[index]
        let parent = try cursor.parent(of: entry.path)
        let result = name.withCPath { from in
            entry.path.name.withCPath {
                reeve_link(directory.descriptor, from, parent.descriptor, $0)
            }
        }
        if result == 0 { return true }
        guard result == -reeve_error_too_many_links || result == -reeve_error_cross_device
        else {
            throw systemError(-result, "link", entry.path.description)
        }
        return false
    }

    /// Links a finished file, or copies it where a link cannot be.
    private func link(
        _ name: TreePath,
        of directory: OpenFile,
        _ file: OpenFile,
        isSameMode: Bool,
        to index: Int
    ) throws(ArtifactStoreError) {
        if isSameMode, try tryLink(name, of: directory, to: index) { return }
        let entry = entries[index]
        let parent = try cursor.parent(of: entry.path)
        let copy = try parent.create(entry.path.name)
        var offset: Int64 = 0
        while true {
            let count = try file.read(into: buffer.memory, at: offset)
            if count == 0 { break }
            try copy.write(UnsafeRawBufferPointer(rebasing: buffer.memory[..<count]))
            offset += Int64(count)
        }
        try copy.finish(as: entry)
        marks[index] = try copy.status().mark
    }

    /// Takes the next bytes of the stream.
    func write(_ bytes: [UInt8]) throws(ArtifactStoreError) {
        let result = bytes.withUnsafeBytes { bytes -> Result<Void, ArtifactStoreError> in
            Result { () throws(ArtifactStoreError) in try write(bytes) }
        }
        try result.get()
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(ArtifactStoreError) {
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
        let file = try cursor.parent(of: path).create(path.name)
        current = Current(entry: index, file: file, remaining: entries[index].fileSize ?? 0)
    }

    private func closeCurrent() throws(ArtifactStoreError) {
        guard let file = current else { return }
        current = nil
        let entry = entries[file.entry]
        let digest = file.hasher.finish()
        // Zeros stand for a digest the bundle left out: the root will prove what arrived.
        guard digest == entry.fileDigest || entry.fileDigest == .zero else {
            throw mismatch(entry.path)
        }
        digests[file.entry] = digest
        try file.file.finish(as: entry)
        marks[file.entry] = try file.file.status().mark
    }

    /// Makes what remains once the stream has ended: twins, links, and the modes of directories.
    func finish() throws(ArtifactStoreError) {
        guard current == nil, nextCarried == plan.carried.count else {
            throw .malformed("The bundle holds less than its manifest says.")
        }
        for case (let index, .twin(let first)) in plan.files {
            let path = entries[first].path
            let file = try cursor.open(path)
            marks[index] = marks[first]
            try link(
                path.name,
                of: root.directory(beneath: path.parent),
                file,
                isSameMode: entries[first].mode == entries[index].mode
                    && entries[first].modified == entries[index].modified,
                to: index
            )
        }
        for entry in entries {
            guard case .link(let target) = entry.content else { continue }
            let parent = try cursor.parent(of: entry.path)
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
