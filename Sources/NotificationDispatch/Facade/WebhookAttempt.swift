internal import ClusterRole

/// The signed request of a batch, as it is sent at `now`.
func request(
    _ message: String,
    _ body: [UInt8],
    to url: String,
    _ secret: WebhookSecret,
    _ epoch: Epoch,
    at now: Timestamp
) -> WebhookRequest {
    let timestamp = now.milliseconds / 1_000
    return WebhookRequest(
        url: url,
        message: message,
        timestamp: timestamp,
        signature: secret.signature(of: message, at: timestamp, body: body),
        epoch: epoch,
        body: body
    )
}

/// One attempt within its time limit.
func attempt(
    _ request: WebhookRequest,
    on transport: any WebhookTransport,
    limit: Duration,
    clock: any TimeSource
) async -> WebhookOutcome {
    await withTaskGroup(of: WebhookOutcome?.self) { race in
        race.addTask { await transport.send(request) }
        race.addTask {
            try? await clock.sleep(for: limit)
            return nil
        }
        let first = await race.next() ?? nil
        race.cancelAll()
        return first ?? .failed(reason: "no answer within \(limit)")
    }
}
