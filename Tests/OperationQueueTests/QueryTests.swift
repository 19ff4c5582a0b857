import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

/// What administrators ask, through the façade.
final class QueryTests: XCTestCase {
    func test_executionsOfAnActivity_inSomeStates_arePagedOverAllDevices() async throws {
        let house = House()
        var devices: [DeviceIdentity] = []
        for index in 0..<30 { devices.append(try await house.enrol("d-\(index + 10)")) }
        let receipt = try await house.enqueuer.enqueue(
            EnqueueRequest("lock", to: .devices(devices.map(\.device)))
        )
        for device in devices where device.device.rawValue.hasSuffix("5") {
            let offer = try await house.poll(device).operations[0]
            _ = try await house.report(offer, .failed, by: device)
        }
        var found: [String] = []
        var after: DeviceID?
        repeat {
            let page = try await house.browser.executions(
                of: receipt.activity,
                in: [.failed],
                after: after,
                limit: 2
            )
            XCTAssertLessThanOrEqual(page.executions.count, 2)
            found += page.executions.map(\.id.device.rawValue)
            after = page.next
        } while after != nil
        XCTAssertEqual(found, ["d-15", "d-25", "d-35"])
        let pending = try await house.browser.executions(
            of: receipt.activity,
            in: [.pending],
            limit: 100
        )
        XCTAssertEqual(pending.executions.count, 27)
        XCTAssertNil(pending.next)
        await assertThrows(.unknownActivity) {
            try await house.browser.executions(of: ActivityID(bits: 1), in: [.failed])
        }
    }

    func test_pendingWorkOfADevice_isInTheOrderInWhichItIsOffered() async throws {
        let house = House()
        let device = try await house.enrol("d", groups: ["fleet"])
        _ = try await house.command("first", to: device)
        _ = try await house.enqueuer.enqueue(EnqueueRequest("group", to: .group("fleet")))
        var urgent = EnqueueRequest("urgent", to: .devices([device.device]))
        urgent.priority = 9
        _ = try await house.enqueuer.enqueue(urgent)
        let work = try await house.browser.pendingWork(of: device.device)
        XCTAssertEqual(work.items.map(\.operation.code), ["urgent", "first", "group"])
        XCTAssertEqual(Set(work.items.map(\.state)), [.pending])
        let offered = try await house.poll(device, limit: 1)
        XCTAssertEqual(offered.codes, ["urgent"])
        let after = try await house.browser.pendingWork(of: device.device)
        XCTAssertEqual(after.items.map(\.state), [.delivered, .pending, .pending])
        await assertThrows(.unknownDevice) {
            try await house.browser.pendingWork(of: "nobody")
        }
        await assertThrows(.unknownDevice) {
            try await house.browser.executions(on: "nobody")
        }
    }

    func test_activitiesUpdatedSince_areThoseToWhichSomethingHappened_eachOnce() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone")
        let tablet = try await cluster.enrol("tablet")
        func enqueue(_ code: OperationCode, _ device: DeviceIdentity) async throws -> ActivityID {
            try await cluster.enqueuer.enqueue(
                EnqueueRequest(code, to: .devices([device.device]))
            ).activity
        }
        let answered = try await enqueue("answered", phone)
        _ = try await enqueue("untouched", tablet)
        cluster.time.advance(by: .seconds(60))
        let then = cluster.time.now()
        let opened = try await enqueue("opened", tablet)
        let offer = try await cluster.exchange.exchange(device: phone).operations[0]
        _ = try await cluster.exchange.exchange(
            device: phone,
            report: ExchangeReport(
                results: [
                    ExecutionResult(
                        execution: offer.execution,
                        attempt: offer.attempt,
                        outcome: .completed
                    )
                ],
                limit: 0
            )
        )
        let since = try await cluster.events.position(before: then)
        let page = try await cluster.browser.activities(updatedAfter: since, in: cluster.events)
        XCTAssertEqual(page.activities.map(\.id), [opened, answered])
        XCTAssertEqual(page.activities.map(\.state), [.open, .finished])
        XCTAssertTrue(page.isLast)
        let rest = try await cluster.browser.activities(updatedAfter: page.next, in: cluster.events)
        XCTAssertEqual(rest.activities, [])
    }
}
