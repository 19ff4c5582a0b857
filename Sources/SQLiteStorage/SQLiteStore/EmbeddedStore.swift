#if SQLite
public import ClusterRole
public import DeviceRegistry
internal import OperationQueue
package import SQLiteEngine
internal import Synchronization

/// The embedded store: every storage protocol of the core modules on one SQLite file.
///
/// The file belongs to this process (an flock(2) on `<path>.lock`), so opening it is winning the
/// coordinator's lease: each opening begins a new epoch, and there is no renewal loop. When a write
/// returns it is on disk (WAL, `synchronous=FULL`); concurrent writes share one commit. Reads run in
/// snapshots beside the writer. Every row carries a checksum, and a row that does not match it is
/// reported (`SQLiteStorageError`, code `corruptRow`), never returned.
///
/// It conforms to `DeviceStorage`, `OperationStorage`, `EventReader`, `ReplicaSource`,
/// `PeriodicTaskStorage`, `ComplianceStorage`, `WakeStorage`, `WebhookStorage`, `ReleaseStorage`,
/// `RolloutStorage`, `LeaseStore`, `RevisionLog`, `MemberRegistry`, `MessageLog`, `SharedStateStorage` and
/// `HintBus`.
/// Changes of all of them are in one order of revisions.
///
/// After ``close()`` every call throws `SQLiteStorageError` with code `closed`; after an I/O error in
/// a commit, with code `poisoned`, until the file is opened again.
public final class EmbeddedStore: Sendable {
    /// The node this store was opened for: the holder of its lease.
    public let node: NodeID
    /// The history of its revisions: random, made with the file.
    public let history: HistoryID
    let file: DatabaseFile
    let secrets: SecretBox
    let keptRevisions: Int64
    let lease: Mutex<EmbeddedLease>
    let hintReaders = HintReaders()
    /// Used on the writer's queue only.
    let recent = Mutex(RecentChanges())
    /// Whether some tenant is bounded: without quotas nothing is looked up or counted for them.
    let hasQuotas: Atomic<Bool>
    let signals = WorkSignalHub()

    /// Opens the store at `path`, making it if there is none, and begins a new epoch.
    ///
    /// - Parameters:
    ///   - path: of the file; its directory exists. A lock file is kept beside it.
    ///   - node: who opens it; a second process is told this name.
    ///   - secrets: what push registrations are encrypted with.
    ///   - random: draws the history id of a new file.
    ///   - configuration: caches, readers and how many revisions are kept; the standard ones
    ///     work.
    /// - Throws: `SQLiteStorageError`: `locked` (the message names the process that has the file),
    ///   `io`, `corruptFile`, `newerSchema`, `foreignSchema`.
    public static func open(
        path: String,
        node: NodeID,
        secrets: SecretBox,
        random: any RandomSource = SystemRandomSource(),
        configuration: EmbeddedStoreConfiguration = EmbeddedStoreConfiguration()
    ) async throws -> EmbeddedStore {
        try EmbeddedStore(
            file: DatabaseFile(
                path: path,
                node: node,
                migrations: Schema.migrations,
                options: configuration.fileOptions
            ),
            node: node,
            secrets: secrets,
            random: random,
            keptRevisions: Int64(max(1, configuration.keptRevisions))
        )
    }

    init(
        file: DatabaseFile,
        node: NodeID,
        secrets: SecretBox,
        random: any RandomSource,
        keptRevisions: Int64
    ) throws {
        let drawn = [random.next(), random.next()]
        let (history, epoch, isLimited) = try file.writeWhileOpening { connection in
            // A history without an epoch is a damaged one: beginning at 1 again would let an older
            // writer's epoch come back.
            if try connection.metaBytes(MetaName.history) != nil {
                guard try connection.epoch() > .none else {
                    throw SQLiteStorageError.corruptRow(in: "meta")
                }
            } else {
                try connection.setMetaBytes(
                    MetaName.history,
                    drawn.flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
                )
            }
            return (
                try connection.history(), try connection.raiseEpoch(), try connection.hasQuotas()
            )
        }
        self.file = file
        self.node = node
        self.secrets = secrets
        self.history = history
        hasQuotas = Atomic(isLimited)
        self.keptRevisions = keptRevisions
        lease = Mutex(EmbeddedLease(epoch: epoch))
    }

    /// Commits what waits, closes the file and gives its lock back: another process may open it then.
    /// Doing it twice is harmless.
    public func close() async throws {
        hintReaders.finish()
        try await file.close()
    }

    /// How many transactions were committed since the store was opened. Many writes share one.
    public var commits: Int { file.commits }

    /// Runs one guarded write: compares the epoch, gives the write its number, logs its keys.
    ///
    /// - Parameters:
    ///   - epoch: the writer's.
    ///   - body: gets the number this write will have; returns the keys it changed and its result. No
    ///     keys means that nothing a replica holds was changed, and no revision is taken.
    /// - Returns: the result and the revision after the write.
    func guarded<Result: Sendable>(
        epoch: Epoch,
        _ body:
            @escaping @Sendable (SQLConnection, _ number: Int64) throws -> (
                keys: [ChangeKey], result: Result
            )
    ) async throws -> (result: Result, revision: Revision) {
        try await guarded(epoch: epoch) { connection, number, draft in
            let (keys, result) = try body(connection, number)
            for key in keys { draft.log(key) }
            return result
        }
    }

