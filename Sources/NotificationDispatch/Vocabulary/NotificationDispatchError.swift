public import ClusterRole

/// What can go wrong in waking devices and in telling webhooks.
///
/// That a device could not be woken is no error: it is an outcome, and the device polls.
public struct NotificationDispatchError: CodedError {
    /// The reason; it may grow.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        public static let invalidConfiguration = Code(rawValue: "wake.invalid-configuration")
        /// This node is no longer the coordinator; another one wakes the devices.
        public static let notCoordinator = Code(rawValue: "wake.not-coordinator")
        /// A webhook's URL or secret is not one.
        public static let invalidWebhook = Code(rawValue: "webhook.invalid")
        public static let unknownWebhook = Code(rawValue: "webhook.unknown")
        public static let unknownDeadLetter = Code(rawValue: "webhook.unknown-dead-letter")
        /// The tenant has as many webhooks as it may have.
        public static let tooManyWebhooks = Code(rawValue: "webhook.too-many")
        /// A receiver did not take a dead letter.
        public static let notDelivered = Code(rawValue: "webhook.not-delivered")
        /// The driver failed; the cause says how.
        public static let storage = Code(rawValue: "wake.storage")
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
        case .notCoordinator, .notDelivered: .unavailable
        case .unknownWebhook, .unknownDeadLetter: .notFound
        case .tooManyWebhooks: .conflict
        case .storage: (cause as? any CodedError)?.category ?? .internalFailure
        default: .invalid
        }
    }

    static func unknownWebhook(_ id: WebhookID) -> NotificationDispatchError {
        NotificationDispatchError(
            .unknownWebhook,
            "There is no webhook \(id) in this tenant. List the webhooks."
        )
    }

    /// A further subscription of a tenant that has ``maximumWebhooks``.
    package static let tooManyWebhooks = NotificationDispatchError(
        .tooManyWebhooks,
        "A tenant has at most \(maximumWebhooks) webhooks. Remove one first."
    )

    /// Wraps what a driver or a revoked capability threw.
    static func wrapping(_ error: any Error) -> NotificationDispatchError {
        if let known = error as? NotificationDispatchError { return known }
        if let role = error as? ClusterRoleError, role.code == .fenced || role.code == .revoked {
            return NotificationDispatchError(
                .notCoordinator,
                "This node no longer wakes devices; the coordinator does.",
                cause: error
            )
        }
        return NotificationDispatchError(
            .storage,
            "The store could not be read or written. See the cause; try again.",
            retryAfter: (error as? any CodedError)?.retryAfter,
            cause: error
        )
    }
}
