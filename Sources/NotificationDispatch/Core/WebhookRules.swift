internal import ClusterRole
internal import OperationQueue

/// What follows from the outcome of a batch: pure, the jitter apart.
struct WebhookRules: Sendable {
    let backoff: BackoffSchedule

    /// - Parameters:
    ///   - outcome: what the transport said.
    ///   - batch: what was sent.
    ///   - progress: of the subscription when it was sent.
    ///   - random: the jitter of the pause.
    ///   - now: the present time.
    func onOutcome(
        _ outcome: WebhookOutcome,
        of batch: WebhookBatch,
        _ progress: WebhookProgress,
        random: some RandomSource,
        at now: Timestamp
    ) -> WebhookSettlement {
        switch outcome {
        case .accepted:
            return WebhookSettlement(progress: WebhookProgress(cursor: batch.next))
        case .gone:
            var kept = progress
            kept.batchEnd = batch.end
            kept.lastFailure = "the receiver answered 410 (Gone)"
            return WebhookSettlement(progress: kept, state: .gone)
        case .failed(let reason, let retryAfter):
            let failures = progress.failures + 1
            if Int(failures) >= backoff.maximumAttempts {
                return WebhookSettlement(
                    progress: WebhookProgress(cursor: batch.next, lastFailure: reason),
                    deadLetter: WebhookDeadLetter(
                        number: 0,
                        message: batch.message,
                        body: batch.body,
                        events: batch.events,
                        failure: reason,
                        at: now
                    )
                )
            }
            let pause = max(
                backoff.delay(afterFailures: Int(failures), random: random),
                min(retryAfter ?? .zero, backoff.cap)
            )
            return WebhookSettlement(
                progress: WebhookProgress(
                    cursor: progress.cursor,
                    batchEnd: batch.end,
                    failures: failures,
                    due: now + pause,
                    lastFailure: reason
                )
            )
        }
    }
}
