public import ClusterRole
internal import Synchronization

/// A ``MessageLog`` in memory.
public final class InMemoryMessageLog: MessageLog {
    private struct State {
        var last: Int64 = 0
        /// By number.
        var messages: [StoredMessage] = []
        var answers: [MessageID: [NodeID: MessageAcknowledgement]] = [:]
    }

    private let ledger: InMemoryLedger
    private let state = Mutex(State())

    /// - Parameter ledger: compares the epoch; messages take no revision.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    public func append(
        _ message: ClusterMessage,
        recipients: [NodeID]?,
        epoch: Epoch
    ) async throws -> StoredMessage {
        try ledger.guarded(epoch: epoch) { _ in
            let stored = try state.withLock { state in
                if let known = state.messages.first(where: { $0.message.id == message.id }) {
                    guard message.isRepeat(of: known.message) else {
                        throw ClusterMembershipError.messageConflict(message.id)
                    }
                    return known
                }
                state.last += 1
                let stored = StoredMessage(
                    number: state.last,
                    message: message,
                    recipients: recipients
                )
                state.messages.append(stored)
                return stored
            }
            return ([], stored)
        }.result
    }

    public func messages(after number: Int64, limit: Int) async throws -> [StoredMessage] {
        state.withLock { state in
            Array(state.messages.drop { $0.number <= number }.prefix(max(0, limit)))
        }
    }

    public func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        state.withLock { state in
            for answer in answers {
                guard state.messages.contains(where: { $0.message.id == answer.message }),
                    state.answers[answer.message]?[answer.node] == nil
                else { continue }
                state.answers[answer.message, default: [:]][answer.node] = answer
            }
        }
    }

    public func acknowledgements(of id: MessageID) async throws -> [MessageAcknowledgement] {
        state.withLock { ($0.answers[id] ?? [:]).values.sorted { $0.node < $1.node } }
    }

    public func remove(_ ids: [MessageID], epoch: Epoch) async throws {
        try ledger.guarded(epoch: epoch) { _ in
            state.withLock { state in
                state.messages.removeAll { ids.contains($0.message.id) }
                for id in ids { state.answers[id] = nil }
            }
            return ([], ())
        }.result
    }
}

/// A ``NodeRecord`` in memory: it survives the object that uses it, not the process.
public final class InMemoryNodeRecord: NodeRecord {
    private let bytes = Mutex<[UInt8]?>(nil)

    public init() {}

    public func load() async throws -> [UInt8]? { bytes.withLock { $0 } }

    public func save(_ bytes: [UInt8]) async throws { self.bytes.withLock { $0 = bytes } }
}
