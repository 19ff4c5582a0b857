public import ClusterRole
internal import Logging
internal import Metrics
internal import Synchronization

/// Asking members, and being asked by workers.
extension ClusterMessenger {
    /// Asks members and gathers what they answer until all have, or the deadline.
    ///
    /// The message expires with the deadline. As an idempotent one it costs no store write; as a reliable
    /// one it outlives a change of coordinator, and its answers can be read with ``status(of:)``.
    ///
    /// - Parameters:
    ///   - kind: what is asked.
    ///   - payload: with what.
    ///   - address: whom.
    ///   - deadline: how long replies are awaited.
    ///   - messageClass: idempotent unless said.
    /// - Returns: every member's reply, by name, and who was silent. Nobody asked is complete at once.
    /// - Throws: as ``send(_:)``; `CancellationError`.
    public func request(
        _ kind: MessageKind,
        _ payload: [UInt8] = [],
        to address: MessageAddress,
        within deadline: Duration,
        messageClass: MessageClass = .idempotent
    ) async throws -> GatheredReplies {
        let receipt = try await send(
            MessageDraft(
                kind,
                payload,
                to: address,
                messageClass: messageClass,
                lifetime: max(deadline, .milliseconds(1))
            ),
            expectsReply: true
        )
        let id = receipt.id
        defer { state.withLock { _ = $0.gatherings.removeValue(forKey: id) } }
        _ = try await answered.first(within: deadline, clock: settings.clock) { [self] in
            state.withLock { $0.gatherings[id]?.silent.isEmpty ?? true } ? true : nil
        }
        try Task.checkCancellation()
        let gathered = state.withLock { $0.gatherings[id] } ?? Gathering(silent: [])
        Counter(label: "reeve_messages_silent").increment(by: gathered.silent.count)
        return GatheredReplies(
            id: id,
            replies: gathered.replies.sorted { $0.node < $1.node },
            silent: gathered.silent.sorted()
        )
    }

    /// Handles a request of a worker.
    ///
    /// The same id again, while it is remembered (256 of them are), is answered as
    /// before without its handler; two at once may both run it.
    ///
    /// - Parameters:
    ///   - request: what the worker asks; its sender is the one that was authenticated.
    ///   - worker: who was authenticated.
    /// - Returns: the handler's answer.
    /// - Throws: ``ClusterMembershipError`` with `noHandler` for a kind this manager does not take from
    ///   workers, or `invalidMessage`; what the handler throws.
    public func answer(_ request: ClusterMessage, from worker: NodeID) async throws -> [UInt8] {
        try request.validate()
        guard let handle = handlers.handlerForWorkers(of: request.kind) else {
            throw ClusterMembershipError(
                .noHandler,
                "This manager takes no \(request.kind) from workers. Register a handler that accepts them."
            )
        }
        let key = RequestMemory.Key(id: request.id, worker: worker)
        if let known = state.withLock({ $0.requests.reply(to: key) }) { return known }
        var request = request
        request.sender = worker
        let reply = try await handle(ReceivedMessage(request, attempt: 1))
        guard reply.bytes.count <= ClusterMessage.maximumPayloadBytes else {
            throw ClusterMembershipError(
                .invalidMessage,
                "A reply has at most \(ClusterMessage.maximumPayloadBytes) bytes."
            )
        }
        state.withLock { $0.requests.note(reply.bytes, to: key) }
        if let afterwards = reply.afterwards { await afterwards() }
        return reply.bytes
    }
}

extension ClusterMessenger {
    /// The receipt of a reliable message that was sent before under its id, and is kept.
    ///
    /// - Throws: `messageConflict` if that one said something else.
    func repeated(_ message: ClusterMessage) async throws -> MessageReceipt? {
        guard message.messageClass == .reliable,
            let known = state.withLock({ $0.board.stored(message.id) })
        else { return nil }
        guard message.isRepeat(of: known.message) else {
            throw ClusterMembershipError.messageConflict(message.id)
        }
        var receipt = MessageReceipt(
            id: message.id,
            recipients: known.recipients ?? [],
            expiresAt: known.message.expiresAt,
            wasRepeated: true
        )
        if known.recipients == nil {
            receipt.recipients = try await recipients(of: message.address)
        }
        return receipt
    }
}

/// What workers asked last, and what they were answered.
struct RequestMemory: Sendable {
    struct Key: Hashable {
        var id: MessageID
        var worker: NodeID
    }

    /// 256: a worker repeats at once or never. With 64 KiB each at most 16 MiB.
    private static let capacity = 256
    private var replies: [Key: [UInt8]] = [:]
    private var order: [Key] = []
    private var first = 0

    func reply(to key: Key) -> [UInt8]? { replies[key] }

    mutating func note(_ reply: [UInt8], to key: Key) {
        guard replies.updateValue(reply, forKey: key) == nil else { return }
        if order.count < Self.capacity {
            order.append(key)
        } else {
            replies[order[first]] = nil
            order[first] = key
            first = (first + 1) % Self.capacity
        }
    }
}
