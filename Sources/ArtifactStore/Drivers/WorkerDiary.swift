internal import ClusterRole

/// What a node notes beside its state, for people and for those who compare its words: which life this is,
/// and when it last looked and applied. Losing it loses no release.
struct WorkerDiary: Hashable, Sendable {
    /// Grows with each start. It is at least the time of the start, so that a node that lost its disk does
    /// not begin below what it once said.
    var incarnation: Int64 = 0
    var lastLook: Timestamp?
    var lastApply: Timestamp?

    /// How long after the last note a look is noted again. 5 minutes: each costs an fsync.
    static let lookInterval = Duration.seconds(300)

    init() {}

    /// The life after the one that was noted.
    mutating func begin(at now: Timestamp) {
        incarnation = max(incarnation &+ 1, now.milliseconds, 1)
    }

    /// Whether a look now is worth noting.
    func isWorn(at now: Timestamp) -> Bool {
        lastLook.map { now < $0 || now >= $0 + Self.lookInterval } ?? true
    }

    /// Version 1: incarnation, time of the last look, of the last apply; then the SHA-256 of it all.
    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        writer.write(UInt8(1))
        writer.write(incarnation)
        writer.write(optional: lastLook) { $0.write($1.rawValue) }
        writer.write(optional: lastApply) { $0.write($1.rawValue) }
        writer.write(ContentDigest(of: writer.bytes))
        return writer.bytes
    }

    /// - Throws: ``ArtifactStoreError`` with code `malformed`.
    init(decoding bytes: [UInt8]) throws(ArtifactStoreError) {
        let length = bytes.count - ContentDigest.byteCount
        guard length > 0,
            try ContentDigest(bytes: bytes[length...]) == ContentDigest(of: Array(bytes[..<length]))
        else { throw .malformed("The node's diary does not match its checksum.") }
        var reader = ByteReader(bytes[..<length])
        do {
            try reader.expectVersion(1, of: "diaries")
            incarnation = try reader.readInt64()
            lastLook = try reader.readOptional { (reader) throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            lastApply = try reader.readOptional { (reader) throws(ClusterRoleError) in
                Timestamp(rawValue: try reader.readInt64())
            }
            try reader.expectEnd()
        } catch {
            throw .malformed("The node's diary cannot be read.", cause: error)
        }
    }
}

extension WorkerDirectory {
    private static let diary: TreePath = "diary"

    /// What was noted; an empty one if there is none, or it is damaged.
    func loadDiary() -> WorkerDiary {
        guard let file = try? root.file(Self.diary), let bytes = try? file.contents(limit: 1_024),
            let diary = try? WorkerDiary(decoding: bytes)
        else { return WorkerDiary() }
        return diary
    }

    /// Durable when it returns. That it cannot be written is no failure of what it notes.
    func saveDiary(_ diary: WorkerDiary) {
        try? root.replaceFile(Self.diary, with: diary.encoded)
    }
}
