public import ClusterRole
public import Logging
internal import Metrics
public import OperationQueue
public import ServiceLifecycle

/// How webhooks are sent.
public struct WebhookDispatchConfiguration: Sendable {
    /// When a failed batch is tried again, and after how many attempts it becomes a dead letter.
    public var backoff: BackoffSchedule
    /// The most events of one batch. 100: some 30 KB of JSON.
    public var batchLimit: Int
    /// How long a receiver may take; then the attempt counts as failed. 30 s.
    public var attemptLimit: Duration
    /// How often subscriptions, and without a hint the log, are looked at. 1 s.
    public var idleInterval: Duration
    public var logger: Logger

    public init(
        backoff: BackoffSchedule = .webhooks,
        batchLimit: Int = 100,
        logger: Logger = Logger(label: "reeve.webhooks")
    ) {
        self.backoff = backoff
        self.batchLimit = max(1, min(batchLimit, OperationEvents.maximumPage))
        attemptLimit = .seconds(30)
        idleInterval = .seconds(1)
        self.logger = logger
    }
}

/// Tells subscribed URLs of events: reads the log from each subscription's cursor, posts signed batches,
/// and stores what became of them.
///
/// The coordinator runs one. Each subscription goes at its own pace: batches of one are sent in order, the
/// next when the one before was taken or given up; a slow receiver holds up nobody else. A batch is
/// sent at least once: after a crash between an answer and its storing, or a lost answer, again. Its
/// events have ids, by which a receiver tells a repetition.
public struct WebhookDispatcher: Service {
    private let storage: any WebhookStorage
    private let events: OperationEvents
    private let transport: any WebhookTransport
    private let capability: WriteCapability
    private let configuration: WebhookDispatchConfiguration
    private let clock: any TimeSource
    private let random: any RandomSource

    /// Revisions without a wanted event after which a subscription's cursor is stored all the same, so
    /// that it does not fall behind what the log keeps.
    static let unwantedRevisions: Int64 = 1_000
    /// The longest sleep of a subscription that waits for its next attempt: then it looks whether it is
    /// still there.
    static let longestSleep = Duration.seconds(60)

    /// - Parameters:
    ///   - storage: subscriptions, their progress and dead letters.
    ///   - events: the log, with hints if there are any.
    ///   - transport: posts the batches.
    ///   - capability: the coordinator's right to write; its epoch goes with every batch.
    ///   - configuration: limits.
    ///   - clock: decides what is due.
    ///   - random: the jitter of retries.
    public init(
        storage: any WebhookStorage,
        events: OperationEvents,
        transport: any WebhookTransport,
        capability: WriteCapability,
        configuration: WebhookDispatchConfiguration = WebhookDispatchConfiguration(),
        clock: any TimeSource = SystemTimeSource(),
        random: any RandomSource = SystemRandomSource()
    ) {
        self.storage = storage
        self.events = events
        self.transport = transport
        self.capability = capability
        self.configuration = configuration
        self.clock = clock
        self.random = random
    }

    // MARK: Running

    private enum Happening: Sendable {
        case tick
        case ended(WebhookID)
    }

    /// What a subscription does next.
    private enum Pause {
        /// Nothing is left to send.
        case untilNews(WebhookSubscription, EventPosition)
        case until(Timestamp)
        /// It is gone, or nothing is sent to it any more.
        case forGood
    }

    /// Where the search for wanted events has got to, of the cursor it began at.
    private struct Scan {
        var cursor: EventPosition
        var reached: EventPosition
    }

