#if Server
/// What the manager's end of the link accepts and gives at most.
public struct LinkLimits: Hashable, Sendable {
    /// The most rows of one replica page. 5,000: a page of small rows is half a megabyte, which one
    /// commit of the worker takes in a few milliseconds.
    public var maximumPageRows: Int
    /// The longest a request waits for something new. 25 s: below the 30 s after which proxies give
    /// up on a silent connection.
    public var maximumWait: Duration
    /// The most entries of one spool batch. 1,024: one transaction of the store.
    public var maximumSpoolEntries: Int
    /// The largest spool batch, in bytes. 8 MiB: one entry of the largest size a gateway takes, and
    /// many of the usual ones.
    public var maximumSpoolBytes: Int
    /// The most properties a node says about itself.
    public var maximumProperties: Int
    /// The most groups of one enrolment.
    public var maximumGroups: Int

    /// How often workers say that they are there. 500 ms: three of them fit into the time after which a
    /// silent member is suspect. A cluster of very many workers takes more, and longer
    /// `MemberTimeouts`.
    public var heartbeatInterval = Duration.milliseconds(500)

    /// The largest object another manager may have kept here, in bytes. 16 GiB: a full bundle of the
    /// largest tree compresses well below that.
    public var maximumObjectBytes = 16 << 30

    /// The most messages of one page, and answers of one call. 64: with the largest payloads 4 MiB.
    public var maximumMessages = 64
    /// The most workers that are remembered between their hellos; the ones longest silent go first.
    /// 4,096: far more than a manager serves, in a few megabytes.
    public var maximumSessions = 4_096
    /// The most codecs and capabilities a node says of itself, each of up to 255 bytes.
    public var maximumCapabilities = 256

    /// Limits; the defaults suit a hundred workers a manager.
    public init(
        maximumPageRows: Int = 5_000,
        maximumWait: Duration = .seconds(25),
        maximumSpoolEntries: Int = 1_024,
        maximumSpoolBytes: Int = 8 << 20,
        maximumProperties: Int = 64,
        maximumGroups: Int = 64
    ) {
        self.maximumPageRows = maximumPageRows
        self.maximumWait = maximumWait
        self.maximumSpoolEntries = maximumSpoolEntries
        self.maximumSpoolBytes = maximumSpoolBytes
        self.maximumProperties = maximumProperties
        self.maximumGroups = maximumGroups
    }
}
#endif
