#if Server
public import ClusterMembership
public import ClusterRole
internal import ClusterTransport

/// Messages over the link.
extension LinkClient {
    /// What waits for this node, and what its copy of the replicated state lacks; waits at the manager.
    func messages(
        after cursor: MessageCursor?,
        state: Revision?,
        limit: Int,
        wait: Duration
    ) async throws -> LinkMessagePage {
        // Rounded up: a wait below a second would be none, and the next call would follow at once.
        let seconds = (wait.milliseconds + 999) / 1_000
        var query = "limit=\(limit)&wait=\(seconds)"
        if let cursor { query += "&after=\(percentEncoded(cursor.token))" }
        if let state { query += "&state=\(percentEncoded(state.description))" }
        var request = LinkRequest.get("/messages?\(query)")
        request.wait = .seconds(seconds)
        let answer = try await connection.send(request)
        do {
            return try LinkMessagePage(decoding: answer.body)
        } catch {
            throw ClusterLinkError(
                .badAnswer,
                "A page of messages cannot be read. Compare versions.",
                cause: error
            )
        }
    }

    /// Hands answers over.
    func reply(_ answers: [MessageAcknowledgement]) async throws {
        _ = try await connection.send(.post("/replies", bytes: MessageCoding.encode(answers)))
    }

    /// Asks the coordinator something, within what a worker may: kinds whose handler accepts workers.
    ///
    /// Repeated under the same id it is answered as before, while the manager remembers it.
    ///
    /// - Parameters:
    ///   - kind: what is asked.
    ///   - payload: with what; at most `ClusterMessage.maximumPayloadBytes`.
    ///   - id: draw one, and keep it for a repetition.
    ///   - clock: stamps it.
    /// - Returns: what the manager's handler answered.
    /// - Throws: ``ClusterLinkError`` with the manager's own code and category, such as
    ///   `cluster.no-handler`, or `unreachable`: then it may have been handled.
    public func ask(
        _ kind: MessageKind,
        _ payload: [UInt8] = [],
        id: MessageID,
        clock: any TimeSource = SystemTimeSource()
    ) async throws -> [UInt8] {
        let now = clock.now()
        let message = ClusterMessage(
            id: id,
            kind: kind,
            payload: payload,
            messageClass: .idempotent,
            address: .role(.manager),
            expectsReply: true,
            sender: node,
            sentAt: now,
            expiresAt: now + .seconds(60)
        )
        return try await connection.send(
            .post("/requests", bytes: MessageCoding.encode(message))
        ).body
    }
}

/// A worker's messages, from whichever manager coordinates; the replicated state comes with them.
public struct LinkMessageSource: MessageSource {
    private let client: LinkClient
    private let state: SharedState
    private let heard: @Sendable (Epoch) async throws -> Void

    /// - Parameters:
    ///   - client: the link.
    ///   - state: this node's copy of the replicated state.
    ///   - heard: called with the coordinator's epoch before anything of its answer is taken; throws for one
    ///     that is lower than another this node has seen.
    public init(
        client: LinkClient,
        state: SharedState,
        heard: @escaping @Sendable (Epoch) async throws -> Void
    ) {
        self.client = client
        self.state = state
        self.heard = heard
    }

    public func fetch(
        after cursor: MessageCursor?,
        limit: Int,
        wait: Duration
    ) async throws -> MessagePage {
        let answer = try await client.messages(
            after: cursor,
            state: state.revision,
            limit: min(limit, Self.pageSize),
            wait: wait
        )
        do {
            try await heard(answer.epoch)
        } catch {
            // A coordinator that was replaced goes on answering; the new one is elsewhere.
            client.connection.moveOn()
            throw error
        }
        if let delta = answer.state { try await state.apply(delta) }
        return answer.page
    }

    public func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        var rest = answers[...]
        while !rest.isEmpty {
            try await client.reply(Array(rest.prefix(Self.pageSize)))
            rest = rest.dropFirst(Self.pageSize)
        }
    }

    /// What managers take at once.
    private static let pageSize = LinkLimits().maximumMessages
}
#endif
