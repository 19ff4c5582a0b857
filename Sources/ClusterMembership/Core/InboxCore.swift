package import ClusterRole

/// How a member takes its messages.
public struct MessageInboxSettings: Hashable, Sendable {
    /// The most messages and answers held at once; no more are fetched meanwhile. 256.
    public var capacity: Int
    /// How often a reliable message is given to a handler that throws. 5.
    public var attempts: Int
    /// The pause before the second attempt; it doubles with each. 1 s.
    public var initialBackoff: Duration
    /// The longest pause. 60 s.
    public var maximumBackoff: Duration
    /// How many reliable messages are remembered as handled, restarts included. 1,024: as many as a
    /// coordinator keeps, and 24 bytes each in a file that is written anew for each.
    public var remembered: Int
    /// How many idempotent messages are remembered. 1,024.
    public var rememberedRecent: Int
    /// How long a handler may take. 30 s: it holds up those behind it. What takes longer belongs into a
    /// task of the member's own.
    public var handlerLimit: Duration
    /// How long a fetch waits at the coordinator. 20 s: below what proxies cut.
    public var pollWait: Duration
    /// After so long everything not acknowledged is asked for again, whatever the cursor says. 60 s: so
    /// late is a message that matches only since the member's properties changed.
    public var refetchEvery: Duration

    public init(
        capacity: Int = 256,
        attempts: Int = 5,
        initialBackoff: Duration = .seconds(1),
        maximumBackoff: Duration = .seconds(60),
        remembered: Int = 1_024,
        rememberedRecent: Int = 1_024,
        handlerLimit: Duration = .seconds(30),
        pollWait: Duration = .seconds(20),
        refetchEvery: Duration = .seconds(60)
    ) {
        self.capacity = max(1, capacity)
        self.attempts = max(1, attempts)
        self.initialBackoff = initialBackoff
        self.maximumBackoff = maximumBackoff
        self.remembered = max(1, remembered)
        self.rememberedRecent = max(1, rememberedRecent)
        self.handlerLimit = handlerLimit
        self.pollWait = pollWait
        self.refetchEvery = refetchEvery
    }
}

