public import ClusterRole
public import DeviceRegistry
public import OperationQueue

/// The wake outbox: the driver protocol.
///
/// Its rows are written by `OperationStorage.enqueue(_:tenant:epoch:)` in the transaction that makes
/// a wake-up necessary, and cleared by `OperationStorage.apply(_:from:epoch:at:)` when a contact was
/// answered at the wake's number or a newer one. This protocol takes them from there. Wake-ups take no
/// revision: no replica holds them.
public protocol WakeStorage: Sendable {
    /// Turns the next members of waiting group expansions into outbox rows.
    ///
    /// Members are taken in order of device id; at most `limit` rows are written in one transaction
    /// together with the cursor. Members contacted at the expansion's number or later, and removed
    /// ones, are passed by; a device that has a row already keeps it, with a new generation.
    ///
    /// - Returns: what was written, and whether an expansion is left.
    func expand(limit: Int, epoch: Epoch, at now: Timestamp) async throws -> WakeExpansionReceipt

    /// Wake-ups due at `now`, longest due first, with the device's push registration if it has one.
    func due(at now: Timestamp, limit: Int) async throws -> [DueWakeUp]

    /// Stores what became of attempts. An outcome whose generation is no longer the row's leaves the
    /// row due; a row that is gone is left alone.
    func settle(_ outcomes: [WakeSettlement], epoch: Epoch, at now: Timestamp) async throws

    /// The earliest due time in the outbox and whether expansions wait; `nil` when nothing waits.
    func nextDue() async throws -> Timestamp?

    /// Running totals since the store was made.
    func counters() async throws -> WakeCounters
}

/// A wake-up to attempt now.
public struct DueWakeUp: Hashable, Sendable {
    public var wake: WakeUp
    /// `nil`: the device can only be found polling.
    public var registration: PushRegistration?

    public init(wake: WakeUp, registration: PushRegistration?) {
        self.wake = wake
        self.registration = registration
    }
}

/// What ``WakeStorage/expand(limit:epoch:at:)`` did.
public struct WakeExpansionReceipt: Hashable, Sendable {
    /// New outbox rows.
    public var added: Int
    /// Rows that existed and now stand for this operation too.
    public var coalesced: Int
    public var isFinished: Bool

    public init(added: Int, coalesced: Int, isFinished: Bool) {
        self.added = added
        self.coalesced = coalesced
        self.isFinished = isFinished
    }
}

/// What becomes of one outbox row.
public struct WakeSettlement: Hashable, Sendable {
    public var tenant: TenantID
    public var device: DeviceID
    public var generation: Int64
    public var verdict: Verdict

    /// The verdict.
    public enum Verdict: Hashable, Sendable {
        /// The transport took it: the row goes; polling covers what a push misses.
        case sent
        /// Try again.
        case retry(at: Timestamp, failure: String)
        /// Give up; the device finds the work by polling.
        case abandon(failure: String)
        /// The registration is dead since a time: it goes if it is no newer than that, and so does the
        /// row; a newer registration keeps the row due.
        case deadToken(since: Timestamp)
    }

    public init(tenant: TenantID, device: DeviceID, generation: Int64, verdict: Verdict) {
        self.tenant = tenant
        self.device = device
        self.generation = generation
        self.verdict = verdict
    }
}

/// Totals of the wake outbox.
public struct WakeCounters: Hashable, Sendable, Codable {
    /// Wake-ups a transport accepted.
    public var sent = 0
    /// Wishes that joined a wake-up already under way.
    public var coalesced = 0
    /// Attempts that failed and were put off.
    public var retried = 0
    /// Wake-ups given up.
    public var abandoned = 0
    /// Wake-ups cleared because the device came by itself first.
    public var foundByPolling = 0
    /// Registrations that turned out dead.
    public var deadTokens = 0

    public init() {}
}
