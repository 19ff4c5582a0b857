import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class ExplainTests: XCTestCase {
    func test_explain_eachReason_isTold() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("first", to: device)
        func reasons(
            _ activity: ActivityID? = nil
        ) async throws -> [ExecutionExplanation.Reason] {
            try await house.explainer.explain(activity ?? receipt.activity, on: device.device)
                .reasons
        }
        var why = try await reasons()
        XCTAssertEqual(why, [.neverSeen, .notReachableByPush])

        let offer = try await house.poll(device).operations[0]
        try await house.contacts.flush()
        why = try await reasons()
        XCTAssertEqual(why, [.inHand(until: offer.leaseEnd)])
        let second = try await house.command("second", to: device)
        why = try await reasons(second.activity)
        XCTAssertEqual(why, [.behind(offer.execution.operation, code: "first")])

        let until = house.clock.now() + .seconds(500)
        _ = try await house.report(offer, .notNow(until: until), by: device)
        why = try await reasons()
        XCTAssertEqual(why, [.waits(.deferred, until: until)])
        why = try await reasons(second.activity)
        XCTAssertEqual(why, [.nextPoll])

        let seen = house.clock.now()
        house.clock.advance(by: .seconds(1_000))
        why = try await reasons(second.activity)
        XCTAssertEqual(why, [.offline(since: seen, .unreachable), .notReachableByPush])

        try await house.exchange.register(push: (transport: "http", address: "x"), device: device)
        house.clock.advance(by: .seconds(4_000))
        let third = try await house.command("third", to: device)
        why = try await reasons(third.activity)
        XCTAssertEqual(why.last, .wakeWaiting(due: house.clock.now()))

        try await house.enqueuer.pause(third.activity, by: "ann")
        why = try await reasons(third.activity)
        XCTAssertEqual(why, [.waits(.paused, until: nil)])
        try await house.enqueuer.cancel(third.activity)
        why = try await reasons(third.activity)
        XCTAssertEqual(why, [.ended(.cancelled)])
    }

    func test_explain_whatIsNotThere_isSaid() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let other = try await house.enrol("e")
        let receipt = try await house.command("first", to: device)
        await assertThrows(.unknownExecution) {
            try await house.explainer.explain(receipt.activity, on: other.device)
        }
        await assertThrows(.unknownDevice) {
            try await house.explainer.explain(receipt.activity, on: "nobody")
        }
        await assertThrows(.unknownActivity) {
            try await house.explainer.explain(ActivityID(bits: 9), on: device.device)
        }
        await assertThrows(.unknownActivity) {
            try await house.explainer.explain(
                receipt.activity,
                on: device.device,
                tenant: "neighbour"
            )
        }
    }
}
