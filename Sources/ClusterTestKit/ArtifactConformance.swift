public import ArtifactStore

/// The contract of `ObjectStorage`. Each step gets a fresh, empty storage.
public struct ObjectStorageConformance: Sendable {
    private let make: @Sendable () async throws -> any ObjectStorage

    /// - Parameter make: makes an empty storage.
    public init(_ make: @escaping @Sendable () async throws -> any ObjectStorage) {
        self.make = make
    }

    /// Runs every step.
    ///
    /// - Throws: ``ConformanceFailure`` for the first broken sentence, or what the driver throws.
    public func run() async throws {
        try await returnsWhatWasStored()
        try await namesByContent()
        try await readsFromAnOffset()
        try await saysWhatIsMissing()
        try await keepsNothingOfAFailedStore()
        try await removes()
        try await storesTheSameTwice()
    }

    private func check(_ condition: Bool, _ step: String, _ message: String) throws {
        if !condition {
            throw ConformanceFailure(suite: "ObjectStorage", step: step, message: message)
        }
    }

    /// Content that is longer than one piece and has no period.
    private static let content: [[UInt8]] = (0..<40).map { piece in
        (0..<16_384).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ piece &* 7) }
    }

    private func returnsWhatWasStored() async throws {
        let step = "an object reads back as it was stored"
        let storage = try await make()
        for chunks in [Self.content, [[1], [], [2, 3]], []] {
            let stored = try await storage.put(ByteChunks(chunks))
            let bytes = Array(chunks.joined())
            try check(stored.byteCount == Int64(bytes.count), step, "length \(stored.byteCount)")
            let length = try await storage.byteCount(of: stored.digest)
            try check(length == stored.byteCount, step, "it is said to have \(length ?? -1) bytes")
            let read = try await storage.read(stored.digest, from: 0).collect(upTo: 1 << 20)
            try check(read == bytes, step, "\(read.count) other bytes came back")
        }
    }

    private func namesByContent() async throws {
        let step = "an object is named by the SHA-256 of its bytes"
        let storage = try await make()
        let stored = try await storage.put(ByteChunks([Array("ab".utf8), Array("c".utf8)]))
        // FIPS 180-4, the example of one block.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        try check(stored.digest.description == expected, step, "it is named \(stored.digest)")
    }

    private func readsFromAnOffset() async throws {
        let step = "reading begins at the offset"
        let storage = try await make()
        let stored = try await storage.put(ByteChunks(Self.content))
        let bytes = Array(Self.content.joined())
        for offset in [1, 16_384, 300_001, bytes.count - 1, bytes.count] {
            let read = try await storage.read(stored.digest, from: Int64(offset))
                .collect(upTo: 1 << 20)
            try check(read == Array(bytes[offset...]), step, "at \(offset) other bytes came")
        }
        do {
            let beyond = try await storage.read(stored.digest, from: Int64(bytes.count + 1))
            _ = try await beyond.collect(upTo: 1)
        } catch let error as ArtifactStoreError where error.code == .limitExceeded {
            return
        }
        throw ConformanceFailure(
            suite: "ObjectStorage",
            step: step,
            message: "beyond the end nothing was thrown"
        )
    }

    private func saysWhatIsMissing() async throws {
        let step = "a missing object is told apart"
        let storage = try await make()
        let missing = ContentDigest(of: [1, 2, 3])
        let length = try await storage.byteCount(of: missing)
        try check(length == nil, step, "it is said to have a length")
        do {
            _ = try await storage.read(missing, from: 0).collect(upTo: 16)
        } catch let error as ArtifactStoreError where error.code == .notFound {
            return
        }
        throw ConformanceFailure(
            suite: "ObjectStorage",
            step: step,
            message: "reading it threw no notFound"
        )
    }

    private struct Broken: Error {}

    private func keepsNothingOfAFailedStore() async throws {
        let step = "a store that fails leaves nothing"
        let storage = try await make()
        let broken = ByteChunks(reading: {
            var isFirst = true
            return {
                defer { isFirst = false }
                if isFirst { return [7, 7, 7] }
                throw Broken()
            }
        })
        do {
            _ = try await storage.put(broken)
            throw ConformanceFailure(
                suite: "ObjectStorage",
                step: step,
                message: "the failure was swallowed"
            )
        } catch is Broken {
            let length = try await storage.byteCount(of: ContentDigest(of: [7, 7, 7]))
            try check(length == nil, step, "a part of it is there")
        }
    }

    private func removes() async throws {
        let step = "a removed object is gone, and removing it again is fine"
        let storage = try await make()
        let gone = try await storage.put(ByteChunks([[1]])).digest
        let kept = try await storage.put(ByteChunks([[2]])).digest
        try await storage.remove(gone)
        try await storage.remove(gone)
        let lengths = (
            try await storage.byteCount(of: gone), try await storage.byteCount(of: kept)
        )
        try check(lengths.0 == nil, step, "it is still there")
        try check(lengths.1 == 1, step, "another object went with it")
    }

    private func storesTheSameTwice() async throws {
        let step = "storing the same twice is fine"
        let storage = try await make()
        let first = try await storage.put(ByteChunks([[5, 6]]))
        let second = try await storage.put(ByteChunks([[5], [6]]))
        try check(first == second, step, "it got two names")
        let read = try await storage.read(first.digest, from: 0).collect(upTo: 16)
        try check(read == [5, 6], step, "it reads as \(read)")
    }
}
