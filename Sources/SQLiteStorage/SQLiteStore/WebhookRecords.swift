#if SQLite
internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue
internal import SQLiteEngine

/// A row of table `webhook`.
struct WebhookRecord {
    var idx: Int64
    var webhook: WebhookSubscription
    /// Sealed, bound to the subscription's id.
    var secret: [UInt8]
    /// The number of the newest dead letter, kept or gone.
    var letters: Int64

    static let columns = """
        idx, id, tenant, url, secret, filter, state, created, cursor, batch_end, failures, due, \
        failure, letters, sum
        """

    init(idx: Int64, webhook: WebhookSubscription, secret: [UInt8]) {
        self.idx = idx
        self.webhook = webhook
        self.secret = secret
        letters = 0
    }

    init(_ row: PreparedStatement) throws {
        try row.verify("webhook", sum: 14)
        guard let state = WebhookState(rawValue: UInt8(truncatingIfNeeded: row.int64(6))) else {
            throw SQLiteStorageError.corruptRow(in: "webhook")
        }
        idx = row.int64(0)
        webhook = WebhookSubscription(
            id: WebhookID(bits: try row.uint128(1)),
            tenant: TenantID(rawValue: row.text(2)),
            url: row.text(3),
            filter: try EventFilter(stored: row.blob(5)),
            state: state,
            createdAt: Timestamp(rawValue: row.int64(7)),
            progress: WebhookProgress(
                cursor: try EventPosition(parsing: row.text(8)),
                batchEnd: try row.optionalText(9).map { try EventPosition(parsing: $0) },
                failures: Int32(truncatingIfNeeded: row.int64(10)),
                due: Timestamp(rawValue: row.int64(11)),
                lastFailure: row.text(12)
            )
        )
        secret = row.blob(4)
        letters = row.int64(13)
    }

    func store(_ connection: SQLConnection) throws {
        try connection.run(
            sealedFor: "webhook",
            """
            INSERT OR REPLACE INTO webhook (\(WebhookRecord.columns))
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            idx,
            webhook.id.bits,
            webhook.tenant.rawValue,
            webhook.url,
            secret,
            webhook.filter.stored,
            webhook.state.rawValue,
            webhook.createdAt.rawValue,
            webhook.progress.cursor.description,
            webhook.progress.batchEnd?.description,
            webhook.progress.failures,
            webhook.progress.due.rawValue,
            webhook.progress.lastFailure,
            letters
        )
    }

    /// What the secret is bound to: it does not open in another subscription's row.
    static func context(of id: WebhookID) -> [UInt8] { Array("webhook:\(id)".utf8) }
}

extension EventFilter {
    /// A version byte, then the conditions.
    fileprivate var stored: [UInt8] {
        var writer = ByteWriter()
        writer.write(UInt8(1))
        writer.write(array: codes.sorted()) { $0.write($1) }
        writer.write(optional: activity) { $0.write($1) }
        writer.write(optional: device) { $0.write($1) }
        writer.write(stateChangesOnly)
        return writer.bytes
    }

    fileprivate init(stored bytes: [UInt8]) throws(ClusterRoleError) {
        var reader = ByteReader(bytes)
        try reader.expectVersion(1, of: "a webhook's filter")
        let codes: [OperationCode] = try reader.readArray(elementSize: 2) {
            (reader) throws(ClusterRoleError) in try reader.readName()
        }
        let activity: ActivityID? = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readIdentifier()
        }
        let device: DeviceID? = try reader.readOptional { reader throws(ClusterRoleError) in
            try reader.readName()
        }
        self.init(
            codes: Set(codes),
            activity: activity,
            device: device,
            stateChangesOnly: try reader.readBool()
        )
        try reader.expectEnd()
    }
}

extension WebhookDeadLetter {
    static let columns = "webhook_idx, number, message, body, events, failure, at, sum"

    init(_ row: PreparedStatement) throws {
        try row.verify("dead_letter", sum: 7)
        self.init(
            number: row.int64(1),
            message: row.text(2),
            body: row.blob(3),
            events: row.int(4),
            failure: row.text(5),
            at: Timestamp(rawValue: row.int64(6))
        )
    }

    func store(_ connection: SQLConnection, webhookIdx: Int64) throws {
        try connection.run(
            sealedFor: "dead_letter",
            """
            INSERT INTO dead_letter (\(WebhookDeadLetter.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """,
            webhookIdx,
            number,
            message,
            body,
            events,
            failure,
            at.rawValue
        )
    }
}

extension SQLConnection {
    func webhook(_ id: WebhookID) throws -> WebhookRecord? {
        let found = try row(
            "SELECT \(WebhookRecord.columns) FROM webhook WHERE id = ?",
            id.bits
        ) { try WebhookRecord($0) }
        if let found, found.webhook.id != id {
            throw SQLiteStorageError.corruptRow(in: "webhook_id")
        }
        return found
    }
}
#endif
