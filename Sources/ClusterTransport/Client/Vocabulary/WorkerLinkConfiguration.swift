#if Server
public import ClusterMembership
public import ClusterRole

/// How a worker follows its managers.
public struct WorkerLinkConfiguration: Sendable {
    /// What the node says of itself.
    public var role: NodeRole
    public var domain: ClusterDomain
    /// Where others reach this node; empty if nobody dials it.
    public var address: String
    /// The software's version.
    public var version: String
    /// What the product adds.
    public var properties: [String: String]
    /// How bundles may be compressed for this node, by name; `nil` does not say.
    public var codecs: [String]?
    /// What this node can do, by the names releases ask for.
    public var capabilities: [String] = []
    /// Tells the releases this node serves, when it says hello; see `LinkHello.digest`.
    public var digest: (@Sendable () -> String?)?
    /// How long a poll for replica pages waits at the manager. 20 s: below what proxies cut.
    public var pollWait: Duration
    /// The most rows of a page asked for.
    public var pageRows: Int
    /// The least time between two pages of changes. 20 ms: under load changes are taken in batches
    /// instead of one commit a change.
    public var pagePause: Duration
    /// The most entries handed on at once.
    public var uploadEntries: Int
    /// Whether the node takes work, as commands of operators left it, asked at each word to the manager;
    /// the stricter of this and ``WorkerLink/setMode(_:)`` counts.
    public var commandedMode: (@Sendable () -> MemberMode)?
    /// The tenant this node serves; `nil` for any.
    public var tenant: TenantID?
    /// The time between heartbeats, unless the manager asks for another. 500 ms.
    public var heartbeatInterval: Duration
    /// The first wait after a failure, and the longest.
    public var initialBackoff: Duration
    public var maximumBackoff: Duration
    /// How long a graceful shutdown goes on handing the spool on. What is left is handed on after the
    /// next start.
    public var flushTimeout: Duration

    /// A configuration; every default works.
    public init(
        role: NodeRole = .worker,
        domain: ClusterDomain = .standard(for: .worker),
        address: String = "",
        version: String = "",
        properties: [String: String] = [:],
        pollWait: Duration = .seconds(20),
        pageRows: Int = 5_000,
        pagePause: Duration = .milliseconds(20),
        uploadEntries: Int = 512,
        heartbeatInterval: Duration = .milliseconds(500),
        initialBackoff: Duration = .milliseconds(200),
        maximumBackoff: Duration = .seconds(15),
        flushTimeout: Duration = .seconds(5)
    ) {
        self.role = role
        self.domain = domain
        self.address = address
        self.version = version
        self.properties = properties
        self.pollWait = pollWait
        self.pageRows = pageRows
        self.pagePause = pagePause
        self.uploadEntries = uploadEntries
        self.heartbeatInterval = heartbeatInterval
        self.initialBackoff = initialBackoff
        self.maximumBackoff = maximumBackoff
        self.flushTimeout = flushTimeout
    }
}
#endif
