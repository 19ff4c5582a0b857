public import ClusterRole

/// Posts batches of events: one method to write for a transport of one's own.
public protocol WebhookTransport: Sendable {
    /// Posts one batch.
    ///
    /// It throws nothing: what went wrong is an outcome, and the dispatcher decides what follows.
    func send(_ request: WebhookRequest) async -> WebhookOutcome
}

/// One batch to post, with what the headers of the Standard Webhooks specification carry.
public struct WebhookRequest: Hashable, Sendable {
    public var url: String
    /// `webhook-id`: the same whenever the same batch is sent again.
    public var message: String
    /// `webhook-timestamp`: when this attempt was made, in seconds since 1970.
    public var timestamp: Int64
    /// `webhook-signature`: `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`.
    public var signature: String
    /// Of the coordinator that sends it (`reeve-epoch`): a receiver may refuse lower ones.
    public var epoch: Epoch
    /// JSON.
    public var body: [UInt8]

    public init(
        url: String,
        message: String,
        timestamp: Int64,
        signature: String,
        epoch: Epoch,
        body: [UInt8]
    ) {
        self.url = url
        self.message = message
        self.timestamp = timestamp
        self.signature = signature
        self.epoch = epoch
        self.body = body
    }
}

/// What a transport says of one batch.
public enum WebhookOutcome: Hashable, Sendable {
    /// The receiver has it (2xx).
    case accepted
    /// The receiver wants no more (410).
    case gone
    /// It did not work, or nobody knows; tried again, not before a while if the receiver said so.
    case failed(reason: String, retryAfter: Duration? = nil)
}
