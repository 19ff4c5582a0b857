public import ClusterRole

/// How far a member has fetched its messages. Opaque: one coordinator gives it out and takes it back;
/// another begins anew, and the member knows what it has handled.
public struct MessageCursor: Hashable, Sendable {
    /// Which life of which coordinator numbered it.
    public var incarnation: IncarnationID
    /// Up to which number of the log.
    public var number: Int64

    public init(incarnation: IncarnationID, number: Int64) {
        self.incarnation = incarnation
        self.number = number
    }

    /// `incarnation:number`, as it travels.
    public var token: String { "\(incarnation):\(number)" }

    /// Parses what ``token`` wrote.
    ///
    /// - Throws: `ClusterRoleError` with code `invalidIdentifier`.
    public init(parsing token: String) throws(ClusterRoleError) {
        let parts = token.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = Int64(parts[1]), number >= 0 else {
            throw ClusterRoleError(
                .invalidIdentifier,
                "A cursor of messages is one this API gave out, or none."
            )
        }
        self.init(incarnation: try IncarnationID(parsing: String(parts[0])), number: number)
    }
}

/// What waits for one member.
public struct MessagePage: Hashable, Sendable {
    /// Those that are offered, oldest first: idempotent ones, then reliable ones by their number.
    public var messages: [ClusterMessage]
    /// Ask with this the next time.
    public var cursor: MessageCursor
    /// How many idempotent messages for this member had to be dropped since the coordinator began.
    public var dropped: Int

    public init(messages: [ClusterMessage], cursor: MessageCursor, dropped: Int) {
        self.messages = messages
        self.cursor = cursor
        self.dropped = dropped
    }
}

/// What is to be sent, and to whom. The rest of a ``ClusterMessage`` is filled in when it is.
public struct MessageDraft: Hashable, Sendable {
    public var kind: MessageKind
    public var payload: [UInt8]
    public var address: MessageAddress
    public var messageClass: MessageClass
    public var lateJoiners: LateJoiners
    /// How long it is offered; `nil` for 24 h (reliable), or 60 s (idempotent: whoever is not there for a
    /// minute has fallen behind anyway).
    public var lifetime: Duration?
    /// The id, for a sender that may have to repeat the call; `nil` for a new one.
    public var id: MessageID?

    public init(
        _ kind: MessageKind,
        _ payload: [UInt8] = [],
        to address: MessageAddress,
        messageClass: MessageClass,
        lateJoiners: LateJoiners = .skipped,
        lifetime: Duration? = nil,
        id: MessageID? = nil
    ) {
        self.kind = kind
        self.payload = payload
        self.address = address
        self.messageClass = messageClass
        self.lateJoiners = lateJoiners
        self.lifetime = lifetime
        self.id = id
    }

    /// ``lifetime``, or what stands for none.
    public var effectiveLifetime: Duration {
        lifetime ?? (messageClass == .reliable ? .seconds(86_400) : .seconds(60))
    }
}

/// A message that was sent.
public struct MessageReceipt: Hashable, Sendable {
    public var id: MessageID
    /// Who is meant, by name. For a message that is replayed: who was there when it was sent.
    public var recipients: [NodeID]
    public var expiresAt: Timestamp
    /// Whether it was sent before, under its id: the rest is then what was answered at that time.
    public var wasRepeated: Bool

    public init(
        id: MessageID,
        recipients: [NodeID],
        expiresAt: Timestamp,
        wasRepeated: Bool = false
    ) {
        self.id = id
        self.recipients = recipients
        self.expiresAt = expiresAt
        self.wasRepeated = wasRepeated
    }
}

/// Where a message stands.
public struct MessageStatus: Hashable, Sendable {
    public var message: ClusterMessage
    /// Who is meant, by name. For a message that is replayed: who has answered or matches now.
    public var recipients: [NodeID]
    /// Who has answered, by name.
    public var acknowledgements: [MessageAcknowledgement]

    public init(
        message: ClusterMessage,
        recipients: [NodeID],
        acknowledgements: [MessageAcknowledgement]
    ) {
        self.message = message
        self.recipients = recipients
        self.acknowledgements = acknowledgements
    }

    /// Who has not, by name.
    public var silent: [NodeID] {
        let answered = Set(acknowledgements.map(\.node))
        return recipients.filter { !answered.contains($0) }
    }
}

/// What members answered to a request by its deadline.
public struct GatheredReplies: Hashable, Sendable {
    public var id: MessageID
    /// Answers, by member: also refusals, which their outcome tells.
    public var replies: [MessageAcknowledgement]
    /// Asked, and not heard of in time; by name.
    public var silent: [NodeID]

    public init(id: MessageID, replies: [MessageAcknowledgement], silent: [NodeID]) {
        self.id = id
        self.replies = replies
        self.silent = silent
    }

    /// Whether everybody asked has answered.
    public var isComplete: Bool { silent.isEmpty }
}

/// How full the coordinator's buffers are, and what they have dropped.
public struct MessageCounts: Hashable, Sendable {
    /// One member's drops.
    public struct Drops: Hashable, Sendable {
        public var node: NodeID
        public var count: Int

        public init(node: NodeID, count: Int) {
            self.node = node
            self.count = count
        }
    }

    /// Reliable messages kept, and their bytes with the names of their recipients.
    public var kept: Int
    public var keptBytes: Int
    /// Idempotent messages not yet fetched by all they are for.
    public var recent: Int
    public var recentBytes: Int
    /// Idempotent messages that a member did not get: dropped for newer ones, or expired unfetched; by name.
    public var drops: [Drops]

    public init(
        kept: Int,
        keptBytes: Int,
        recent: Int,
        recentBytes: Int,
        drops: [Drops]
    ) {
        self.kept = kept
        self.keptBytes = keptBytes
        self.recent = recent
        self.recentBytes = recentBytes
        self.drops = drops
    }
}
