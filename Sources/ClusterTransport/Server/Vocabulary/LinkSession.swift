#if Server
public import ClusterRole

/// Drawn for one message, so that an answer is told from the answer to another, and a message from its
/// repetition.
public struct LinkNonce: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// What a manager's end of the link knows of a worker since its last hello.
public struct LinkSession: Hashable, Sendable {
    /// The software's version, and what it can: see ``LinkHello``.
    public var version = ""
    public var codecs: [String] = []
    public var capabilities: [String] = []
    /// Of what it serves, as it said; see ``LinkHello/digest``.
    public var digest: String?
    /// The certificate it dialled with.
    public var certificate: PeerCertificate?
    /// The newest page it said it has taken, durably.
    public var acknowledged: Revision?
    /// Why it did not take the page after, as a code; `nil` if it took it.
    public var lastRefusal: String?

    public init() {}
}
#endif
