public import ClusterRole

/// What everybody may know of channels. Workers and consoles get this and nothing more.
public protocol ReleaseReader: Sendable {
    /// The newest release of a channel, or `nil`.
    func latest(of channel: ChannelName, tenant: TenantID) async throws -> StoredRelease?

    /// Releases of a channel with numbers below `before`, newest first, at most `limit`.
    func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber?,
        limit: Int
    ) async throws -> [StoredRelease]

    /// The channels of a tenant behind `after`, by name, at most `limit`.
    func channels(
        of tenant: TenantID,
        after: ChannelName?,
        limit: Int
    ) async throws -> [ChannelName]

    /// What each node last said about a channel.
    func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease]
}

/// Who may publish as well. Only a manager has one: it is made from a `WriteCapability`.
public protocol ReleaseWriter: ReleaseReader {
    /// Publishes the tree of a directory as the next release of a channel.
    func publish(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID,
        options: PublishOptions
    ) async throws -> Publication

    /// Says what publishing would do, and publishes nothing.
    func preview(
        _ directory: String,
        to channel: ChannelName,
        tenant: TenantID,
        options: PublishOptions
    ) async throws -> PublishPreview

    /// Publishes the tree of an older release again, as the next release.
    func rollback(
        _ channel: ChannelName,
        to number: ReleaseNumber,
        tenant: TenantID
    ) async throws -> Publication
}

/// Reads a store's releases.
public struct ReleaseCatalog: ReleaseReader {
    private let storage: any ReleaseStorage

    /// The most rows one call returns; `limit` is held below it.
    public static let maximumPage = 1_000

    /// A reader of that store; it needs no right to write.
    public init(storage: any ReleaseStorage) { self.storage = storage }

    public func latest(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> StoredRelease? {
        try await storage.latest(of: channel, tenant: tenant)
    }

    public func releases(
        of channel: ChannelName,
        tenant: TenantID,
        before: ReleaseNumber? = nil,
        limit: Int = 100
    ) async throws -> [StoredRelease] {
        try await storage.releases(
            of: channel,
            tenant: tenant,
            before: before,
            limit: Self.page(limit)
        )
    }

    public func channels(
        of tenant: TenantID,
        after: ChannelName? = nil,
        limit: Int = 100
    ) async throws -> [ChannelName] {
        try await storage.channels(of: tenant, after: after, limit: Self.page(limit))
    }

    public func acknowledgements(
        of channel: ChannelName,
        tenant: TenantID
    ) async throws -> [AppliedRelease] {
        try await storage.acknowledgements(of: channel, tenant: tenant)
    }

    private static func page(_ limit: Int) -> Int { max(1, min(limit, maximumPage)) }
}
