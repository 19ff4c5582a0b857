internal import ClusterRole
internal import DeviceRegistry
internal import NotificationDispatch
internal import OperationQueue

/// The contract of `WebhookStorage`.
public struct WebhookStorageConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("WebhookStorage", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("subscriptions are listed in the order of their making, as made", lists),
        .init("a secret comes back with its subscription", keepsSecrets),
        .init("a settlement counts once, from the cursor it was made at", settles),
        .init("a dead letter is kept with the settlement that gave it up", keepsDeadLetters),
        .init("dead letters are bounded: the oldest goes", boundsDeadLetters),
        .init("a subscription that ended leaves nothing", unsubscribes),
        .init("a tenant has no more subscriptions than the limit", boundsSubscriptions),
        .init("tenants never cross", keepsTenantsApart),
        .init("an old epoch changes nothing", refusesOldEpoch),
        .init("subscriptions and dead letters are there after a restart", survivesReopening),
    ]

    private static func storage(_ scene: StoreScene) throws -> any WebhookStorage {
        try scene.needs(\.webhooks, "WebhookStorage")
    }

    private static func position(_ number: Int64, _ index: Int? = nil) -> EventPosition {
        EventPosition(Revision(history: HistoryID(bits: 5), number: number), index: index)
    }

    private static func webhook(
        _ name: String,
        _ scene: StoreScene,
        filter: EventFilter = .everything,
        tenant: TenantID? = nil
    ) -> WebhookSubscription {
        WebhookSubscription(
            id: WebhookID(from: scene.random),
            tenant: tenant ?? scene.tenant,
            url: "https://\(name).example/hook",
            filter: filter,
            createdAt: scene.now,
            progress: WebhookProgress(cursor: position(3))
        )
    }

    @discardableResult
    private static func subscribe(
        _ webhook: WebhookSubscription,
        _ scene: StoreScene,
        secret: WebhookSecret? = nil
    ) async throws -> WebhookSubscription {
        try await storage(scene).subscribe(
            webhook,
            secret: secret ?? WebhookSecret(from: scene.random),
            epoch: scene.epoch
        )
        return webhook
    }

    private static func letter(_ text: String, _ scene: StoreScene) -> WebhookDeadLetter {
        WebhookDeadLetter(
            number: 0,
            message: "msg_\(text)",
            body: Array("{\"\(text)\":1}".utf8),
            events: 3,
            failure: "status 500",
            at: scene.now
        )
    }

    /// Moves a subscription on by a settlement with a dead letter.
    private static func giveUp(
        _ id: WebhookID,
        from cursor: EventPosition,
        to next: EventPosition,
        _ text: String,
        _ scene: StoreScene
    ) async throws {
        try await storage(scene).settle(
            WebhookSettlement(
                progress: WebhookProgress(cursor: next, lastFailure: "status 500"),
                deadLetter: letter(text, scene)
            ),
            of: id,
            from: cursor,
            epoch: scene.epoch
        )
    }

    private static func lists(_ scene: StoreScene) async throws {
        let filter = EventFilter(
            codes: ["lock", "wipe"],
            activity: ActivityID(from: scene.random),
            device: "d-1",
            stateChangesOnly: true
        )
        let made = [
            try await subscribe(webhook("b", scene, filter: filter), scene),
            try await subscribe(webhook("a", scene), scene),
            try await subscribe(webhook("c", scene), scene),
        ]
        try scene.check.equal(
            try await storage(scene).webhooks(tenant: scene.tenant),
            made,
            "the subscriptions"
        )
    }

    private static func keepsSecrets(_ scene: StoreScene) async throws {
        let secret = WebhookSecret(from: scene.random)
        let made = try await subscribe(webhook("a", scene), scene, secret: secret)
        let found = try scene.check.some(
            try await storage(scene).webhook(made.id),
            "the subscription"
        )
        try scene.check.equal(found.0, made, "the subscription")
        try scene.check.isTrue(found.1 == secret, "the secret is the one it was made with")
        let unknown = try await storage(scene).webhook(WebhookID(from: scene.random))
        try scene.check.isTrue(unknown == nil, "an unknown id finds nothing")
    }

    private static func settles(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let made = try await subscribe(webhook("a", scene), scene)
        let before = try await scene.revision()
        let failed = WebhookProgress(
            cursor: position(3),
            batchEnd: position(9, 4),
            failures: 2,
            due: scene.now + .seconds(30),
            lastFailure: "status 503"
        )
        for (progress, state) in [(failed, WebhookState.active), (failed, .gone)] {
            try await storage.settle(
                WebhookSettlement(progress: progress, state: state),
                of: made.id,
                from: position(3),
                epoch: scene.epoch
            )
            let found = try await storage.webhook(made.id)?.0
            try scene.check.equal(found?.progress, progress, "the progress")
            try scene.check.equal(found?.state, state, "the state")
        }
        // An attempt that began at another cursor comes too late, and its dead letter with it.
        try await storage.settle(
            WebhookSettlement(
                progress: WebhookProgress(cursor: position(20)),
                deadLetter: letter("late", scene)
            ),
            of: made.id,
            from: position(2),
            epoch: scene.epoch
        )
        try scene.check.equal(
            try await storage.webhook(made.id)?.0.progress,
            failed,
            "the progress after a settlement from another cursor"
        )
        let letters = try await storage.deadLetters(
            of: made.id,
            after: 0,
            limit: 10,
            tenant: scene.tenant
        )
        try scene.check.equal(letters, [], "dead letters")
        try scene.check.equal(
            try await scene.revision(),
            before,
            "the revision: webhooks take none"
        )
    }

    private static func keepsDeadLetters(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let made = try await subscribe(webhook("a", scene), scene)
        for number in 1...3 {
            try await giveUp(
                made.id,
                from: position(Int64(number) + 2),
                to: position(Int64(number) + 3),
                "letter-\(number)",
                scene
            )
        }
        func letters(after number: Int64 = 0, limit: Int = 10) async throws -> [WebhookDeadLetter] {
            try await storage.deadLetters(
                of: made.id,
                after: number,
                limit: limit,
                tenant: scene.tenant
            )
        }
        let expected = (1...3).map { number in
            var expected = letter("letter-\(number)", scene)
            expected.number = Int64(number)
            return expected
        }
        try scene.check.equal(try await letters(), expected, "the dead letters")
        try scene.check.equal(try await letters(limit: 2), Array(expected[..<2]), "a page")
        try scene.check.equal(try await letters(after: 2), [expected[2]], "the page behind it")
        try scene.check.equal(
            try await storage.webhook(made.id)?.0.progress.cursor,
            position(6),
            "the cursor"
        )
        for _ in 0..<2 {
            try await storage.forget(
                deadLetter: 2,
                of: made.id,
                tenant: scene.tenant,
                epoch: scene.epoch
            )
        }
        try scene.check.equal(
            try await letters().map(\.number),
            [1, 3],
            "numbers left after one was sent again"
        )
        try await giveUp(made.id, from: position(6), to: position(7), "letter-4", scene)
        try scene.check.equal(try await letters().map(\.number), [1, 3, 4], "numbers go on")
    }

    private static func boundsDeadLetters(_ scene: StoreScene) async throws {
        let made = try await subscribe(webhook("a", scene), scene)
        for number in 1...(maximumDeadLetters + 5) {
            try await giveUp(
                made.id,
                from: position(Int64(number) + 2),
                to: position(Int64(number) + 3),
                "x",
                scene
            )
        }
        let letters = try await storage(scene).deadLetters(
            of: made.id,
            after: 0,
            limit: 2 * maximumDeadLetters,
            tenant: scene.tenant
        )
        try scene.check.equal(letters.count, maximumDeadLetters, "dead letters kept")
        try scene.check.equal(letters.first?.number, 6, "the oldest kept")
    }

    private static func unsubscribes(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let made = try await subscribe(webhook("a", scene), scene)
        try await giveUp(made.id, from: position(3), to: position(4), "x", scene)
        func unsubscribe() async throws -> Bool {
            try await storage.unsubscribe(made.id, tenant: scene.tenant, epoch: scene.epoch)
        }
        try scene.check.isTrue(try await unsubscribe(), "it was there")
        try scene.check.isTrue(try await !unsubscribe(), "it is gone")
        try scene.check.equal(try await storage.webhooks(tenant: nil), [], "subscriptions")
        try await giveUp(made.id, from: position(4), to: position(5), "y", scene)
        let again = try await subscribe(webhook("b", scene), scene)
        for id in [made.id, again.id] {
            let letters = try await storage.deadLetters(
                of: id,
                after: 0,
                limit: 10,
                tenant: scene.tenant
            )
            try scene.check.equal(letters, [], "dead letters of \(id)")
        }
    }

    private static func boundsSubscriptions(_ scene: StoreScene) async throws {
        for number in 0..<maximumWebhooks {
            try await subscribe(webhook("n-\(number)", scene), scene)
        }
        do {
            try await subscribe(webhook("more", scene), scene)
            throw scene.check.failure("a tenant got \(maximumWebhooks + 1) subscriptions")
        } catch let error as NotificationDispatchError where error.code == .tooManyWebhooks {}
        try await subscribe(webhook("n", scene, tenant: scene.otherTenant), scene)
        let all = try await storage(scene).webhooks(tenant: nil).count
        try scene.check.equal(all, maximumWebhooks + 1, "subscriptions of all tenants")
    }

    private static func keepsTenantsApart(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let mine = try await subscribe(webhook("a", scene), scene)
        let theirs = try await subscribe(webhook("b", scene, tenant: scene.otherTenant), scene)
        try await giveUp(theirs.id, from: position(3), to: position(4), "x", scene)
        try scene.check.equal(
            try await storage.webhooks(tenant: scene.tenant).map(\.id),
            [mine.id],
            "the tenant's own"
        )
        let ended = try await storage.unsubscribe(
            theirs.id,
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        try scene.check.isTrue(!ended, "a neighbour's subscription is not there to be ended")
        try await storage.forget(
            deadLetter: 1,
            of: theirs.id,
            tenant: scene.tenant,
            epoch: scene.epoch
        )
        for (tenant, count) in [(scene.tenant, 0), (scene.otherTenant, 1)] {
            let letters = try await storage.deadLetters(
                of: theirs.id,
                after: 0,
                limit: 10,
                tenant: tenant
            )
            try scene.check.equal(letters.count, count, "dead letters seen by \(tenant)")
        }
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let storage = try storage(scene)
        let made = try await subscribe(webhook("a", scene), scene)
        try await giveUp(made.id, from: position(3), to: position(4), "x", scene)
        let other = webhook("b", scene)
        try await scene.expectFenced("subscribe") {
            try await storage.subscribe(
                other,
                secret: WebhookSecret(from: scene.random),
                epoch: $0
            )
        }
        try await scene.expectFenced("unsubscribe") {
            _ = try await storage.unsubscribe(made.id, tenant: scene.tenant, epoch: $0)
        }
        try await scene.expectFenced("settle") {
            try await storage.settle(
                WebhookSettlement(progress: WebhookProgress(cursor: position(9))),
                of: made.id,
                from: position(4),
                epoch: $0
            )
        }
        try await scene.expectFenced("forget") {
            try await storage.forget(
                deadLetter: 1,
                of: made.id,
                tenant: scene.tenant,
                epoch: $0
            )
        }
        let found = try await storage.webhooks(tenant: nil)
        try scene.check.equal(found.map(\.progress.cursor), [position(4)], "the cursors")
        let letters = try await storage.deadLetters(
            of: made.id,
            after: 0,
            limit: 10,
            tenant: scene.tenant
        )
        try scene.check.equal(letters.count, 1, "dead letters")
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        let reopen = try scene.needs(\.reopen, "way to be opened again")
        let secret = WebhookSecret(from: scene.random)
        let made = try await subscribe(webhook("a", scene), scene, secret: secret)
        try await giveUp(made.id, from: position(3), to: position(4), "x", scene)
        let before = try await storage(scene).webhook(made.id)
        let store = try await reopen()
        do {
            let again = try scene.check.some(store.webhooks, "the reopened store's webhooks")
            let found = try scene.check.some(try await again.webhook(made.id), "the subscription")
            try scene.check.equal(found.0, before?.0, "the subscription")
            try scene.check.isTrue(found.1 == secret, "the secret is the one it was made with")
            let letters = try await again.deadLetters(
                of: made.id,
                after: 0,
                limit: 10,
                tenant: scene.tenant
            )
            try scene.check.equal(letters.map(\.message), ["msg_x"], "the dead letters")
        } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
    }
}
