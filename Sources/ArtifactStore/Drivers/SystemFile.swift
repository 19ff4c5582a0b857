internal import CReeveSystem

/// An open file or directory; it is closed when the last reference goes.
final class OpenFile: Sendable {
    let descriptor: Int32

    init(descriptor: Int32) { self.descriptor = descriptor }
    deinit { _ = reeve_close(descriptor) }

    /// Opens a directory the caller names; links in its path are followed.
    static func directory(_ path: String) throws(ArtifactStoreError) -> OpenFile {
        OpenFile(descriptor: try check(reeve_open_root(path), "open the directory", path))
    }

    /// Opens the directory at `path` beneath this one. No link is followed.
    func directory(beneath path: TreePath?) throws(ArtifactStoreError) -> OpenFile {
        let path = path ?? TreePath(bytes: [])
        let result = path.withCPath { reeve_open_directory_beneath(descriptor, $0) }
        return OpenFile(
            descriptor: try check(result, "open the directory", path.description)
        )
    }

    /// Opens a file of this directory for reading. A link is refused.
    func file(_ name: TreePath) throws(ArtifactStoreError) -> OpenFile {
        let result = name.withCPath { reeve_open_read(descriptor, $0) }
        return OpenFile(descriptor: try check(result, "open", name.description))
    }

    func create(_ name: TreePath, mode: UInt16 = 0o600) throws(ArtifactStoreError) -> OpenFile {
        let result = name.withCPath { reeve_create_file(descriptor, $0, UInt32(mode)) }
        return OpenFile(descriptor: try check(result, "create", name.description))
    }

    /// Makes a directory; one that exists is fine.
    func makeDirectory(_ name: TreePath, mode: UInt16 = 0o755) throws(ArtifactStoreError) {
        let result = name.withCPath { reeve_make_directory(descriptor, $0, UInt32(mode)) }
        if result != -reeve_error_exists {
            try check(result, "make the directory", name.description)
        }
    }

    func status() throws(ArtifactStoreError) -> reeve_status {
        var status = reeve_status()
        try check(reeve_status_of(descriptor, &status), "look at", nil)
        return status
    }

    /// What `name` is, without following it; `nil` if there is nothing.
    func status(of name: TreePath) throws(ArtifactStoreError) -> reeve_status? {
        var status = reeve_status()
        let result = name.withCPath { reeve_status_at(descriptor, $0, &status) }
        if result == -reeve_error_not_found || result == -reeve_error_not_directory { return nil }
        try check(result, "look at", name.description)
        return status
    }

    /// The names in this directory, in no order.
    func names(limit: Int) throws(ArtifactStoreError) -> [TreePath] {
        let copy = try check(reeve_open_directory(descriptor, "."), "read", nil)
        guard let stream = reeve_directory_stream(copy) else {
            _ = reeve_close(copy)
            throw ArtifactStoreError(.fileSystem, "The directory cannot be read. Check its rights.")
        }
        defer { reeve_directory_close(stream) }
        var names: [TreePath] = []
        var name: UnsafePointer<CChar>?
        while try check(reeve_directory_next(stream, &name), "read a directory", nil) > 0 {
            guard let name else { break }
            guard names.count < limit else {
                throw ArtifactStoreError(
                    .limitExceeded,
                    "A directory has more than \(limit) entries. Make it smaller."
                )
            }
            var length = 0
            while name[length] != 0 { length += 1 }
            names.append(
                TreePath(bytes: Array(UnsafeRawBufferPointer(start: name, count: length)))
            )
        }
        return names
    }

