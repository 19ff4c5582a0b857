public import ClusterRole
internal import Synchronization

/// A message as its handler gets it.
public struct ReceivedMessage: Hashable, Sendable {
    public var id: MessageID
    public var kind: MessageKind
    public var payload: [UInt8]
    public var messageClass: MessageClass
    /// Who sent it: the coordinator's node, or the worker that asks.
    public var sender: NodeID
    public var sentAt: Timestamp
    public var expiresAt: Timestamp
    /// 1 for the first time this process gives it to a handler.
    public var attempt: Int

    init(_ message: ClusterMessage, attempt: Int) {
        id = message.id
        kind = message.kind
        payload = message.payload
        messageClass = message.messageClass
        sender = message.sender
        sentAt = message.sentAt
        expiresAt = message.expiresAt
        self.attempt = attempt
    }
}

/// What a handler answers.
public struct MessageReply: Sendable {
    /// For a sender that gathers replies; at most ``ClusterMessage/maximumPayloadBytes``.
    public var bytes: [UInt8]
    /// Done once the sender has the acknowledgement: what would keep this process from giving it. It is
    /// not done again after a restart.
    public var afterwards: (@Sendable () async -> Void)?

    public init(_ bytes: [UInt8] = [], afterwards: (@Sendable () async -> Void)? = nil) {
        self.bytes = bytes
        self.afterwards = afterwards
    }
}

/// What a node does with messages, by their kind.
///
/// ```swift
/// node.handlers.on("prices.changed") { message in
///     await prices.reload()
///     return MessageReply()
/// }
/// ```
///
/// Register before the node runs: a kind without a handler is acknowledged as unknown and not offered
/// again. A handler may be given the same message again (see ``MessageClass``).
public final class MessageHandlers: Sendable {
    /// Handles one message. Throw to be asked again later.
    public typealias Handler = @Sendable (ReceivedMessage) async throws -> MessageReply

    private struct Entry {
        var acceptsWorkers: Bool
        var handle: Handler
    }

    private let entries = Mutex<[MessageKind: Entry]>([:])

    public init() {}

    /// Registers a handler; a later one for the same kind replaces it.
    ///
    /// - Parameters:
    ///   - kind: what it handles.
    ///   - acceptsWorkers: on a manager, whether workers may send this kind, as a request.
    ///   - handle: does it.
    public func on(
        _ kind: MessageKind,
        acceptsWorkers: Bool = false,
        _ handle: @escaping Handler
    ) {
        entries.withLock {
            $0[kind] = Entry(acceptsWorkers: acceptsWorkers, handle: handle)
        }
    }

    func handler(of kind: MessageKind) -> Handler? { entries.withLock { $0[kind]?.handle } }

    func handlerForWorkers(of kind: MessageKind) -> Handler? {
        entries.withLock { entries in
            entries[kind].flatMap { $0.acceptsWorkers ? $0.handle : nil }
        }
    }
}
