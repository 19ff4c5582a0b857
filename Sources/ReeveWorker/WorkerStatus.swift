#if Server && SQLite
internal import ArtifactStore
internal import ClusterMembership
internal import ClusterRole
internal import Synchronization

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

/// Notes what a channel's releases cost. Keeps the newest ``capacity``.
final class TransferLog: Sendable {
    static let capacity = 16

    private struct State {
        var began: Duration?
        var bytes: Int64 = 0
        var isIncremental = false
        var finished: [ReleaseStatus] = []
    }

    private let state = Mutex(State())
    private let time: any TimeSource

    init(time: any TimeSource) { self.time = time }

    func onLook() { state.withLock { $0.began = time.monotonic() } }

    func onBundle(isIncremental: Bool) { state.withLock { $0.isIncremental = isIncremental } }

    func onBytes(_ count: Int) { state.withLock { $0.bytes += Int64(count) } }

    func onAcknowledged(_ applied: AppliedRelease) {
        let now = time.monotonic()
        state.withLock { state in
            defer {
                state.bytes = 0
                state.isIncremental = false
            }
            guard applied.state == .applied,
                !state.finished.contains(where: { $0.number == applied.number.rawValue })
            else { return }
            let took = now - (state.began ?? now)
            state.finished.append(
                ReleaseStatus(
                    channel: applied.channel.rawValue,
                    number: applied.number.rawValue,
                    isActive: false,
                    bytesReceived: state.bytes,
                    isIncremental: state.isIncremental,
                    duration: Double(took.milliseconds) / 1_000
                )
            )
            state.finished.removeFirst(max(0, state.finished.count - Self.capacity))
        }
    }

    func statuses(channel: ChannelName, active: ReleaseNumber?) -> [ReleaseStatus] {
        state.withLock { state in
            state.finished.map {
                var status = $0
                status.isActive = status.number == active?.rawValue
                return status
            }
        }
    }
}

/// A release source that notes what passes through it.
struct ObservedReleaseSource: ReleaseSource {
    let base: any ReleaseSource
    let log: TransferLog

    func latestRelease(
        of channel: ChannelName,
        tenant: TenantID,
        unlessAt revision: Revision?
    ) async throws -> ReleaseAnswer {
        let answer = try await base.latestRelease(of: channel, tenant: tenant, unlessAt: revision)
        log.onLook()
        return answer
    }

    func trust(
        of channel: ChannelName,
        tenant: TenantID,
        afterRoot version: Int64
    ) async throws -> TrustAnswer {
        try await base.trust(of: channel, tenant: tenant, afterRoot: version)
    }

    func bundle(_ bundle: BundleDescription, from offset: Int64) async throws -> ByteChunks {
        log.onBundle(isIncremental: bundle.from != nil)
        let chunks = try await base.bundle(bundle, from: offset)
        return ByteChunks(CountedChunks(base: chunks, log: log))
    }

    func acknowledge(_ applied: AppliedRelease, tenant: TenantID) async throws {
        try await base.acknowledge(applied, tenant: tenant)
        log.onAcknowledged(applied)
    }
}

private struct CountedChunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let base: ByteChunks
    let log: TransferLog

    struct AsyncIterator: AsyncIteratorProtocol {
        var base: ByteChunks.AsyncIterator
        let log: TransferLog

        mutating func next() async throws -> [UInt8]? {
            let chunk = try await base.next()
            if let chunk { log.onBytes(chunk.count) }
            return chunk
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(base: base.makeAsyncIterator(), log: log)
    }
}

/// Passes the link's news of revisions on to the channels, which then look whether a release is new.
struct RevisionSignal: HintBus {
    let syncs: [ArtifactSync]

    func publish(_ revision: Revision) { syncs.forEach { $0.hint() } }

    func hints() -> AsyncStream<Revision> { AsyncStream { $0.finish() } }
}
#endif
