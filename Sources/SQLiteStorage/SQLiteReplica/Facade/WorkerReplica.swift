#if SQLite
public import ClusterRole
public import DeviceRegistry
public import Logging
internal import Metrics
internal import OperationQueue
package import SQLiteEngine
internal import Synchronization

/// A worker's replica and spool in one SQLite file that belongs to this process.
///
/// It answers devices from memory (`PendingWorkReader`), takes their reports durably (`DeviceInbox`),
/// knows who they are (`DeviceAuthenticator`), and is filled and drained by the link
/// (`ReplicaStorage`). Before the first snapshot it knows no device and says so with
/// `devices.cannot-decide`, never with 401.
public final class WorkerReplica: Sendable {
    /// The node whose spool this is.
    public let node: NodeID
    /// The life of the file: entries are numbered within it.
    public let incarnation: IncarnationID

    let file: ReplicaFile
    let configuration: WorkerReplicaConfiguration
    let oracle: (any CredentialOracle)?
    let time: any TimeSource
    let logger: Logger
    let state: Mutex<ReplicaState>
    let questions = SingleFlight<CredentialDigest, DeviceRow?>()
    let signals = SpoolSignals()
    /// Tells devices that wait for work.
    let work = WorkSignalHub()

    /// Opens the file, or makes it. It blocks while it reads all rows: open it at start.
    ///
    /// - Parameters:
    ///   - path: of the file; its directory exists. A lock file is kept beside it.
    ///   - node: this node; its marks are the ones that count.
    ///   - secrets: what push registrations in the spool are encrypted with. Those sealed with another
    ///     key count as damaged, see ``damage``.
    ///   - oracle: asked for credentials the replica does not hold; `nil` for never.
    ///   - configuration: the spool's limits and how long refusals are remembered; the standard
    ///     ones work.
    ///   - time: tells the time; the system's unless a test moves it.
    ///   - random: draws the incarnation of a new file.
    ///   - logger: where it logs.
    /// - Throws: `SQLiteStorageError`: `locked` names the process that has the file; `corruptFile` and
    ///   `corruptRow` say that not even the file's frame can be trusted: put it aside, and the worker
    ///   begins anew from a snapshot, without the reports that were in it.
    public convenience init(
        path: String,
        node: NodeID,
        secrets: SecretBox,
        oracle: (any CredentialOracle)? = nil,
        configuration: WorkerReplicaConfiguration = WorkerReplicaConfiguration(),
        time: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        logger: Logger = Logger(label: "reeve.replica")
    ) throws {
        var options = DatabaseFileOptions()
        // Reads are answered from memory: one connection for the drain is enough.
        options.readers = 1
        options.writerCacheKiB = 4_096
        options.readerCacheKiB = 1_024
        try self.init(
            path: path,
            node: node,
            secrets: secrets,
            oracle: oracle,
            configuration: configuration,
            options: options,
            time: time,
            random: random,
            logger: logger
        )
    }

    package init(
        path: String,
        node: NodeID,
        secrets: SecretBox,
        oracle: (any CredentialOracle)?,
        configuration: WorkerReplicaConfiguration,
        options: DatabaseFileOptions,
        time: any TimeSource,
        random: any RandomSource,
        logger: Logger
    ) throws {
        self.node = node
        self.configuration = configuration
        self.oracle = oracle
        self.time = time
        self.logger = logger
        let drawn = IncarnationID(bits: UInt128(random.next()) << 64 | UInt128(random.next()))
        file = try ReplicaFile(
            path: path,
            node: node,
            secrets: secrets,
            newIncarnation: drawn,
            options: options
        )
        let contents = try file.load()
        incarnation = file.incarnation
        var initial = ReplicaState(incarnation: file.incarnation, configuration: configuration)
        initial.onOpened(contents, node: node, time: time)
        state = Mutex(initial)
        if !contents.damage.isNone {
            logger.error(
                "The replica's file is damaged; a snapshot will replace what was left out",
                metadata: [
                    "rows": "\(contents.damage.rows)", "entries": "\(contents.damage.entries)",
                ]
            )
            Counter(label: "reeve_replica_damaged_rows").increment(
                by: contents.damage.rows + contents.damage.entries
            )
        }
    }

    /// Commits what waits and closes the file. Every later call that needs it throws
    /// `storage.closed`; reads go on being answered from memory. Doing it twice is harmless.
    public func close() async throws {
        signals.finish()
        try await file.database.close()
    }

    /// The revision reads are answered at; `nil` before the first snapshot.
    public var revision: Revision? { state.withLock { $0.image.revision } }

    /// How long ago a manager was last heard, restarts included; `nil` if never. A worker cut off goes
    /// on serving and says how old it is by this.
    public var age: Duration? {
        let now = time.monotonic()
        return state.withLock { $0.heardAt.map { max(.zero, now - $0) } }
    }

    /// What the spool still takes.
    public var stage: SpoolStage { state.withLock { $0.gauge.stage } }

    /// Whether work is handed out. Claims are refused otherwise, because what is handed out makes
    /// reports, and there is no room for them.
    public var isHandingOut: Bool { stage < .notHandingOut }

    /// Entries that the manager has not applied yet, as far as the replica knows.
    public var pendingCount: Int { state.withLock { $0.gauge.entries } }

    /// Contacts that were dropped because of ``SpoolLimits`` since the file was opened.
    public var droppedContacts: Int { state.withLock { $0.droppedContacts } }

    /// What was found damaged.
    public var damage: ReplicaDamage { state.withLock { $0.damage } }

    /// How many enrolled devices the replica holds.
    public var deviceCount: Int { state.withLock { $0.image.deviceCount } }
}

extension ReplicaState {
    /// The file was opened: its rows have made the image, the entries behind the mark the overlay.
    mutating func onOpened(
        _ contents: ReplicaFile.Contents,
        node: NodeID,
        time: any TimeSource
    ) {
        epoch = contents.epoch
        mark = contents.mark
        handedOn = contents.mark
        retainedBytes = contents.retainedBytes
        generation = contents.position.generation
        damage = contents.damage
        needsSnapshot = contents.damage.rows > 0
        if let heard = contents.position.contactedAt {
            heardAt = time.monotonic() - max(.zero, time.now() - heard)
        }
        image = contents.image
        onOpened(contents.pending)
    }
}
#endif
