public import ClusterRole

/// When a worker takes the releases it sees.
public enum SyncMode: String, Hashable, Sendable, Codable, CaseIterable {
    /// At once.
    case automatic
    /// When somebody says so: ``ArtifactSync/applyNow()``. New releases are looked for and shown.
    case manual
}

/// How one channel stands on a node: what an operator wants to know first.
public struct ChannelStatus: Equatable, Sendable {
    /// The channel.
    public let channel: ChannelName
    /// When releases are taken.
    public internal(set) var mode: SyncMode
    /// The release that is served.
    public internal(set) var active: ReleaseNumber?
    /// A newer release that was seen and is not active: it waits, for an operator or for
    /// ``hold``, or was refused.
    public internal(set) var offered: ReleaseNumber?
    /// Why the offered release waits for other channels.
    public internal(set) var hold: DependencyHold?
    /// When the source was last asked and answered, over restarts; then it may be five minutes more.
    public internal(set) var lastLook: Timestamp?
    /// When a release was last taken into use, over restarts.
    public internal(set) var lastApply: Timestamp?
    /// Whether somebody confirms that the active release is the newest.
    public internal(set) var freshness = PointerFreshness.unknown
    /// What the last look came to.
    public internal(set) var lastOutcome: Outcome?
    /// For a refusal, a failed look or a held release: why.
    public internal(set) var lastError: ArtifactStoreError?
    /// The files under the active release are not what they should be and could not be mended yet.
    public internal(set) var isDamaged = false
    /// What was last found changed under the active release.
    public internal(set) var lastDrift: TreeDrift?
    /// The newest releases that came, and what they cost; the oldest first, at most
    /// ``maximumReceipts``.
    public internal(set) var receipts: [Receipt] = []

    /// What a look came to, in one word.
    public enum Outcome: String, Hashable, Sendable, Codable {
        case unchanged
        case empty
        case activated
        case adopted
        case refused
        case held
        case available
        /// The source did not answer, or the release could not be fetched now.
        case failed
    }

    /// A release that came, and what it cost.
    public struct Receipt: Hashable, Sendable {
        /// The release.
        public let number: ReleaseNumber
        /// Bytes of bundles that arrived for it.
        public let bytesReceived: Int64
        /// How they came.
        public let transfer: SyncReport.Transfer
        /// From asking the source to the acknowledgement.
        public let duration: Duration
    }

    /// 16: what a table of a page shows.
    public static let maximumReceipts = 16

    init(channel: ChannelName, mode: SyncMode) {
        self.channel = channel
        self.mode = mode
    }

    mutating func onReport(_ report: SyncReport, at now: Timestamp) {
        lastLook = now
        lastOutcome = report.outcome.name
        lastError = nil
        hold = nil
        offered = nil
        switch report.outcome {
        case .unchanged, .empty: break
        case .activated, .adopted:
            lastApply = now
            guard let number = report.release?.number else { break }
            receipts.removeAll { $0.number == number }
            receipts.append(
                Receipt(
                    number: number,
                    bytesReceived: report.bytesReceived,
                    transfer: report.transfer,
                    duration: report.duration
                )
            )
            receipts.removeFirst(max(0, receipts.count - Self.maximumReceipts))
        case .available: offered = report.release?.number
        case .refused(let error):
            offered = report.release?.number
            lastError = error
        case .held(let hold):
            offered = report.release?.number
            self.hold = hold
            lastError = hold.error
        }
    }

    mutating func onFailure(_ error: any Error) {
        lastOutcome = .failed
        lastError =
            error as? ArtifactStoreError
            ?? ArtifactStoreError(
                .unavailable,
                "The source of releases does not answer. It is asked again.",
                cause: error
            )
    }
}

extension SyncReport.Outcome {
    /// Without its reason.
    public var name: ChannelStatus.Outcome {
        switch self {
        case .unchanged: .unchanged
        case .empty: .empty
        case .activated: .activated
        case .adopted: .adopted
        case .refused: .refused
        case .held: .held
        case .available: .available
        }
    }
}
