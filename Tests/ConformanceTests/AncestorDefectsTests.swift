import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import Synchronization
import XCTest

/// What the ancestors got wrong, each defect by name, on every driver of the store.
final class AncestorDefectsTests: XCTestCase {
    /// Device ids were joined into one text and searched in it: `device-1` woke `device-11`.
    func test_wakes_ofDevicesWithSimilarNames_goToTheNamedOnesOnly() async throws {
        try await AncestorScene.onEachDriver { scene in
            for name in ["device-1", "device-11", "device-1-1", "device", "1"] {
                try await scene.enrol(name)
            }
            try await scene.enrol("device-1", tenant: "other")
            _ = try await scene.enqueue(.devices(["device-1", "device"]))
            let due = try await scene.dueWakes()
            XCTAssertEqual(
                due,
                ["\(TenantID.standard)/device", "\(TenantID.standard)/device-1"],
                scene.driver
            )
        }
    }

    /// Takes wake-ups of good devices, and fails those of bad ones for ever.
    private final class PartlyFailingTransport: PushTransport {
        private let woken = Mutex<Set<DeviceID>>([])
        var wokenDevices: Set<DeviceID> { woken.withLock { $0 } }

        func wake(_ request: PushRequest) async -> PushOutcome {
            if request.device.rawValue.hasPrefix("bad") {
                return .retry(after: nil, scope: .device, reason: "unreachable")
            }
            woken.withLock { _ = $0.insert(request.device) }
            return .accepted
        }
    }

    /// The scheduler took the oldest hundred each time; when they failed, nobody else was woken.
    func test_wakes_withFailuresAtTheHead_reachEverybodyBehind() async throws {
        try await AncestorScene.onEachDriver { scene in
            let bad = (0..<120).map { DeviceID(rawValue: "bad-\($0)") }
            let good = (0..<20).map { DeviceID(rawValue: "good-\($0)") }
            for device in bad + good { try await scene.enrol(device.rawValue) }
            _ = try await scene.enqueue(.devices(bad))
            scene.clock.advance(by: .seconds(1))
            _ = try await scene.enqueue(.devices(good))
            let transport = PartlyFailingTransport()
            let dispatcher = WakeDispatcher(
                storage: scene.wakes,
                transports: ["test": transport],
                capability: scene.house.capability,
                clock: scene.clock,
                random: SeededRandomSource(seed: 4)
            )
            for _ in 0..<10 {
                _ = try await dispatcher.step()
                scene.clock.advance(by: .seconds(1))
            }
            XCTAssertEqual(transport.wokenDevices, Set(good), scene.driver)
        }
    }

    /// A bulk call ended at the first page on which every device had the operation already.
    func test_enqueue_withPagesOfRepeatedDevices_reachesTheLastOne() async throws {
        try await AncestorScene.onEachDriver { scene in
            try await scene.enrol("first")
            let last = try await scene.enrol("last")
            let named = Array(repeating: DeviceID("first"), count: 5_000) + ["last"]
            let receipt = try await scene.enqueue(.devices(named))
            XCTAssertEqual(receipt.addressed, 2, scene.driver)
            let offers = try await scene.poll(last)
            XCTAssertEqual(offers.count, 1, scene.driver)
        }
    }

