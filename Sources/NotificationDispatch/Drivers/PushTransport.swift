public import ClusterRole
public import DeviceRegistry

/// Sends contentless wake-ups: one method to write for a transport of one's own.
public protocol PushTransport: Sendable {
    /// Asks a device to poll.
    ///
    /// Called by the dispatcher, for many devices at once. It throws nothing: what went wrong is an
    /// outcome, and the dispatcher decides what follows.
    func wake(_ request: PushRequest) async -> PushOutcome
}

/// One wake-up to send.
public struct PushRequest: Hashable, Sendable {
    public var tenant: TenantID
    public var device: DeviceID
    public var registration: PushRegistration
    /// Of the coordinator that sends it: receivers on the product's side may refuse lower ones.
    public var epoch: Epoch

    public init(tenant: TenantID, device: DeviceID, registration: PushRegistration, epoch: Epoch) {
        self.tenant = tenant
        self.device = device
        self.registration = registration
        self.epoch = epoch
    }
}

/// What a transport says of one wake-up.
public enum PushOutcome: Hashable, Sendable {
    /// Taken. Whether the device heard it is seen by its contact.
    case accepted
    /// The registration is dead, as of a time the service named, or as of now.
    case deadToken(since: Timestamp?)
    /// Try again, not before a while; the scope says whom it concerns.
    case retry(after: Duration?, scope: RetryScope, reason: String)
    /// This wake-up will never be taken.
    case rejected(reason: String)
    /// Nobody knows: the connection ended before an answer. Treated like a retry.
    case unknown(reason: String)

    /// Whom a retry concerns.
    public enum RetryScope: String, Hashable, Sendable, Codable {
        case device, transport
    }
}
