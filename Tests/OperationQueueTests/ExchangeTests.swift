import ClusterRole
import DeviceRegistry
import Synchronization
import XCTest

@testable import OperationQueue

final class ExchangeTests: XCTestCase {
    func test_exchange_operationsOfManyPriorities_areOfferedInOrder() async throws {
        let house = House()
        let device = try await house.enrol("d")
        for (code, priority) in [("low", -1), ("first", 0), ("second", 0), ("urgent", 9)] {
            var request = EnqueueRequest(
                OperationCode(rawValue: code),
                to: .devices([device.device])
            )
            request.priority = Int32(priority)
            _ = try await house.enqueuer.enqueue(request)
        }
        let answer = try await house.poll(device)
        XCTAssertEqual(answer.codes, ["urgent", "first", "second", "low"])
    }

    func test_exchange_deliveredWorkAhead_blocksUntilItIsAnswered() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        _ = try await house.command("b", to: device)
        let first = try await house.poll(device, limit: 1)
        XCTAssertEqual(first.codes, ["a"])
        let blocked = try await house.poll(device)
        XCTAssertEqual(blocked.codes, [])
        let next = try await house.report(first.operations[0], .completed, by: device, limit: 1)
        XCTAssertEqual(next.codes, ["b"])
    }

    func test_exchange_leaseEnded_offersAgainAndCounts() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("a", to: device)
        let first = try await house.poll(device)
        house.clock.advance(by: .seconds(59))
        let withheld = try await house.poll(device)
        XCTAssertEqual(withheld.codes, [])
        XCTAssertLessThan(withheld.pollAfter, .seconds(3), "it comes when the lease ends")
        house.clock.advance(by: .seconds(1))
        let second = try await house.poll(device)
        XCTAssertEqual(second.codes, ["a"])
        XCTAssertNotEqual(first.operations[0].attempt, second.operations[0].attempt)
        let page = try await house.browser.executions(of: receipt.activity)
        XCTAssertEqual(page.executions.map(\.redeliveries), [1])
    }

    func test_exchange_redeliveryAsked_offersWhatTheDeviceLost() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        _ = try await house.poll(device)
        let again = try await house.exchange.exchange(
            device: device,
            report: ExchangeReport(redelivery: .now)
        )
        XCTAssertEqual(again.codes, ["a"])
    }

    func test_exchange_notNow_waitsAndPassesOnUnlessStrict() async throws {
        for order in [OrderRule.skipsWaiting, .strict] {
            let house = House()
            let device = try await house.enrol("d")
            var request = EnqueueRequest(
                OperationCode(rawValue: "a"),
                to: .devices([device.device])
            )
            request.order = order
            _ = try await house.enqueuer.enqueue(request)
            _ = try await house.command("b", to: device)
            let first = try await house.poll(device, limit: 1)
            let until = house.clock.now() + .seconds(30)
            let answer = try await house.report(
                first.operations[0],
                .notNow(until: until),
                by: device,
                limit: 5
            )
            XCTAssertEqual(answer.codes, order == .strict ? [] : ["b"])
            for offer in answer.operations {
                _ = try await house.report(offer, .completed, by: device)
            }
            house.clock.advance(by: .seconds(30))
            let due = try await house.poll(device)
            XCTAssertEqual(due.codes, order == .strict ? ["a", "b"] : ["a"])
        }
    }

    func test_exchange_sameResultTwice_isCountedOnce() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("a", to: device)
        let offer = try await house.poll(device).operations[0]
        for _ in 0..<3 {
            _ = try await house.report(offer, .completed, by: device, detail: "done")
        }
        let activity = try await house.browser.activity(receipt.activity)
        XCTAssertEqual(activity.counts[.completed], 1)
        XCTAssertEqual(activity.answeredLate, 0)
        XCTAssertEqual(activity.state, .finished)
        let page = try await house.browser.executions(of: receipt.activity)
        XCTAssertEqual(page.executions.map(\.detail), [Array("done".utf8)])
    }

    func test_exchange_resultOfAnotherDeviceOrEnrolment_isRefused() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let other = try await house.enrol("e")
        _ = try await house.command("a", to: device)
        let offer = try await house.poll(device).operations[0]
        await assertThrows(.foreignExecution) {
            try await house.report(offer, .completed, by: other)
        }
        let again = try await house.enrol("d")
        await assertThrows(.foreignExecution) {
            try await house.report(offer, .completed, by: again)
        }
        await assertThrows(.unknownDevice) { try await house.poll(device) }
        let nothing = try await house.poll(again)
        XCTAssertEqual(nothing.codes, [], "a new enrolment inherits nothing")
    }

    func test_cancel_heldAndWaitingWork_endsByAnswerAndAtOnce() async throws {
        let house = House()
        let held = try await house.enrol("held")
        let waiting = try await house.enrol("waiting")
        let receipt = try await house.command("a", to: held, waiting)
        let offer = try await house.poll(held).operations[0]
        try await house.enqueuer.cancel(receipt.activity)
        var counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.cancelled], 1)
        XCTAssertEqual(counts[.cancelRequested], 1)
        let told = try await house.poll(held)
        XCTAssertEqual(told.cancel, [offer.execution])
        let other = try await house.poll(waiting)
        XCTAssertEqual(other.codes, [])
        _ = try await house.report(offer, .cancelled, by: held)
        counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.cancelled], 2)
    }

    func test_cancel_answerComesLate_isKeptAsEvidenceOnly() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("a", to: device)
        let offer = try await house.poll(device).operations[0]
        let until = house.clock.now() + .seconds(60)
        _ = try await house.report(offer, .notNow(until: until), by: device)
        try await house.enqueuer.cancel(receipt.activity)
        _ = try await house.report(offer, .completed, by: device, detail: "too late")
        let page = try await house.browser.executions(of: receipt.activity)
        XCTAssertEqual(page.executions.map(\.state), [.cancelled])
    }

    func test_report_beyondTheLimits_isRefusedWithItsCode() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        let offer = try await house.poll(device).operations[0]
        let large = String(repeating: "x", count: 262_145)
        await assertThrows(.tooLarge) {
            try await house.report(offer, .completed, by: device, detail: large)
        }
        let result = ExecutionResult(execution: offer.execution, outcome: .completed)
        let many = ExchangeReport(results: Array(repeating: result, count: 101))
        await assertThrows(.tooLarge) {
            try await house.exchange.exchange(device: device, report: many)
        }
        await assertThrows(.invalidRequest) {
            try await house.exchange.exchange(device: device, report: ExchangeReport(limit: -1))
        }
        await assertThrows(.invalidRequest) {
            try await house.exchange.record(.location, body: Array("{".utf8), device: device)
        }
    }

    func test_contacts_plainPolls_areBatched() async throws {
        let house = House()
        let counting = CountingInbox(house.inbox)
        let contacts = ContactBatcher(inbox: counting, clock: house.clock)
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: counting,
            contacts: contacts,
            settings: .init(clock: house.clock, random: house.random)
        )
        let device = try await house.enrol("d")
        let other = try await house.enrol("e")
        for _ in 0..<50 { _ = try await exchange.exchange(device: device) }
        _ = try await exchange.exchange(device: other)
        XCTAssertEqual(counting.calls, 0)
        XCTAssertEqual(contacts.waitingCount, 2)
        try await contacts.flush()
        XCTAssertEqual(counting.calls, 1)
        let seen = try await house.devices.device(device.device, tenant: .standard)?.lastSeen
        XCTAssertEqual(seen, house.clock.now())
        let before = house.ledger.revision
        _ = try await exchange.exchange(device: other)
        _ = try await house.command("a", to: device)
        _ = try await exchange.exchange(device: device)
        XCTAssertEqual(contacts.waitingCount, 0, "waiting contacts ride along with a commit")
        XCTAssertEqual(house.ledger.revision.number, before.number + 2)
    }

    func test_poll_whereMostFindWork_storesNothingWhenItFindsNone() async throws {
        let house = House()
        let device = try await house.enrol("d")
        for index in 0..<30 {
            _ = try await house.command("c\(index)", to: device)
            let answer = try await house.poll(device)
            XCTAssertEqual(answer.codes, ["c\(index)"])
            _ = try await house.report(answer.operations[0], .completed, by: device)
        }
        XCTAssertTrue(house.exchange.traffic.forecast.expectsWork)
        let before = house.ledger.revision
        let seen = try await house.devices.device(device.device, tenant: .standard)?.lastSeen
        house.clock.advance(by: .seconds(1))
        let empty = try await house.poll(device)
        XCTAssertEqual(empty.codes, [])
        XCTAssertEqual(house.ledger.revision, before)
        XCTAssertEqual(house.contacts.waitingCount, 1, "the contact waits for a commit, as ever")
        let afterwards = try await house.devices.device(device.device, tenant: .standard)?.lastSeen
        XCTAssertEqual(afterwards, seen)
        for _ in 0..<30 { _ = try await house.poll(device) }
        XCTAssertFalse(house.exchange.traffic.forecast.expectsWork)
    }

    func test_poll_whereMostFindWork_isReadWithoutTheRightToWrite() async throws {
        let house = House()
        let device = try await house.enrol("d")
        for _ in 0..<30 { house.exchange.traffic.forecast.onPoll(hasWork: true) }
        house.capability.revoke()
        let answer = try await house.poll(device)
        XCTAssertEqual(answer.codes, [])
    }

    func test_contactBatcher_runCancelled_flushesAtTheEnd() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.poll(device)
        XCTAssertEqual(house.contacts.waitingCount, 1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await house.contacts.run() }
            group.cancelAll()
            try await group.waitForAll()
        }
        XCTAssertEqual(house.contacts.waitingCount, 0)
    }

    func test_contactBatcher_inboxRefuses_keepsThemForLater() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let contacts = ContactBatcher(inbox: FullInbox(), clock: house.clock)
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: FullInbox(),
            contacts: contacts,
            settings: .init(clock: house.clock, random: house.random)
        )
        _ = try await exchange.exchange(device: device)
        await assertThrows(.spoolFull) { try await contacts.flush() }
        XCTAssertEqual(contacts.waitingCount, 1)
    }

    func test_backgroundTasks_capabilityRevoked_end() async throws {
        let house = House()
        house.capability.revoke()
        try await ExpiryTask(
            storage: house.storage,
            capability: house.capability,
            clock: house.clock
        ).run()
        try await PeriodicTaskRunner(
            tasks: InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices),
            enqueuer: house.enqueuer,
            capability: house.capability,
            settings: .init(clock: house.clock)
        ).run()
    }

    func test_contact_answeredAtTheWake_clearsIt() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        let key = InMemoryWakeTable.Key(tenant: .standard, device: device.device)
        XCTAssertNotNil(house.wakes.withState { $0.rows[key] })
        _ = try await house.poll(device)
        XCTAssertNil(house.wakes.withState { $0.rows[key] })
    }

    func test_spool_full_givesNoWorkAndRefusesReports() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        let offer = try await house.poll(device).operations[0]
        _ = try await house.command("b", to: device)
        let exchange = DeviceExchange(
            reader: house.storage,
            inbox: FullInbox(),
            settings: .init(clock: house.clock, random: house.random)
        )
        let result = ExecutionResult(execution: offer.execution, outcome: .completed)
        await assertThrows(.spoolFull) {
            try await exchange.exchange(device: device, report: ExchangeReport(results: [result]))
        }
        _ = try await house.report(offer, .completed, by: device)
        let idle = try await exchange.exchange(device: device)
        XCTAssertEqual(idle.codes, [], "a poll is answered, without work")
    }

    func test_exchange_capabilityRevoked_isUnavailable() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = try await house.command("a", to: device)
        house.capability.revoke()
        await assertThrows(.storage) { try await house.poll(device) }
        await assertThrows(.storage) { try await house.command("b", to: device) }
    }
}

private final class CountingInbox: DeviceInbox {
    private let inbox: any DeviceInbox
    private let count = Mutex(0)
    var calls: Int { count.withLock { $0 } }

    init(_ inbox: any DeviceInbox) { self.inbox = inbox }

    func accept(_ entries: [InboxEntry]) async throws {
        count.withLock { $0 += 1 }
        try await inbox.accept(entries)
    }
}

private struct FullInbox: DeviceInbox {
    func accept(_ entries: [InboxEntry]) async throws {
        throw OperationQueueError(.spoolFull, "The spool is full.", retryAfter: .seconds(5))
    }
}
