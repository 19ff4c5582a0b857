#if Server
public import ClusterRole

/// What can go wrong at the worker's end of the link.
///
/// A refusal of the manager keeps the manager's own code (`devices.enrolment-refused`), so that what a
/// device gets to see does not depend on where its call was decided.
public struct ClusterLinkError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// No manager answered (503).
        public static let unreachable = Code(rawValue: "link.unreachable")
        /// One of the two ends does not believe the other's certificate (503): nothing was sent.
        public static let untrusted = Code(rawValue: "link.untrusted")
        /// A manager answered something that is no answer: damaged, too long, of another version.
        public static let badAnswer = Code(rawValue: "link.bad-answer")
        /// A manager of a lower epoch than this worker has seen; nothing of it was taken (503).
        public static let fenced = Code(rawValue: "link.fenced")
        /// A name of DNS has no address now (503).
        public static let unresolved = Code(rawValue: "link.unresolved")
        /// An address is no HTTP URL, or there is none (400; met at start only).
        public static let invalidConfiguration = Code(rawValue: "link.invalid-configuration")
    }

    public let code: Code
    public let message: String
    public let category: ErrorCategory
    public let retryAfter: Duration?
    public let cause: (any Error)?
    /// The HTTP status, if a manager answered.
    public let status: Int?

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - code: what callers act on.
    ///   - message: what happened and what to do.
    ///   - category: what an interface answers; decided by the code if `nil`.
    ///   - status: the HTTP status the manager answered with, if it answered.
    ///   - retryAfter: how long the manager asks to wait, if it does.
    ///   - cause: the error beneath, if there is one.
    public init(
        _ code: Code,
        _ message: String,
        category: ErrorCategory? = nil,
        status: Int? = nil,
        retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.status = status
        self.retryAfter = retryAfter
        self.cause = cause
        self.category =
            category
            ?? (code == .invalidConfiguration
                ? .invalid : code == .badAnswer ? .internalFailure : .unavailable)
    }

    public var codeName: String { code.rawValue }
}
#endif
