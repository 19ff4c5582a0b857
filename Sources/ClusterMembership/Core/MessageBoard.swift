package import ClusterRole

/// How much the coordinator keeps for members that have not fetched it yet.
public struct MessageLimits: Hashable, Sendable {
    /// The most reliable messages kept; the next is refused. 1,000: they are loaded when a coordinator
    /// begins, and an operator does not send a thousand commands a day.
    public var maximumKept: Int
    /// The most bytes of them, recipients' names included. 16 MiB.
    public var maximumKeptBytes: Int
    /// The most idempotent messages kept; for one more the oldest is dropped. 1,024.
    public var maximumRecent: Int
    /// The most bytes of them, recipients' names included. 8 MiB.
    public var maximumRecentBytes: Int
    /// A reliable message that everybody has answered is kept for so long, for those who ask what
    /// became of it. 10 min.
    public var keptAfterAnswers: Duration

    public init(
        maximumKept: Int = 1_000,
        maximumKeptBytes: Int = 16 << 20,
        maximumRecent: Int = 1_024,
        maximumRecentBytes: Int = 8 << 20,
        keptAfterAnswers: Duration = .seconds(600)
    ) {
        self.maximumKept = maximumKept
        self.maximumKeptBytes = maximumKeptBytes
        self.maximumRecent = maximumRecent
        self.maximumRecentBytes = maximumRecentBytes
        self.keptAfterAnswers = keptAfterAnswers
    }
}

