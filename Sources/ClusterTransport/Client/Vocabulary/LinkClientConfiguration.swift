#if Server
public import ClusterMembership
public import ClusterRole
public import NodeCertificates

/// Whom a worker dials, and how patiently.
public struct LinkClientConfiguration: Sendable {
    /// The managers' base URLs, such as `https://10.0.0.4:8443`. The link's paths are added.
    public var addresses: [String]
    /// Finds more managers: asked before the first call if there are no ``addresses``, and whenever none
    /// of those that are known answers.
    public var discovery: (any MemberDiscovery)?
    /// The bearer token of this node; empty if its certificate says who it is. A secret; never logged.
    public var token: String
    /// The node's certificate, and whom it believes. With it every address is `https`, and who answers
    /// must have a certificate of this cluster with one of ``answeringRoles``. Without it `https` is
    /// checked by host name against the system's authorities.
    public var credentials: CredentialSource?
    /// Whose certificates are taken for the other end's: managers'.
    public var answeringRoles: Set<NodeRole> = [.manager, .combined]
    /// How long one request may take beside the time it is asked to wait. 10 s: a store under load
    /// answers within one.
    public var requestTimeout: Duration
    /// How long the manager is asked to wait for a newer release than the one that was shown. None:
    /// ``WorkerLink`` hears of releases anyway. At most 25 s, for callers without one.
    public var releaseWait: Duration
    /// How long one attempt at a bundle may take; what has come by then is kept, and the rest is asked
    /// for again. 10 minutes.
    public var bundleTimeout: Duration
    /// The largest answer that is kept in memory, in bytes. 64 MiB: a replica page of 5,000 rows with
    /// payloads of 10 kB.
    public var maximumAnswerBytes: Int

    /// - Parameters:
    ///   - addresses: at least one, unless there is a discovery.
    ///   - token: this node's; empty with a certificate.
    ///   - credentials: this node's certificate.
    ///   - requestTimeout: see ``requestTimeout``.
    ///   - releaseWait: see ``releaseWait``.
    ///   - bundleTimeout: see ``bundleTimeout``.
    ///   - maximumAnswerBytes: see ``maximumAnswerBytes``.
    ///   - discovery: see ``discovery``.
    public init(
        addresses: [String],
        token: String = "",
        credentials: CredentialSource? = nil,
        requestTimeout: Duration = .seconds(10),
        releaseWait: Duration = .zero,
        bundleTimeout: Duration = .seconds(600),
        maximumAnswerBytes: Int = 64 << 20,
        discovery: (any MemberDiscovery)? = nil
    ) {
        self.discovery = discovery
        self.addresses = addresses
        self.token = token
        self.credentials = credentials
        self.requestTimeout = requestTimeout
        self.releaseWait = releaseWait
        self.bundleTimeout = bundleTimeout
        self.maximumAnswerBytes = maximumAnswerBytes
    }
}
#endif
