#if Server
public import HTTPHandling

/// A host and a port.
public struct ServerAddress: Hashable, Sendable, CustomStringConvertible {
    /// A name or an IP address; IPv6 without brackets.
    public var host: String
    /// 0 lets the system choose; ``ReeveServer/boundAddress`` then tells which it was.
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// This machine only.
    public static func loopback(port: Int = 0) -> ServerAddress {
        ServerAddress(host: "127.0.0.1", port: port)
    }

    /// `host:port`, as it stands in a URL.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// Where a ``ReeveServer`` listens and what it accepts at most.
public struct ReeveServerConfiguration: Hashable, Sendable {
    public var address: ServerAddress
    /// Limits on heads, bodies and requests at once. The head is also limited while it is read.
    public var limits: HandlerLimits
    /// Open connections; further ones wait in the backlog. 4,096: half of what a descriptor limit
    /// of 8,192 leaves beside the node's own files.
    public var maximumConnections: Int
    /// Connections the system holds while none can be accepted.
    public var backlog: Int
    /// A connection that has sent nothing for so long, between requests or within one, is closed.
    public var idleTimeout: Duration
    /// A streamed answer of which the peer has taken nothing for so long is broken off.
    public var stalledWriteTimeout: Duration

    /// A configuration; the defaults suit a node behind a load balancer.
    public init(
        address: ServerAddress = .loopback(),
        limits: HandlerLimits = HandlerLimits(),
        maximumConnections: Int = 4_096,
        backlog: Int = 1_024,
        idleTimeout: Duration = .seconds(60),
        stalledWriteTimeout: Duration = .seconds(60)
    ) {
        self.address = address
        self.limits = limits
        self.maximumConnections = maximumConnections
        self.backlog = backlog
        self.idleTimeout = idleTimeout
        self.stalledWriteTimeout = stalledWriteTimeout
    }
}

/// A handler and the prefix of the paths that go to it.
public struct HandlerMount: Sendable {
    /// Literal segments such as `/device/v1`; `/` takes what no other mount takes.
    public let prefix: String
    /// It sees the path below the prefix.
    public let handler: any HTTPHandler

    public init(_ prefix: String, _ handler: any HTTPHandler) {
        self.prefix = prefix
        self.handler = handler
    }
}
#endif
