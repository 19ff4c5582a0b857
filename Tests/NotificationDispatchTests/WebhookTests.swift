import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class WebhookTests: XCTestCase {
    private let busy = WebhookOutcome.failed(reason: "status 503")

    func test_events_arePostedInOrder_signedAndOnce() async throws {
        let scene = try await WebhookScene()
        let (webhook, secret) = try await scene.subscribe("a", to: .everything)
        let receipt = try await scene.enqueue("lock")
        try await scene.complete()
        try await scene.dispatcher.step()
        try await scene.dispatcher.step()
        let sent = scene.transport.attempts
        XCTAssertEqual(sent.count, 1)
        let request = try XCTUnwrap(sent.first)
        XCTAssertEqual(request.url, webhook.url)
        XCTAssertEqual(request.epoch, scene.cluster.capability.epoch)
        XCTAssertEqual(request.timestamp, scene.cluster.time.now().milliseconds / 1_000)
        XCTAssertEqual(
            request.signature,
            secret.signature(of: request.message, at: request.timestamp, body: request.body)
        )
        let body = try WebhookBody(request)
        XCTAssertEqual(body.type, "reeve.operation-events")
        XCTAssertEqual(body.data.webhook, webhook.id.description)
        XCTAssertEqual(
            body.data.events.map { "\($0.type) \($0.from ?? "-") \($0.to) \($0.version ?? 0)" },
            [
                "activity - open 0", "execution - delivered 1", "execution delivered completed 2",
                "activity open finished 0",
            ]
        )
        XCTAssertEqual(Set(body.data.events.map(\.activity)), [receipt.activity.description])
        XCTAssertEqual(Set(body.data.events.map(\.id)).count, 4)
    }

    /// The example of the specification's reference implementation.
    func test_signature_isThatOfStandardWebhooks() throws {
        let secret = try WebhookSecret(parsing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        XCTAssertEqual(
            secret.signature(
                of: "msg_p5jXN8AQM9LWM0D4loKWxJek",
                at: 1_614_265_330,
                body: Array("{\"test\": 2432232314}".utf8)
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        )
        XCTAssertEqual(secret.text, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        XCTAssertFalse("\(secret)".contains("MfKQ"))
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            XCTAssertThrowsError(try WebhookSecret(parsing: text), text)
        }
    }

    func test_failedBatch_isSentAgainTheSame_thoughMoreHasHappened() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        scene.transport.failNext(2, at: webhook.url, with: busy)
        _ = try await scene.enqueue("first")
        try await scene.dispatcher.step()
        let failed = try await scene.administration.webhook(webhook.id).progress
        XCTAssertEqual(failed.failures, 1)
        XCTAssertEqual(failed.lastFailure, "status 503")
        XCTAssertGreaterThan(failed.due, scene.cluster.time.now())
        _ = try await scene.enqueue("second")
        // Before it is due nothing is sent, not even what is new.
        try await scene.dispatcher.step()
        XCTAssertEqual(scene.transport.attempts.count, 1)
        try await scene.advance(by: .seconds(60))
        let sent = scene.transport.attempts
        XCTAssertEqual(sent.count, 4)
        XCTAssertEqual(Set(sent[..<3].map(\.message)).count, 1)
        XCTAssertEqual(Set(sent[..<3].map(\.body)).count, 1)
        XCTAssertLessThan(sent[0].timestamp, sent[2].timestamp)
        XCTAssertEqual(try WebhookBody(sent[2]).data.events.map(\.code), ["first"])
        XCTAssertEqual(try WebhookBody(sent[3]).data.events.map(\.code), ["second"])
        XCTAssertNotEqual(sent[2].message, sent[3].message)
        let done = try await scene.administration.webhook(webhook.id).progress
        XCTAssertEqual(done.failures, 0)
        XCTAssertEqual(done.lastFailure, "")
    }

    func test_batchThatFailsAlways_becomesADeadLetterAndTheNextGoesOn() async throws {
        let scene = try await WebhookScene(attempts: 3)
        let (webhook, _) = try await scene.subscribe("a")
        scene.transport.failNext(3, at: webhook.url, with: busy)
        _ = try await scene.enqueue("first")
        try await scene.dispatcher.step()
        _ = try await scene.enqueue("second")
        try await scene.advance(by: .seconds(600))
        let accepted = scene.transport.popAccepted(at: webhook.url)
        XCTAssertEqual(
            try accepted.map { try WebhookBody($0).data.events.map(\.code) },
            [["second"]]
        )
        let letters = try await scene.administration.deadLetters(of: webhook.id)
        let letter = try XCTUnwrap(letters.first)
        XCTAssertEqual(letters.count, 1)
        XCTAssertEqual(letter.events, 1)
        XCTAssertEqual(letter.failure, "status 503")
        XCTAssertEqual(letter.message, scene.transport.attempts[0].message)

        // Sent again while the receiver still refuses, it is kept; then it is taken and gone.
        scene.transport.failNext(at: webhook.url, with: busy)
        do {
            try await scene.administration.redeliver(letter.number, of: webhook.id)
            XCTFail("a refused dead letter counted as delivered")
        } catch {
            XCTAssertEqual(error.code, .notDelivered)
        }
        try await scene.administration.redeliver(letter.number, of: webhook.id)
        let again = scene.transport.popAccepted(at: webhook.url)
        XCTAssertEqual(again.map(\.message), [letter.message])
        XCTAssertEqual(again.map(\.body), [letter.body])
        let left = try await scene.administration.deadLetters(of: webhook.id)
        XCTAssertEqual(left, [])
        do {
            try await scene.administration.redeliver(letter.number, of: webhook.id)
            XCTFail("a dead letter was delivered twice")
        } catch {
            XCTAssertEqual(error.code, .unknownDeadLetter)
        }
    }

    func test_retryAfter_isHeldWhereItIsLonger() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        scene.transport.failNext(
            at: webhook.url,
            with: .failed(reason: "status 429", retryAfter: .seconds(300))
        )
        _ = try await scene.enqueue("lock")
        try await scene.dispatcher.step()
        try await scene.advance(by: .seconds(290))
        XCTAssertEqual(scene.transport.attempts.count, 1)
        try await scene.advance(by: .seconds(20))
        XCTAssertEqual(scene.transport.attempts.count, 2)
    }

    func test_receiverThatIsGone_isSentNothingMore() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        scene.transport.failNext(at: webhook.url, with: .gone)
        _ = try await scene.enqueue("lock")
        try await scene.advance(by: .seconds(3_600))
        XCTAssertEqual(scene.transport.attempts.count, 1)
        let state = try await scene.administration.webhook(webhook.id).state
        XCTAssertEqual(state, .gone)
    }

    func test_slowReceiver_holdsUpNobodyElse() async throws {
        let scene = try await WebhookScene()
        let (slow, _) = try await scene.subscribe("slow")
        let (quick, _) = try await scene.subscribe("quick")
        scene.transport.hold(slow.url)
        let running = Task { [dispatcher = scene.dispatcher] in try await dispatcher.run() }
        for number in 1...3 {
            _ = try await scene.enqueue("task-\(number)")
            scene.cluster.hints.publish(scene.cluster.ledger.revision)
            try await eventually {
                scene.transport.attempts.filter { $0.url == quick.url }.count
            } reaches: {
                $0 >= number
            }
        }
        let toQuick = try scene.transport.popAccepted(at: quick.url)
            .flatMap { try WebhookBody($0).data.events.map(\.code) }
        XCTAssertEqual(toQuick, ["task-1", "task-2", "task-3"])
        XCTAssertEqual(scene.transport.popAccepted(at: slow.url), [])
        scene.transport.letGo(slow.url)
        try await eventually {
            (try? scene.transport.attempts.filter { $0.url == slow.url }
                .flatMap { try WebhookBody($0).data.events.map(\.code) }) ?? []
        } reaches: {
            $0 == ["task-1", "task-2", "task-3"]
        }
        running.cancel()
        try await running.value
    }

    func test_subscriptionMadeWhileRunning_isServedAndEndsWithUnsubscribe() async throws {
        let scene = try await WebhookScene()
        let running = Task { [dispatcher = scene.dispatcher] in try await dispatcher.run() }
        try await scene.cluster.time.waitForSleepers(1)
        let (webhook, _) = try await scene.subscribe("a")
        _ = try await scene.enqueue("lock")
        scene.cluster.time.advance(by: .seconds(1))
        await scene.transport.waitForAttempts(1)
        try await scene.administration.unsubscribe(webhook.id)
        _ = try await scene.enqueue("wipe")
        for _ in 0..<5 {
            try await scene.cluster.time.waitForSleepers(1)
            scene.cluster.time.advance(by: .seconds(1))
        }
        XCTAssertEqual(scene.transport.attempts.count, 1)
        running.cancel()
        try await running.value
    }

    func test_dispatcherOfARestartedManager_goesOnWhereTheOtherStopped() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        _ = try await scene.enqueue("first")
        try await scene.dispatcher.step()
        _ = try await scene.enqueue("second")
        try await scene.makeDispatcher(for: scene.cluster.capability).step()
        let codes = try scene.transport.popAccepted(at: webhook.url)
            .flatMap { try WebhookBody($0).data.events.map(\.code) }
        XCTAssertEqual(codes, ["first", "second"])
    }

    func test_node_thatIsNoLongerCoordinator_sendsNothing() async throws {
        let scene = try await WebhookScene()
        _ = try await scene.subscribe("a")
        _ = try await scene.enqueue("lock")
        scene.cluster.capability.revoke()
        do {
            try await scene.dispatcher.step()
            XCTFail("a node without the right to write sent a batch")
        } catch {
            XCTAssertEqual(error.code, .notCoordinator)
        }
        XCTAssertEqual(scene.transport.attempts, [])
    }

    func test_filter_leavesOutWhatIsNotWanted_andMovesOn() async throws {
        let scene = try await WebhookScene()
        let filter = EventFilter(codes: ["wipe"])
        let (webhook, _) = try await scene.subscribe("a", to: filter)
        for _ in 0..<1_100 { _ = try await scene.enqueue("lock") }
        try await scene.dispatcher.step()
        XCTAssertEqual(scene.transport.attempts, [])
        let moved = try await scene.administration.webhook(webhook.id).progress.cursor
        XCTAssertGreaterThanOrEqual(
            moved.revision.number,
            webhook.progress.cursor.revision.number + 1_000
        )
        _ = try await scene.enqueue("wipe")
        try await scene.dispatcher.step()
        let codes = try scene.transport.attempts.flatMap {
            try WebhookBody($0).data.events.map(\.code)
        }
        XCTAssertEqual(codes, ["wipe"])
    }

    func test_logThatWasCut_isGoneOnWithAtItsFloor_andTheSubscriptionSaysSo() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        _ = try await scene.enqueue("lost")
        let floor = scene.cluster.ledger.revision
        _ = try await scene.enqueue("kept")
        scene.cluster.faults.failNext(
            of: .events,
            with: OperationQueueError.eventsGone(
                after: webhook.progress.cursor.revision,
                floor: floor,
                newest: scene.cluster.ledger.revision
            )
        )
        scene.transport.failNext(at: webhook.url, with: busy)
        try await scene.dispatcher.step()
        let codes = try scene.transport.attempts.flatMap {
            try WebhookBody($0).data.events.map(\.code)
        }
        XCTAssertEqual(codes, ["kept"])
        let cursor = try await scene.administration.webhook(webhook.id).progress.cursor
        XCTAssertEqual(cursor, EventPosition(floor))
    }

    func test_restoredStore_goesOnInItsNewHistory_whereTheSubscriptionStood() async throws {
        let scene = try await WebhookScene()
        _ = try await scene.enqueue("before")
        let newest = scene.cluster.ledger.revision
        // What a restore leaves: the cursor names the history before it.
        let old = Revision(history: HistoryID(bits: 77), number: newest.number)
        let (webhook, _) = try await scene.administration.subscribe(
            "https://a.example/hook",
            after: EventPosition(old)
        )
        _ = try await scene.enqueue("after")
        try await scene.dispatcher.step()
        let codes = try scene.transport.attempts.flatMap {
            try WebhookBody($0).data.events.map(\.code)
        }
        XCTAssertEqual(codes, ["after"])
        let progress = try await scene.administration.webhook(webhook.id).progress
        XCTAssertEqual(progress.cursor, EventPosition(scene.cluster.ledger.revision))
        XCTAssertEqual(progress.lastFailure, "")
    }

    func test_crashAfterTheReceiverTookIt_sendsTheSameEventsOnceMore() async throws {
        let scene = try await WebhookScene()
        let (webhook, _) = try await scene.subscribe("a")
        _ = try await scene.enqueue("lock")
        // The answer comes, the node loses its right before it is stored.
        scene.transport.hold(webhook.url)
        let step = Task { [dispatcher = scene.dispatcher] in try? await dispatcher.step() }
        await scene.transport.waitForAttempts(1)
        let next = WriteCapability(epoch: scene.cluster.ledger.raiseEpoch())
        scene.transport.letGo(webhook.url)
        _ = await step.value
        try await scene.makeDispatcher(for: next).step()
        let sent = scene.transport.popAccepted(at: webhook.url)
        XCTAssertEqual(sent.count, 2)
        XCTAssertEqual(Set(sent.map(\.message)).count, 1)
        XCTAssertEqual(Set(sent.map(\.epoch)).count, 2)
    }

    func test_urlThatIsNone_isRefused() async throws {
        let scene = try await WebhookScene()
        let bad = [
            "", "ftp://x/y", "https://", "https:///x", "http://user@host/", "https://a b/",
            "https://host/" + String(repeating: "x", count: 2_048), "/hook",
        ]
        for url in bad {
            do {
                _ = try await scene.administration.subscribe(url)
                XCTFail("\(url) was taken")
            } catch {
                XCTAssertEqual(error.code, .invalidWebhook, url)
            }
        }
    }
}
