#if SQLite
public import ClusterRole
internal import DeviceRegistry
public import NotificationDispatch
public import OperationQueue
internal import SQLiteEngine

extension EmbeddedStore: WebhookStorage {
    public func subscribe(
        _ webhook: WebhookSubscription,
        secret: WebhookSecret,
        epoch: Epoch
    ) async throws {
        let sealed = try secrets.seal(
            secret.bytes,
            context: WebhookRecord.context(of: webhook.id)
        )
        _ = try await guarded(epoch: epoch) { connection, _ in
            let known = try connection.row(
                "SELECT count(*) FROM webhook WHERE tenant = ?",
                webhook.tenant.rawValue
            ) { $0.int(0) }
            guard known ?? 0 < maximumWebhooks else {
                throw NotificationDispatchError.tooManyWebhooks
            }
            let last = try connection.row("SELECT ifnull(max(idx), 0) FROM webhook") { $0.int64(0) }
            try WebhookRecord(idx: (last ?? 0) + 1, webhook: webhook, secret: sealed)
                .store(connection)
            return ([], ())
        }
    }

    public func unsubscribe(
        _ id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws -> Bool {
        try await guarded(epoch: epoch) { connection, _ in
            guard let record = try connection.webhook(id), record.webhook.tenant == tenant else {
                return ([], false)
            }
            try connection.run("DELETE FROM dead_letter WHERE webhook_idx = ?", record.idx)
            try connection.run("DELETE FROM webhook WHERE idx = ?", record.idx)
            return ([], true)
        }.result
    }

    public func webhooks(tenant: TenantID?) async throws -> [WebhookSubscription] {
        try await file.read { connection in
            let columns = WebhookRecord.columns
            guard let tenant else {
                return try connection.rows("SELECT \(columns) FROM webhook ORDER BY idx") {
                    try WebhookRecord($0).webhook
                }
            }
            return try connection.rows(
                "SELECT \(columns) FROM webhook WHERE tenant = ? ORDER BY idx",
                tenant.rawValue
            ) { try WebhookRecord($0).webhook }
        }
    }

    public func webhook(_ id: WebhookID) async throws -> (WebhookSubscription, WebhookSecret)? {
        guard let record = try await file.read({ try $0.webhook(id) }) else { return nil }
        let secret = try secrets.open(record.secret, context: WebhookRecord.context(of: id))
        return (record.webhook, WebhookSecret(stored: secret))
    }

    public func settle(
        _ settlement: WebhookSettlement,
        of id: WebhookID,
        from cursor: EventPosition,
        epoch: Epoch
    ) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            guard var record = try connection.webhook(id),
                record.webhook.progress.cursor == cursor
            else { return ([], ()) }
            record.webhook.progress = settlement.progress
            record.webhook.state = settlement.state
            if var letter = settlement.deadLetter {
                record.letters += 1
                letter.number = record.letters
                try letter.store(connection, webhookIdx: record.idx)
                try connection.run(
                    """
                    DELETE FROM dead_letter WHERE webhook_idx = ? AND number NOT IN (
                        SELECT number FROM dead_letter WHERE webhook_idx = ?
                        ORDER BY number DESC LIMIT ?)
                    """,
                    record.idx,
                    record.idx,
                    maximumDeadLetters
                )
            }
            try record.store(connection)
            return ([], ())
        }
    }

    public func deadLetters(
        of id: WebhookID,
        after number: Int64,
        limit: Int,
        tenant: TenantID
    ) async throws -> [WebhookDeadLetter] {
        try await file.read { connection in
            guard let record = try connection.webhook(id), record.webhook.tenant == tenant else {
                return []
            }
            return try connection.rows(
                """
                SELECT \(WebhookDeadLetter.columns) FROM dead_letter
                WHERE webhook_idx = ? AND number > ? ORDER BY number LIMIT ?
                """,
                record.idx,
                number,
                max(0, limit)
            ) { try WebhookDeadLetter($0) }
        }
    }

    public func forget(
        deadLetter number: Int64,
        of id: WebhookID,
        tenant: TenantID,
        epoch: Epoch
    ) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            if let record = try connection.webhook(id), record.webhook.tenant == tenant {
                try connection.run(
                    "DELETE FROM dead_letter WHERE webhook_idx = ? AND number = ?",
                    record.idx,
                    number
                )
            }
            return ([], ())
        }
    }
}
#endif
