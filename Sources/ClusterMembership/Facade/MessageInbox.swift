public import ClusterRole
public import Logging
internal import Metrics
public import ServiceLifecycle
internal import Synchronization

/// Where a member's messages come from, and where its answers go: the coordinator in this process, or
/// the link to it.
public protocol MessageSource: Sendable {
    /// What waits for this member, or comes within `wait`.
    func fetch(after cursor: MessageCursor?, limit: Int, wait: Duration) async throws -> MessagePage

    /// Hands answers over; they are taken when it returns.
    func acknowledge(_ answers: [MessageAcknowledgement]) async throws
}

/// The coordinator's own inbox fetches from its messenger.
public struct LocalMessageSource: MessageSource {
    private let messenger: ClusterMessenger

    public init(_ messenger: ClusterMessenger) { self.messenger = messenger }

    public func fetch(
        after cursor: MessageCursor?,
        limit: Int,
        wait: Duration
    ) async throws -> MessagePage {
        try await messenger.fetch(for: messenger.node, after: cursor, limit: limit, wait: wait)
    }

    public func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        try await messenger.take(answers)
    }
}

/// A member's end: fetches messages, gives each to its handler, and answers.
///
/// Handlers are called one at a time, in the order messages came. What a handler throws is tried again
/// with growing pauses, while others go on; after ``MessageInboxSettings/attempts`` the failure is
/// acknowledged with its reason. Which reliable messages were handled is stored **before** they are
/// acknowledged, so that a restart does not handle them again.
public final class MessageInbox: Service {
    private let node: NodeID
    private let source: any MessageSource
    private let handlers: MessageHandlers
    private let record: any NodeRecord
    private let settings: MessageInboxSettings
    private let clock: any TimeSource
    private let logger: Logger
    private let standing = Mutex(MessageInboxStatus())

    /// - Parameters:
    ///   - node: this member.
    ///   - source: the coordinator.
    ///   - handlers: what to do with each kind.
    ///   - record: what was handled, over restarts.
    ///   - settings: limits; the standard ones work.
    ///   - clock: counts pauses and stamps answers.
    ///   - logger: where it logs.
    public init(
        node: NodeID,
        source: any MessageSource,
        handlers: MessageHandlers,
        record: any NodeRecord,
        settings: MessageInboxSettings = MessageInboxSettings(),
        clock: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.inbox")
    ) {
        self.node = node
        self.source = source
        self.handlers = handlers
        self.record = record
        self.settings = settings
        self.clock = clock
        self.logger = logger
    }

    /// What has been counted since this inbox ran.
    public var status: MessageInboxStatus { standing.withLock { $0 } }

    /// Fetches and handles until graceful shutdown or cancellation. A handler that is under way then is
    /// cancelled, and its message offered again after the next start.
    public func run() async throws {
        let remembered = try await loadRemembered()
        try? await cancelWhenGracefulShutdown {
            var core = InboxCore(
                node: self.node,
                settings: self.settings,
                remembered: remembered
            )
            try await self.follow(&core)
        }
    }

    private func loadRemembered() async throws -> [MessageID] {
        guard let bytes = try await record.load() else { return [] }
        var reader = ByteReader(bytes)
        let ids = try? reader.readArray(elementSize: 16) { (reader) throws(ClusterRoleError) in
            MessageID(bits: try reader.readUInt128())
        }
        return ids ?? []
    }

    private func follow(_ core: inout InboxCore) async throws {
        var cursor: MessageCursor?
        var refetchAt = clock.monotonic() + settings.refetchEvery
        var pause = settings.initialBackoff
        var afterwards: [MessageID: @Sendable () async -> Void] = [:]
        while !Task.isCancelled {
            do {
                let now = clock.monotonic()
                if now >= refetchAt {
                    cursor = nil
                    refetchAt = now + settings.refetchEvery
                }
                try await fetch(into: &core, after: &cursor, until: refetchAt)
                while let directive = core.onTurn(at: clock.now(), monotonic: clock.monotonic()) {
                    try await obey(directive, &core, &afterwards)
                }
                pause = settings.initialBackoff
            } catch {
                try Task.checkCancellation()
                logger.debug("messages wait", metadata: ["error": "\(error)"])
                // A coordinator that failed may have lost what it offered.
                cursor = nil
                try await clock.sleep(for: pause)
                pause = min(pause * 2, settings.maximumBackoff)
            }
            note(core)
        }
    }

