public import ClusterRole

/// Names one message for ever: the same id twice is the same message twice.
public struct MessageID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// What a message is about, such as `cache.flush`: members have a handler for each kind they know.
/// Names that begin with `reeve.` are the package's own.
public struct MessageKind: NameIdentifier {
    public static let noun = "message kind"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// What a message may cost, and what is promised for it.
public enum MessageClass: String, Hashable, Sendable, CaseIterable {
    /// Fire and forget, best effort: kept in the coordinator's memory only, for those who are members now,
    /// until each has fetched it once. It is lost with that answer, with the coordinator, by its expiry,
    /// or when newer ones need its room; the last two are counted. It may arrive twice and out of order, so
    /// handling it again must be harmless. A handler that throws is not asked again.
    case idempotent
    /// Durable, at least once: in the store when the send returns, and offered to each member it addresses
    /// until that member has acknowledged it or it expires. A handler that throws is asked again, with
    /// growing pauses, up to a limit; then its failure is the acknowledgement. A member does not handle the
    /// same id twice as long as it remembers it (``MessageInboxSettings/remembered``), restarts included,
    /// but for a crash between handling and noting that. Messages arrive in the order of their numbers
    /// unless one is retried.
    case reliable
}

/// Whom a message addresses.
public enum MessageAddress: Hashable, Sendable {
    case everybody
    /// Members by name, at most ``ClusterMessage/maximumNamed``.
    case members([NodeID])
    /// Members of exactly this role: a combined node is neither manager nor worker here.
    case role(NodeRole)
    /// Members of this domain or of a part of it.
    case domain(ClusterDomain)
    /// Members one of whose properties has this value: a group of the product's own, such as a zone.
    case property(name: String, value: String)

    /// Whether a member is meant, as it is now.
    public func includes(_ member: Member) -> Bool {
        switch self {
        case .everybody: true
        case .members(let nodes): nodes.contains(member.node)
        case .role(let role): member.role == role
        case .domain(let domain): domain.contains(member.domain)
        case .property(let name, let value): member.properties[name] == value
        }
    }
}

/// Who gets a reliable message beside those who are members when it is sent.
public enum LateJoiners: String, Hashable, Sendable, CaseIterable {
    /// Nobody: the members of that moment are its recipients for ever.
    case skipped
    /// Whoever joins, or comes to match the address, before the message expires: it is replayed to him.
    case replayed
}

/// A message to members of the cluster.
public struct ClusterMessage: Hashable, Sendable {
    public var id: MessageID
    public var kind: MessageKind
    /// Opaque here; at most ``maximumPayloadBytes``.
    public var payload: [UInt8]
    public var messageClass: MessageClass
    public var address: MessageAddress
    public var lateJoiners: LateJoiners
    /// Whether the sender waits for answers: then also idempotent messages are answered.
    public var expectsReply: Bool
    public var sender: NodeID
    public var sentAt: Timestamp
    /// From then on it is offered to nobody.
    public var expiresAt: Timestamp

    public init(
        id: MessageID,
        kind: MessageKind,
        payload: [UInt8] = [],
        messageClass: MessageClass,
        address: MessageAddress,
        lateJoiners: LateJoiners = .skipped,
        expectsReply: Bool = false,
        sender: NodeID,
        sentAt: Timestamp,
        expiresAt: Timestamp
    ) {
        self.id = id
        self.kind = kind
        self.payload = payload
        self.messageClass = messageClass
        self.address = address
        self.lateJoiners = lateJoiners
        self.expectsReply = expectsReply
        self.sender = sender
        self.sentAt = sentAt
        self.expiresAt = expiresAt
    }

    /// The largest payload or reply. 64 KiB: a message says that something is to be done; what is large is
    /// an artifact.
    public static let maximumPayloadBytes = 64 << 10
    /// The most members named one by one. 1,000: more are a group and have a property.
    public static let maximumNamed = 1_000
    /// The longest a message is kept. 30 days.
    public static let maximumLifetime = Duration.seconds(30 * 86_400)

