import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

// begin: testing
final class LockingTests: XCTestCase {
    func test_lock_whenThePushServiceIsBusyTwice_wakesThePhoneAndIsDone() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone-1", groups: ["field"])
        cluster.push.failNext(2, with: .retry(after: nil, scope: .device, reason: "busy"))
        let lock = EnqueueRequest("lock", to: .group("field"))
        let activity = try await cluster.enqueuer.enqueue(lock).activity

        try await cluster.advance(by: .seconds(600))
        XCTAssertEqual(cluster.push.attempts.count, 3)
        XCTAssertEqual(cluster.push.popWakeUps().map(\.device), ["phone-1"])
        let waiting = try await cluster.browser.activity(activity)
        XCTAssertEqual(waiting.counts[.pending], 1)

        let offered = try await cluster.exchange.exchange(device: phone).operations
        XCTAssertEqual(offered.map(\.code), ["lock"])
        let locked = ExecutionResult(execution: offered[0].execution, outcome: .completed)
        let report = ExchangeReport(results: [locked])
        let rest = try await cluster.exchange.exchange(device: phone, report: report)
        XCTAssertTrue(rest.operations.isEmpty)
        let done = try await cluster.browser.activity(activity)
        XCTAssertEqual(done.state, .finished)
    }
}
// end: testing
