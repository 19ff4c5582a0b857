public import ClusterRole

/// Keeps reliable messages and what members answered. One log a store.
///
/// Only the coordinator sends and removes. An answer is a fact about one member that never changes, so
/// it is not guarded: a standby manager on the same store writes its own.
public protocol MessageLog: Sendable {
    /// Stores a message and numbers it, above all before it, also removed ones. The same id again stores
    /// nothing and returns what is stored.
    ///
    /// - Throws: `ClusterRoleError.fenced(current:)`; ``ClusterMembershipError`` with `messageConflict`
    ///   when the id belongs to a message with another kind, payload or address.
    func append(
        _ message: ClusterMessage,
        recipients: [NodeID]?,
        epoch: Epoch
    ) async throws -> StoredMessage

    /// Messages after a number, oldest first, also expired ones that are not removed yet.
    func messages(after number: Int64, limit: Int) async throws -> [StoredMessage]

    /// Stores answers. The first of a member on a message stays; answers to unknown messages are
    /// dropped.
    func acknowledge(_ answers: [MessageAcknowledgement]) async throws

    /// Who has answered a message, by name; nobody for an unknown one.
    func acknowledgements(of id: MessageID) async throws -> [MessageAcknowledgement]

    /// Removes messages with their answers; those that are not there are left alone.
    func remove(_ ids: [MessageID], epoch: Epoch) async throws
}

extension ClusterMessage {
    /// Whether a repeated send means the same.
    package func isRepeat(of other: ClusterMessage) -> Bool {
        id == other.id && kind == other.kind && payload == other.payload && address == other.address
    }
}

extension ClusterMembershipError {
    package static func messageConflict(_ id: MessageID) -> ClusterMembershipError {
        ClusterMembershipError(
            .messageConflict,
            "The message \(id) was sent with another kind, payload or address. Draw a new id."
        )
    }
}

/// A few bytes that one node keeps for itself between its lives: which messages it has handled, its copy
/// of the replicated state, whether it is in maintenance.
public protocol NodeRecord: Sendable {
    /// What was saved last; `nil` if nothing was, or if it is damaged.
    func load() async throws -> [UInt8]?
    /// Replaces it as a whole: after a crash one or the other is there.
    func save(_ bytes: [UInt8]) async throws
}
