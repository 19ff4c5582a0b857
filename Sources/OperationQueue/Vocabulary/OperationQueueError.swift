public import ClusterRole

/// What can go wrong with operations.
public struct OperationQueueError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        public static let unknownActivity = Code(rawValue: "operations.unknown-activity")
        public static let unknownPolicy = Code(rawValue: "operations.unknown-policy")
        public static let unknownGroup = Code(rawValue: "operations.unknown-group")
        /// None of the named devices is enrolled.
        public static let noTarget = Code(rawValue: "operations.no-target")
        /// The idempotency key was used for another request.
        public static let keyConflict = Code(rawValue: "operations.key-conflict")
        public static let tooLarge = Code(rawValue: "operations.too-large")
        public static let invalidRequest = Code(rawValue: "operations.invalid-request")
        /// The execution named belongs to another device or enrolment.
        public static let foreignExecution = Code(rawValue: "operations.foreign-execution")
        /// No execution of this id, or none that is open.
        public static let unknownExecution = Code(rawValue: "operations.unknown-execution")
        /// The execution has another version than the command names.
        public static let versionConflict = Code(rawValue: "operations.version-conflict")
        /// The state it is in does not allow it.
        public static let notPossible = Code(rawValue: "operations.not-possible")
        public static let unknownDevice = Code(rawValue: "operations.unknown-device")
        /// The spool is full: wait and repeat.
        public static let spoolFull = Code(rawValue: "operations.spool-full")
        /// The log of revisions no longer reaches back to the position asked for, or the position is of
        /// another history; ``OperationQueueError/floor`` says from where on events can be read.
        public static let eventsGone = Code(rawValue: "operations.events-gone")
        /// The tenant has, or does as often, what its quota allows: wait and repeat, or have it raised.
        public static let quotaExceeded = Code(rawValue: "operations.quota-exceeded")
        /// The body of a large result ended before it was whole, or was not as long as was said.
        public static let uploadInterrupted = Code(rawValue: "operations.upload-interrupted")
        /// The body of a large result is not what its digest says.
        public static let digestMismatch = Code(rawValue: "operations.digest-mismatch")
        /// The execution has no large result, or not all of it has come yet.
        public static let noLargeResult = Code(rawValue: "operations.no-large-result")
        /// The device comes more often than it may: wait and repeat.
        public static let tooManyExchanges = Code(rawValue: "operations.too-many-exchanges")
        /// As many large results as this node takes at once are under way: wait and repeat.
        public static let tooManyUploads = Code(rawValue: "operations.too-many-uploads")
        /// The caller went away while the call waited.
        public static let cancelled = Code(rawValue: "operations.cancelled")
        /// The driver failed; the cause says how.
        public static let storage = Code(rawValue: "operations.storage")
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?
    /// For `eventsGone`: the oldest revision after which events can still be read.
    public let floor: Revision?

    public init(
        _ code: Code,
        _ message: String,
        retryAfter: Duration? = nil,
        cause: (any Error)? = nil,
        floor: Revision? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.cause = cause
        self.floor = floor
    }

    /// Events after `position` cannot be read, since the log reaches from `floor` to `newest`.
    public static func eventsGone(
        after position: Revision,
        floor: Revision,
        newest: Revision
    ) -> OperationQueueError {
        OperationQueueError(
            .eventsGone,
            "There are no events after \(position): the log reaches from \(floor) to \(newest). Read the "
                + "present state, then go on from the newest revision.",
            floor: floor
        )
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory {
        switch code {
        case .unknownActivity, .unknownPolicy, .unknownGroup, .unknownDevice, .unknownExecution,
            .noLargeResult:
            .notFound
        case .quotaExceeded, .tooManyExchanges, .tooManyUploads: .overloaded
        case .keyConflict, .versionConflict, .notPossible, .eventsGone: .conflict
        case .tooLarge: .tooLarge
        case .foreignExecution: .forbidden
        case .spoolFull, .cancelled: .unavailable
        case .storage: (cause as? any CodedError)?.category ?? .internalFailure
        default: .invalid
        }
    }
}
