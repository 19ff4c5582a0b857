public import Logging
internal import Synchronization

/// Looks the audit log up: the reader's façade.
public struct AuditReader: Sendable {
    private let log: any AuditLogReader

    /// How many entries ``verify()`` reads at once.
    private static let verifiedAtOnce = 1_000

    public init(log: any AuditLogReader) { self.log = log }

    /// A page, newest first.
    ///
    /// - Parameters:
    ///   - filter: which entries are asked for.
    ///   - before: where the page before ended (``AuditPage/next``).
    ///   - limit: at most 1,000; more is cut down to it.
    public func page(
        matching filter: AuditFilter = AuditFilter(),
        before: Int64? = nil,
        limit: Int = 100
    ) async throws -> AuditPage {
        try await log.entries(
            matching: filter,
            before: before,
            limit: max(1, min(limit, 1_000))
        )
    }

    /// How far the log reaches.
    public func bounds() async throws -> AuditBounds { try await log.auditBounds() }

    /// Computes every entry's digest again, from the oldest to the newest there is at the call.
    ///
    /// - Returns: what was found; an entry that was changed, inserted or deleted breaks the log at its
    ///   number.
    public func verify() async throws -> AuditVerification {
        let end = try await log.auditBounds().head
        while true {
            let floor = try await log.auditBounds().floor
            let found = try await verify(from: floor, to: end)
            // What was purged meanwhile is missing for a good reason.
            if found.isWhole { return found }
            if try await log.auditBounds().floor == floor { return found }
        }
    }

    private func verify(from floor: AuditMark, to end: AuditMark) async throws -> AuditVerification
    {
        var chain = AuditChain(after: floor)
        var result = AuditVerification(entries: 0, head: end, brokenAt: nil)
        while chain.mark.number < end.number {
            let expected = chain.mark.number + 1
            let page = try await log.entries(
                after: chain.mark.number,
                limit: Self.verifiedAtOnce
            )
            if page.isEmpty { result.brokenAt = expected }
            for entry in page where result.isWhole && chain.mark.number < end.number {
                let next = chain.mark.number + 1
                if chain.onEntry(entry) { result.entries += 1 } else { result.brokenAt = next }
            }
            if !result.isWhole { return result }
        }
        if chain.mark != end { result.brokenAt = end.number }
        return result
    }
}

/// Writes the audit log: the façade of whoever lets requests through. Only who holds a
/// ``WriteCapability`` can make one.
///
/// What changes something is recorded twice: that it has begun, durably and before anything is done, and
/// what became of it, durably and before the answer leaves. A log that cannot be written refuses the
/// request (``ClusterRoleError/Code/auditUnavailable``): nothing is done unrecorded.
///
/// ```swift
/// let trail = AuditTrail(log: store, capability: capability)
/// try await trail.perform(AuditRecord(who: "nightly", kind: .process, operation: "wipe-stolen")) {
///     try await operations.enqueue(request)
/// }
/// ```
public final class AuditTrail: Sendable {
    /// Limits of an ``AuditTrail``.
    public struct Limits: Hashable, Sendable {
        /// Refusals recorded a minute; further ones are counted in the next entry. 60: a person reads no more,
        /// and a flood of forged requests needs eleven days to displace a million entries.
        public var refusalsPerMinute: Int

        public init(refusalsPerMinute: Int = 60) { self.refusalsPerMinute = refusalsPerMinute }
    }

    /// Reads what is written here.
    public let reader: AuditReader

    private let log: any AuditLog
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let logger: Logger
    private let budget: Mutex<RefusalBudget>
    private let failures = Atomic<Int>(0)

    /// - Parameters:
    ///   - log: where it is kept.
    ///   - capability: the coordinator's right to write.
    ///   - limits: how many refusals are recorded.
    ///   - clock: stamps the entries.
    ///   - logger: told of entries that could not be written.
    public init(
        log: any AuditLog,
        capability: WriteCapability,
        limits: Limits = Limits(),
        clock: any TimeSource = SystemTimeSource(),
        logger: Logger = Logger(label: "reeve.audit")
    ) {
        self.log = log
        self.capability = capability
        self.clock = clock
        self.logger = logger
        reader = AuditReader(log: log)
        budget = Mutex(RefusalBudget(perMinute: limits.refusalsPerMinute))
    }

    /// How many entries could not be written since the start.
    public var failedEntries: Int { failures.load(ordering: .relaxed) }

    /// How many refusals were counted and stand in no entry yet.
    public var suppressedRefusals: Int64 { budget.withLock { $0.suppressed } }

    /// Records that something is about to be done.
    ///
    /// - Returns: the number of the entry, for ``finish(_:begun:)``.
    /// - Throws: ``ClusterRoleError``: `revoked` or `fenced` once this node is no longer the coordinator, else
    ///   `auditUnavailable`. Whoever asked is then refused.
    public func begin(_ record: AuditRecord) async throws(ClusterRoleError) -> Int64 {
        var record = record
        record.outcome = .begun
        return try await append(record)
    }

    /// Records what became of something that had begun.
    ///
    /// - Throws: as ``begin(_:)`` does. What was done stays done, and the log says that it had begun.
    public func finish(_ record: AuditRecord, begun: Int64) async throws(ClusterRoleError) {
        var record = record
        record.begun = begun
        _ = try await append(record)
    }

    /// Records a request that was refused before anything was done. It never fails: what cannot be
    /// recorded, or is one of too many, is counted in the next entry.
    public func note(refusal record: AuditRecord) async {
        let now = clock.monotonic()
        guard case .record(let suppressed) = budget.withLock({ $0.onRefusal(at: now) }) else {
            return
        }
        var record = record
        record.suppressed = suppressed
        do throws(ClusterRoleError) {
            _ = try await append(record)
        } catch {
            budget.withLock { $0.onFailure(suppressed: suppressed) }
        }
    }

    /// Does something on the record: for code that works on the façades itself.
    ///
    /// - Parameters:
    ///   - record: who does what; time and outcome are set here.
    ///   - body: does it. What it throws is recorded by its code and thrown on.
    /// - Throws: what `body` throws, or what ``begin(_:)`` and ``finish(_:begun:)`` do.
    public func perform<Result: Sendable>(
        _ record: AuditRecord,
        _ body: @Sendable () async throws -> Result
    ) async throws -> Result {
        let begun = try await begin(record)
        var record = record
        do {
            let result = try await body()
            record.outcome = .done
            try await finish(record, begun: begun)
            return result
        } catch {
            let known = error as? any CodedError
            record.code = known?.codeName ?? "unknown"
            record.outcome = known.map { $0.category.isRefusal } ?? false ? .refused : .failed
            try await finish(record, begun: begun)
            throw error
        }
    }

    private func append(_ record: AuditRecord) async throws(ClusterRoleError) -> Int64 {
        var record = record.bounded()
        record.at = clock.now()
        do {
            let epoch = try capability.requireEpoch()
            return try await log.append([record], epoch: epoch).last?.number ?? 0
        } catch {
            failures.add(1, ordering: .relaxed)
            logger.warning(
                "an audit entry could not be written",
                metadata: ["operation": "\(record.operation)", "error": "\(error)"]
            )
            if let known = error as? ClusterRoleError { throw known }
            throw ClusterRoleError(
                .auditUnavailable,
                "Nothing is changed while it cannot be recorded. Look at the manager's log, then repeat.",
                cause: error
            )
        }
    }
}

extension ErrorCategory {
    /// Whether the caller is at fault, rather than the node.
    var isRefusal: Bool { self != .internalFailure && self != .unavailable }
}
