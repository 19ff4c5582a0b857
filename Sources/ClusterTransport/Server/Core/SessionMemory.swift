#if Server
internal import ClusterRole

/// What a manager's end of the link remembers of the workers that said hello: pure, in memory, bounded.
///
/// Nothing here is needed for correctness of state, which is revisions and epochs; it refuses hellos
/// that were said before, and knows how far each worker has come without asking the store.
struct SessionMemory: Sendable {
    struct Session: Sendable {
        var greetings: [LinkNonce] = []
        var lastGreeting: UInt64 = 0
        var nonce: LinkNonce?
        var offered: Revision?
        var state = LinkSession()
    }

    /// The newest hellos of a worker that are told from new ones. 64: more than it says in an hour of
    /// trying again every minute.
    static let keptGreetings = 64

    let maximumNodes: Int
    private(set) var sessions: [NodeID: Session] = [:]
    private var greetings: UInt64 = 0

    init(maximumNodes: Int) { self.maximumNodes = max(1, maximumNodes) }

    enum Greeting: Hashable, Sendable {
        case welcome
        case replayed
    }

    /// A worker says hello. Without a nonce (a worker of an earlier version) nothing is told apart.
    mutating func onHello(_ node: NodeID, nonce: LinkNonce?, _ said: LinkSession) -> Greeting {
        var session = sessions[node] ?? Session()
        if let nonce {
            guard !session.greetings.contains(nonce) else { return .replayed }
            if session.greetings.count >= Self.keptGreetings { session.greetings.removeFirst() }
            session.greetings.append(nonce)
        }
        greetings += 1
        session.lastGreeting = greetings
        session.state = said
        if sessions[node] == nil, sessions.count >= maximumNodes { forgetOldest() }
        sessions[node] = session
        return .welcome
    }

    /// A page goes out, to be acknowledged by its nonce.
    mutating func onPage(_ nonce: LinkNonce, at revision: Revision, to node: NodeID) {
        sessions[node]?.nonce = nonce
        sessions[node]?.offered = revision
    }

    /// A worker says what became of the page before.
    ///
    /// - Returns: whether that was the page it was given last. Another is an old one, or another
    ///   manager's, and says nothing.
    mutating func onAnswer(
        _ nonce: LinkNonce,
        refusal: String?,
        from node: NodeID
    ) -> Bool {
        guard var session = sessions[node], session.nonce == nonce else { return false }
        if let refusal {
            session.state.lastRefusal = refusal
        } else {
            session.state.acknowledged = session.offered
            session.state.lastRefusal = nil
        }
        session.nonce = nil
        sessions[node] = session
        return true
    }

    private mutating func forgetOldest() {
        let oldest = sessions.min { $0.value.lastGreeting < $1.value.lastGreeting }
        if let oldest { sessions[oldest.key] = nil }
    }
}
#endif
