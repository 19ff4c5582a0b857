public import ClusterRole
public import OperationQueue

/// One webhook subscription.
public struct WebhookID: RandomIdentifier {
    private let stored: IdentifierBits
    public init(bits: UInt128) { stored = IdentifierBits(bits) }
    public var bits: UInt128 { stored.value }
}

/// Whether a webhook is sent to.
public enum WebhookState: UInt8, Hashable, Sendable, Codable, CaseIterable {
    case active = 0
    /// The receiver answered 410 (Gone): nothing is sent until it is subscribed anew.
    case gone = 1

    /// The name in JSON and logs.
    public var name: String { String(describing: self) }
}

/// A URL that is told of events, and how far it has been told.
public struct WebhookSubscription: Hashable, Sendable {
    public var id: WebhookID
    public var tenant: TenantID
    /// Absolute, `https` or `http`.
    public var url: String
    public var filter: EventFilter
    public var state: WebhookState
    public var createdAt: Timestamp
    public var progress: WebhookProgress

    public init(
        id: WebhookID,
        tenant: TenantID,
        url: String,
        filter: EventFilter,
        state: WebhookState = .active,
        createdAt: Timestamp,
        progress: WebhookProgress
    ) {
        self.id = id
        self.tenant = tenant
        self.url = url
        self.filter = filter
        self.state = state
        self.createdAt = createdAt
        self.progress = progress
    }

    /// The longest URL, in bytes.
    public static let maximumURLBytes = 2_048
}

/// How far a webhook has been told, and how the batch under way stands.
public struct WebhookProgress: Hashable, Sendable {
    /// Everything up to here was delivered, became a dead letter, or was not wanted.
    public var cursor: EventPosition
    /// The last event of the batch that failed, so that trying again sends the same; `nil` if none failed.
    public var batchEnd: EventPosition?
    /// How often that batch failed.
    public var failures: Int32
    /// When it is tried again.
    public var due: Timestamp
    /// Why it failed, or what else is wrong; empty if nothing is.
    public var lastFailure: String

    public init(
        cursor: EventPosition,
        batchEnd: EventPosition? = nil,
        failures: Int32 = 0,
        due: Timestamp = .distantPast,
        lastFailure: String = ""
    ) {
        self.cursor = cursor
        self.batchEnd = batchEnd
        self.failures = failures
        self.due = due
        self.lastFailure = lastFailure
    }
}

/// A batch that was given up after its last attempt. It can be sent again.
public struct WebhookDeadLetter: Hashable, Sendable {
    /// Grows with each dead letter of the subscription.
    public var number: Int64
    /// The id the batch was sent with, and will be sent with again.
    public var message: String
    /// The bytes that were to be sent.
    public var body: [UInt8]
    /// How many events they hold.
    public var events: Int
    public var failure: String
    public var at: Timestamp

    public init(
        number: Int64,
        message: String,
        body: [UInt8],
        events: Int,
        failure: String,
        at: Timestamp
    ) {
        self.number = number
        self.message = message
        self.body = body
        self.events = events
        self.failure = failure
        self.at = at
    }
}

/// The key that the receiver of a webhook checks signatures with.
///
/// Its text form is `whsec_` and base64, as the Standard Webhooks specification has it. It is shown once,
/// when the subscription is made, and stored encrypted.
public struct WebhookSecret: Hashable, Sendable, CustomStringConvertible {
    public let bytes: [UInt8]

    /// How many bytes a secret may have: enough for HMAC-SHA256, and what the specification allows.
    public static let sizes = 24...64
    static let prefix = "whsec_"

    /// Draws a secret of 32 bytes. The source must be cryptographically strong outside tests.
    public init(from random: some RandomSource) { bytes = random.bytes(32) }

    /// Wraps bytes that were stored.
    package init(stored bytes: [UInt8]) { self.bytes = bytes }

    /// Never the secret.
    public var description: String { "WebhookSecret(…)" }
}
