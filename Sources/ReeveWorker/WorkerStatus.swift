#if Server && SQLite
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
public import NodeCertificates

/// How a worker stands: what an operator reads at `/status` with the node's own token.
public struct WorkerStatus: Hashable, Sendable, Codable {
    public var node: String
    /// The revision the replica has reached; `nil` before the first snapshot.
    public var revision: String?
    /// Seconds since a manager was last heard; `nil` if never.
    public var age: Double?
    public var devices: Int
    /// Entries the manager is not known to have applied.
    public var spooled: Int
    public var isHandingOut: Bool
    public var releases: [ReleaseStatus]
    /// Every channel the node keeps.
    public var channels: [ChannelReport]
    /// How the node's certificate stands; absent without one.
    public var certificate: CertificateStatus?
}

/// One release that came to a worker, and what it cost.
public struct ReleaseStatus: Hashable, Sendable, Codable {
    public var channel: String
    public var number: Int64
    /// Whether it is the one that is served.
    public var isActive: Bool
    /// Bytes of bundles received for it.
    public var bytesReceived: Int64
    /// Whether they were the difference to the release before.
    public var isIncremental: Bool
    /// Seconds from the first look to the acknowledgement.
    public var duration: Double
}

extension ReleaseStatus {
    /// The receipts of a channel.
    static func all(of status: ChannelStatus) -> [ReleaseStatus] {
        status.receipts.map { receipt in
            ReleaseStatus(
                channel: status.channel.rawValue,
                number: receipt.number.rawValue,
                isActive: receipt.number == status.active,
                bytesReceived: receipt.bytesReceived,
                isIncremental: receipt.transfer == .incremental,
                duration: Double(receipt.duration.milliseconds) / 1_000
            )
        }
    }
}

/// How one channel stands on a worker.
public struct ChannelReport: Hashable, Sendable, Codable {
    public var channel: String
    /// `automatic` or `manual`.
    public var mode: String
    /// The release that is served.
    public var active: Int64?
    /// A newer one that was seen and is not active.
    public var offered: Int64?
    /// When the managers were last asked, and when a release was last taken into use, in
    /// milliseconds since 1970.
    public var lastLook: Int64?
    public var lastApply: Int64?
    /// Whether a pointer confirms that the active release is the newest: `confirmed`, `expired`, or
    /// `unknown` where there are no pointers.
    public var freshness: String
    /// Until when it does, or did, in milliseconds since 1970.
    public var confirmedUntil: Int64?
    /// What the last look came to: `unchanged`, `activated`, `refused`, `held`, `available`, …
    public var lastOutcome: String?
    /// Why not, as a code and in words.
    public var errorCode: String?
    public var errorMessage: String?
    /// The files of the active release are damaged and could not be mended yet.
    public var isDamaged: Bool
    /// How many paths the last drift concerned, and the first of them.
    public var driftCount: Int
    public var driftPaths: [String]

    init(_ status: ChannelStatus) {
        channel = status.channel.rawValue
        mode = status.mode.rawValue
        active = status.active?.rawValue
        offered = status.offered?.rawValue
        lastLook = status.lastLook?.milliseconds
        lastApply = status.lastApply?.milliseconds
        switch status.freshness {
        case .unknown: freshness = "unknown"
        case .confirmed(let until):
            freshness = "confirmed"
            confirmedUntil = until.milliseconds
        case .expired(let since):
            freshness = "expired"
            confirmedUntil = since.milliseconds
        }
        lastOutcome = status.lastOutcome?.rawValue
        errorCode = status.lastError?.codeName
        errorMessage = status.lastError?.message
        isDamaged = status.isDamaged
        driftCount = status.lastDrift?.count ?? 0
        driftPaths = (status.lastDrift?.findings ?? []).prefix(16).map {
            "\($0.path): \($0.change.rawValue)"
        }
    }
}

/// Passes the link's news of revisions on to the channels, which then look whether a release is new.
struct RevisionSignal: HintBus {
    let artifacts: ArtifactSet

    func publish(_ revision: Revision) { artifacts.hint() }

    func hints() -> AsyncStream<Revision> { AsyncStream { $0.finish() } }
}
#endif
