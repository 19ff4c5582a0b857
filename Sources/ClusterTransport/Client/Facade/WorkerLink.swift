#if Server
public import ClusterMembership
public import ClusterRole
internal import ClusterTransport
public import Logging
internal import Metrics
public import OperationQueue
public import ServiceLifecycle
internal import Synchronization

/// Keeps a worker's replica up to date and its spool empty: the worker's half of the link as a
/// service.
///
/// Three loops run until the service ends: one follows the manager's revisions, one hands the spool
/// on in order and at least once, one says that this node is there. A manager that is away costs
/// each of them a jittered, bounded wait; devices go on being served from the replica meanwhile.
///
/// Name it **before** what serves devices in a `ServiceGroup`: services stop in reverse order, so the
/// last reports are in the spool when it is handed on.
///
/// On graceful shutdown the loops end, the spool is handed on for at most
/// ``WorkerLinkConfiguration/flushTimeout``, and the manager is told that the node leaves. On
/// cancellation everything ends at once; nothing is lost, because the spool is durable.
public final class WorkerLink: Service {
    let client: LinkClient
    let replica: any ReplicaStorage
    let configuration: WorkerLinkConfiguration
    let hints: (any HintBus)?
    let time: any TimeSource
    let random: any RandomSource
    let logger: Logger
    let state = Mutex(LinkStatus())
    /// What this node says of itself; it may change while the link stands.
    let own: Mutex<OwnWord>

    struct OwnWord: Sendable {
        var mode = MemberMode.active
        var properties: [String: String]
    }

    /// - Parameters:
    ///   - client: dials the managers.
    ///   - replica: what is filled and drained.
    ///   - configuration: what the node says of itself, sizes and intervals; the standard ones
    ///     work.
    ///   - hints: told of each revision the replica has reached, so that what else follows the
    ///     manager (releases, say) need not poll often.
    ///   - time: tells the time; the system's unless a test moves it.
    ///   - random: draws the jitter of repetitions.
    ///   - logger: where it logs.
    public init(
        client: LinkClient,
        replica: any ReplicaStorage,
        configuration: WorkerLinkConfiguration = WorkerLinkConfiguration(),
        hints: (any HintBus)? = nil,
        time: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource(),
        logger: Logger = Logger(label: "reeve.link")
    ) {
        self.client = client
        self.replica = replica
        self.configuration = configuration
        own = Mutex(OwnWord(properties: configuration.properties))
        self.hints = hints
        self.time = time
        self.random = random
        self.logger = logger
    }

    /// Says from the next heartbeat on whether this node takes work.
    public func setMode(_ mode: MemberMode) { own.withLock { $0.mode = mode } }

    /// Says from the next heartbeat on what the product adds: zone, capacity.
    public func setProperties(_ properties: [String: String]) {
        own.withLock { $0.properties = properties }
    }

    /// Whether this node takes work: what it says itself, or what an administrator asked, whichever is
    /// stricter. What was asked holds also while no manager answers.
    public var mode: MemberMode {
        max(word.mode, state.withLock { $0.askedMode })
    }

    /// How the link stands.
    public var status: LinkStatus { state.withLock { $0 } }

