public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Sends messages to members of the cluster, and hands them to members that ask: the coordinator's end.
///
/// ```swift
/// let receipt = try await messenger.send(
///     MessageDraft("prices.changed", to: .role(.worker), messageClass: .reliable))
/// let answers = try await messenger.request("uptime", to: .everybody, within: .seconds(5))
/// for node in answers.silent { print("\(node) did not answer") }
/// ```
///
/// Members dial the coordinator and wait; nothing is dialled here. Reliable messages are in the
/// ``MessageLog`` when ``send(_:)`` returns, so another coordinator goes on with them. See
/// ``MessageClass`` for what each class promises.
public final class ClusterMessenger: Service {
    /// How the messenger is set.
    public struct Settings: Sendable {
        public var limits: MessageLimits
        /// How often expired messages are removed and the log is looked at. 5 s.
        public var sweepEvery: Duration
        public var clock: any TimeSource
        public var random: any RandomSource
        public var logger: Logger

        public init(
            limits: MessageLimits = MessageLimits(),
            sweepEvery: Duration = .seconds(5),
            clock: any TimeSource = SystemTimeSource(),
            random: any RandomSource = SystemRandomSource(),
            logger: Logger = Logger(label: "reeve.messages")
        ) {
            self.limits = limits
            self.sweepEvery = sweepEvery
            self.clock = clock
            self.random = random
            self.logger = logger
        }
    }

    /// A request whose replies are awaited.
    struct Gathering {
        var silent: Set<NodeID>
        var replies: [MessageAcknowledgement] = []
    }

    struct State {
        var board: MessageBoard
        var gatherings: [MessageID: Gathering] = [:]
        var requests = RequestMemory()
    }

    /// The coordinator's own node: the sender, and a member like the others.
    public let node: NodeID
    /// Wakes members that wait; shared with ``SharedState``.
    public let signal: ChangeSignal
    let log: any MessageLog
    let handlers: MessageHandlers
    let settings: Settings
    let state: Mutex<State>
    /// Wakes those who gather replies.
    let answered = ChangeSignal()
    private let present: @Sendable () async throws -> [Member]
    private let capability: WriteCapability

    /// - Parameters:
    ///   - own: this node as a member, also if the registry does not have it.
    ///   - log: keeps reliable messages.
    ///   - members: knows who is addressed.
    ///   - capability: the right to send.
    ///   - handlers: answers requests of workers.
    ///   - signal: shared with the replicated state, so that one wait serves both.
    ///   - settings: limits and clocks; the standard ones work.
    public init(
        own: Member,
        log: any MessageLog,
        members: ClusterMembers,
        capability: WriteCapability,
        handlers: MessageHandlers = MessageHandlers(),
        signal: ChangeSignal = ChangeSignal(),
        settings: Settings = Settings()
    ) {
        node = own.node
        self.log = log
        self.capability = capability
        self.handlers = handlers
        self.signal = signal
        self.settings = settings
        present = {
            let all = try await members.all().filter { $0.state != .left }
            return all.contains { $0.node == own.node }
                ? all : (all + [own]).sorted { $0.node < $1.node }
        }
        state = Mutex(
            State(
                board: MessageBoard(
                    limits: settings.limits,
                    incarnation: IncarnationID(from: settings.random)
                )
            )
        )
    }

    // MARK: Sending

    /// Sends a message.
    ///
    /// A reliable one is durable when this returns. Sending one again under its id, by whatever
    /// coordinator, is the same message. Members that have left are not addressed, but by a message that is
    /// replayed, when they are back; those that have failed are: they may come back.
    ///
    /// - Returns: its id and who is meant; nobody for an address that no member matches.
    /// - Throws: ``ClusterMembershipError``: `invalidMessage`, `tooManyMessages`, `messageConflict`,
    ///   `unknownMember` for a name no member has, `storage`.
    @discardableResult
    public func send(_ draft: MessageDraft) async throws -> MessageReceipt {
        try await send(draft, expectsReply: false)
    }