    /// The status was committed, then the response: a crash between left a completed operation without
    /// its result.
    func test_result_committedOrNot_comesWithItsStatusAndCounters() async throws {
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1")
            let receipt = try await scene.enqueue(.devices(["device-1"]))
            let offers = try await scene.poll(device)
            let offer = try XCTUnwrap(offers.first)
            let faults = FaultScript()
            let exchange = DeviceExchange(
                reader: scene.house.storage,
                inbox: InProcessInbox(
                    storage: FailingOperationStorage(scene.house.storage, faults),
                    capability: scene.house.capability,
                    clock: scene.clock
                ),
                settings: .init(clock: scene.clock, random: SeededRandomSource(seed: 5))
            )
            let report = ExchangeReport(
                results: [
                    ExecutionResult(
                        execution: offer.execution,
                        attempt: offer.attempt,
                        outcome: .completed,
                        detail: [7, 7]
                    )
                ],
                limit: 0
            )
            faults.failNext(of: .apply)
            _ = try? await exchange.exchange(device: device, report: report)
            var row = try await scene.execution(of: receipt)
            var activity = try await scene.activity(of: receipt)
            XCTAssertEqual(row.state, .delivered, scene.driver)
            XCTAssertEqual(row.detail, [], scene.driver)
            XCTAssertEqual(activity.counts[.completed], 0, scene.driver)
            faults.crashAfterCommit(of: .apply)
            _ = try? await exchange.exchange(device: device, report: report)
            row = try await scene.execution(of: receipt)
            activity = try await scene.activity(of: receipt)
            XCTAssertEqual(row.state, .completed, scene.driver)
            XCTAssertEqual(row.detail, [7, 7], scene.driver)
            XCTAssertEqual(activity.counts[.completed], 1, scene.driver)
            XCTAssertEqual(activity.state, .finished, scene.driver)
        }
    }

    /// Any state could be set over any other: a late error replaced a success.
    func test_execution_withAFinalState_keepsItWhateverIsReported() async throws {
        let outcomes: [ResultOutcome] = [
            .completed, .failed, .cancelled, .confirmed, .awaitingConfirmation,
            .notNow(until: .distantFuture),
        ]
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1")
            for (first, state) in [
                (ResultOutcome.completed, ExecutionState.completed), (.failed, .failed),
            ] {
                let receipt = try await scene.enqueue(.devices(["device-1"]))
                let offers = try await scene.poll(device)
                let offer = try XCTUnwrap(offers.first)
                try await scene.report(first, to: offer, from: device)
                for outcome in outcomes {
                    try await scene.report(outcome, to: offer, from: device, detail: [2])
                    let row = try await scene.execution(of: receipt)
                    XCTAssertEqual(row.state, state, "\(scene.driver): \(outcome)")
                    XCTAssertEqual(row.detail, [1], "\(scene.driver): \(outcome)")
                }
            }
            // Nor is one reached that was never offered: no agreement without a question.
            let receipt = try await scene.enqueue(.devices(["device-1"]))
            let offers = try await scene.poll(device)
            let offer = try XCTUnwrap(offers.first)
            try await scene.report(.confirmed, to: offer, from: device)
            let row = try await scene.execution(of: receipt)
            XCTAssertEqual(row.state, .delivered, scene.driver)
        }
    }

    /// A poll read the pending list and changed nothing: two polls got the same work.
    func test_poll_afterAPoll_isNotGivenTheSameWork() async throws {
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1")
            let receipt = try await scene.enqueue(.devices(["device-1"]))
            let first = try await scene.poll(device)
            let second = try await scene.poll(device)
            XCTAssertEqual(first.count, 1, scene.driver)
            XCTAssertEqual(second.count, 0, scene.driver)
            let row = try await scene.execution(of: receipt)
            XCTAssertEqual(row.attempt, first.first?.attempt, scene.driver)
        }
    }

    /// A device that repeated its answer, because the first reply was lost, was stored twice.
    func test_result_reportedTwice_isStoredOnce() async throws {
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1")
            let receipt = try await scene.enqueue(.devices(["device-1"]))
            let offers = try await scene.poll(device)
            let offer = try XCTUnwrap(offers.first)
            try await scene.report(.completed, to: offer, from: device)
            let once = try await scene.execution(of: receipt)
            let before = try await scene.activity(of: receipt)
            for _ in 0..<3 { try await scene.report(.completed, to: offer, from: device) }
            let again = try await scene.execution(of: receipt)
            let after = try await scene.activity(of: receipt)
            XCTAssertEqual(again, once, scene.driver)
            XCTAssertEqual(after, before, scene.driver)
            XCTAssertEqual(after.answeredLate, 0, scene.driver)
        }
    }

    /// Whatever an administrator did to a device counted as having heard of it.
    func test_administration_ofASilentDevice_doesNotMakeItHeard() async throws {
        try await AncestorScene.onEachDriver { scene in
            let made = try await scene.house.administration.enrol("device-1")
            let before = try await scene.devices.device("device-1", tenant: .standard)?.lastSeen
            scene.clock.advance(by: .seconds(86_400))
            let receipt = try await scene.enqueue(.devices(["device-1"]))
            _ = try await scene.house.enqueuer.cancel(receipt.activity)
            _ = try await scene.house.administration.join("red", ["device-1"])
            _ = try await scene.house.administration.leave("red", ["device-1"])
            _ = try await scene.house.administration.setPollingFrequency(
                .seconds(60),
                of: "device-1"
            )
            let after = try await scene.devices.device("device-1", tenant: .standard)?.lastSeen
            XCTAssertEqual(after, before, scene.driver)
            try await scene.house.exchange.record(
                .location,
                body: Array("[1,2]".utf8),
                device: made.identity
            )
        }
    }

    /// The order was that of a timestamp in seconds: what was enqueued within one came in any order.
    func test_operations_enqueuedAtTheSameInstant_comeInTheirOrder() async throws {
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1", groups: ["red"])
            var codes: [OperationCode] = []
            for index in 0..<60 {
                let code = OperationCode(rawValue: "step-\(index)")
                _ = try await scene.enqueue(
                    index % 3 == 0 ? .group("red") : .devices(["device-1"]),
                    code: code
                )
                codes.append(code)
            }
            let offers = try await scene.poll(device)
            XCTAssertEqual(offers.map(\.code), codes, scene.driver)
        }
    }

    /// Schedules lived in the memory of the node that had made them.
    func test_periodicTask_afterARestart_isDueWhenItWasAndRunsOnce() async throws {
        try await AncestorScene.onEachDriver { scene in
            let device = try await scene.enrol("device-1")
            let task = PeriodicTask(
                id: "info",
                frequency: .seconds(600),
                begins: scene.clock.now()
            )
            try await scene.tasks.put(
                task,
                tenant: .standard,
                epoch: scene.house.capability.epoch
            )
            let spread = try await scene.tasks.spread(
                limit: 100,
                epoch: scene.house.capability.epoch,
                at: scene.clock.now()
            )
            XCTAssertTrue(spread, scene.driver)
            let due = try await scene.tasks.dueTimes(of: device.device, tenant: .standard)
            XCTAssertEqual(due.count, 1, scene.driver)
            let again = try await scene.restarted()
            let kept = try await again.tasks.tasks(tenant: .standard)
            XCTAssertEqual(kept, [task], scene.driver)
            let keptDue = try await again.tasks.dueTimes(of: device.device, tenant: .standard)
            XCTAssertEqual(keptDue, due, scene.driver)
            again.clock.advance(by: .seconds(3_600))
            let runner = PeriodicTaskRunner(
                tasks: again.tasks,
                enqueuer: again.house.enqueuer,
                capability: again.house.capability,
                settings: .init(clock: again.clock)
            )
            let runs = try await runner.tick(at: again.clock.now())
            XCTAssertEqual(runs.count, 1, "\(scene.driver): missed runs are made up by one")
            let offers = try await again.poll(device)
            XCTAssertEqual(offers.map(\.code), [.deviceInformation], scene.driver)
            try await again.close()
        }
    }

    /// A call that had enqueued nothing answered with an activity id.
    func test_enqueue_thatAddressesNobody_leavesNoActivityBehind() async throws {
        try await AncestorScene.onEachDriver { scene in
            for target in [OperationTarget.devices(["nobody"]), .devices([]), .group("nothing")] {
                do {
                    _ = try await scene.enqueue(target)
                    XCTFail("\(scene.driver): \(target) was taken")
                } catch let error as OperationQueueError {
                    XCTAssertTrue([.noTarget, .unknownGroup].contains(error.code), "\(error)")
                }
            }
            let none = try await scene.house.browser.activities().activities
            XCTAssertEqual(none, [], scene.driver)
            _ = try await scene.enrol("device-1", groups: ["red"])
            _ = try await scene.house.administration.leave("red", ["device-1"])
            let empty = try await scene.enqueue(.group("red"))
            let named = try await scene.enqueue(.devices(["device-1", "nobody"]))
            for (receipt, addressed) in [(empty, 0), (named, 1)] {
                let activity = try await scene.activity(of: receipt)
                let executions = try await scene.house.browser.executions(of: receipt.activity)
                XCTAssertEqual(activity.addressed, addressed, scene.driver)
                XCTAssertEqual(executions.executions.count, addressed, scene.driver)
            }
        }
    }

    /// One SQL parameter a device: a call for more devices than the engine has parameters failed.
    func test_enqueue_namingAMillionDevices_isOneCall() async throws {
        try await AncestorScene.onEachDriver { scene in
            for index in stride(from: 0, to: 1_000_000, by: 20_000) {
                _ = try await scene.house.administration.enrol(
                    DeviceID(rawValue: "device-\(index)")
                )
            }
            // The driver in memory has no parameters to run out of; a million there only takes time.
            for count in scene.driver == "embedded" ? [100_000, 1_000_000] : [100_000] {
                let names = (0..<count).map { DeviceID(rawValue: "device-\($0)") }
                let receipt = try await scene.enqueue(.devices(names))
                XCTAssertEqual(receipt.addressed, count / 20_000, scene.driver)
                XCTAssertEqual(receipt.unknown, count - count / 20_000, scene.driver)
            }
        }
    }
}
