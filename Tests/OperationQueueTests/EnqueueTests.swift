import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class EnqueueTests: XCTestCase {
    func test_enqueue_keyRepeated_enqueuesOnce() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let request = EnqueueRequest(
            OperationCode(rawValue: "lock"),
            to: .devices([device.device, DeviceID(rawValue: "nobody")]),
            idempotencyKey: "k"
        )
        let first = try await house.enqueuer.enqueue(request)
        house.clock.advance(by: .seconds(9))
        let second = try await house.enqueuer.enqueue(request)
        XCTAssertEqual(first.activity, second.activity)
        XCTAssertFalse(first.wasRepeated)
        XCTAssertTrue(second.wasRepeated)
        XCTAssertEqual(first.addressed, 1)
        XCTAssertEqual(first.unknown, 1)
        XCTAssertEqual(second.unknown, 1)
        var other = request
        other.payload = [1]
        await assertThrows(.keyConflict) { try await house.enqueuer.enqueue(other) }
        let elsewhere = TenantID(rawValue: "elsewhere")
        await assertThrows(.noTarget) {
            try await house.enqueuer.enqueue(request, tenant: elsewhere)
        }
    }

    func test_enqueue_toAGroup_addressesItsMembersAsOfNow() async throws {
        let house = House()
        let fleet = GroupID(rawValue: "fleet")
        let early = try await house.enrol("early", groups: [fleet])
        let leaver = try await house.enrol("leaver", groups: [fleet])
        let receipt = try await house.enqueuer.enqueue(
            EnqueueRequest(OperationCode(rawValue: "a"), to: .group(fleet))
        )
        let late = try await house.enrol("late", groups: [fleet])
        try await house.administration.leave(fleet, [leaver.device])
        XCTAssertEqual(receipt.addressed, 2)
        let answers = [
            try await house.poll(early), try await house.poll(leaver), try await house.poll(late),
        ]
        XCTAssertEqual(answers.map(\.codes), [["a"], ["a"], []])
    }

    func test_enqueue_badRequests_areRefusedWithTheirCode() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let good = EnqueueRequest(OperationCode(rawValue: "a"), to: .devices([device.device]))
        func refused(_ code: OperationQueueError.Code, _ change: (inout EnqueueRequest) -> Void)
            async
        {
            var request = good
            change(&request)
            await assertThrows(code) { try await house.enqueuer.enqueue(request) }
        }
        await refused(.tooLarge) { $0.payload = Array(repeating: 0, count: 65_537) }
        await refused(.invalidRequest) { $0.code = OperationCode(rawValue: "a b") }
        await refused(.invalidRequest) { $0.idempotencyKey = "" }
        await refused(.invalidRequest) { $0.expiresAfter = .zero }
        await refused(.invalidRequest) { $0.deliveryLease = .seconds(-1) }
        await refused(.noTarget) { $0.target = .devices([]) }
        await refused(.noTarget) { $0.target = .devices([DeviceID(rawValue: "nobody")]) }
        await refused(.unknownGroup) { $0.target = .group(GroupID(rawValue: "nothing")) }
        await assertThrows(.unknownActivity) {
            try await house.enqueuer.cancel(ActivityID(bits: 7))
        }
    }

    func test_enqueue_epochOfAnEarlierCoordinator_isFenced() async throws {
        let house = House()
        let device = try await house.enrol("d")
        _ = house.ledger.raiseEpoch()
        do {
            _ = try await house.command("a", to: device)
            XCTFail("a fenced writer wrote")
        } catch let error as OperationQueueError {
            XCTAssertEqual((error.cause as? ClusterRoleError)?.code, .fenced)
            XCTAssertEqual(error.category, .unavailable)
        }
    }

    func test_browser_pages_coverEverythingOnce() async throws {
        let house = House()
        var receipts: [EnqueueReceipt] = []
        for index in 0..<25 { try await house.enrol("d\(100 + index)") }
        for _ in 0..<7 {
            receipts.append(
                try await house.enqueuer.enqueue(
                    EnqueueRequest(OperationCode(rawValue: "a"), to: .group(.everyone))
                )
            )
        }
        var before: Int64?
        var found: [ActivityID] = []
        repeat {
            let page = try await house.browser.activities(before: before, limit: 3)
            found += page.activities.map(\.id)
            before = page.next
        } while before != nil
        XCTAssertEqual(found, receipts.reversed().map(\.activity))
        var after: DeviceID?
        var devices: [String] = []
        repeat {
            let page = try await house.browser.executions(
                of: receipts[0].activity,
                after: after,
                limit: 10
            )
            devices += page.executions.map(\.id.device.rawValue)
            XCTAssertTrue(page.executions.allSatisfy { $0.version == 0 && $0.state == .pending })
            after = page.next
        } while after != nil
        XCTAssertEqual(devices, (100..<125).map { "d\($0)" })
        await assertThrows(.unknownActivity) {
            try await house.browser.activity(ActivityID(bits: 1))
        }
    }

    func test_expiry_operationsNobodyTook_closeAsExpired() async throws {
        let house = House()
        let held = try await house.enrol("held")
        _ = try await house.enrol("idle")
        var request = EnqueueRequest(OperationCode(rawValue: "a"), to: .group(.everyone))
        request.expiresAfter = .seconds(30)
        let receipt = try await house.enqueuer.enqueue(request)
        let offer = try await house.poll(held).operations[0]
        let task = ExpiryTask(
            storage: house.storage,
            capability: house.capability,
            clock: house.clock
        )
        let none = try await task.tick(at: house.clock.now())
        XCTAssertEqual(none, 0)
        house.clock.advance(by: .seconds(30))
        let closed = try await task.tick(at: house.clock.now())
        XCTAssertEqual(closed, 1)
        var counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.expired], 1)
        XCTAssertEqual(counts[.delivered], 1, "what a device has in hand goes on")
        _ = try await house.report(offer, .completed, by: held)
        counts = try await house.counts(of: receipt)
        XCTAssertEqual(counts[.completed], 1)
        let again = try await task.tick(at: house.clock.now())
        XCTAssertEqual(again, 0)
    }
}