    /// Sends what is due now to every subscription, and returns when it is done and stored.
    ///
    /// - Throws: ``NotificationDispatchError`` with `notCoordinator` or `storage`; with several, the first.
    public func step() async throws(NotificationDispatchError) {
        do {
            let webhooks = try await storage.webhooks(tenant: nil)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for webhook in webhooks where webhook.state == .active {
                    group.addTask {
                        var scan: Scan?
                        _ = try await drain(webhook.id, &scan)
                    }
                }
                try await group.waitForAll()
            }
        } catch {
            throw NotificationDispatchError.wrapping(error)
        }
    }

    /// Sends until graceful shutdown, or until this node is no longer the coordinator. An attempt that is
    /// cut off is made again by whoever sends next.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Happening.self) { group in
                var running: Set<WebhookID> = []
                group.addTask { .tick }
                while let happening = await group.next() {
                    if Task.isCancelled || capability.isRevoked { break }
                    switch happening {
                    case .ended(let id): running.remove(id)
                    case .tick:
                        for id in await active() where running.insert(id).inserted {
                            group.addTask {
                                await runLane(id)
                                return .ended(id)
                            }
                        }
                        group.addTask {
                            try? await clock.sleep(for: configuration.idleInterval)
                            return .tick
                        }
                    }
                }
                group.cancelAll()
            }
        }
    }

    private func active() async -> [WebhookID] {
        do {
            return try await storage.webhooks(tenant: nil).filter { $0.state == .active }.map(\.id)
        } catch {
            report(error)
            return []
        }
    }

    /// One subscription at its own pace.
    private func runLane(_ id: WebhookID) async {
        var scan: Scan?
        while !Task.isCancelled && !capability.isRevoked {
            do {
                switch try await drain(id, &scan) {
                case .forGood: return
                case .until(let due):
                    let pause = max(.milliseconds(10), due - clock.now())
                    try await clock.sleep(for: min(pause, Self.longestSleep))
                case .untilNews(let webhook, let position):
                    _ = try await events.page(
                        after: position,
                        matching: webhook.filter,
                        limit: 1,
                        tenant: webhook.tenant,
                        waitingUpTo: configuration.idleInterval
                    )
                }
            } catch is CancellationError {
                return
            } catch {
                report(error)
                do { try await clock.sleep(for: configuration.idleInterval) } catch { return }
            }
        }
    }

    private func report(_ error: any Error) {
        configuration.logger.warning(
            "a step of the webhooks failed and will be repeated",
            metadata: ["error": "\(error)"]
        )
    }

    // MARK: One subscription

    /// Sends batch after batch until nothing is left or one fails.
    private func drain(_ id: WebhookID, _ scan: inout Scan?) async throws -> Pause {
        while true {
            let epoch = try capability.requireEpoch()
            try Task.checkCancellation()
            guard let (webhook, secret) = try await storage.webhook(id), webhook.state == .active
            else { return .forGood }
            let progress = webhook.progress
            if progress.due > clock.now() { return .until(progress.due) }
            do {
                guard let batch = try await nextBatch(of: webhook, &scan, epoch: epoch) else {
                    return .untilNews(webhook, scan?.reached ?? progress.cursor)
                }
                try await send(batch, to: webhook, secret, epoch: epoch)
            } catch let error as OperationQueueError where error.code == .eventsGone {
                try await skip(to: error.floor, webhook, epoch: epoch)
            }
        }
    }

    /// - Returns: `nil` when there is nothing more to send.
    private func nextBatch(
        of webhook: WebhookSubscription,
        _ scan: inout Scan?,
        epoch: Epoch
    ) async throws -> WebhookBatch? {
        let cursor = webhook.progress.cursor
        var position = cursor
        if let scan, scan.cursor == cursor, webhook.progress.batchEnd == nil {
            position = scan.reached
        }
        while true {
            let page = try await events.page(
                after: position,
                matching: webhook.filter,
                limit: configuration.batchLimit,
                tenant: webhook.tenant
            )
            position = page.next
            scan = Scan(cursor: cursor, reached: position)
            if let end = webhook.progress.batchEnd {
                // The same events as at the first attempt, whatever has come behind them.
                let same = page.events.filter { end.holds($0.position) }
                if !same.isEmpty { return try WebhookBatch(same, of: webhook, next: end) }
            }
            if !page.events.isEmpty {
                return try WebhookBatch(page.events, of: webhook, next: page.next)
            }
            if position.revision.number - cursor.revision.number >= Self.unwantedRevisions {
                var progress = webhook.progress
                progress.cursor = position
                try await storage.settle(
                    WebhookSettlement(progress: progress),
                    of: webhook.id,
                    from: cursor,
                    epoch: epoch
                )
                scan = Scan(cursor: position, reached: position)
                return page.isLast
                    ? nil : try await nextBatch(of: moved(webhook, progress), &scan, epoch: epoch)
            }
            if page.isLast { return nil }
        }
    }

    private func moved(
        _ webhook: WebhookSubscription,
        _ progress: WebhookProgress
    ) -> WebhookSubscription {
        var webhook = webhook
        webhook.progress = progress
        return webhook
    }

    private func send(
        _ batch: WebhookBatch,
        to webhook: WebhookSubscription,
        _ secret: WebhookSecret,
        epoch: Epoch
    ) async throws {
        let outcome = await attempt(
            request(batch.message, batch.body, to: webhook.url, secret, epoch, at: clock.now()),
            on: transport,
            limit: configuration.attemptLimit,
            clock: clock
        )
        // A cancelled attempt says nothing about the receiver.
        try Task.checkCancellation()
        count(outcome)
        let settlement = WebhookRules(backoff: configuration.backoff).onOutcome(
            outcome,
            of: batch,
            webhook.progress,
            random: random,
            at: clock.now()
        )
        if outcome != .accepted {
            configuration.logger.notice(
                "a webhook was not taken",
                metadata: [
                    "tenant": "\(webhook.tenant)", "webhook": "\(webhook.id)",
                    "failure": "\(settlement.progress.lastFailure)",
                    "failures": "\(settlement.progress.failures)",
                    "given-up": "\(settlement.deadLetter != nil)",
                ]
            )
        }
        try await storage.settle(
            settlement,
            of: webhook.id,
            from: webhook.progress.cursor,
            epoch: epoch
        )
    }

    /// Goes on where the log can be read.
    ///
    /// A store that was restored has a new history; the subscription was restored with it, so its cursor
    /// stands at the same number there. Otherwise it is the floor: what was cut from the log cannot be sent
    /// any more, and the subscription says so.
    private func skip(
        to floor: Revision?,
        _ webhook: WebhookSubscription,
        epoch: Epoch
    ) async throws {
        guard let floor else { return }
        var progress = webhook.progress
        let cursor = progress.cursor
        if cursor.revision.history != floor.history, cursor.revision.number >= floor.number {
            progress.cursor = cursor.moved(to: floor.history)
            progress.batchEnd = progress.batchEnd?.moved(to: floor.history)
        } else {
            progress = WebhookProgress(
                cursor: EventPosition(floor),
                lastFailure:
                    "events before \(floor) were cut from the log before they could be sent"
            )
            configuration.logger.warning(
                "a webhook fell behind the log",
                metadata: [
                    "tenant": "\(webhook.tenant)", "webhook": "\(webhook.id)", "floor": "\(floor)",
                ]
            )
        }
        try await storage.settle(
            WebhookSettlement(progress: progress),
            of: webhook.id,
            from: cursor,
            epoch: epoch
        )
    }

    private func count(_ outcome: WebhookOutcome) {
        let name =
            switch outcome {
            case .accepted: "accepted"
            case .gone: "gone"
            case .failed: "failed"
            }
        Counter(label: "reeve_webhook_batches_total", dimensions: [("outcome", name)]).increment()
    }
}
