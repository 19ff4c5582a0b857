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
    /// How long to wait for work when there is none and nothing is reported: a long poll. Zero answers
    /// at once; more than ``ExchangeLimits/wait`` is cut down to it.
    public var wait: Duration

    public init(
        results: [ExecutionResult] = [],
        progress: [ExecutionProgress] = [],
        limit: Int = 10,
        redelivery: RedeliveryRule = .afterLease,
        wait: Duration = .zero
    ) {
        self.results = results
        self.progress = progress
        self.limit = limit
        self.redelivery = redelivery
        self.wait = wait
    }

    /// Whether it brings nothing.
    var isPlainPoll: Bool { results.isEmpty && progress.isEmpty }
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
    /// How many operations the device has still to answer, those of this answer included.
    public var open: Int

    public init(
        operations: [OfferedOperation],
        cancel: [ExecutionID],
        pollAfter: Duration,
        revision: Revision,
        open: Int = 0
    ) {
        self.operations = operations
        self.cancel = cancel
        self.pollAfter = pollAfter
        self.revision = revision
        self.open = open
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
    /// How often it was handed out before without an answer: above 0, the device may have begun it
    /// already, and must not do twice what may be done once.
    public var redelivery: Int32 = 0

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
    /// The longest an exchange waits for work: a minute, within which proxies let a call be silent.
    public var wait = Duration.seconds(60)
    /// The most exchanges that wait at once; one more is answered at once. 512: half of the requests
    /// that a server has under way, since a poll that waits is one of them.
    public var waiters = 512
    /// The least time between two looks of one that waits, so that a storm of changes costs each one
    /// look. 50 ms: nobody notices it.
    public var lookInterval = Duration.milliseconds(50)
    /// The largest streamed result: 16 MiB, a screenshot or a day's log.
    public var largeResultBytes = 16 << 20
    /// The most large results on their way at once: each holds one chunk in memory.
    public var uploads = 64
    /// How often a device may come; `nil` for as often as it likes. A report is charged half.
    public var exchangesPerMinute: Int?
    /// The most exchanges of a device in one moment.
    public var exchangeBurst = 60
    /// The most devices whose rate is kept: those that came within the last seconds.
    public var countedDevices = 100_000

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