    /// Follows, hands on and says that it is there, until graceful shutdown or cancellation.
    ///
    /// It throws nothing of the link's failures: those are counted, logged and tried again.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.follow() }
                group.addTask { await self.drain() }
                group.addTask { await self.sayAlive() }
            }
        }
        guard !Task.isCancelled else { return }
        await finish()
    }

    /// Hands on what is left and says good-bye, in bounded time.
    private func finish() async {
        let time = time
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.flush() }
            group.addTask { try? await time.sleep(for: self.configuration.flushTimeout) }
            _ = await group.next()
            group.cancelAll()
        }
        logger.info("The link has ended", metadata: ["status": "\(status)"])
    }

    private func flush() async {
        do {
            while try await handOnOnce() {}
            _ = try await client.heartbeat(heartbeat(.left))
        } catch {
            logger.notice(
                "The spool was not emptied at shutdown; it is handed on after the next start",
                metadata: ["error": "\(error)"]
            )
        }
    }

    /// Hands the next entries on, if there are any.
    ///
    /// - Returns: whether there were some.
    func handOnOnce() async throws -> Bool {
        let position = replica.position
        // Without a revision the next page is a snapshot, and its mark says where to begin.
        guard let revision = position.revision else { return false }
        let entries = try await replica.pendingEntries(limit: configuration.uploadEntries)
        guard !entries.isEmpty else { return false }
        let mark = try await client.upload(
            SpoolBatch(
                incarnation: position.incarnation,
                history: revision.history,
                entries: entries
            )
        )
        try await replica.heard(from: mark.epoch)
        replica.handedOn(upTo: mark.mark, at: mark.revision)
        Counter(label: "reeve_link_entries_handed_on").increment(by: entries.count)
        state.withLock {
            $0.lastMark = mark.mark
            $0.latest = mark.revision
        }
        return true
    }

    func hello() async throws {
        let position = replica.position
        let nonce = LinkNonce(from: random)
        let word = self.word
        let welcome = try await client.hello(
            LinkHello(
                node: client.node,
                role: configuration.role,
                domain: configuration.domain,
                address: configuration.address,
                version: configuration.version,
                applied: position.revision,
                highestEpoch: position.epoch,
                properties: word.properties,
                mode: word.mode,
                codecs: configuration.codecs,
                capabilities: configuration.capabilities,
                digest: configuration.digest?(),
                nonce: nonce,
                tenant: configuration.tenant
            )
        )
        // A manager of an earlier version names none.
        guard welcome.nonce ?? nonce == nonce else {
            throw ClusterLinkError(
                .badAnswer,
                "A manager answered another hello than this node's. Look what stands between them."
            )
        }
        try await take(welcome)
    }

    /// What the node says of itself now.
    private var word: OwnWord {
        var word = own.withLock { $0 }
        word.mode = max(word.mode, configuration.commandedMode?() ?? .active)
        return word
    }

    func heartbeat(_ memberState: MemberState) -> LinkHeartbeat {
        let position = replica.position
        let word = self.word
        return LinkHeartbeat(
            state: memberState,
            applied: position.revision,
            highestEpoch: position.epoch,
            properties: word.properties,
            mode: word.mode
        )
    }

    func take(_ welcome: LinkWelcome) async throws {
        try await replica.heard(from: welcome.epoch)
        let applied = replica.position.revision
        state.withLock { state in
            state.latest = welcome.revision
            // A manager that does not say has asked nothing new.
            if let mode = welcome.mode { state.askedMode = mode }
            state.heartbeatEvery = welcome.heartbeatEvery.map {
                .milliseconds(min(max(50, $0), 60_000))
            }
        }
        if let applied, applied.history == welcome.revision.history {
            Gauge(label: "reeve_link_lag_revisions")
                .record(max(0, welcome.revision.number - applied.number))
        }
    }

    /// Notes a success, and logs that the manager is back.
    func succeeded() {
        let now = time.monotonic()
        let wasAway = state.withLock { state in
            defer {
                state.isConnected = true
                state.lastFailure = nil
                state.lastSuccess = now
            }
            return !state.isConnected
        }
        if wasAway { logger.info("The link stands", metadata: ["node": "\(client.node)"]) }
    }

    /// Notes a failure: loudly once, then quietly.
    func failed(_ what: String, _ error: any Error) {
        Counter(label: "reeve_link_failures", dimensions: [("loop", what)]).increment()
        // A coordinator that was replaced goes on answering; the new one is elsewhere.
        if (error as? ClusterRoleError)?.code == .fenced { client.connection.moveOn() }
        let isNew = state.withLock { state in
            defer {
                state.isConnected = false
                state.lastFailure = "\(error)"
            }
            return state.isConnected || state.lastFailure == nil
        }
        logger.log(
            level: isNew ? .warning : .debug,
            "The link failed; devices are served from the replica meanwhile",
            metadata: ["loop": "\(what)", "error": "\(error)"]
        )
    }
}

/// How a worker's link stands.
public struct LinkStatus: Hashable, Sendable {
    /// Whether the last call succeeded.
    public var isConnected = false
    /// The manager's newest revision, as far as this node has heard.
    public var latest: Revision?
    /// Up to which entry the manager has this node's spool.
    public var lastMark: Int64?
    /// When a call last succeeded, on the monotonic clock.
    public var lastSuccess: Duration?
    /// Why the last call failed; `nil` after a success.
    public var lastFailure: String?
    /// Whether an administrator asked this node to drain or to be in maintenance.
    public var askedMode = MemberMode.active
    /// How often the manager asks to hear of this node; `nil` if it does not.
    public var heartbeatEvery: Duration?

    public init() {}

    /// How many revisions `applied` is behind ``latest``; `nil` if that is not known.
    public func lag(of applied: Revision?) -> Int64? {
        guard let latest, let applied, latest.history == applied.history else { return nil }
        return max(0, latest.number - applied.number)
    }
}
#endif
