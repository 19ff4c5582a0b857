#if SQLite
public import ClusterMembership
public import ClusterRole
internal import SQLiteEngine
internal import Synchronization

/// The lease of the file: this process has it as long as it has the lock.
struct EmbeddedLease {
    var epoch: Epoch
    /// Whether this epoch was handed out by `acquire`.
    var isTaken = false

    /// There is nobody it could run out to: a hundred years.
    static let remaining = Duration.seconds(100 * 365 * 86_400)
}

extension EmbeddedStore: LeaseStore {
    /// Gives the epoch that began when the file was opened; asked again, begins a new one. Anybody
    /// else is told who holds it, and never gets it: the lock is this process's.
    public func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        guard holder == node else { return currentLease }
        let isFirst = lease.withLock { lease in
            defer { lease.isTaken = true }
            return !lease.isTaken
        }
        if !isFirst {
            let epoch = try await file.write { try $0.raiseEpoch() }
            lease.withLock { $0.epoch = max($0.epoch, epoch) }
            return Lease(holder: node, epoch: epoch, remaining: EmbeddedLease.remaining)
        }
        try await file.read { _ in }
        return currentLease
    }

    private var currentLease: Lease {
        Lease(
            holder: node,
            epoch: lease.withLock { $0.epoch },
            remaining: EmbeddedLease.remaining
        )
    }

    public func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        let current = try await file.read { try $0.epoch() }
        guard holder == node, epoch == current else {
            throw ClusterRoleError.fenced(current: current)
        }
        return Lease(holder: holder, epoch: epoch, remaining: EmbeddedLease.remaining)
    }

    /// The next ``acquire(holder:duration:)`` begins a new epoch; nobody else can come between.
    public func release(holder: NodeID, epoch: Epoch) async throws {}

    /// This process's node, once it has asked; nobody else can hold it.
    public func holder() async throws -> Lease? {
        lease.withLock { $0.isTaken } ? currentLease : nil
    }
}

extension EmbeddedStore: RevisionLog {
    public func current() async throws -> Revision { try await currentRevision() }

    public func changes(after revision: Revision, limit: Int) async throws -> [LoggedChange] {
        let history = history
        return try await file.read { connection in
            let floor = try connection.metaNumber(MetaName.floor)
            let newest = try connection.revisionNumber()
            guard revision.history == history, revision.number >= floor,
                revision.number <= newest
            else {
                throw ClusterMembershipError(
                    .compacted,
                    "The log reaches from revision \(floor) to \(newest) of history \(history). Take a "
                        + "snapshot."
                )
            }
            return try connection.changes(after: revision.number, limit: max(0, limit))
        }
    }

    public func append(_ keys: [ChangeKey], epoch: Epoch) async throws -> Revision {
        try await guarded(epoch: epoch) { _, _ in (keys, ()) }.revision
    }
}

extension SQLConnection {
    func changes(after number: Int64, limit: Int) throws -> [LoggedChange] {
        try rows(
            "SELECT number, keys, sum FROM revision_log WHERE number > ? ORDER BY number LIMIT ?",
            number,
            limit
        ) {
            try $0.verify("revision_log", sum: 2)
            return LoggedChange(number: $0.int64(0), keys: try ChangeKeyCoding.decode($0.blob(1)))
        }
    }
}

extension EmbeddedStore: MemberRegistry {
    public func put(_ member: Member, epoch: Epoch) async throws -> Revision {
        try await guarded(epoch: epoch) { connection, _ in
            let known = try connection.member(member.node)
            try connection.store(member)
            let isNews = known.map { !$0.isSameButForHeartbeat(as: member) } ?? true
            return (isNews ? [.member(member.node)] : [], ())
        }.revision
    }

    public func remove(_ node: NodeID, epoch: Epoch) async throws -> Revision {
        try await guarded(epoch: epoch) { connection, _ in
            try connection.run("DELETE FROM member WHERE node = ?", node.rawValue)
            return (connection.changes > 0 ? [.member(node)] : [], ())
        }.revision
    }

