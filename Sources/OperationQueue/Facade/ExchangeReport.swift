public import ClusterRole

/// What a device says in one exchange. Empty, it is a plain poll.
public struct ExchangeReport: Hashable, Sendable {
    /// Answers to what it was given, in the order in which they happened.
    public var results: [ExecutionResult]
    /// What it is still working on.
    public var progress: [ExecutionProgress]
    /// The most operations it wants; more than ``ExchangeLimits/operations`` is cut down to it.
    public var limit: Int
    /// Whether it wants at once what it was given before and has lost.
    public var redelivery: RedeliveryRule

    public init(
        results: [ExecutionResult] = [],
        progress: [ExecutionProgress] = [],
        limit: Int = 10,
        redelivery: RedeliveryRule = .afterLease
    ) {
        self.results = results
        self.progress = progress
        self.limit = limit
        self.redelivery = redelivery
    }
}

/// A device's answer to one operation.
public struct ExecutionResult: Hashable, Sendable {
    public var execution: ExecutionID
    /// The handing-out it answers, if the device kept it.
    public var attempt: AttemptID?
    public var outcome: ResultOutcome
    /// Bytes the library does not interpret. At most ``ExchangeLimits/detailBytes``.
    public var detail: [UInt8]

    public init(
        execution: ExecutionID,
        attempt: AttemptID? = nil,
        outcome: ResultOutcome,
        detail: [UInt8] = []
    ) {
        self.execution = execution
        self.attempt = attempt
        self.outcome = outcome
        self.detail = detail
    }
}

/// A device says that it works on an operation.
public struct ExecutionProgress: Hashable, Sendable {
    public var execution: ExecutionID
    public var attempt: AttemptID?
    /// A note for whoever watches. At most ``ExchangeLimits/detailBytes``.
    public var detail: [UInt8]
    /// How long until it says more; `nil` for ``ExchangeLimits/stepTimeout``.
    public var stepTimeout: Duration?

    public init(
        execution: ExecutionID,
        attempt: AttemptID? = nil,
        detail: [UInt8] = [],
        stepTimeout: Duration? = nil
    ) {
        self.execution = execution
        self.attempt = attempt
        self.detail = detail
        self.stepTimeout = stepTimeout
    }
}

/// What a device gets.
public struct ExchangeAnswer: Hashable, Sendable {
    /// To do, in this order.
    public var operations: [OfferedOperation]
    /// To end, because they were cancelled; answered with ``ResultOutcome/cancelled``, or with the
    /// result if it is too late.
    public var cancel: [ExecutionID]
    /// When to come again without being woken.
    public var pollAfter: Duration
    /// What the answer is true of.
    public var revision: Revision

    public init(
        operations: [OfferedOperation],
        cancel: [ExecutionID],
        pollAfter: Duration,
        revision: Revision
    ) {
        self.operations = operations
        self.cancel = cancel
        self.pollAfter = pollAfter
        self.revision = revision
    }
}

/// One operation handed to a device.
public struct OfferedOperation: Hashable, Sendable {
    /// What the device sends back with its answer.
    public var execution: ExecutionID
    /// This handing-out; sent back with progress and NotNow.
    public var attempt: AttemptID
    public var code: OperationCode
    public var type: OperationType
    public var payload: [UInt8]
    public var priority: Int32
    /// Until then plain polls do not hand it out again.
    public var leaseEnd: Timestamp
    /// Whether the device must ask its user first, and whether the user has agreed.
    public var confirmation: OfferedConfirmation
    /// How often it has failed or timed out on this device before.
    public var retries: Int32

    public init(
        execution: ExecutionID,
        attempt: AttemptID,
        operation: DeviceOperation,
        leaseEnd: Timestamp,
        confirmation: OfferedConfirmation = .notAsked,
        retries: Int32 = 0
    ) {
        self.execution = execution
        self.attempt = attempt
        code = operation.code
        type = operation.type
        payload = operation.payload
        priority = operation.priority
        self.leaseEnd = leaseEnd
        self.confirmation = confirmation
        self.retries = retries
    }
}

/// What an offered operation says about the user's agreement.
public enum OfferedConfirmation: String, Hashable, Sendable, Codable {
    case notAsked
    /// Ask the user; report `awaitingConfirmation`, then `confirmed`, and it is offered again.
    case required
    /// The user has agreed: do it.
    case given
}

/// What one exchange may hold.
public struct ExchangeLimits: Hashable, Sendable {
    /// The most operations in an answer.
    public var operations = 100
    /// The most results, and the most progress notes, in a report.
    public var results = 100
    /// The largest detail of one result or note; larger results are to be streamed.
    public var detailBytes = 262_144
    /// The longest error code of a failure.
    public var errorCodeBytes = 255
    /// The longest a device may put work off.
    public var deferral = Duration.seconds(30 * 86_400)
    /// How long a step lasts when the device does not say.
    public var stepTimeout = Duration.seconds(300)
    /// The longest a device may say that a step lasts.
    public var longestStep = Duration.seconds(86_400)

    public init() {}

    /// - Throws: ``OperationQueueError`` with code `tooLarge` or `invalidRequest`.
    func validate(_ report: ExchangeReport) throws(OperationQueueError) {
        guard report.results.count <= results, report.progress.count <= results else {
            throw OperationQueueError(
                .tooLarge,
                "A report holds at most \(results) results and as many notes. Send the rest afterwards."
            )
        }
        let largest = max(
            report.results.lazy.map(\.detail.count).max() ?? 0,
            report.progress.lazy.map(\.detail.count).max() ?? 0
        )
        guard largest <= detailBytes else {
            throw OperationQueueError(
                .tooLarge,
                "A result's detail has at most \(detailBytes) bytes; this has \(largest)."
            )
        }
        for case .failedBecause(let code) in report.results.map(\.outcome)
        where code.isEmpty || code.utf8.count > errorCodeBytes {
            throw OperationQueueError(
                .invalidRequest,
                "An error code has 1 to \(errorCodeBytes) bytes. Put the rest into the detail."
            )
        }
        guard report.limit >= 0 else {
            throw OperationQueueError(.invalidRequest, "A limit is not negative.")
        }
    }

    /// A deferral within what a device may ask for.
    func bounded(_ outcome: ResultOutcome, at now: Timestamp) -> ResultOutcome {
        guard case .notNow(let until) = outcome else { return outcome }
        return .notNow(until: max(now, min(until, now + deferral)))
    }

    func stepEnd(_ timeout: Duration?, at now: Timestamp) -> Timestamp {
        now + max(.seconds(1), min(timeout ?? stepTimeout, longestStep))
    }
}
