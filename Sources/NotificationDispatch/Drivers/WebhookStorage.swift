public import ClusterRole
public import OperationQueue

/// Keeps webhook subscriptions, how far each has been told, and their dead letters: the driver protocol.
///
/// Webhooks take no revision: no replica holds them. Guarded writes compare `epoch` in their own
/// transaction and are durable when they return.
public protocol WebhookStorage: Sendable {
    /// Stores a new subscription.
    ///
    /// - Throws: ``NotificationDispatchError`` with code `tooManyWebhooks` when the tenant has
    ///   ``maximumWebhooks`` already.
    func subscribe(
        _ webhook: WebhookSubscription,
        secret: WebhookSecret,
        epoch: Epoch
    ) async throws

    /// Removes a subscription with its dead letters. One that is not there is left so.
    ///
    /// - Returns: whether it was there.
    func unsubscribe(_ id: WebhookID, tenant: TenantID, epoch: Epoch) async throws -> Bool

    /// Subscriptions in the order of their making.
    ///
    /// - Parameter tenant: whose; `nil` for all, which only the dispatcher asks for.
    func webhooks(tenant: TenantID?) async throws -> [WebhookSubscription]

    /// One subscription as it stands, with its secret.
    func webhook(_ id: WebhookID) async throws -> (WebhookSubscription, WebhookSecret)?

    /// Stores what became of a batch, and the dead letter if it was given up, in one transaction. Nothing
    /// happens if the subscription is gone or its cursor is no longer `cursor`.
    func settle(
        _ settlement: WebhookSettlement,
        of id: WebhookID,
        from cursor: EventPosition,
        epoch: Epoch
    ) async throws

    /// Dead letters of a subscription with numbers above `number`, oldest first.
    func deadLetters(
        of id: WebhookID,
        after number: Int64,
        limit: Int,
        tenant: TenantID
    ) async throws -> [WebhookDeadLetter]

    /// Forgets a dead letter. One that is not there is left so.
    func forget(
        deadLetter number: Int64,
        of id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws
}

/// The most subscriptions of one tenant: each reads the log for itself.
public let maximumWebhooks = 100

/// The most dead letters kept of one subscription; the oldest goes when another comes.
public let maximumDeadLetters = 1_000

/// What became of a batch.
public struct WebhookSettlement: Hashable, Sendable {
    public var progress: WebhookProgress
    public var state: WebhookState
    /// A batch that was given up; its number is given by the driver.
    public var deadLetter: WebhookDeadLetter?

    public init(
        progress: WebhookProgress,
        state: WebhookState = .active,
        deadLetter: WebhookDeadLetter? = nil
    ) {
        self.progress = progress
        self.state = state
        self.deadLetter = deadLetter
    }
}
