#if SQLite
public import ClusterMembership
public import ClusterRole
internal import SQLiteEngine

extension EmbeddedStore: MessageLog {
    public func append(
        _ message: ClusterMessage,
        recipients: [NodeID]?,
        epoch: Epoch
    ) async throws -> StoredMessage {
        try await guarded(epoch: epoch) { connection, _ in
            if let known = try connection.message(message.id) {
                guard message.isRepeat(of: known.message) else {
                    throw ClusterMembershipError.messageConflict(message.id)
                }
                return ([], known)
            }
            let stored = StoredMessage(
                number: try connection.metaNumber(MetaName.message) + 1,
                message: message,
                recipients: recipients
            )
            try connection.store(stored)
            return ([], stored)
        }.result
    }

    public func messages(after number: Int64, limit: Int) async throws -> [StoredMessage] {
        try await file.read { connection in
            try connection.rows(
                """
                SELECT \(StoredMessage.columns) FROM message WHERE number > ?
                ORDER BY number LIMIT ?
                """,
                number,
                max(0, limit)
            ) { try StoredMessage(stored: $0) }
        }
    }

    public func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        try await file.write { connection in
            for answer in answers {
                guard let number = try connection.messageNumber(answer.message) else { continue }
                let isKnown = try connection.row(
                    "SELECT 1 FROM message_answer WHERE number = ? AND node = ?",
                    number,
                    answer.node.rawValue
                ) { _ in true }
                guard isKnown == nil else { continue }
                try connection.run(
                    sealedFor: "message_answer",
                    """
                    INSERT INTO message_answer (number, node, encoded, sum)
                    VALUES (?, ?, ?, ?)
                    """,
                    number,
                    answer.node.rawValue,
                    MessageCoding.encode([answer])
                )
            }
        }
    }

    public func acknowledgements(of id: MessageID) async throws -> [MessageAcknowledgement] {
        try await file.read { connection in
            guard let number = try connection.messageNumber(id) else { return [] }
            return try connection.rows(
                """
                SELECT number, node, encoded, sum FROM message_answer WHERE number = ?
                ORDER BY node
                """,
                number
            ) { row -> [MessageAcknowledgement] in
                try row.verify("message_answer", sum: 3)
                return try MessageCoding.decodeAnswers(row.blob(2))
            }.flatMap { $0 }
        }
    }

    public func remove(_ ids: [MessageID], epoch: Epoch) async throws {
        _ = try await guarded(epoch: epoch) { connection, _ in
            for id in ids {
                guard let number = try connection.messageNumber(id) else { continue }
                try connection.run("DELETE FROM message_answer WHERE number = ?", number)
                try connection.run("DELETE FROM message WHERE number = ?", number)
            }
            return ([], ())
        }
    }
}

extension EmbeddedStore: SharedStateStorage {
    public func state(after revision: Revision?) async throws -> SharedStateDelta? {
        try await file.read { try $0.sharedState().delta(after: revision) }
    }

    public func change(
        _ change: SharedStateChange,
        limits: SharedStateLimits,
        epoch: Epoch
    ) async throws -> SharedStateEntry? {
        let history = history
        return try await guarded(epoch: epoch) {
            connection,
            number -> (keys: [ChangeKey], result: SharedStateEntry?) in
            // The whole state is small, and changes of it are rare: the rules of the image hold here too.
            var image = try connection.sharedState()
            try image.check(change, limits)
            if change.value == nil, image.entry(change.key) == nil { return ([], nil) }
            let revision = Revision(history: history, number: number)
            let (entry, forgotten) = image.onChanged(change, at: revision, limits)
            try connection.store(entry)
            for key in forgotten {
                try connection.run(
                    "DELETE FROM shared_state WHERE namespace = ? AND name = ?",
                    key.namespace,
                    key.key
                )
            }
            if !forgotten.isEmpty {
                try connection.setMetaNumber(MetaName.sharedStateFloor, image.floor)
            }
            let (namespace, name) = (change.key.namespace, change.key.key)
            return ([.sharedState(namespace: namespace, key: name)], entry)
        }.result
    }
}

extension StoredMessage {
    fileprivate static let columns = "number, id, encoded, recipients, sum"

    fileprivate init(stored row: PreparedStatement) throws {
        try row.verify("message", sum: 4)
        self.init(
            number: row.int64(0),
            message: try MessageCoding.decodeMessage(row.blob(2)),
            recipients: try row.optionalBlob(3).map { try MessageCoding.decodeRecipients($0) }
        )
    }
}

extension SQLConnection {
    fileprivate func message(_ id: MessageID) throws -> StoredMessage? {
        try row("SELECT \(StoredMessage.columns) FROM message WHERE id = ?", id.bits) {
            try StoredMessage(stored: $0)
        }
    }

    /// The number of a message whose row is whole.
    fileprivate func messageNumber(_ id: MessageID) throws -> Int64? {
        try message(id)?.number
    }

    fileprivate func store(_ stored: StoredMessage) throws {
        try setMetaNumber(MetaName.message, stored.number)
        try run(
            sealedFor: "message",
            "INSERT INTO message (\(StoredMessage.columns)) VALUES (?, ?, ?, ?, ?)",
            stored.number,
            stored.message.id.bits,
            MessageCoding.encode(stored.message),
            stored.recipients.map { MessageCoding.encode(recipients: $0) }
        )
    }

    fileprivate func store(_ entry: SharedStateEntry) throws {
        try run(
            sealedFor: "shared_state",
            """
            INSERT OR REPLACE INTO shared_state (namespace, name, version, value, sum)
            VALUES (?, ?, ?, ?, ?)
            """,
            entry.key.namespace,
            entry.key.key,
            entry.version,
            entry.value
        )
    }

    fileprivate func sharedState() throws -> SharedStateImage {
        let entries = try rows(
            "SELECT namespace, name, version, value, sum FROM shared_state ORDER BY version"
        ) { row in
            try row.verify("shared_state", sum: 4)
            return SharedStateEntry(
                key: SharedStateKey(row.text(1), in: row.text(0)),
                value: row.optionalBlob(3),
                version: row.int64(2)
            )
        }
        return SharedStateImage(
            revision: Revision(history: try history(), number: entries.last?.version ?? 0),
            floor: try metaNumber(MetaName.sharedStateFloor),
            entries: entries
        )
    }
}
#endif