    /// Reads up to the buffer's size from `offset`; 0 at the end.
    func read(
        into buffer: UnsafeMutableRawBufferPointer,
        at offset: Int64
    ) throws(ArtifactStoreError) -> Int {
        var filled = 0
        while filled < buffer.count {
            let count = reeve_read_at(
                descriptor,
                buffer.baseAddress! + filled,
                buffer.count - filled,
                offset + Int64(filled)
            )
            try check(Int32(clamping: min(count, 0)), "read", nil)
            if count == 0 { break }
            filled += Int(count)
        }
        return filled
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(ArtifactStoreError) {
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        try check(reeve_write_all(descriptor, start, bytes.count), "write", nil)
    }

    func write(_ bytes: [UInt8]) throws(ArtifactStoreError) {
        let result = bytes.withUnsafeBytes {
            $0.isEmpty ? 0 : reeve_write_all(descriptor, $0.baseAddress, $0.count)
        }
        try check(result, "write", nil)
    }

    /// Reads a small file whole.
    func contents(limit: Int64) throws(ArtifactStoreError) -> [UInt8] {
        let size = try status().size
        guard size <= limit else {
            throw ArtifactStoreError(.limitExceeded, "A file of \(size) bytes is above \(limit).")
        }
        var bytes = [UInt8](repeating: 0, count: Int(size))
        let result = bytes.withUnsafeMutableBytes { buffer -> Result<Int, ArtifactStoreError> in
            do throws(ArtifactStoreError) { return .success(try read(into: buffer, at: 0)) } catch {
                return .failure(error)
            }
        }
        let filled = try result.get()
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    /// Makes this file's content, or this directory's names, survive a power cut.
    func sync() throws(ArtifactStoreError) {
        try check(reeve_sync_file(descriptor), "make durable", nil)
    }

    /// The same for everything written to its file system.
    func syncFileSystem() throws(ArtifactStoreError) {
        try check(reeve_sync_file_system(descriptor), "make durable", nil)
    }

    func changeMode(_ mode: UInt16) throws(ArtifactStoreError) {
        try check(reeve_change_mode(descriptor, UInt32(mode)), "change the mode of", nil)
    }

    /// Finishes a file that was laid out: its mode, and the time of its content if the tree keeps times.
    func finish(as entry: TreeEntry) throws(ArtifactStoreError) {
        try changeMode(entry.mode)
        guard let modified = entry.modified else { return }
        try check(reeve_change_time(descriptor, modified), "change the time of", nil)
    }

    /// Renames within this directory, replacing what is there.
    func rename(_ from: TreePath, to: TreePath) throws(ArtifactStoreError) {
        let result = from.withCPath { from in
            to.withCPath { reeve_rename(descriptor, from, descriptor, $0) }
        }
        try check(result, "rename", from.description)
    }

    func removeFile(_ name: TreePath) throws(ArtifactStoreError) {
        let result = name.withCPath { reeve_remove_file(descriptor, $0) }
        if result != -reeve_error_not_found { try check(result, "remove", name.description) }
    }

    /// Writes a file so that after a power cut either the old or the new content is there: beside,
    /// fsync, rename, fsync of the directory.
    func replaceFile(
        _ name: TreePath,
        with bytes: [UInt8],
        mode: UInt16 = 0o644
    ) throws(ArtifactStoreError) {
        let beside = TreePath(bytes: name.bytes + Array(".new".utf8))
        try removeFile(beside)
        let file = try create(beside, mode: mode)
        try file.write(bytes)
        try file.sync()
        try rename(beside, to: name)
        try sync()
    }
}

extension reeve_status {
    var mark: FileMark { FileMark(inode: inode, modified: modified, changed: changed) }
    /// The time of its content in whole seconds, as a tree keeps it.
    var modifiedSeconds: Int64 { TreeEntry.clamped(modified) }
    var isFile: Bool { Int(kind) == Int(REEVE_KIND_FILE) }
}

/// Turns a `-errno` into an error that names the file.
@discardableResult
func check(
    _ result: Int32,
    _ action: String,
    _ path: String?
) throws(ArtifactStoreError) -> Int32 {
    guard result < 0 else { return result }
    throw systemError(-result, action, path)
}

func systemError(_ number: Int32, _ action: String, _ path: String?) -> ArtifactStoreError {
    var buffer = [CChar](repeating: 0, count: 128)
    reeve_describe_error(number, &buffer, buffer.count)
    let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let object = path.map { " \($0)" } ?? " a file"
    return ArtifactStoreError(
        .fileSystem,
        "The system could not \(action)\(object): \(String(decoding: text, as: UTF8.self)).",
        path: path
    )
}

/// Memory that is reused from frame to frame.
final class WorkBuffer {
    private(set) var memory: UnsafeMutableRawBufferPointer
    /// How many bytes of it are in use.
    var count = 0

    init(capacity: Int) {
        memory = .allocate(byteCount: max(1, capacity), alignment: 16)
    }

    deinit { memory.deallocate() }

    /// Grows to at least `capacity` bytes, and at least twice what it has: pages nobody writes to cost
    /// nothing. What is in use is kept.
    func reserve(_ capacity: Int) {
        guard capacity > memory.count else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(capacity, memory.count * 2),
            alignment: 16
        )
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[..<count]))
        memory.deallocate()
        memory = larger
    }

    var used: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }
    var free: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: memory[count...])
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        reserve(count + bytes.count)
        free.copyMemory(from: bytes)
        count += bytes.count
    }
}
