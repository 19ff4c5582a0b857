public import ClusterRole

/// Obeys an operator's commands. Products with a way of their own to restart implement it;
/// ``StandingControl`` is the usual one.
public protocol NodeControl: Sendable {
    /// Begins or ends maintenance, durably. Ending it ends draining as well.
    func setMaintenance(_ isOn: Bool) async throws
    /// Stops taking new requests.
    func drain() async throws
    /// Ends the node. It is called once the coordinator has the acknowledgement, and may return before
    /// the end.
    func end(_ ending: NodeEnding) async
}

/// Sends commands to nodes: an operator's end.
///
/// A command is a reliable message to those who are members when it is sent: nobody who joins later
/// obeys it, and nobody twice. A node acknowledges it **before** it ends. A node that was already sent
/// a command with the same id, and was killed between noting and obeying it, does not obey it later.
public struct NodeCommands: Sendable {
    /// The kind of the message. Its payload is the command's name.
    public static let kind: MessageKind = "reeve.node-command"
    /// How long a command waits for a node that does not answer. 10 min: a restart asked for yesterday
    /// surprises.
    public static let standardLifetime = Duration.seconds(600)

    private let messenger: ClusterMessenger

    /// - Parameter messenger: the coordinator's.
    public init(_ messenger: ClusterMessenger) { self.messenger = messenger }

    /// Sends a command.
    ///
    /// - Parameters:
    ///   - command: what to do.
    ///   - address: which nodes.
    ///   - lifetime: how long it waits for a node that does not answer.
    ///   - id: for a caller that may have to repeat the call.
    /// - Returns: its id, and which nodes are meant.
    /// - Throws: as ``ClusterMessenger/send(_:)``.
    @discardableResult
    public func send(
        _ command: NodeCommand,
        to address: MessageAddress,
        lifetime: Duration = NodeCommands.standardLifetime,
        id: MessageID? = nil
    ) async throws -> MessageReceipt {
        try await messenger.send(
            MessageDraft(
                Self.kind,
                Array(command.rawValue.utf8),
                to: address,
                messageClass: .reliable,
                lifetime: lifetime,
                id: id
            )
        )
    }

    /// Which nodes have obeyed a command.
    ///
    /// - Throws: ``ClusterMembershipError``: `unknownMessage`, also for a message that is no command,
    ///   or `storage`.
    public func status(of id: MessageID) async throws -> (NodeCommand, MessageStatus) {
        let status = try await messenger.status(of: id)
        guard status.message.kind == Self.kind,
            let command = Self.command(in: status.message.payload)
        else {
            throw ClusterMembershipError(.unknownMessage, "The message \(id) is no command.")
        }
        return (command, status)
    }

    private static func command(in payload: [UInt8]) -> NodeCommand? {
        String(validating: payload, as: UTF8.self).flatMap(NodeCommand.init(rawValue:))
    }
}

extension NodeCommands {
    /// Makes a node obey commands.
    ///
    /// - Parameters:
    ///   - handlers: the node's.
    ///   - control: does what is said.
    public static func obey(on handlers: MessageHandlers, with control: any NodeControl) {
        handlers.on(kind) { message in
            guard let command = command(in: message.payload) else {
                throw ClusterMembershipError(
                    .noHandler,
                    "This node's version does not know that command. Upgrade it."
                )
            }
            switch command {
            case .maintenanceOn: try await control.setMaintenance(true)
            case .maintenanceOff: try await control.setMaintenance(false)
            case .drain: try await control.drain()
            case .restart, .gracefulRestart, .shutdown, .gracefulShutdown: break
            }
            guard let ending = command.ending else { return MessageReply() }
            return MessageReply(afterwards: { await control.end(ending) })
        }
    }
}
