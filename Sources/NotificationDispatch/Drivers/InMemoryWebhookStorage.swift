public import ClusterRole
public import OperationQueue
internal import Synchronization

/// A ``WebhookStorage`` in memory: complete, and gone with the process.
public final class InMemoryWebhookStorage: WebhookStorage {
    private struct Row {
        var webhook: WebhookSubscription
        var secret: WebhookSecret
        var deadLetters: [WebhookDeadLetter] = []
        var lastLetter: Int64 = 0
    }

    private let ledger: InMemoryLedger
    /// In the order of their making.
    private let rows = Mutex<[Row]>([])

    /// - Parameter ledger: compares the epoch.
    public init(ledger: InMemoryLedger) { self.ledger = ledger }

    private func write<Result>(epoch: Epoch, _ body: (inout [Row]) throws -> Result) throws
        -> Result
    {
        try ledger.guarded(epoch: epoch) { _ in ([], try rows.withLock { try body(&$0) }) }.result
    }

    public func subscribe(
        _ webhook: WebhookSubscription,
        secret: WebhookSecret,
        epoch: Epoch
    ) async throws {
        try write(epoch: epoch) { rows in
            guard rows.count(where: { $0.webhook.tenant == webhook.tenant }) < maximumWebhooks
            else {
                throw NotificationDispatchError.tooManyWebhooks
            }
            rows.append(Row(webhook: webhook, secret: secret))
        }
    }

    public func unsubscribe(
        _ id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Bool {
        try write(epoch: epoch) { rows in
            let known = rows.count
            rows.removeAll { $0.webhook.id == id && $0.webhook.tenant == tenant }
            return rows.count < known
        }
    }

    public func webhooks(tenant: TenantID?) async throws -> [WebhookSubscription] {
        rows.withLock { rows in
            rows.map(\.webhook).filter { tenant == nil || $0.tenant == tenant }
        }
    }

    public func webhook(_ id: WebhookID) async throws -> (WebhookSubscription, WebhookSecret)? {
        rows.withLock { rows in
            rows.first { $0.webhook.id == id }.map { ($0.webhook, $0.secret) }
        }
    }

    public func settle(
        _ settlement: WebhookSettlement,
        of id: WebhookID,
        from cursor: EventPosition,
        epoch: Epoch
    ) async throws {
        try write(epoch: epoch) { rows in
            guard let index = rows.firstIndex(where: { $0.webhook.id == id }),
                rows[index].webhook.progress.cursor == cursor
            else { return }
            rows[index].webhook.progress = settlement.progress
            rows[index].webhook.state = settlement.state
            guard var letter = settlement.deadLetter else { return }
            rows[index].lastLetter += 1
            letter.number = rows[index].lastLetter
            rows[index].deadLetters.append(letter)
            let surplus = rows[index].deadLetters.count - maximumDeadLetters
            if surplus > 0 { rows[index].deadLetters.removeFirst(surplus) }
        }
    }

    public func deadLetters(
        of id: WebhookID,
        after number: Int64,
        limit: Int,
        tenant: TenantID
    ) async throws -> [WebhookDeadLetter] {
        rows.withLock { rows in
            let row = rows.first { $0.webhook.id == id && $0.webhook.tenant == tenant }
            return Array(
                (row?.deadLetters ?? []).filter { $0.number > number }.prefix(max(0, limit))
            )
        }
    }

    public func forget(
        deadLetter number: Int64,
        of id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        try write(epoch: epoch) { rows in
            let index = rows.firstIndex { $0.webhook.id == id && $0.webhook.tenant == tenant }
            if let index { rows[index].deadLetters.removeAll { $0.number == number } }
        }
    }
}
