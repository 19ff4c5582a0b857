#if Server
internal import Dispatch

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// A regular file, open for reading until the last reference goes.
///
/// What is served is what was opened: replacing or removing the name meanwhile changes nothing.
public final class OpenFile: Sendable {
    /// The length when it was opened, in bytes.
    public let length: Int64
    private let descriptor: Int32

    /// Opens `path`.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `noFile` if nothing, or no regular file, is there,
    ///   and `unreadableFile` if it cannot be opened.
    public init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let code = errno
            if code == ENOENT || code == ENOTDIR {
                throw HTTPHandlingError(.noFile, "There is no such file.")
            }
            throw HTTPHandlingError(
                .unreadableFile,
                "The file \(path) cannot be opened (errno \(code))."
            )
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw HTTPHandlingError(.noFile, "There is no such file.")
        }
        self.descriptor = descriptor
        length = Int64(status.st_size)
    }

    deinit { close(descriptor) }

    /// Reads at most `count` bytes from `offset`; fewer at the end, none beyond it.
    ///
    /// The read runs off the caller's thread pool: a slow disk holds up nobody else.
    ///
    /// - Throws: ``HTTPHandlingError`` with code `unreadableFile`.
    public func read(at offset: Int64, count: Int) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(with: Result { try self.readNow(at: offset, count: count) })
            }
        }
    }

    private func readNow(at offset: Int64, count: Int) throws -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let rest = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...]
                )
                let result = pread(
                    descriptor,
                    rest.baseAddress,
                    rest.count,
                    off_t(offset) + off_t(filled)
                )
                if result > 0 {
                    filled += result
                } else if result < 0, errno == EINTR {
                    continue
                } else {
                    failure = result < 0 ? errno : 0
                    break
                }
            }
        }
        guard failure == 0 else {
            throw HTTPHandlingError(.unreadableFile, "The file cannot be read (errno \(failure)).")
        }
        return bytes
    }
}

/// A run of bytes of an open file.
public struct FileRegion: Sendable {
    public let file: OpenFile
    /// Where it begins, in bytes.
    public let offset: Int64
    /// How long it is, in bytes.
    public let length: Int64

    /// A region, clipped to the file.
    public init(_ file: OpenFile, offset: Int64 = 0, length: Int64 = .max) {
        self.file = file
        self.offset = max(0, min(offset, file.length))
        self.length = max(0, min(length, file.length - self.offset))
    }

    /// The bytes in chunks of at most `size`, read as they are asked for.
    ///
    /// It throws ``HTTPHandlingError/Code/wrongLength`` if the file was cut short meanwhile.
    public func chunks(of size: Int = 64 << 10) -> FileChunks {
        FileChunks(region: self, size: size)
    }
}

/// The bytes of a ``FileRegion``.
public struct FileChunks: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = any Error

    fileprivate let region: FileRegion
    fileprivate let size: Int

    public func makeAsyncIterator() -> Iterator {
        Iterator(region: region, size: Swift.max(1, size), position: 0)
    }

    /// Walks the chunks.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        fileprivate let region: FileRegion
        fileprivate let size: Int
        fileprivate var position: Int64

        public mutating func next() async throws -> [UInt8]? {
            let rest = region.length - position
            guard rest > 0 else { return nil }
            let count = Int(Swift.min(Int64(size), rest))
            let chunk = try await region.file.read(at: region.offset + position, count: count)
            guard chunk.count == count else {
                throw HTTPHandlingError(.wrongLength, "The file was cut short while it was sent.")
            }
            position += Int64(count)
            return chunk
        }
    }
}
#endif
