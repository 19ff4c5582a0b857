import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class InMemoryClusterTests: XCTestCase {
    func test_product_whenItsTransportFailsTwice_isWokenTheThirdTimeAndDone() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone-1", groups: ["field"])
        cluster.push.failNext(2, with: .retry(after: nil, scope: .device, reason: "busy"))
        let lock = try OperationCode(validating: "lock")
        let group = try GroupID(validating: "field")
        let receipt = try await cluster.enqueuer.enqueue(EnqueueRequest(lock, to: .group(group)))

        try await cluster.advance(by: .seconds(600))
        XCTAssertEqual(cluster.push.attempts.count, 3)
        XCTAssertEqual(cluster.push.popWakeUps().map(\.device), [phone.device])
        let waiting = try await cluster.browser.activity(receipt.activity)
        XCTAssertEqual(waiting.counts[.pending], 1)

        let work = try await cluster.exchange.exchange(device: phone).operations
        XCTAssertEqual(work.map(\.code), [lock])
        let result = ExecutionResult(execution: work[0].execution, outcome: .completed)
        let report = ExchangeReport(results: [result])
        let next = try await cluster.exchange.exchange(device: phone, report: report)
        XCTAssertEqual(next.operations, [])
        let done = try await cluster.browser.activity(receipt.activity)
        XCTAssertEqual(done.state, .finished)
    }

    func test_enqueue_whenTheStoreCrashesAfterCommit_isRepeatedUnderItsKey() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone-1")
        let lock = try OperationCode(validating: "lock")
        let request = EnqueueRequest(
            lock,
            to: .devices([phone.device]),
            idempotencyKey: "order-1"
        )
        cluster.faults.crashAfterCommit(of: .enqueue)
        do {
            _ = try await cluster.enqueuer.enqueue(request)
            XCTFail("the call was to fail")
        } catch {
            XCTAssertEqual(error.code, .storage)
            XCTAssertEqual((error.cause as? InjectedFault)?.isAfterCommit, true)
        }
        let receipt = try await cluster.enqueuer.enqueue(request)
        XCTAssertTrue(receipt.wasRepeated)
        let work = try await cluster.exchange.exchange(device: phone).operations
        XCTAssertEqual(work.count, 1)
    }

    func test_periodicTask_overAnHour_runsEveryTenMinutes() async throws {
        let cluster = InMemoryCluster()
        try await cluster.enrol("phone-1")
        let task = PeriodicTask(
            id: try PeriodicTaskID(validating: "information"),
            frequency: .seconds(600),
            begins: cluster.time.now()
        )
        try await cluster.periodicTasks.schedule(task, tenant: .standard)
        try await cluster.advance(by: .seconds(3_600))
        let activities = try await cluster.browser.activities().activities
        XCTAssertEqual(activities.count, 6)
    }
}