    func send(_ draft: MessageDraft, expectsReply: Bool) async throws -> MessageReceipt {
        let epoch = try requireEpoch()
        let now = settings.clock.now()
        let message = ClusterMessage(
            id: draft.id ?? MessageID(from: settings.random),
            kind: draft.kind,
            payload: draft.payload,
            messageClass: draft.messageClass,
            address: draft.address,
            lateJoiners: draft.lateJoiners,
            expectsReply: expectsReply,
            sender: node,
            sentAt: now,
            expiresAt: now + draft.effectiveLifetime
        )
        try message.validate()
        // Whom it addressed then may be gone now: that it was heard is known here.
        if !expectsReply, let known = try await repeated(message) { return known }
        let recipients = try await recipients(of: draft.address)
        if expectsReply {
            state.withLock { state in
                state.gatherings[message.id] = Gathering(silent: Set(recipients))
            }
        }
        do {
            switch message.messageClass {
            case .idempotent: sendRecent(message, to: recipients)
            case .reliable: try await store(message, recipients, epoch)
            }
        } catch {
            state.withLock { _ = $0.gatherings.removeValue(forKey: message.id) }
            throw error
        }
        Counter(
            label: "reeve_messages_sent",
            dimensions: [("class", message.messageClass.rawValue)]
        ).increment()
        signal.send()
        return MessageReceipt(
            id: message.id,
            recipients: recipients,
            expiresAt: message.expiresAt
        )
    }

    private func requireEpoch() throws -> Epoch {
        do {
            return try capability.requireEpoch()
        } catch {
            throw ClusterMembershipError.storage(error)
        }
    }

    /// Who is addressed now, by name.
    func recipients(of address: MessageAddress) async throws -> [NodeID] {
        let members = try await present()
        if case .members(let nodes) = address {
            let known = Set(members.map(\.node))
            if let stranger = nodes.first(where: { !known.contains($0) }) {
                throw ClusterMembershipError(
                    .unknownMember,
                    "\(stranger) is no member now. Check the name, or wait until it is back."
                )
            }
        }
        return members.filter { address.includes($0) }.map(\.node).sorted()
    }

    private func sendRecent(_ message: ClusterMessage, to recipients: [NodeID]) {
        let dropped = state.withLock { $0.board.onSent(message, to: recipients) }
        note(dropped: dropped)
    }

    private func store(
        _ message: ClusterMessage,
        _ recipients: [NodeID],
        _ epoch: Epoch
    ) async throws {
        let named = message.lateJoiners == .replayed ? nil : recipients
        try state.withLock { state throws(ClusterMembershipError) in
            guard state.board.stored(message.id) == nil else { return }
            try state.board.requireRoom(for: message, named)
        }
        do {
            let stored = try await log.append(message, recipients: named, epoch: epoch)
            state.withLock { $0.board.onAppended(stored, at: settings.clock.now()) }
        } catch {
            throw ClusterMembershipError.storage(error)
        }
    }

    func note(dropped: Int) {
        guard dropped > 0 else { return }
        Counter(label: "reeve_messages_dropped").increment(by: dropped)
        settings.logger.warning(
            "Messages were dropped before members fetched them",
            metadata: ["deliveries": "\(dropped)"]
        )
    }

    // MARK: Members

    /// What waits for a member now; see ``fetch(for:after:limit:wait:)`` to wait for it.
    ///
    /// - Parameters:
    ///   - member: who asks.
    ///   - cursor: the one of its last page; `nil` for everything it has not acknowledged.
    ///   - limit: at most so many messages.
    public func page(
        for member: NodeID,
        after cursor: MessageCursor?,
        limit: Int
    ) async throws -> MessagePage {
        let depends = state.withLock { $0.board.dependsOnMembership(after: cursor) }
        let known = depends ? try await present().first { $0.node == member } : nil
        let page = state.withLock { state in
            state.board.onFetch(
                by: member,
                known,
                after: cursor,
                limit: max(1, limit),
                at: settings.clock.now()
            )
        }
        if !page.messages.isEmpty {
            Counter(label: "reeve_messages_offered").increment(by: page.messages.count)
        }
        return page
    }

    /// What waits for a member, or comes within `wait`.
    public func fetch(
        for member: NodeID,
        after cursor: MessageCursor?,
        limit: Int,
        wait: Duration
    ) async throws -> MessagePage {
        let found = try await signal.first(within: wait, clock: settings.clock) {
            let page = try await self.page(for: member, after: cursor, limit: limit)
            return page.messages.isEmpty ? nil : page
        }
        if let found { return found }
        return try await page(for: member, after: cursor, limit: limit)
    }

