#if Server
public import ClusterMembership
public import ClusterRole
public import DeviceRegistry

/// The first thing a worker says, after each start and each time it found the manager again.
public struct LinkHello: Hashable, Sendable, Codable {
    /// The worker's node id; it must be the one its token names.
    public var node: String
    /// What the node is; only roles that serve may speak the worker's half.
    public var role: NodeRole
    /// `domain/sub-domain`.
    public var domain: String
    /// Where others reach the node; empty if nobody dials it.
    public var address: String
    /// The software's version.
    public var version: String
    /// The version of the link's formats the worker speaks; see ``LinkFormat/version``.
    public var format: Int
    /// The revision its replica stands on.
    public var applied: Revision?
    /// The highest epoch it has ever seen.
    public var highestEpoch: Epoch
    /// What the product adds: zone, capacity.
    public var properties: [String: String]
    /// How bundles may be compressed for it, by name: `plain`, `zstandard`. Absent in a hello of an
    /// earlier version, like everything below.
    public var codecs: [String]?
    /// What the node can do, by the names releases ask for.
    public var capabilities: [String]?
    /// Of the releases it serves: tells whether they are still those it acknowledged.
    public var digest: String?
    /// Drawn anew for each hello; the answer names it. One that was said before is refused.
    public var nonce: LinkNonce?
    /// Whether the node takes work; older workers do not say.
    public var mode: MemberMode?
    /// The oldest version of the link's formats the worker still speaks; ``format`` if it does not say.
    public var oldestFormat: Int?
    /// The tenant it serves, if it serves one only.
    public var tenant: String?

    /// A hello.
    ///
    /// - Parameters:
    ///   - node: who speaks.
    ///   - role: what it is.
    ///   - domain: where it belongs.
    ///   - address: where others reach it.
    ///   - version: of its software.
    ///   - applied: the revision its replica stands on.
    ///   - highestEpoch: the highest it has ever seen.
    ///   - properties: what the product adds.
    ///   - mode: whether it takes work.
    ///   - codecs: how bundles may be compressed for it.
    ///   - capabilities: what it can do.
    ///   - digest: of the releases it serves.
    ///   - nonce: drawn for this hello.
    ///   - tenant: the one it serves, if it is one only.
    public init(
        node: NodeID,
        role: NodeRole = .worker,
        domain: ClusterDomain = .standard(for: .worker),
        address: String = "",
        version: String = "",
        applied: Revision?,
        highestEpoch: Epoch,
        properties: [String: String] = [:],
        mode: MemberMode? = nil,
        codecs: [String]? = nil,
        capabilities: [String]? = nil,
        digest: String? = nil,
        nonce: LinkNonce? = nil,
        tenant: TenantID? = nil
    ) {
        self.node = node.rawValue
        self.role = role
        self.domain = domain.description
        self.address = address
        self.version = version
        format = LinkFormat.version
        oldestFormat =
            LinkFormat.readable.lowerBound < LinkFormat.version
            ? LinkFormat.readable.lowerBound : nil
        self.mode = mode
        self.tenant = tenant?.rawValue
        self.applied = applied
        self.highestEpoch = highestEpoch
        self.properties = properties
        self.codecs = codecs
        self.capabilities = capabilities
        self.digest = digest
        self.nonce = nonce
    }
}

/// The version of the link's messages. It grows when an older side could not understand a newer one.
///
/// What is only added needs no new version: every reader ignores members it does not know, and takes
/// those that are missing for what they were before they existed.
public enum LinkFormat: Sendable {
    public static let version = 1

    /// The header field of an answer that names it, such as a replica page.
    public static let nonceField = "Reeve-Nonce"
    /// The header field of the request after it: the nonce of the page that was taken.
    public static let acknowledgeField = "Reeve-Acknowledge"
    /// The header field of the request after it: the nonce of the page that was not taken, and why, as
    /// a code.
    public static let refuseField = "Reeve-Refuse"
    /// The versions this build reads and writes. Of two builds the ranges have to overlap: each build
    /// keeps the version before its own.
    public static let readable = 1...version
}

