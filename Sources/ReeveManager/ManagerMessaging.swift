#if Server && SQLite
public import ClusterMembership
public import ClusterRole
internal import SQLiteStore

/// A manager's end of messages, of the replicated state and of commands.
///
/// ```swift
/// let answers = try await manager.messaging.messenger.request(
///     "uptime", to: .role(.worker), within: .seconds(5))
/// try await manager.messaging.stateWriter.invalidate(cache: "prices")
/// try await manager.messaging.commands.send(.gracefulRestart, to: .property(name: "zone", value: "a"))
/// ```
public struct ManagerMessaging: Sendable {
    /// Sends messages and asks members.
    public let messenger: ClusterMessenger
    /// What this manager does with messages, and with requests of workers. Register before it runs.
    public let handlers: MessageHandlers
    /// Reads the replicated state.
    public let state: SharedState
    /// Changes it.
    public let stateWriter: SharedStateWriter
    /// This manager's own caches.
    public let caches: CacheInvalidation
    /// Sends commands to nodes.
    public let commands: NodeCommands
    /// How this manager stands, and how it is to end.
    public let standing: StandingControl
    let inbox: MessageInbox

    init(
        _ configuration: ManagerConfiguration,
        own: Member,
        files: NodeDirectory,
        store: EmbeddedStore,
        members: ClusterMembers,
        capability: WriteCapability
    ) async throws {
        let (time, random) = (configuration.time, configuration.random)
        handlers = MessageHandlers()
        state = SharedState(storage: store)
        messenger = ClusterMessenger(
            own: own,
            log: store,
            members: members,
            capability: capability,
            handlers: handlers,
            signal: state.signal,
            settings: ClusterMessenger.Settings(clock: time, random: random)
        )
        stateWriter = state.writer(for: capability)
        caches = CacheInvalidation(state: state)
        commands = NodeCommands(messenger)
        standing = StandingControl(
            record: FileNodeRecord(path: files.path("standing")),
            clock: time
        )
        inbox = MessageInbox(
            node: configuration.node,
            source: LocalMessageSource(messenger),
            handlers: handlers,
            record: FileNodeRecord(path: files.path("handled-messages")),
            clock: time
        )
        NodeCommands.obey(on: handlers, with: standing)
        try await standing.restore()
        try await state.refresh()
        try await messenger.refresh()
    }

    /// What runs beside the HTTP server.
    var components: [NodeComponent] {
        [
            NodeComponent("messenger", roles: [.manager]) { [messenger] in messenger },
            NodeComponent("messages", roles: [.manager]) { [inbox] in inbox },
            NodeComponent("caches", roles: [.manager]) { [caches] in caches },
        ]
    }
}

extension ManagerNode: CommandedService {
    public func ended() async -> NodeEnding? { await messaging.standing.ended() }
}
#endif