    /// A member's answers. Repeated ones, and those to messages that are gone, are harmless; reliable
    /// messages' are durable when this returns.
    ///
    /// - Throws: ``ClusterMembershipError``: `invalidMessage` for a reply that is too long, `storage`.
    public func take(_ answers: [MessageAcknowledgement]) async throws {
        for answer in answers where answer.reply.count > ClusterMessage.maximumPayloadBytes {
            throw ClusterMembershipError(
                .invalidMessage,
                "A reply has at most \(ClusterMessage.maximumPayloadBytes) bytes."
            )
        }
        let stored = state.withLock { state in
            answers.filter { state.board.stored($0.message) != nil }
        }
        do {
            if !stored.isEmpty { try await log.acknowledge(stored) }
        } catch {
            throw ClusterMembershipError.storage(error)
        }
        state.withLock { state in
            for answer in answers {
                state.board.onAnswered(
                    answer.message,
                    by: answer.node,
                    at: settings.clock.now()
                )
                if state.gatherings[answer.message]?.silent.remove(answer.node) != nil {
                    state.gatherings[answer.message]?.replies.append(answer)
                }
            }
        }
        for answer in answers where answer.outcome != .handled {
            settings.logger.warning(
                "A member did not handle a message",
                metadata: [
                    "message": "\(answer.message)", "node": "\(answer.node)",
                    "outcome": "\(answer.outcome.rawValue)", "reason": "\(answer.reason)",
                ]
            )
        }
        answered.send()
    }

    // MARK: Keeping

    /// How full the buffers are, and what they dropped.
    public var counts: MessageCounts { state.withLock { $0.board.counts } }

    /// Where a reliable message stands.
    ///
    /// - Throws: ``ClusterMembershipError``: `unknownMessage`, `storage`.
    public func status(of id: MessageID) async throws -> MessageStatus {
        guard let stored = state.withLock({ $0.board.stored(id) }) else {
            throw ClusterMembershipError(
                .unknownMessage,
                "No such message is kept. It has expired, or all have answered a while ago."
            )
        }
        let answers: [MessageAcknowledgement]
        do {
            answers = try await log.acknowledgements(of: id)
        } catch {
            throw ClusterMembershipError.storage(error)
        }
        var recipients = stored.recipients
        if recipients == nil {
            let matching = try await present().filter { stored.message.address.includes($0) }
            recipients = Set(matching.map(\.node) + answers.map(\.node)).sorted()
        }
        return MessageStatus(
            message: stored.message,
            recipients: recipients ?? [],
            acknowledgements: answers
        )
    }

    /// Reads what the log has and this does not: everything when a coordinator begins, what another
    /// process wrote later.
    public func refresh() async throws {
        let now = settings.clock.now()
        while true {
            let newest = state.withLock { $0.board.newest }
            let more: [StoredMessage]
            do {
                more = try await log.messages(after: newest, limit: 100)
                for stored in more {
                    let answers = try await log.acknowledgements(of: stored.message.id)
                    state.withLock {
                        $0.board.onAppended(stored, answeredBy: answers.map(\.node), at: now)
                    }
                }
            } catch {
                throw ClusterMembershipError.storage(error)
            }
            guard !more.isEmpty else { return }
            signal.send()
        }
    }

    /// Forgets what has expired or is settled, here and in the log.
    public func sweep() async throws {
        let (removed, dropped) = state.withLock { $0.board.onSweep(at: settings.clock.now()) }
        note(dropped: dropped)
        let counts = counts
        Gauge(label: "reeve_messages_kept").record(counts.kept)
        Gauge(label: "reeve_messages_recent").record(counts.recent)
        guard !removed.isEmpty else { return }
        do {
            try await log.remove(removed, epoch: try capability.requireEpoch())
        } catch {
            throw ClusterMembershipError.storage(error)
        }
    }

    /// Refreshes and sweeps until graceful shutdown, cancellation, or the end of its right to write.
    public func run() async throws {
        while !Task.isShuttingDownGracefully && !Task.isCancelled && !capability.isRevoked {
            do {
                try await refresh()
                try await sweep()
            } catch {
                if (error as? ClusterMembershipError)?.isLossOfRight == true { return }
                settings.logger.warning("messages", metadata: ["error": "\(error)"])
            }
            let (clock, pause) = (settings.clock, settings.sweepEvery)
            _ = try? await cancelWhenGracefulShutdown { try await clock.sleep(for: pause) }
        }
    }
}