/// What the manager answers to ``LinkHello`` and ``LinkHeartbeat``.
public struct LinkWelcome: Hashable, Sendable, Codable {
    /// The epoch of the coordinator that answered.
    public var epoch: Epoch
    /// The newest revision; its history tells whether the worker's replica is of the same one.
    public var revision: Revision
    /// The nonce of the hello it answers; absent in answers to heartbeats.
    public var nonce: LinkNonce?
    /// Whether an administrator asked the node to drain or to be in maintenance; older managers do not
    /// say.
    public var mode: MemberMode?
    /// How often the manager wants to hear of the node, in milliseconds: it judges silence by that. `nil`
    /// of older managers.
    public var heartbeatEvery: Int64?

    public init(
        epoch: Epoch,
        revision: Revision,
        nonce: LinkNonce? = nil,
        mode: MemberMode? = nil,
        heartbeatEvery: Duration? = nil
    ) {
        self.epoch = epoch
        self.revision = revision
        self.nonce = nonce
        self.mode = mode
        self.heartbeatEvery = heartbeatEvery?.milliseconds
    }
}

/// What a worker says about itself from time to time.
public struct LinkHeartbeat: Hashable, Sendable, Codable {
    public var state: MemberState
    public var applied: Revision?
    public var highestEpoch: Epoch
    public var properties: [String: String]
    /// Whether the node takes work; older workers do not say.
    public var mode: MemberMode?

    public init(
        state: MemberState,
        applied: Revision?,
        highestEpoch: Epoch,
        properties: [String: String] = [:],
        mode: MemberMode? = nil
    ) {
        self.mode = mode
        self.state = state
        self.applied = applied
        self.highestEpoch = highestEpoch
        self.properties = properties
    }
}

/// How far a spool has been taken: the answer to a ``SpoolBatch``.
public struct LinkMark: Hashable, Sendable, Codable {
    /// Entries up to this number are applied or rejected, and durable.
    public var mark: Int64
    /// The revision of the transaction that stored the mark.
    public var revision: Revision
    public var epoch: Epoch

    public init(mark: Int64, revision: Revision, epoch: Epoch) {
        self.mark = mark
        self.revision = revision
        self.epoch = epoch
    }
}

/// Asks which device has a credential, by its digest.
public struct LinkCredentialQuery: Hashable, Sendable, Codable {
    /// 64 hexadecimal digits.
    public var digest: String

    public init(_ digest: CredentialDigest) {
        self.digest = digest.hexadecimal
    }
}

/// A device's row, as JSON.
public struct LinkDeviceRow: Hashable, Sendable, Codable {
    public var tenant: String
    public var device: String
    public var incarnation: IncarnationID
    public var isEnrolled: Bool
    public var credential: String
    public var pollingMilliseconds: Int64?

    public init(_ row: DeviceRow) {
        tenant = row.tenant.rawValue
        device = row.id.rawValue
        incarnation = row.incarnation
        isEnrolled = row.state == .enrolled
        credential = row.credential.hexadecimal
        pollingMilliseconds = row.pollingFrequency?.milliseconds
    }

    /// The row.
    ///
    /// - Throws: ``ClusterTransportError`` with code `malformed`.
    public func row() throws -> DeviceRow {
        DeviceRow(
            tenant: try TenantID(validating: tenant),
            id: try DeviceID(validating: device),
            incarnation: incarnation,
            state: isEnrolled ? .enrolled : .removed,
            credential: try CredentialDigest(hexadecimal: credential),
            pollingFrequency: pollingMilliseconds.map { .milliseconds(max(0, $0)) }
        )
    }
}

extension CredentialDigest {
    /// 64 lower-case hexadecimal digits, for the link only: digests are not shown to people.
    package var hexadecimal: String {
        IncarnationID(bits: high).description + IncarnationID(bits: low).description
    }

    package init(hexadecimal text: String) throws(ClusterTransportError) {
        guard text.utf8.count == 64,
            let high = try? IncarnationID(parsing: String(text.prefix(32))),
            let low = try? IncarnationID(parsing: String(text.suffix(32)))
        else {
            throw ClusterTransportError(.malformed, "A digest is 64 hexadecimal digits.")
        }
        self.init(high: high.bits, low: low.bits)
    }
}
#endif
