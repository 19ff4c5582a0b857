#if Server
/// What a handler accepts at most. Each limit holds before memory is spent on what exceeds it.
public struct HandlerLimits: Hashable, Sendable {
    /// The largest request body, in bytes, of a route that does not set its own. 1 MiB: an exchange
    /// with a hundred results fits a hundred times over, and a thousand callers at once stay within
    /// 1 GiB.
    public var maximumBodyBytes: Int
    /// The deepest nesting of arrays and objects in a JSON body. 64: people write ten, decoders
    /// that recurse survive hundreds.
    public var maximumJSONDepth: Int
    /// The largest request head (target and header fields), in bytes. 32 KiB: four times what load
    /// balancers pass on by default.
    public var maximumHeaderBytes: Int
    /// How many requests one ``BoundedHandler`` has under way. 1,024, beyond which a caller is told
    /// to come back rather than to queue.
    /// A poll that waits counts while it waits.
    public var maximumConcurrentRequests: Int
    /// What `Retry-After` says when there are too many requests.
    public var retryAfter: Duration

    /// Limits; the defaults suit a node with a thousand callers.
    public init(
        maximumBodyBytes: Int = 1 << 20,
        maximumJSONDepth: Int = 64,
        maximumHeaderBytes: Int = 32 << 10,
        maximumConcurrentRequests: Int = 1_024,
        retryAfter: Duration = .seconds(1)
    ) {
        self.maximumBodyBytes = maximumBodyBytes
        self.maximumJSONDepth = maximumJSONDepth
        self.maximumHeaderBytes = maximumHeaderBytes
        self.maximumConcurrentRequests = maximumConcurrentRequests
        self.retryAfter = retryAfter
    }
}
#endif