    private func fetch(
        into core: inout InboxCore,
        after cursor: inout MessageCursor?,
        until refetchAt: Duration
    ) async throws {
        let now = clock.monotonic()
        let next = core.isOwing ? now : min(core.nextDue ?? refetchAt, refetchAt)
        let wait = max(.zero, min(settings.pollWait, next - now))
        guard core.room > 0 else { return try await clock.sleep(for: wait) }
        let page = try await source.fetch(after: cursor, limit: core.room, wait: wait)
        cursor = page.cursor
        core.onPage(page.messages, at: clock.now(), monotonic: clock.monotonic())
        standing.withLock { $0.dropped = page.dropped }
    }

    private func obey(
        _ directive: InboxCore.Directive,
        _ core: inout InboxCore,
        _ afterwards: inout [MessageID: @Sendable () async -> Void]
    ) async throws {
        switch directive {
        case .handle(let message, let attempt):
            if let action = await handle(message, attempt: attempt, &core) {
                afterwards[message.id] = action
            }
            try Task.checkCancellation()
            await runUnanswered(&afterwards, core)
        case .remember:
            var writer = ByteWriter()
            writer.write(array: core.remembered) { $0.write($1.bits) }
            try await record.save(writer.bytes)
            core.onRemembered()
        case .acknowledge(let answers):
            try await source.acknowledge(answers)
            core.onAcknowledged(answers.map(\.message))
            for answer in answers {
                if let action = afterwards.removeValue(forKey: answer.message) { await action() }
            }
        }
    }

    /// What follows a message that nobody awaits an answer to.
    private func runUnanswered(
        _ afterwards: inout [MessageID: @Sendable () async -> Void],
        _ core: InboxCore
    ) async {
        for id in afterwards.keys.sorted() where !core.owesAnswer(to: id) {
            if let action = afterwards.removeValue(forKey: id) { await action() }
        }
    }

    private func handle(
        _ message: ClusterMessage,
        attempt: Int,
        _ core: inout InboxCore
    ) async -> (@Sendable () async -> Void)? {
        guard let handler = handlers.handler(of: message.kind) else {
            core.onHandled(message.id, outcome: .unknownKind, reply: [], at: clock.now())
            return nil
        }
        let received = ReceivedMessage(message, attempt: attempt)
        do {
            let reply = try await limited { try await handler(received) }
            guard reply.bytes.count <= ClusterMessage.maximumPayloadBytes else {
                throw ClusterMembershipError(.invalidMessage, "The reply is too long.")
            }
            core.onHandled(message.id, outcome: .handled, reply: reply.bytes, at: clock.now())
            return reply.afterwards
        } catch {
            // A shutdown cancels the handler: that is no failure of its own.
            guard !Task.isCancelled else { return nil }
            logger.warning(
                "A message was not handled",
                metadata: [
                    "kind": "\(message.kind)", "message": "\(message.id)",
                    "attempt": "\(attempt)", "error": "\(error)",
                ]
            )
            core.onFailed(
                message.id,
                reason: "\(error)",
                at: clock.now(),
                monotonic: clock.monotonic()
            )
            return nil
        }
    }

    private func limited(
        _ body: @escaping @Sendable () async throws -> MessageReply
    ) async throws -> MessageReply {
        let (clock, limit) = (clock, settings.handlerLimit)
        return try await withThrowingTaskGroup(of: MessageReply.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await clock.sleep(for: limit)
                throw ClusterMembershipError(
                    .slowHandler,
                    "The handler took longer than \(limit). Let it start the work and return."
                )
            }
            defer { group.cancelAll() }
            return try await group.next() ?? MessageReply()
        }
    }

    private func note(_ core: InboxCore) {
        let counts = (core.duplicates, core.failures)
        standing.withLock { status in
            Counter(label: "reeve_messages_duplicate").increment(by: counts.0 - status.duplicates)
            Counter(label: "reeve_messages_failed").increment(by: counts.1 - status.failures)
            (status.duplicates, status.failures) = counts
        }
    }
}

/// What an inbox has counted.
public struct MessageInboxStatus: Hashable, Sendable {
    /// Messages that arrived again and were not handled again.
    public var duplicates = 0
    /// Messages whose handler threw each time.
    public var failures = 0
    /// Idempotent messages for this member that the coordinator had to drop.
    public var dropped = 0

    public init() {}
}