/// Which messages wait for whom: the coordinator's half.
///
/// Reliable messages are an image of the log; idempotent ones live here only. A member's cursor spares
/// it what it was offered before; without one, or with another coordinator's, it is offered everything
/// it has not acknowledged.
package struct MessageBoard: Sendable {
    private struct Kept: Sendable {
        var stored: StoredMessage
        /// `nil` for a message that is replayed: then the address decides.
        var recipients: Set<NodeID>?
        var answered: Set<NodeID> = []
        var bytes: Int
        /// When the last recipient had answered.
        var completedAt: Timestamp?

        func isOffered(to node: NodeID, _ member: Member?) -> Bool {
            guard !answered.contains(node) else { return false }
            if let recipients { return recipients.contains(node) }
            return member.map { stored.message.address.includes($0) } ?? false
        }
    }

    private struct Recent: Sendable {
        var message: ClusterMessage
        var waiting: Set<NodeID>
        var bytes: Int
    }

    private let limits: MessageLimits
    private let incarnation: IncarnationID
    /// By number.
    private var kept: [Kept] = []
    private var keptBytes = 0
    /// In the order they were sent.
    private var recent: [Recent] = []
    private var recentBytes = 0
    private var drops: [NodeID: Int] = [:]

    package init(limits: MessageLimits, incarnation: IncarnationID) {
        self.limits = limits
        self.incarnation = incarnation
    }

    // MARK: Reliable

    /// Whether a reliable message finds room.
    ///
    /// - Throws: ``ClusterMembershipError`` with code `tooManyMessages`.
    package func requireRoom(
        for message: ClusterMessage,
        _ recipients: [NodeID]?
    ) throws(ClusterMembershipError) {
        let bytes = Self.bytes(of: message, recipients ?? [])
        guard kept.count < limits.maximumKept, keptBytes + bytes <= limits.maximumKeptBytes else {
            throw ClusterMembershipError(
                .tooManyMessages,
                "\(kept.count) reliable messages with \(keptBytes) bytes are kept, the most there may be. "
                    + "Wait until members have answered or they expire.",
                retryAfter: .seconds(60)
            )
        }
    }

    /// The log has a message: sent now, or read from it. Twice is harmless.
    package mutating func onAppended(
        _ stored: StoredMessage,
        answeredBy nodes: [NodeID] = [],
        at now: Timestamp
    ) {
        let index = kept.partitioningIndex { $0.stored.number >= stored.number }
        if index < kept.count, kept[index].stored.number == stored.number {
            kept[index].answered.formUnion(nodes)
        } else {
            let bytes = Self.bytes(of: stored.message, stored.recipients ?? [])
            kept.insert(
                Kept(
                    stored: stored,
                    recipients: stored.recipients.map(Set.init),
                    answered: Set(nodes),
                    bytes: bytes
                ),
                at: index
            )
            keptBytes += bytes
        }
        noteCompletion(at: index, now)
    }

    /// The newest number known of the log.
    package var newest: Int64 { kept.last?.stored.number ?? 0 }

    /// A member has answered. Unknown messages and repeated answers are harmless.
    package mutating func onAnswered(_ id: MessageID, by node: NodeID, at now: Timestamp) {
        if let index = kept.firstIndex(where: { $0.stored.message.id == id }) {
            kept[index].answered.insert(node)
            noteCompletion(at: index, now)
        }
        if let index = recent.firstIndex(where: { $0.message.id == id }) {
            forget(node, at: index)
        }
    }

    private mutating func noteCompletion(at index: Int, _ now: Timestamp) {
        guard kept[index].completedAt == nil, let recipients = kept[index].recipients,
            recipients.isSubset(of: kept[index].answered)
        else { return }
        kept[index].completedAt = now
    }

    /// A reliable message that is kept, by its id.
    package func stored(_ id: MessageID) -> StoredMessage? {
        kept.first { $0.stored.message.id == id }?.stored
    }

    // MARK: Idempotent

    /// Takes an idempotent message for some members, and drops the oldest for want of room.
    ///
    /// - Returns: how many deliveries were dropped.
    package mutating func onSent(_ message: ClusterMessage, to recipients: [NodeID]) -> Int {
        guard !recipients.isEmpty else { return 0 }
        let bytes = Self.bytes(of: message, recipients)
        recent.append(Recent(message: message, waiting: Set(recipients), bytes: bytes))
        recentBytes += bytes
        var dropped = 0
        while recent.count > limits.maximumRecent || recentBytes > limits.maximumRecentBytes,
            !recent.isEmpty
        {
            dropped += dropRecent(at: 0)
        }
        return dropped
    }

    private mutating func dropRecent(at index: Int) -> Int {
        let gone = recent.remove(at: index)
        recentBytes -= gone.bytes
        for node in gone.waiting.sorted() { drops[node, default: 0] += 1 }
        return gone.waiting.count
    }

    private mutating func forget(_ node: NodeID, at index: Int) {
        recent[index].waiting.remove(node)
        if recent[index].waiting.isEmpty {
            recentBytes -= recent[index].bytes
            recent.remove(at: index)
        }
    }

    // MARK: Fetching

    /// Whether what `node` is to be offered depends on more than its name.
    package func dependsOnMembership(after cursor: MessageCursor?) -> Bool {
        let floor = floor(of: cursor)
        return kept.reversed().prefix { $0.stored.number > floor }.contains {
            $0.recipients == nil
        }
    }

    /// What a member is offered now: idempotent messages once, reliable ones behind its cursor.
    ///
    /// - Parameters:
    ///   - node: who asks.
    ///   - member: that node as it is now; `nil` if it is no member, or if
    ///     ``dependsOnMembership(after:)`` said that does not matter.
    ///   - cursor: the one of its last page.
    ///   - limit: at most so many.
    ///   - now: expired messages are not offered.
    package mutating func onFetch(
        by node: NodeID,
        _ member: Member?,
        after cursor: MessageCursor?,
        limit: Int,
        at now: Timestamp
    ) -> MessagePage {
        var messages: [ClusterMessage] = []
        var index = 0
        while index < recent.count, messages.count < limit {
            guard recent[index].waiting.contains(node), now < recent[index].message.expiresAt else {
                index += 1
                continue
            }
            messages.append(recent[index].message)
            let before = recent.count
            forget(node, at: index)
            if recent.count == before { index += 1 }
        }
        var number = floor(of: cursor)
        for entry in kept[kept.partitioningIndex { $0.stored.number > number }...] {
            // Who is no member yet may match once it is: then it goes on from here.
            guard messages.count < limit, entry.recipients != nil || member != nil else { break }
            number = entry.stored.number
            if now < entry.stored.message.expiresAt, entry.isOffered(to: node, member) {
                messages.append(entry.stored.message)
            }
        }
        return MessagePage(
            messages: messages,
            cursor: MessageCursor(incarnation: incarnation, number: number),
            dropped: drops[node] ?? 0
        )
    }

    private func floor(of cursor: MessageCursor?) -> Int64 {
        guard let cursor, cursor.incarnation == incarnation else { return 0 }
        return cursor.number
    }

    // MARK: Time

    /// Forgets what has expired or was answered by everybody long enough ago.
    ///
    /// - Returns: which messages the log may remove, and how many deliveries expired unfetched.
    package mutating func onSweep(at now: Timestamp) -> (removed: [MessageID], dropped: Int) {
        var dropped = 0
        for index in recent.indices.reversed() where recent[index].message.expiresAt <= now {
            dropped += dropRecent(at: index)
        }
        var removed: [MessageID] = []
        kept.removeAll { entry in
            let isOld = entry.completedAt.map { now - $0 >= limits.keptAfterAnswers } ?? false
            guard isOld || entry.stored.message.expiresAt <= now else { return false }
            removed.append(entry.stored.message.id)
            keptBytes -= entry.bytes
            return true
        }
        return (removed, dropped)
    }

    /// How full it is, and what was dropped.
    package var counts: MessageCounts {
        MessageCounts(
            kept: kept.count,
            keptBytes: keptBytes,
            recent: recent.count,
            recentBytes: recentBytes,
            drops: drops.sorted { $0.key < $1.key }.map {
                MessageCounts.Drops(node: $0.key, count: $0.value)
            }
        )
    }

    private static func bytes(of message: ClusterMessage, _ recipients: [NodeID]) -> Int {
        // The constant stands for the other fields.
        128 + message.payload.count + recipients.reduce(0) { $0 + $1.rawValue.utf8.count + 16 }
    }
}

extension Array {
    /// The first index whose element matches, in an array where all that match come last.
    func partitioningIndex(_ matches: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if matches(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
