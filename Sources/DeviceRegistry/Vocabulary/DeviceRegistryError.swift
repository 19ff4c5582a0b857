public import ClusterRole

/// What can go wrong with devices and groups.
public struct DeviceRegistryError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        public static let unknownDevice = Code(rawValue: "devices.unknown-device")
        public static let unknownGroup = Code(rawValue: "devices.unknown-group")
        /// The credential belongs to no enrolled device.
        public static let invalidCredential = Code(rawValue: "devices.invalid-credential")
        /// The enrolment policy refused.
        public static let enrolmentRefused = Code(rawValue: "devices.enrolment-refused")
        /// The group is kept by the library (``GroupID/everyone``).
        public static let reservedGroup = Code(rawValue: "devices.reserved-group")
        /// The group is defined by a query, so that its members cannot be named by hand; or it may not
        /// be, as the message says.
        public static let dynamicGroup = Code(rawValue: "devices.dynamic-group")
        /// A query cannot be read, or not be used here; the message says where or why.
        public static let invalidQuery = Code(rawValue: "devices.invalid-query")
        public static let tooLarge = Code(rawValue: "devices.too-large")
        public static let invalidInformation = Code(rawValue: "devices.invalid-information")
        /// A name, list or duration in the request is not allowed; the message says which.
        public static let invalidRequest = Code(rawValue: "devices.invalid-request")
        /// A key for sealing secrets is of the wrong size.
        public static let invalidKey = Code(rawValue: "devices.invalid-key")
        /// A sealed secret does not open.
        public static let damagedSecret = Code(rawValue: "devices.damaged-secret")
        /// Cut off from the manager: who is calling cannot be decided now.
        public static let cannotDecide = Code(rawValue: "devices.cannot-decide")
        /// The tenant has all devices its quota allows.
        public static let quotaExceeded = Code(rawValue: "devices.quota-exceeded")
        /// The driver failed; the cause says how.
        public static let storage = Code(rawValue: "devices.storage")
    }

    public let code: Code
    public let message: String
    public let retryAfter: Duration?
    public let cause: (any Error)?

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

    public var category: ErrorCategory {
        switch code {
        case .unknownDevice, .unknownGroup: .notFound
        case .invalidCredential: .unauthenticated
        case .enrolmentRefused: .forbidden
        case .reservedGroup, .dynamicGroup: .conflict
        case .tooLarge: .tooLarge
        case .cannotDecide: .unavailable
        case .quotaExceeded: .overloaded
        case .damagedSecret: .internalFailure
        case .storage: (cause as? any CodedError)?.category ?? .internalFailure
        default: .invalid
        }
    }
}
