#if Server
public import ClusterRole
internal import Synchronization

/// The workers a manager's end of the link has heard of since it started, by node.
public final class LinkSessions: Sendable {
    private let memory: Mutex<SessionMemory>

    init(maximumNodes: Int) { memory = Mutex(SessionMemory(maximumNodes: maximumNodes)) }

    /// What is known of a worker; `nil` for one that has not said hello here.
    public subscript(node: NodeID) -> LinkSession? {
        memory.withLock { $0.sessions[node]?.state }
    }

    /// Everybody.
    public var all: [NodeID: LinkSession] {
        memory.withLock { $0.sessions.mapValues(\.state) }
    }

    func hello(_ node: NodeID, nonce: LinkNonce?, _ said: LinkSession) -> SessionMemory.Greeting {
        memory.withLock { $0.onHello(node, nonce: nonce, said) }
    }

    func offer(_ revision: Revision, _ nonce: LinkNonce, to node: NodeID) {
        memory.withLock { $0.onPage(nonce, at: revision, to: node) }
    }

    func answer(_ nonce: LinkNonce, refusal: String?, from node: NodeID) -> Bool {
        memory.withLock { $0.onAnswer(nonce, refusal: refusal, from: node) }
    }
}
#endif