    public func members() async throws -> [Member] {
        try await file.read { connection in
            try connection.rows("SELECT \(Member.columns) FROM member ORDER BY node") {
                try Member(stored: $0)
            }
        }
    }
}

extension Member {
    fileprivate static let columns =
        "node, role, domain, address, version, state, properties, applied, joined, heard, sum"

    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("member", sum: 10)
        guard let role = NodeRole(rawValue: row.text(1)),
            let state = MemberState(rawValue: row.text(5))
        else { throw SQLiteStorageError.corruptRow(in: "member") }
        var reader = ByteReader(row.blob(6))
        let version = try reader.expectVersion(1...2, of: "member properties")
        let properties = try reader.readArray(elementSize: 2) {
            (reader) throws(ClusterRoleError) in
            (try reader.readString(), try reader.readString())
        }
        // Version 1 is of stores from before members had modes.
        let modes = try (0..<(version >= 2 ? 2 : 0)).map { _ in
            guard let mode = MemberMode(rawValue: try reader.readString()) else {
                throw SQLiteStorageError.corruptRow(in: "member")
            }
            return mode
        }
        self.init(
            node: NodeID(rawValue: row.text(0)),
            role: role,
            domain: try ClusterDomain(parsing: row.text(2)),
            address: row.text(3),
            version: row.text(4),
            state: state,
            properties: Dictionary(properties) { first, _ in first },
            applied: try row.optionalText(7).map { try Revision(parsing: $0) },
            mode: modes.first ?? .active,
            askedMode: modes.last ?? .active,
            joinedAt: Timestamp(rawValue: row.int64(8)),
            lastHeard: Timestamp(rawValue: row.int64(9))
        )
    }
}

extension SQLConnection {
    fileprivate func member(_ node: NodeID) throws -> Member? {
        try row("SELECT \(Member.columns) FROM member WHERE node = ?", node.rawValue) {
            try Member(stored: $0)
        }
    }

    fileprivate func store(_ member: Member) throws {
        var properties = ByteWriter()
        properties.write(UInt8(2))
        properties.write(array: member.properties.sorted { $0.key < $1.key }) {
            $0.write($1.key)
            $0.write($1.value)
        }
        properties.write(member.mode.rawValue)
        properties.write(member.askedMode.rawValue)
        try run(
            sealedFor: "member",
            "INSERT OR REPLACE INTO member (\(Member.columns)) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            member.node.rawValue,
            member.role.rawValue,
            member.domain.description,
            member.address,
            member.version,
            member.state.rawValue,
            properties.bytes,
            member.applied?.description,
            member.joinedAt.rawValue,
            member.lastHeard.rawValue
        )
    }
}

extension EmbeddedStore: HintBus {
    /// Tells the readers in this process; every guarded write of this store does so by itself.
    public func publish(_ revision: Revision) { hintReaders.send(revision) }

    public func hints() -> AsyncStream<Revision> { hintReaders.add() }
}

/// The streams that hear of new revisions.
final class HintReaders: Sendable {
    private struct State {
        var readers: [Int: AsyncStream<Revision>.Continuation] = [:]
        var nextID = 0
        var isFinished = false
    }

    private let state = Mutex(State())

    func add() -> AsyncStream<Revision> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Revision.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let id = state.withLock { state -> Int? in
            if state.isFinished { return nil }
            state.nextID += 1
            state.readers[state.nextID] = continuation
            return state.nextID
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.forget(id) }
        return stream
    }

    private func forget(_ id: Int) {
        // Let go outside the lock: what goes with the last reference is not ours to know.
        let ended = state.withLock { $0.readers.removeValue(forKey: id) }
        _ = ended
    }

    func send(_ revision: Revision) {
        for reader in state.withLock({ Array($0.readers.values) }) { reader.yield(revision) }
    }

    func finish() {
        let readers = state.withLock { state in
            defer { state.readers = [:] }
            state.isFinished = true
            return Array(state.readers.values)
        }
        for reader in readers { reader.finish() }
    }
}
#endif
