public import ClusterRole
public import DeviceRegistry

/// Reads what is open for a device: one half of what a worker needs.
///
/// Drivers: in process on a store, the link's replica (from memory), PostgreSQL directly.
public protocol PendingWorkReader: Sendable {
    /// What is open for `device`, with every entry this node has accepted already applied.
    ///
    /// - Returns: `nil` for a device that is not enrolled as far as this reader knows.
    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork?
}

/// Takes what devices report: the other half of what a worker needs.
public protocol DeviceInbox: Sendable {
    /// Accepts entries. When it returns they are durable: they survive a kill, a crash, a power loss.
    ///
    /// - Throws: ``OperationQueueError`` with code `spoolFull` **before** accepting anything.
    func accept(_ entries: [InboxEntry]) async throws
}

/// Reads activities and executions: what administrators see.
public protocol ActivityReader: LargeResultReader {
    func activity(_ id: ActivityID, tenant: TenantID) async throws -> Activity?

    /// Activities by number, newest first, below `before`.
    func activities(before: Int64?, limit: Int, tenant: TenantID) async throws -> [Activity]

    /// Activities that a filter wants, by number, newest first, below `before`.
    ///
    /// - Returns: at most `limit`, after a look at ``maximumOperationsExamined`` operations at most; `next`
    ///   where more may follow.
    func activities(
        matching filter: ActivityFilter,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> ActivityPage

    /// Executions of a device's newest enrolment over all activities, by operation number, newest first,
    /// below `before`: rows and, where it is addressed and has none, virtual ones.
    ///
    /// - Returns: at most `limit`, after a look at ``maximumOperationsExamined`` operations at most; `next`
    ///   where more may follow; `nil` for a device the tenant never had.
    func executions(
        on device: DeviceID,
        before: Int64?,
        limit: Int,
        tenant: TenantID
    ) async throws -> DeviceExecutionPage?

    /// Executions of an activity in order of device id: rows and, for devices that are addressed and
    /// have none, virtual rows of version 0 in the state the activity implies.
    func executions(
        of activity: ActivityID,
        after: DeviceID?,
        limit: Int,
        tenant: TenantID
    ) async throws -> [Execution]

    /// One execution: its row, or, if its device is addressed and has none, a virtual row of version 0, in
    /// the state its activity implies.
    ///
    /// - Returns: `nil` if the operation does not address that enrolment of the device.
    func execution(_ id: ExecutionID, tenant: TenantID) async throws -> Execution?

    /// The wake-up that is under way for a device, if one is.
    func wakeUp(of device: DeviceID, tenant: TenantID) async throws -> WakeUp?
}

/// Stores operations and executions: the manager's driver protocol.
///
/// Every guarded write compares `epoch` inside its own transaction, is durable when it returns, and
/// writes status, result, counters, wake-ups and log keys together or not at all.
public protocol OperationStorage: PendingWorkReader, ActivityReader, LargeResultStorage {
    /// Commits one operation: one activity row; for named devices a target row each, for a group
    /// nothing more; and the wake-ups the plan asks for.
    ///
    /// - Throws: ``OperationQueueError`` with `keyConflict`, `unknownGroup`, `noTarget`.
    func enqueue(_ plan: EnqueuePlan, tenant: TenantID, epoch: Epoch) async throws -> EnqueueReceipt

    /// Changes an activity as a whole by ``Activity/on(_:at:)``, in one row, and obeys its directives in
    /// the same transaction. A change that is made already changes nothing and takes no revision.
    ///
    /// - Throws: ``OperationQueueError`` with `unknownActivity`, `invalidRequest`.
    func change(
        _ activity: ActivityID,
        _ change: ActivityChange,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision)

