#if Server
public import ClusterRole

/// What can go wrong in the device API itself. What the exchange or the registry throws passes through
/// with its own code.
public struct DeviceGatewayError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// A member of the body has a value that is out of its range.
        public static let invalidField = Code(rawValue: "gateway.invalid-field")
        /// The header field `Idempotency-Key` is empty, too long or not visible ASCII.
        public static let invalidKey = Code(rawValue: "gateway.invalid-idempotency-key")
        /// The caller is enrolled, but this worker's replica does not hold it yet. Repeat the call.
        public static let notYetKnown = Code(rawValue: "gateway.not-yet-known")
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?

    /// Makes an error; `message` says what the caller must do.
    public init(
        _ code: Code,
        _ message: String,
        retryAfter: Duration? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
        self.cause = cause
    }

    public var codeName: String { code.rawValue }

    public var category: ErrorCategory { code == .notYetKnown ? .unavailable : .invalid }
}
#endif