    /// Runs one guarded write that logs what it does as it does it: `draft.log(…)` takes keys and
    /// transitions of activities and executions.
    ///
    /// - Parameters:
    ///   - epoch: the writer's.
    ///   - isRepeatable: whether `body` may be run again after what it did was taken back.
    ///   - body: gets the number this write will have and the draft of its entry in the log. An empty
    ///     draft means that nothing a replica holds was changed, and no revision is taken.
    /// - Returns: the result and the revision after the write.
    func guarded<Result: Sendable>(
        epoch: Epoch,
        isRepeatable: Bool = false,
        _ body:
            @escaping @Sendable (SQLConnection, _ number: Int64, inout ChangeDraft) throws -> Result
    ) async throws -> (result: Result, revision: Revision) {
        let history = history
        let keptRevisions = keptRevisions
        let (result, revision, concern) = try await file.write(isRepeatable: isRepeatable) {
            [self] connection in
            let current = Epoch(rawValue: try connection.metaNumber(MetaName.epoch))
            guard epoch == current else { throw ClusterRoleError.fenced(current: current) }
            let before = try connection.metaNumber(MetaName.revision)
            var draft = ChangeDraft()
            let result = try body(connection, before + 1, &draft)
            // The counter is taken last: on a server with many writers its row is locked the shortest.
            let number = draft.isEmpty ? before : before + 1
            if !draft.isEmpty {
                try connection.log(draft, as: number, keeping: keptRevisions)
                recent.withLock { $0.note(draft.keys, as: number) }
            }
            let told = draft.isEmpty ? nil : try connection.concern(of: draft.keys)
            return (result, Revision(history: history, number: number), told)
        }
        if let concern {
            hintReaders.send(revision)
            signals.send(concern)
        }
        return (result, revision)
    }
}

/// Sizes and limits of an ``EmbeddedStore``.
public struct EmbeddedStoreConfiguration: Sendable {
    /// Revisions the log reaches back. A replica that is further behind takes a snapshot, and events
    /// older than this are gone; a log entry takes about 160 bytes.
    public var keptRevisions = 1_000_000
    /// Connections for queries, beside the writer.
    public var readers = 2
    /// Calls that may wait for the writer; the next one is refused as `overloaded`.
    public var maximumWaitingCalls = 8_192
    /// Memory for pages the writer touches, in KiB.
    public var writerCacheKiB = 16_384
    /// Memory for pages each reader touches, in KiB.
    public var readerCacheKiB = 8_192
    /// Fails commits, in tests.
    package var commitFault: (@Sendable () throws -> Void)?
    /// Changes what the file is opened with, in tests.
    package var adjustFile: (@Sendable (inout DatabaseFileOptions) -> Void)?

    public init() {}

    var fileOptions: DatabaseFileOptions {
        var options = DatabaseFileOptions()
        options.readers = readers
        options.maximumWaitingCalls = max(1, maximumWaitingCalls)
        options.writerCacheKiB = writerCacheKiB
        options.readerCacheKiB = readerCacheKiB
        options.commitFault = commitFault
        adjustFile?(&options)
        return options
    }
}

/// Names in the table `meta`. They are part of the file's format.
enum MetaName {
    static let history = "history"
    static let epoch = "epoch"
    static let revision = "revision"
    /// The newest revision that was cut from the log.
    static let floor = "log-floor"
    static let generation = "wake-generation"
    /// The newest number of a message between members.
    static let message = "message-number"
    static let sharedStateFloor = "shared-state-floor"
}

extension SQLConnection {
    func history() throws -> HistoryID {
        guard let bytes = try metaBytes(MetaName.history), bytes.count == 16 else {
            throw SQLiteStorageError.corruptRow(in: "meta")
        }
        return HistoryID(bits: bytes.reduce(0) { $0 << 8 | UInt128($1) })
    }

    func epoch() throws -> Epoch { Epoch(rawValue: try metaNumber(MetaName.epoch)) }

    func raiseEpoch() throws -> Epoch {
        let next = try epoch().next
        try setMetaNumber(MetaName.epoch, next.rawValue)
        return next
    }

    func revisionNumber() throws -> Int64 { try metaNumber(MetaName.revision) }

    private static let logInsertion = StatementText(
        "INSERT INTO revision_log (number, keys, sum) VALUES (?, ?, ?)"
    )

    /// Takes a revision for what a draft holds, and now and then cuts the log.
    fileprivate func log(_ draft: ChangeDraft, as number: Int64, keeping kept: Int64) throws {
        try store(Self.logInsertion, sealedFor: "revision_log") { row in
            try row.add(number)
            try row.add(ChangeKeyCoding.encode(draft.keys, note: draft.note))
        }
        try setMetaNumber(MetaName.revision, number)
        if number % 256 == 0 && number > kept {
            try run("DELETE FROM revision_log WHERE number <= ?", number - kept)
            try setMetaNumber(MetaName.floor, number - kept)
        }
    }
}
#endif