    /// Refuses what would not fit or mean nothing.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `invalidMessage`; `ClusterRoleError` with
    ///   `invalidName` for a kind that is no name.
    public func validate() throws {
        _ = try MessageKind(validating: kind.rawValue)
        guard payload.count <= Self.maximumPayloadBytes else {
            throw ClusterMembershipError(
                .invalidMessage,
                "A message has at most \(Self.maximumPayloadBytes) bytes; this one has \(payload.count). "
                    + "Publish large things as an artifact."
            )
        }
        guard expiresAt > sentAt, expiresAt - sentAt <= Self.maximumLifetime else {
            throw ClusterMembershipError(
                .invalidMessage,
                "A message expires after it was sent, within \(Self.maximumLifetime)."
            )
        }
        if case .members(let nodes) = address {
            guard !nodes.isEmpty, nodes.count <= Self.maximumNamed else {
                throw ClusterMembershipError(
                    .invalidMessage,
                    "Name 1 to \(Self.maximumNamed) members; this message names \(nodes.count)."
                )
            }
        }
        if case .property(let name, let value) = address {
            guard max(name.utf8.count, value.utf8.count) <= Member.maximumTextBytes else {
                throw ClusterMembershipError(
                    .invalidMessage,
                    "A property has at most \(Member.maximumTextBytes) bytes."
                )
            }
        }
        guard messageClass == .reliable || lateJoiners == .skipped else {
            throw ClusterMembershipError(
                .invalidMessage,
                "Only reliable messages are replayed to those who join later: the others are not stored."
            )
        }
    }
}

/// A message as the log keeps it.
public struct StoredMessage: Hashable, Sendable {
    /// Grows with each message of the log; it only orders.
    public var number: Int64
    public var message: ClusterMessage
    /// Who is meant, by name, as of the moment it was sent; `nil` for a message that is replayed.
    public var recipients: [NodeID]?

    public init(number: Int64, message: ClusterMessage, recipients: [NodeID]?) {
        self.number = number
        self.message = message
        self.recipients = recipients
    }
}

/// What became of a message at one member.
public enum MessageOutcome: String, Hashable, Sendable, CaseIterable {
    /// Its handler returned.
    case handled
    /// Its handler threw, each time it was asked.
    case failed
    /// The member has no handler for its kind.
    case unknownKind = "unknown-kind"
}

/// One member's word on one message: it is not offered to that member again.
public struct MessageAcknowledgement: Hashable, Sendable {
    public var message: MessageID
    public var node: NodeID
    public var outcome: MessageOutcome
    /// What the handler answered; empty for most.
    public var reply: [UInt8]
    /// Why not, if it failed. Cut to ``maximumReasonBytes``.
    public var reason: String
    /// The member's time.
    public var at: Timestamp

    public init(
        message: MessageID,
        node: NodeID,
        outcome: MessageOutcome,
        reply: [UInt8] = [],
        reason: String = "",
        at: Timestamp
    ) {
        self.message = message
        self.node = node
        self.outcome = outcome
        self.reply = reply
        self.reason =
            reason.utf8.count <= Self.maximumReasonBytes
            ? reason : String(decoding: reason.utf8.prefix(Self.maximumReasonBytes), as: UTF8.self)
        self.at = at
    }

    /// 1,024 bytes: a sentence for an operator.
    public static let maximumReasonBytes = 1_024
}

extension ClusterMembershipError.Code {
    /// A message that is too large, addresses too many, or expires before it is sent.
    public static let invalidMessage = Self(rawValue: "cluster.invalid-message")
    /// The coordinator keeps as many reliable messages as it may; none is dropped for another.
    public static let tooManyMessages = Self(rawValue: "cluster.too-many-messages")
    /// The id belongs to another message.
    public static let messageConflict = Self(rawValue: "cluster.message-conflict")
    /// No such message is kept: it has expired, or all have answered long ago.
    public static let unknownMessage = Self(rawValue: "cluster.unknown-message")
    /// No such member.
    public static let unknownMember = Self(rawValue: "cluster.unknown-member")
    /// Nobody handles that kind, or not from this sender.
    public static let noHandler = Self(rawValue: "cluster.no-handler")
    /// A handler took longer than ``MessageInboxSettings/handlerLimit``.
    public static let slowHandler = Self(rawValue: "cluster.slow-handler")
    /// The value is not the one the caller expected: read it again and decide anew.
    public static let stateConflict = Self(rawValue: "cluster.state-conflict")
    /// The replicated state has no room for this.
    public static let stateFull = Self(rawValue: "cluster.state-full")
    /// A key or value of the replicated state is too long.
    public static let invalidState = Self(rawValue: "cluster.invalid-state")
}
