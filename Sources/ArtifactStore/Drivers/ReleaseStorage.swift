public import ClusterRole

/// What the managers record about channels: their releases, and what each node made of them.
///
/// Drivers are plain: policy (numbers, signatures, idempotence) lives in ``ArtifactPublisher``.
/// Every write is one transaction that compares `epoch` with the store's and throws
/// `ClusterRoleError.fenced(current:)` if it is not the newest. Rows are kept as the bytes of
/// ``PublishedRelease/encoded``, beside the columns a query needs (tenant, channel, number).
public protocol ReleaseStorage: Sendable {
    /// Appends a release to its channel and logs `ChangeKey.channel`.
    ///
    /// - Parameters:
    ///   - release: its number is the next one after `previous`.
    ///   - previous: the newest release the caller knows; `nil` for an empty channel.
    ///   - epoch: the writer's; a store that knows a higher one refuses the write.
    /// - Returns: the revision of the write. Durable on return.
    /// - Throws: ``ArtifactStoreError`` with code `conflict` and both numbers, if `previous` is not
    ///   the newest; then nothing was written.
    func append(
        _ release: PublishedRelease,
        after previous: ReleaseNumber?,
        epoch: Epoch
    ) async throws -> Revision

    /// The newest release of a channel with the revision that appended it, or `nil`.
    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease?

    /// Releases of a channel, newest first.
    ///
    /// - Parameters:
    ///   - channel: the channel they were published to.
    ///   - tenant: the tenant the channel belongs to.
    ///   - before: only releases with a lower number; `nil` begins at the newest.
    ///   - limit: at most so many; at least 1.
    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease]

    /// The channels of a tenant that have a release, by name.
    ///
    /// - Parameters:
    ///   - tenant: the tenant whose channels are listed.
    ///   - after: only names behind it; `nil` begins at the first.
    ///   - limit: at most so many; at least 1.
    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName]

    /// Records a node's word; of each node and channel the newest is kept
    /// (``AppliedRelease/supersedes(_:)``), a stale one changes nothing. No replica holds it, so it
    /// logs no key.
    ///
    /// - Returns: the store's revision after the write.
    func record(
        _ acknowledgement: AppliedRelease,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Revision

    /// What each node last said about a channel, by node.
    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease]
}
