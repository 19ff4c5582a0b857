public import ArtifactStore
internal import ClusterRole

/// The contract of `ObjectInventory`, beside that of `ObjectStorage`. Each step gets a fresh, empty
/// storage whose clock is that of the machine.
public struct ObjectInventoryConformance: Sendable {
    private let make: @Sendable () async throws -> any ObjectInventory

    /// - Parameter make: makes an empty storage.
    public init(_ make: @escaping @Sendable () async throws -> any ObjectInventory) {
        self.make = make
    }

    /// Runs every step.
    ///
    /// - Throws: ``ConformanceFailure`` for the first broken sentence, or what the driver throws.
    public func run() async throws {
        try await listsEveryObjectOnce()
        try await leavesWhatIsYoung()
        try await leavesWhatWasRenewed()
    }

    private func check(_ condition: Bool, _ step: String, _ message: String) throws {
        if !condition {
            throw ConformanceFailure(suite: "ObjectInventory", step: step, message: message)
        }
    }

    private func listsEveryObjectOnce() async throws {
        let step = "pages hold every object once, in order"
        let storage = try await make()
        var stored: [StoredObject] = []
        for number in 0..<40 as Range<UInt8> {
            stored.append(
                try await storage.put(ByteChunks([Array(repeating: number, count: Int(number))]))
            )
        }
        stored.sort { $0.digest < $1.digest }
        var found: [StoredObject] = []
        for _ in 0..<40 {
            let page = try await storage.objects(after: found.last?.digest, limit: 7)
            if page.isEmpty { break }
            try check(page.count <= 7, step, "a page has \(page.count) objects instead of 7")
            found += page.map(\.object)
        }
        try check(found == stored, step, "\(found.count) objects came instead of \(stored.count)")
        let empty = try await make().objects(after: nil, limit: 1)
        try check(empty.isEmpty, step, "an empty storage lists something")
    }

    private func leavesWhatIsYoung() async throws {
        let step = "what was stored at the time or later is left, what is older goes"
        let storage = try await make()
        let object = try await storage.put(ByteChunks([[1, 2, 3]]))
        let records = try await storage.objects(after: nil, limit: 2)
        try check(records.count == 1, step, "\(records.count) objects are listed")
        let time = records[0].storedAt
        let early = try await storage.remove(object.digest, storedBefore: time)
        let length = try await storage.byteCount(of: object.digest)
        try check(!early && length == 3, step, "an object as old as the time was removed")
        let late = try await storage.remove(
            object.digest,
            storedBefore: time + .milliseconds(1)
        )
        let after = try await storage.byteCount(of: object.digest)
        try check(late && after == nil, step, "an older object was not removed")
        let again = try await storage.remove(object.digest, storedBefore: time + .seconds(1))
        try check(!again, step, "it is said to be removed twice")
    }

    private func leavesWhatWasRenewed() async throws {
        let step = "renewing makes young"
        let storage = try await make()
        let object = try await storage.put(ByteChunks([[4]]))
        let before = try await storage.objects(after: nil, limit: 1)[0].storedAt
        // Until the clock of the storage has moved; each look may be slow, none waits.
        var now = before
        for _ in 0..<1_000_000 where now == before {
            let isThere = try await storage.renew(object.digest)
            try check(isThere, step, "an object that is there is said to be missing")
            now = try await storage.objects(after: nil, limit: 1)[0].storedAt
        }
        let removed = try await storage.remove(object.digest, storedBefore: now)
        let length = try await storage.byteCount(of: object.digest)
        try check(now > before && !removed && length == 1, step, "a renewed object was removed")
        let missing = try await storage.renew(ContentDigest(of: [9]))
        try check(!missing, step, "an object that is missing is said to be renewed")
    }
}
