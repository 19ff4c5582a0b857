public import ClusterRole
public import Logging
public import ServiceLifecycle
internal import Synchronization

/// Keeps the coordinator's own node among the members.
///
/// A worker says over the link that it is there; the node that holds the members says it to the same
/// ``ClusterMembersWriter`` in its own process: it joins, is heard every half second, joins again if it was
/// taken for dead, and leaves in graceful shutdown. So whoever reads members sees it like any other,
/// rollouts included.
///
/// ```swift
/// let membership = LocalMember(own, writer: members.writer(for: capability)) {
///     LocalMember.Word(applied: try await store.currentRevision(), mode: standing.mode)
/// }
/// app.addServices(membership)
/// ```
///
/// Its name is no worker's: two nodes of one name would be one member, now this one, now that one.
public final class LocalMember: Service {
    /// What a node says of itself, each time anew.
    public struct Word: Hashable, Sendable {
        /// The newest revision it has applied. Who reads the store itself has applied its newest.
        public var applied: Revision?
        /// Whether it takes work.
        public var mode: MemberMode

        public init(applied: Revision?, mode: MemberMode = .active) {
            self.applied = applied
            self.mode = mode
        }
    }

    private struct Standing {
        var isJoined = false
        var asked = MemberMode.active
    }

    /// How often it says that it is there. 500 ms, as the link asks of workers.
    public static let standardInterval = Duration.milliseconds(500)

    private let own: Member
    private let writer: ClusterMembersWriter
    private let interval: Duration
    private let clock: any TimeSource
    private let logger: Logger
    private let word: @Sendable () async throws -> Word
    private let standing = Mutex(Standing())

    /// - Parameters:
    ///   - own: this node; its state, times, mode and revision are set when it joins.
    ///   - writer: the coordinator's, the one that also judges silence.
    ///   - interval: how often it says that it is there.
    ///   - clock: counts that.
    ///   - logger: told of what fails.
    ///   - word: what it says.
    public init(
        _ own: Member,
        writer: ClusterMembersWriter,
        every interval: Duration = LocalMember.standardInterval,
        clock: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.members"),
        word: @escaping @Sendable () async throws -> Word
    ) {
        self.own = own
        self.writer = writer
        self.interval = interval
        self.clock = clock
        self.logger = logger
        self.word = word
    }

    /// What an administrator asked of it, as of its last word.
    public var askedMode: MemberMode { standing.withLock { $0.asked } }

    /// Joins, or says that it is there.
    ///
    /// - Throws: ``ClusterMembershipError`` with `invalidMember` or `storage`; what its word throws.
    public func say() async throws {
        let word = try await word()
        guard standing.withLock({ $0.isJoined }) else { return try await join(word) }
        do {
            let asked = try await writer.heartbeat(
                own.node,
                applied: word.applied,
                mode: word.mode
            )
            standing.withLock { $0.asked = asked }
        } catch {
            guard error.code == .notJoined else { throw error }
            try await join(word)
        }
    }

    private func join(_ word: Word) async throws {
        var member = own
        member.applied = word.applied
        member.mode = word.mode
        let asked = try await writer.join(member)
        standing.withLock { $0 = Standing(isJoined: true, asked: asked) }
    }

    /// Says good-bye; harmless if it has not joined, or said so before.
    ///
    /// - Throws: ``ClusterMembershipError`` with `storage`.
    public func leave() async throws {
        let wasJoined = standing.withLock { state in
            defer { state.isJoined = false }
            return state.isJoined
        }
        if wasJoined { try await writer.leave(own.node) }
    }

    /// Joins and says that it is there until graceful shutdown, then leaves. After cancellation, or once its
    /// right to write is gone, it says nothing more: its silence is judged like anybody's.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await self.sayAlways() }
        guard !Task.isCancelled else { return }
        do { try await leave() } catch {
            logger.notice("This node could not say good-bye", metadata: ["error": "\(error)"])
        }
    }

    private func sayAlways() async {
        while !Task.isCancelled {
            do {
                try await say()
            } catch {
                if (error as? ClusterMembershipError)?.isLossOfRight == true { break }
                if Task.isCancelled { return }
                logger.warning(
                    "This node could not say that it is there; it tries again",
                    metadata: ["error": "\(error)"]
                )
            }
            do { try await clock.sleep(for: interval) } catch { return }
        }
        // A service that returns ends its group: this one waits for the others.
        try? await gracefulShutdown()
    }
}
