#if Server
internal import Synchronization

/// Told of each ``PeerRefusal``: an audit log, a counter.
public protocol RefusalSink: Sendable {
    /// Notes a refusal. It is called from event loops and request handlers, so it returns at once;
    /// what takes longer is queued, boundedly.
    func refused(_ refusal: PeerRefusal)
}

/// Keeps the newest refusals in memory: the double in tests, and enough for a status page.
public final class RecordingRefusals: RefusalSink {
    private let capacity: Int
    private let kept = Mutex<[PeerRefusal]>([])

    /// Keeps at most `capacity` refusals; older ones go first.
    public init(capacity: Int = 1_000) { self.capacity = max(1, capacity) }

    /// What was refused, oldest first.
    public var refusals: [PeerRefusal] { kept.withLock { $0 } }

    public func refused(_ refusal: PeerRefusal) {
        kept.withLock { kept in
            if kept.count >= capacity { kept.removeFirst() }
            kept.append(refusal)
        }
    }
}
#endif
