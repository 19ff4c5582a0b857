internal import ClusterRole
internal import DeviceRegistry
internal import FoundationEssentials
internal import OperationQueue

/// A batch of events ready to be posted.
struct WebhookBatch: Sendable {
    /// `webhook-id`.
    var message: String
    var body: [UInt8]
    var events: Int
    /// The last event of the batch.
    var end: EventPosition
    /// Where the subscription goes on after it.
    var next: EventPosition

    /// - Parameters:
    ///   - events: in order; not empty.
    ///   - webhook: the subscription.
    ///   - next: where it goes on afterwards.
    init(_ events: [OperationEvent], of webhook: WebhookSubscription, next: EventPosition) throws {
        let first = events.first?.position ?? next
        end = events.last?.position ?? next
        self.events = events.count
        self.next = next
        // No dot: the signed text is separated by dots.
        message =
            "msg_\(webhook.id)_\(first.revision.history)_\(first.short)_\(end.short)"
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let newest = events.map(\.at).max() ?? webhook.createdAt
        body = Array(
            try encoder.encode(
                Envelope(
                    type: Envelope.eventsType,
                    timestamp: Date(timeIntervalSince1970: Double(newest.milliseconds) / 1_000)
                        .ISO8601Format(),
                    data: Envelope.Content(
                        webhook: webhook.id.description,
                        events: events.map { EventMessage($0) }
                    )
                )
            )
        )
    }

    /// The payload as the Standard Webhooks specification advises: a type, a time, the data.
    private struct Envelope: Encodable {
        static let eventsType = "reeve.operation-events"

        struct Content: Encodable {
            var webhook: String
            var events: [EventMessage]
        }

        var type: String
        var timestamp: String
        var data: Content
    }
}

extension EventPosition {
    fileprivate var short: String { "\(revision.number)-\(index ?? 0)" }

    /// The same place in another history.
    func moved(to history: HistoryID) -> EventPosition {
        EventPosition(Revision(history: history, number: revision.number), index: index)
    }

    /// Whether `other`, of the same history, lies at or before this place.
    func holds(_ other: EventPosition) -> Bool {
        (other.revision.number, other.index ?? .max) <= (revision.number, index ?? .max)
    }
}

extension WebhookSecret {
    /// Reads the text form.
    ///
    /// - Throws: ``NotificationDispatchError`` with code `invalidWebhook` for anything but `whsec_` and the
    ///   base64 of 24 to 64 bytes.
    public init(parsing text: String) throws(NotificationDispatchError) {
        guard text.hasPrefix(WebhookSecret.prefix),
            let data = Data(base64Encoded: String(text.dropFirst(WebhookSecret.prefix.count))),
            WebhookSecret.sizes.contains(data.count)
        else {
            throw NotificationDispatchError(
                .invalidWebhook,
                "A webhook's secret is whsec_ and the base64 of \(WebhookSecret.sizes.lowerBound) to "
                    + "\(WebhookSecret.sizes.upperBound) bytes."
            )
        }
        self.init(stored: Array(data))
    }

    /// The text form, which receivers are configured with. Show it once; keep it out of logs.
    public var text: String { WebhookSecret.prefix + Data(bytes).base64EncodedString() }

    /// The value of `webhook-signature` for a message.
    ///
    /// - Parameters:
    ///   - message: the `webhook-id`.
    ///   - timestamp: the `webhook-timestamp`, in seconds since 1970.
    ///   - body: the bytes posted.
    public func signature(of message: String, at timestamp: Int64, body: [UInt8]) -> String {
        let signed = Array("\(message).\(timestamp).".utf8) + body
        return "v1,"
            + Data(MessageAuthentication.code(for: signed, key: bytes)).base64EncodedString()
    }
}
