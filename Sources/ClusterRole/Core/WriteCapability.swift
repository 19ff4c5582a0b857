internal import Synchronization

/// The revocable right to write, minted for one epoch.
///
/// Whoever wins the coordinator's lease mints one and hands it to the writers it makes; when the
/// lease is lost the capability is revoked and every writer made from it throws
/// ``ClusterRoleError/Code/revoked`` before it touches the store. The store's own comparison of the
/// epoch (``ClusterRoleError/Code/fenced``) is the layer beneath and does not depend on this one.
public final class WriteCapability: Sendable {
    public let epoch: Epoch
    private let revoked = Atomic<Bool>(false)

    public init(epoch: Epoch) { self.epoch = epoch }

    /// Ends the right to write. Doing it twice is harmless.
    public func revoke() { revoked.store(true, ordering: .releasing) }

    public var isRevoked: Bool { revoked.load(ordering: .acquiring) }

    /// The epoch to put on a guarded write.
    ///
    /// - Throws: ``ClusterRoleError`` with code `revoked` after ``revoke()``.
    public func requireEpoch() throws(ClusterRoleError) -> Epoch {
        if isRevoked {
            throw ClusterRoleError(
                .revoked,
                "This writer's right ended with \(epoch). Take a new one from the coordinator."
            )
        }
        return epoch
    }
}
