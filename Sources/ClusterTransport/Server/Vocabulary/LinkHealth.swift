#if Server
public import ArtifactStore
public import ClusterRole

/// What a node says of its health on a release.
public struct LinkHealth: Hashable, Sendable, Codable {
    public var tenant: String
    public var node: String
    public var channel: String
    public var number: Int64
    public var root: String
    public var isHealthy: Bool
    /// Why it is not.
    public var message: String?
    /// The node's time, in milliseconds since 1970.
    public var at: Int64

    public init(tenant: TenantID, health: ReleaseHealth) {
        self.tenant = tenant.rawValue
        node = health.node.rawValue
        channel = health.channel.rawValue
        number = health.number.rawValue
        root = health.root.description
        isHealthy = health.state == .healthy
        message = health.message.isEmpty ? nil : health.message
        at = health.at.milliseconds
    }

    /// The report.
    ///
    /// - Throws: what a name's validation throws.
    public func health() throws -> ReleaseHealth {
        ReleaseHealth(
            node: try NodeID(validating: node),
            channel: try ChannelName(validating: channel),
            number: ReleaseNumber(number),
            root: try TreeID(parsing: root),
            state: isHealthy ? .healthy : .unhealthy,
            message: message ?? "",
            at: Timestamp(milliseconds: at)
        )
    }
}
#endif