    /// Does an administrator's command on one execution.
    ///
    /// - Parameters:
    ///   - execution: which; of the present enrolment of its device.
    ///   - command: what is to be done.
    ///   - version: the version it must have (0: no row yet); `nil` for whichever.
    ///   - tenant: the tenant it belongs to.
    ///   - epoch: the writer's.
    ///   - now: the present time.
    /// - Returns: the execution afterwards.
    /// - Throws: ``OperationQueueError`` with `unknownExecution`, `versionConflict`, `notPossible`.
    func command(
        _ execution: ExecutionID,
        _ command: ExecutionCommand,
        ifVersion version: Int32?,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (execution: Execution, revision: Revision)

    /// Cancels everything that is open for a device, in one transaction.
    ///
    /// - Returns: how many executions were cancelled or are asked to be.
    func cancelAll(
        of device: DeviceID,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (count: Int, revision: Revision)

    /// Does what is due by itself (``Execution/dueAttention(under:at:)``,
    /// ``Activity/cancellationDeadline``, first wakes of operations whose time has come): oldest
    /// first, at most `limit` in one transaction.
    ///
    /// - Returns: how many were due; `limit` means that there may be more.
    func fireTimers(at now: Timestamp, limit: Int, epoch: Epoch) async throws -> Int

    /// Open activities that follow a rollout plan, oldest first, behind `after`.
    func rollouts(after: Int64?, limit: Int) async throws -> [Activity]

    /// How many devices an activity addresses that have a rank below `ceiling`. It reads all of them.
    func addressedCount(
        of activity: ActivityID,
        below ceiling: Int32,
        tenant: TenantID
    ) async throws -> Int

    /// One exchange in process: reads what is open for a device, lets `decide` say what is to be done,
    /// and applies that as ``apply(_:from:epoch:at:)`` does.
    ///
    /// A driver that can does it in one transaction; the standard implementation reads, then applies.
    ///
    /// - Parameters:
    ///   - device: whose work is read.
    ///   - tenant: the tenant it belongs to.
    ///   - seen: what the caller has just read of it, if it has: a driver that can tell that it is
    ///     still so need not read it again.
    ///   - epoch: the writer's; a store that knows a higher one refuses the write.
    ///   - now: the time the entries are applied at.
    ///   - decide: gets what ``PendingWorkReader/openWork(for:tenant:)`` answers. It is called
    ///     perhaps inside a transaction: it must not wait. It is called again when that transaction has to
    ///     be repeated; only what it says last counts. If it throws, nothing is stored.
    /// - Returns: what `decide` answered, once its entries are durable.
    func exchange<Answer: Sendable>(
        with device: DeviceID,
        tenant: TenantID,
        seen: OpenWork?,
        epoch: Epoch,
        at now: Timestamp,
        _ decide: @escaping @Sendable (OpenWork?) throws -> ExchangeDecision<Answer>
    ) async throws -> Answer

    /// Applies accepted entries in order, each by ``ExecutionRules``; entries that cannot be applied
    /// are stored as rejected with their reason.
    ///
    /// - Parameters:
    ///   - entries: numbered, if they come from a spool; numbers at or below the stored mark are
    ///     skipped.
    ///   - spool: whose they are and up to which number; its mark is stored in the same
    ///     transaction. `nil` for entries accepted in process.
    ///   - epoch: the writer's; a store that knows a higher one refuses the write.
    ///   - now: the time the entries are applied at.
    func apply(
        _ entries: [SpooledEntry],
        from spool: SpoolMark?,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> ApplyReceipt

    /// Open activities whose operation has expired at `now`, oldest first.
    func expired(at now: Timestamp, limit: Int) async throws -> [(tenant: TenantID, id: ActivityID)]
}

/// What is to be done in an exchange, and what is answered once it is done.
public struct ExchangeDecision<Answer: Sendable>: Sendable {
    /// Applied in order; none means that nothing is stored.
    public var entries: [InboxEntry]
    public var answer: Answer

    public init(entries: [InboxEntry], _ answer: Answer) {
        self.entries = entries
        self.answer = answer
    }
}

extension OperationStorage {
    public func exchange<Answer: Sendable>(
        with device: DeviceID,
        tenant: TenantID,
        seen: OpenWork?,
        epoch: Epoch,
        at now: Timestamp,
        _ decide: @escaping @Sendable (OpenWork?) throws -> ExchangeDecision<Answer>
    ) async throws -> Answer {
        let decision = try decide(try await openWork(for: device, tenant: tenant))
        if !decision.entries.isEmpty {
            _ = try await apply(
                decision.entries.map { SpooledEntry(number: 0, entry: $0) },
                from: nil,
                epoch: epoch,
                at: now
            )
        }
        return decision.answer
    }

    /// Closes an open activity as a whole, in one row. Closing a closed one changes nothing.
    public func close(
        _ activity: ActivityID,
        as state: ActivityState,
        tenant: TenantID,
        epoch: Epoch,
        at now: Timestamp
    ) async throws -> (activity: Activity, revision: Revision) {
        try await change(activity, .close(state), tenant: tenant, epoch: epoch, at: now)
    }
}

/// What an administrator does to one execution.
public enum ExecutionCommand: String, Hashable, Sendable, Codable {
    /// It ends at once, or, if the device has it in hand, by the device's answer.
    case cancel
    /// The user's agreement, given by somebody else.
    case confirm
    /// Its delivery lease ends now, so that the next poll gets it again.
    case redeliver
}

/// Serves replicas: what a manager gives its workers over the link.
public protocol ReplicaSource: Sendable {
    /// The newest revision.
    func currentRevision() async throws -> Revision

    /// The next page of what a replica lacks.
    ///
    /// Without a cursor, and with a revision of this history that the log still reaches, the page is a
    /// delta: the *current* rows of the keys logged after it. Otherwise it is the first page of a
    /// snapshot. A snapshot's pages may be read while writes go on; the page that ends it names the
    /// revision at which it began, and the delta after that makes it exact.
    ///
    /// - Parameters:
    ///   - after: the revision the replica has; `nil` for none.
    ///   - cursor: the cursor of the page before, inside a snapshot.
    ///   - limit: the most rows.
    ///   - node: whose spool mark is included.
    func page(
        after: Revision?,
        cursor: ReplicaCursor?,
        limit: Int,
        for node: NodeID
    ) async throws -> ReplicaPage
}

/// What the enqueuing façade asks a driver to commit.
public struct EnqueuePlan: Hashable, Sendable {
    /// The operation; its number is given by the driver.
    public var operation: DeviceOperation
    public var target: OperationTarget
    public var initiator: String
    /// Unique in the tenant while the activity is kept.
    public var idempotencyKey: String?
    /// Digest of the whole request: the same key with another digest is a conflict.
    public var requestDigest: [UInt8]
    /// When the wake-ups fall due; `nil` for none (devices find the work by polling).
    public var wakeAt: Timestamp?

    public init(
        operation: DeviceOperation,
        target: OperationTarget,
        initiator: String,
        idempotencyKey: String?,
        requestDigest: [UInt8],
        wakeAt: Timestamp?
    ) {
        self.operation = operation
        self.target = target
        self.initiator = initiator
        self.idempotencyKey = idempotencyKey
        self.requestDigest = requestDigest
        self.wakeAt = wakeAt
    }
}

/// What an enqueue did.
public struct EnqueueReceipt: Hashable, Sendable {
    public var activity: ActivityID
    public var number: Int64
    public var revision: Revision
    public var addressed: Int
    /// Named devices that are not enrolled.
    public var unknown: Int
    /// Whether the idempotency key had been used for this request before: nothing new was enqueued.
    public var wasRepeated: Bool

    public init(
        activity: ActivityID,
        number: Int64,
        revision: Revision,
        addressed: Int,
        unknown: Int,
        wasRepeated: Bool
    ) {
        self.activity = activity
        self.number = number
        self.revision = revision
        self.addressed = addressed
        self.unknown = unknown
        self.wasRepeated = wasRepeated
    }
}

/// What applying entries did.
public struct ApplyReceipt: Hashable, Sendable {
    public var revision: Revision
    /// The spool's mark afterwards.
    public var mark: SpoolMark?
    public var applied: Int
    public var skipped: Int
    public var rejected: Int

    public init(
        revision: Revision,
        mark: SpoolMark?,
        applied: Int,
        skipped: Int,
        rejected: Int
    ) {
        self.revision = revision
        self.mark = mark
        self.applied = applied
        self.skipped = skipped
        self.rejected = rejected
    }
}