/// What a member must handle, has handled, and has to answer.
package struct InboxCore: Sendable {
    /// What the shell must do next.
    package enum Directive: Hashable, Sendable {
        /// Give it to its handler, and say how that went.
        case handle(ClusterMessage, attempt: Int)
        /// Store ``remembered`` before anything else.
        case remember
        /// Send these, and say when they were taken.
        case acknowledge([MessageAcknowledgement])
    }

    private struct Waiting: Sendable {
        var message: ClusterMessage
        var attempt = 1
        var dueAt: Duration
    }

    private let node: NodeID
    private let settings: MessageInboxSettings
    /// In the order of arrival.
    private var waiting: [Waiting] = []
    private var answers: [MessageAcknowledgement] = []
    private var handled: BoundedMemory
    private var handledRecent: BoundedMemory
    private var mustRemember = false
    /// Messages that arrived a second time.
    package private(set) var duplicates = 0
    /// Reliable messages whose handler threw each time.
    package private(set) var failures = 0

    package init(node: NodeID, settings: MessageInboxSettings, remembered: [MessageID] = []) {
        self.node = node
        self.settings = settings
        handled = BoundedMemory(capacity: settings.remembered)
        handledRecent = BoundedMemory(capacity: settings.rememberedRecent)
        for id in remembered { handled.insert(id) }
    }

    /// What has to survive a restart: the reliable messages handled, oldest first.
    package var remembered: [MessageID] { handled.all }

    /// How many more messages may be fetched.
    package var room: Int { max(0, settings.capacity - waiting.count - answers.count) }

    /// A page came. What is known already is not handled again, but answered again.
    package mutating func onPage(
        _ messages: [ClusterMessage],
        at now: Timestamp,
        monotonic: Duration
    ) {
        for message in messages where message.expiresAt > now {
            let isKnown =
                handled.contains(message.id) || handledRecent.contains(message.id)
                || waiting.contains { $0.message.id == message.id }
                || answers.contains { $0.message == message.id }
            guard isKnown else {
                waiting.append(Waiting(message: message, dueAt: monotonic))
                continue
            }
            duplicates += 1
            if message.messageClass == .reliable, handled.contains(message.id),
                !answers.contains(where: { $0.message == message.id })
            {
                // The answer was lost, or this process was killed before it gave one.
                answers.append(
                    MessageAcknowledgement(
                        message: message.id,
                        node: node,
                        outcome: .handled,
                        reason: "It had been handled before.",
                        at: now
                    )
                )
            }
        }
    }

    /// What is to be done now; `nil` if nothing is before ``nextDue``.
    package mutating func onTurn(at now: Timestamp, monotonic: Duration) -> Directive? {
        waiting.removeAll { $0.message.expiresAt <= now }
        if mustRemember { return .remember }
        if !answers.isEmpty { return .acknowledge(answers) }
        guard let next = waiting.first(where: { $0.dueAt <= monotonic }) else { return nil }
        return .handle(next.message, attempt: next.attempt)
    }

    /// When the next message is due to be tried again; `nil` if none waits.
    package var nextDue: Duration? { waiting.map(\.dueAt).min() }

    package mutating func onHandled(
        _ id: MessageID,
        outcome: MessageOutcome,
        reply: [UInt8],
        reason: String = "",
        at now: Timestamp
    ) {
        guard let index = waiting.firstIndex(where: { $0.message.id == id }) else { return }
        let message = waiting.remove(at: index).message
        if message.messageClass == .reliable {
            handled.insert(id)
            mustRemember = true
        } else {
            handledRecent.insert(id)
        }
        guard message.messageClass == .reliable || message.expectsReply else { return }
        answers.append(
            MessageAcknowledgement(
                message: id,
                node: node,
                outcome: outcome,
                reply: reply,
                reason: reason,
                at: now
            )
        )
    }

    /// A handler threw, or took too long.
    package mutating func onFailed(
        _ id: MessageID,
        reason: String,
        at now: Timestamp,
        monotonic: Duration
    ) {
        guard let index = waiting.firstIndex(where: { $0.message.id == id }) else { return }
        let isLast =
            waiting[index].message.messageClass == .idempotent
            || waiting[index].attempt >= settings.attempts
        if isLast {
            failures += 1
            onHandled(id, outcome: .failed, reply: [], reason: reason, at: now)
        } else {
            let doubled = settings.initialBackoff * (1 << min(waiting[index].attempt - 1, 16))
            waiting[index].attempt += 1
            waiting[index].dueAt = monotonic + min(doubled, settings.maximumBackoff)
        }
    }

    /// Whether something is to be stored or answered at once.
    package var isOwing: Bool { mustRemember || !answers.isEmpty }

    /// Whether a message is still to be handled or answered.
    package func owesAnswer(to id: MessageID) -> Bool {
        answers.contains { $0.message == id } || waiting.contains { $0.message.id == id }
    }

    /// ``remembered`` is stored.
    package mutating func onRemembered() { mustRemember = false }

    /// The coordinator has these answers.
    package mutating func onAcknowledged(_ ids: [MessageID]) {
        answers.removeAll { ids.contains($0.message) }
    }
}

/// The newest ids of many: what is older is forgotten.
struct BoundedMemory: Sendable {
    private let capacity: Int
    private var known: Set<MessageID> = []
    /// A ring, oldest at `first`.
    private var order: [MessageID] = []
    private var first = 0

    init(capacity: Int) { self.capacity = capacity }

    func contains(_ id: MessageID) -> Bool { known.contains(id) }

    mutating func insert(_ id: MessageID) {
        guard known.insert(id).inserted else { return }
        if order.count < capacity {
            order.append(id)
        } else {
            known.remove(order[first])
            order[first] = id
            first = (first + 1) % capacity
        }
    }

    /// Oldest first.
    var all: [MessageID] { Array(order[first...] + order[..<first]) }
}
