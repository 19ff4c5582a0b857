#if Server && SQLite
internal import ClusterLink
public import ClusterMembership
public import ClusterRole
internal import SQLiteReplica

/// A worker's end of messages, of the replicated state and of commands.
///
/// ```swift
/// worker.messaging.handlers.on("prices.changed") { message in
///     await prices.reload()
///     return MessageReply()
/// }
/// worker.messaging.caches.onInvalidation(of: "prices") { await prices.removeAll() }
/// let entry = worker.messaging.state.entry(SharedStateKey("dark-mode", in: "feature-flags"))
/// ```
public struct WorkerMessaging: Sendable {
    /// What this worker does with messages. Register before it runs.
    public let handlers: MessageHandlers
    /// This worker's copy of the replicated state; it is there after a restart, also without managers.
    public let state: SharedState
    /// This worker's caches.
    public let caches: CacheInvalidation
    /// How this worker stands, and how it is to end.
    public let standing: StandingControl
    let inbox: MessageInbox
    private let client: LinkClient
    private let time: any TimeSource
    private let random: any RandomSource

    init(_ configuration: WorkerConfiguration, client: LinkClient, replica: WorkerReplica) {
        time = configuration.time
        random = configuration.random
        self.client = client
        func record(_ name: String) -> FileNodeRecord {
            FileNodeRecord(path: configuration.directory + "/" + name)
        }
        handlers = MessageHandlers()
        state = SharedState(record: record("shared-state"))
        caches = CacheInvalidation(state: state)
        standing = StandingControl(record: record("standing"), clock: time)
        inbox = MessageInbox(
            node: configuration.node,
            source: LinkMessageSource(client: client, state: state) { epoch in
                try await replica.heard(from: epoch)
            },
            handlers: handlers,
            record: record("handled-messages"),
            clock: time
        )
        NodeCommands.obey(on: handlers, with: standing)
    }

    /// Reads what earlier lives kept.
    func restore() async throws {
        try await standing.restore()
        try await state.restore()
    }

    /// Asks the coordinator something: a kind whose handler there accepts workers.
    ///
    /// - Parameters:
    ///   - kind: what is asked.
    ///   - payload: with what.
    ///   - id: for a caller that may have to repeat the call; the manager answers a repetition as before,
    ///     while it remembers it.
    /// - Returns: what the manager's handler answered.
    /// - Throws: the link's error, with the manager's own code, such as `cluster.no-handler`.
    public func ask(
        _ kind: MessageKind,
        _ payload: [UInt8] = [],
        id: MessageID? = nil
    ) async throws -> [UInt8] {
        try await client.ask(kind, payload, id: id ?? MessageID(from: random), clock: time)
    }

    /// What runs beside the HTTP server.
    var components: [NodeComponent] {
        [
            NodeComponent("messages", roles: [.worker]) { [inbox] in inbox },
            NodeComponent("caches", roles: [.worker]) { [caches] in caches },
        ]
    }
}

extension WorkerNode: CommandedService {
    public func ended() async -> NodeEnding? { await messaging.standing.ended() }
}
#endif
