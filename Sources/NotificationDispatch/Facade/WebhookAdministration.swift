public import ClusterRole
public import OperationQueue

/// Makes, shows and ends webhook subscriptions, and sends dead letters again. Only who holds a
/// `WriteCapability` can make one.
public struct WebhookAdministration: Sendable {
    private let storage: any WebhookStorage
    private let events: OperationEvents
    private let transport: any WebhookTransport
    private let capability: WriteCapability
    private let clock: any TimeSource
    private let random: any RandomSource

    /// How long a receiver may take to accept a dead letter.
    public static let attemptLimit = Duration.seconds(30)

    /// - Parameters:
    ///   - storage: where subscriptions are kept.
    ///   - events: where a new subscription begins.
    ///   - transport: sends dead letters again.
    ///   - capability: the coordinator's right to write.
    ///   - clock: tells the time; the system's unless a test moves it.
    ///   - random: draws ids and secrets.
    public init(
        storage: any WebhookStorage,
        events: OperationEvents,
        transport: any WebhookTransport,
        capability: WriteCapability,
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource()
    ) {
        self.storage = storage
        self.events = events
        self.transport = transport
        self.capability = capability
        self.clock = clock
        self.random = random
    }

    /// Subscribes a URL to events.
    ///
    /// - Parameters:
    ///   - url: absolute, `https` or `http`.
    ///   - filter: which events it is told of.
    ///   - position: it is told of events after this; `nil` for those from now on.
    ///   - tenant: whose events.
    /// - Returns: the subscription, and the secret that signatures are checked with: shown here and never
    ///   again.
    /// - Throws: ``NotificationDispatchError`` with `invalidWebhook`, `tooManyWebhooks`, `notCoordinator`
    ///   or `storage`.
    public func subscribe(
        _ url: String,
        to filter: EventFilter = .everything,
        after position: EventPosition? = nil,
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) -> (
        webhook: WebhookSubscription, secret: WebhookSecret
    ) {
        try validate(url)
        do {
            let epoch = try capability.requireEpoch()
            let start: EventPosition
            if let position { start = position } else { start = try await events.newest() }
            let webhook = WebhookSubscription(
                id: WebhookID(from: random),
                tenant: tenant,
                url: url,
                filter: filter,
                createdAt: clock.now(),
                progress: WebhookProgress(cursor: start)
            )
            let secret = WebhookSecret(from: random)
            try await storage.subscribe(webhook, secret: secret, epoch: epoch)
            return (webhook, secret)
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    /// Subscriptions of a tenant, in the order of their making. At most ``maximumWebhooks``.
    public func webhooks(
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) -> [WebhookSubscription] {
        do {
            return try await storage.webhooks(tenant: tenant)
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    /// One subscription and how far it is.
    ///
    /// - Throws: ``NotificationDispatchError`` with code `unknownWebhook`.
    public func webhook(
        _ id: WebhookID,
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) -> WebhookSubscription {
        try await known(id, tenant).webhook
    }

    /// Ends a subscription and forgets its dead letters.
    ///
    /// - Throws: ``NotificationDispatchError`` with code `unknownWebhook`.
    public func unsubscribe(
        _ id: WebhookID,
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) {
        let wasThere: Bool
        do {
            wasThere = try await storage.unsubscribe(
                id,
                tenant: tenant,
                epoch: capability.requireEpoch()
            )
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
        if !wasThere { throw .unknownWebhook(id) }
    }

    /// A page of a subscription's dead letters, oldest first.
    ///
    /// - Parameters:
    ///   - id: the subscription.
    ///   - number: the last dead letter of the page before; 0 at first.
    ///   - limit: at most so many, at most 100: each holds a whole batch.
    ///   - tenant: whose subscription.
    public func deadLetters(
        of id: WebhookID,
        after number: Int64 = 0,
        limit: Int = 100,
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) -> [WebhookDeadLetter] {
        _ = try await known(id, tenant)
        do {
            return try await storage.deadLetters(
                of: id,
                after: number,
                limit: max(1, min(limit, 100)),
                tenant: tenant
            )
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    /// Sends a dead letter again, at once, with the id it had; it is forgotten when it is taken.
    ///
    /// - Throws: ``NotificationDispatchError`` with `unknownWebhook`; `unknownDeadLetter`; `notDelivered` if
    ///   the receiver did not take it, and it is kept.
    public func redeliver(
        _ number: Int64,
        of id: WebhookID,
        tenant: TenantID = .standard
    ) async throws(NotificationDispatchError) {
        let (webhook, secret) = try await known(id, tenant)
        let letters = try await deadLetters(of: id, after: number - 1, limit: 1, tenant: tenant)
        guard let letter = letters.first, letter.number == number else {
            throw NotificationDispatchError(
                .unknownDeadLetter,
                "This webhook has no dead letter \(number). List its dead letters."
            )
        }
        do {
            let epoch = try capability.requireEpoch()
            let outcome = await attempt(
                request(
                    letter.message,
                    letter.body,
                    to: webhook.url,
                    secret,
                    epoch,
                    at: clock.now()
                ),
                on: transport,
                limit: Self.attemptLimit,
                clock: clock
            )
            guard outcome == .accepted else {
                throw NotificationDispatchError(
                    .notDelivered,
                    "The receiver did not take it (\(outcome)). It is kept; try again later."
                )
            }
            try await storage.forget(deadLetter: number, of: id, tenant: tenant, epoch: epoch)
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    private func known(
        _ id: WebhookID,
        _ tenant: TenantID
    ) async throws(NotificationDispatchError) -> (
        webhook: WebhookSubscription, secret: WebhookSecret
    ) {
        let found: (WebhookSubscription, WebhookSecret)?
        do {
            found = try await storage.webhook(id)
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
        guard let (webhook, secret) = found, webhook.tenant == tenant else {
            throw .unknownWebhook(id)
        }
        return (webhook, secret)
    }

    private func validate(_ url: String) throws(NotificationDispatchError) {
        let rest = ["https://", "http://"].first { url.hasPrefix($0) }
            .map { url.dropFirst($0.count) }
        let isClean = url.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x5C }
        guard let rest, let host = rest.split(separator: "/").first, !host.isEmpty,
            !rest.hasPrefix("/"), !host.contains("@"), isClean,
            url.utf8.count <= WebhookSubscription.maximumURLBytes
        else {
            throw NotificationDispatchError(
                .invalidWebhook,
                "A webhook's URL is an absolute http or https URL with a host, without user information, of "
                    + "at most \(WebhookSubscription.maximumURLBytes) bytes."
            )
        }
    }
}
