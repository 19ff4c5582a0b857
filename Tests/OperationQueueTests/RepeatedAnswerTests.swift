import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

/// What random histories have found about answers that come twice, and about terms at their edges.
final class RepeatedAnswerTests: XCTestCase {
    private func request(_ code: String, to device: DeviceIdentity) -> EnqueueRequest {
        EnqueueRequest(OperationCode(rawValue: code), to: .devices([device.device]))
    }

    private func row(_ receipt: EnqueueReceipt, in house: House) async throws -> Execution {
        try await house.browser.executions(of: receipt.activity).executions[0]
    }

    func test_retry_theSameFailureReportedTwice_usesUpOneRepetition() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var install = request("install", to: device)
        install.retry = RetryPolicy(count: 1, backoff: .seconds(60))
        let receipt = try await house.enqueuer.enqueue(install)
        let first = try await house.poll(device).operations[0]
        for _ in 0..<3 { _ = try await house.report(first, .failed, by: device, detail: "1") }
        var row = try await row(receipt, in: house)
        XCTAssertEqual(row.state, .pending)
        XCTAssertEqual(row.retries, 1)
        house.clock.advance(by: .seconds(66))
        let second = try await house.poll(device).operations[0]
        XCTAssertEqual(second.retries, 1)
        _ = try await house.report(first, .failed, by: device, detail: "1")
        row = try await self.row(receipt, in: house)
        XCTAssertEqual(row.state, .delivered, "the first attempt fails no second time")
        _ = try await house.report(second, .failed, by: device, detail: "2")
        row = try await self.row(receipt, in: house)
        XCTAssertEqual(row.state, .failed)
    }

    func test_retry_anOlderAttemptCompletes_wins() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var install = request("install", to: device)
        install.retry = RetryPolicy(count: 1, backoff: .seconds(60))
        let receipt = try await house.enqueuer.enqueue(install)
        let first = try await house.poll(device).operations[0]
        _ = try await house.report(first, .failed, by: device)
        _ = try await house.report(first, .completed, by: device)
        let state = try await row(receipt, in: house).state
        XCTAssertEqual(state, .completed)
    }

    func test_timeout_ofWorkThatWasPutOff_countsFromTheNextHandOut() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var update = request("update", to: device)
        update.timeouts.whole = .seconds(90)
        let receipt = try await house.enqueuer.enqueue(update)
        let first = try await house.poll(device).operations[0]
        let later = house.clock.now() + .seconds(600)
        _ = try await house.report(first, .notNow(until: later), by: device)
        house.clock.advance(by: .seconds(600))
        let second = try await house.poll(device)
        XCTAssertEqual(second.codes, ["update"])
        try await house.timers.tick(at: house.clock.now())
        var state = try await row(receipt, in: house).state
        XCTAssertEqual(state, .delivered, "it has just been handed out")
        house.clock.advance(by: .seconds(90))
        try await house.timers.tick(at: house.clock.now())
        state = try await row(receipt, in: house).state
        XCTAssertEqual(state, .timedOut)
    }

    func test_sequence_toAGroupWithoutMembers_isEnqueuedAndFinished() async throws {
        let house = House()
        let group = GroupID(rawValue: "empty")
        let device = try await house.enrol("d", groups: [group])
        try await house.administration.leave(group, [device.device])
        let receipts = try await house.enqueuer.enqueue(
            sequence: ["one", "two"].map {
                EnqueueRequest(OperationCode(rawValue: $0), to: .group(group))
            }
        )
        XCTAssertEqual(receipts.map(\.addressed), [0, 0])
        for receipt in receipts {
            let activity = try await house.browser.activity(receipt.activity)
            XCTAssertEqual(activity.state, .finished)
        }
    }
}
