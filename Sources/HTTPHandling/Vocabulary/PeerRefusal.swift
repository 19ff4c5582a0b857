#if Server
public import ClusterRole

/// A caller that was turned away because of who it is, or is not.
public struct PeerRefusal: Hashable, Sendable {
    /// The certificate it presented, if it was verified; one that was not is not worth naming.
    public var peer: PeerCertificate?
    /// The name its token stands for, if it had one that counts.
    public var identity: String?
    /// Where it called from, without the port.
    public var remoteAddress: String?
    /// What it asked for: a route's operation id, or ``handshake``.
    public var verb: String
    /// Why not: a stable code such as `certificate.revoked` or `http.forbidden`.
    public var code: String
    /// The HTTP status it was answered with; 0 where the connection was not let through.
    public var status: Int

    /// The verb of what was refused before anything could be asked for.
    public static let handshake = "handshake"

    public init(
        peer: PeerCertificate? = nil,
        identity: String? = nil,
        remoteAddress: String? = nil,
        verb: String,
        code: String,
        status: Int = 0
    ) {
        self.peer = peer
        self.identity = identity
        self.remoteAddress = remoteAddress
        self.verb = verb
        self.code = code
        self.status = status
    }
}
#endif
