import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import XCTest

final class WakeDispatcherTests: XCTestCase {
    private let busy = PushOutcome.retry(after: nil, scope: .device, reason: "busy")

    func test_transport_thatFailsTwice_wakesTheDeviceWithinTenMinutes() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        scene.transport.failNext(2, with: busy)
        try await scene.enqueue(to: devices)

        let first = try await dispatcher.step()
        XCTAssertEqual(first.attempted, 1)
        XCTAssertEqual(first.retried, 1)
        XCTAssertEqual(scene.rows.map(\.attempts), [1])
        XCTAssertEqual(scene.rows.map(\.lastFailure), ["busy"])
        XCTAssertEqual(scene.transport.popWakeUps(), [])

        try await scene.run(dispatcher, for: .seconds(600))
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device), devices)
        XCTAssertEqual(scene.transport.attempts.count, 3)
        XCTAssertEqual(scene.rows, [])
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.sent, 1)
        XCTAssertEqual(counters.retried, 2)
    }

    func test_device_thatAlwaysFails_isLeftToPollingAfterTheLastAttempt() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        var configuration = WakeDispatchConfiguration()
        configuration.backoff = try BackoffSchedule(first: .seconds(1), maximumAttempts: 4)
        let dispatcher = scene.makeDispatcher(configuration)
        scene.transport.answer(devices[0], with: busy)
        try await scene.enqueue(to: devices)
        try await scene.run(dispatcher, for: .seconds(600))
        XCTAssertEqual(scene.transport.attempts.count, 4)
        XCTAssertEqual(scene.rows, [])
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.retried, 3)
        XCTAssertEqual(counters.abandoned, 1)
    }

    func test_thousandFailingDevicesAtTheHead_doNotDelayTheOthers() async throws {
        let scene = Scene()
        let failing = try await scene.enrol(names("bad", 1_000))
        let healthy = try await scene.enrol(names("good", 20))
        for device in failing { scene.transport.answer(device, with: busy) }
        var configuration = WakeDispatchConfiguration()
        configuration.rate = try WakeRate(perSecond: 5_000, maximumConcurrent: 64)
        let dispatcher = scene.makeDispatcher(configuration)
        try await scene.enqueue(to: failing)
        scene.clock.advance(by: .milliseconds(1))
        try await scene.enqueue(to: healthy)

        let step = try await dispatcher.step()
        XCTAssertEqual(step.attempted, 1_020)
        XCTAssertEqual(Set(scene.transport.popWakeUps().map(\.device)), Set(healthy))
        XCTAssertEqual(scene.rows.count, 1_000)

        // The failing ones wait at the back: a new wish is served at once, alone.
        scene.clock.advance(by: .seconds(1))
        try await scene.enqueue(to: [healthy[0]])
        let next = try await dispatcher.step()
        XCTAssertEqual(next.attempted, 1)
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device), [healthy[0]])
    }

    func test_wishesForADeviceUnderWay_areOneWakeUp_andAreCounted() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1", "d-2"])
        let dispatcher = scene.makeDispatcher()
        for _ in 0..<5 { try await scene.enqueue(to: devices) }
        let step = try await dispatcher.step()
        XCTAssertEqual(step.sent, 2)
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device).sorted(), devices)
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.coalesced, 8)
    }

    func test_newWishDuringAnAttempt_keepsTheDeviceDue() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        try await scene.enqueue(to: devices)
        scene.transport.hold()
        async let step = dispatcher.step()
        await scene.transport.waitForAttempts(1)
        try await scene.enqueue(to: devices)
        scene.transport.letGo()
        let report = try await step
        XCTAssertEqual(report.attempted, 2, "the newer wish is sent too")
        XCTAssertEqual(scene.rows, [])
    }

    func test_deviceThatCameByItself_isNotWoken_andIsCounted() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1", "d-2"])
        let dispatcher = scene.makeDispatcher()
        try await scene.enqueue(to: devices)
        try await scene.contact("d-1")
        _ = try await dispatcher.step()
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device.rawValue), ["d-2"])
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.foundByPolling, 1)
    }

    func test_deadToken_isDroppedAndAnnounced_withoutItsAddress() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dead = Mutex<[DeadRegistration]>([])
        let dispatcher = scene.makeDispatcher(
            WakeDispatchConfiguration(onDeadRegistration: { death in
                dead.withLock { $0.append(death) }
            })
        )
        scene.transport.answer(devices[0], with: .deadToken(since: nil))
        try await scene.enqueue(to: devices)
        let step = try await dispatcher.step()
        XCTAssertEqual(step.dead, 1)
        XCTAssertEqual(scene.rows, [])
        let push = try await scene.devices.device(devices[0], tenant: scene.tenant)?.push
        XCTAssertNil(push)
        let announced = dead.withLock { $0 }
        XCTAssertEqual(announced.map(\.device), devices)
        XCTAssertFalse("\(announced)".contains("secret"))
    }

    func test_deadToken_withANewerRegistration_keepsItAndTheWakeUp() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        scene.transport.failNext(with: .deadToken(since: nil))
        scene.transport.hold()
        try await scene.enqueue(to: devices)
        async let step = dispatcher.step()
        await scene.transport.waitForAttempts(1)
        scene.clock.advance(by: .milliseconds(1))
        try await scene.register("d-1")
        scene.transport.letGo()
        _ = try await step
        let push = try await scene.devices.device(devices[0], tenant: scene.tenant)?.push
        XCTAssertEqual(push?.registeredAt, scene.clock.now())
        _ = try await dispatcher.step()
        XCTAssertEqual(scene.transport.popWakeUps().map(\.device), devices)
    }

    func test_tokenCalledDeadBeforeItWasRegistered_isTriedAgainLater_notAtOnce() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        let before = scene.clock.now() - .seconds(60)
        scene.transport.answer(devices[0], with: .deadToken(since: before))
        try await scene.enqueue(to: devices)
        let step = try await dispatcher.step()
        XCTAssertEqual(step.attempted, 1)
        XCTAssertEqual(step.retried, 1)
        XCTAssertGreaterThan(scene.rows[0].due, scene.clock.now())
    }

    func test_deviceWithoutRegistration_orWithAnUnknownTransport_isLeftToPolling() async throws {
        let scene = Scene()
        let silent = try await scene.enrol(["silent"], transport: nil)
        let foreign = try await scene.enrol(["foreign"], transport: "carrier-pigeon")
        let step = try await {
            try await scene.enqueue(to: silent + foreign)
            return try await scene.makeDispatcher().step()
        }()
        XCTAssertEqual(step.abandoned, 2)
        XCTAssertEqual(step.attempted, 0)
        XCTAssertNil(step.nextDue)
        XCTAssertEqual(scene.rows, [])
    }

    func test_transportThatAsksForRest_restsForAllDevices_andGivesNoneUp() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(names("d", 50))
        var configuration = WakeDispatchConfiguration()
        configuration.rate = try WakeRate(maximumConcurrent: 1)
        configuration.backoff = try BackoffSchedule(maximumAttempts: 2)
        let dispatcher = scene.makeDispatcher(configuration)
        let rest = PushOutcome.retry(after: .seconds(60), scope: .transport, reason: "overloaded")
        scene.transport.failNext(3, with: rest)
        try await scene.enqueue(to: devices)
        let step = try await dispatcher.step()
        XCTAssertEqual(step.attempted, 1, "after the first answer nobody else is tried")
        XCTAssertEqual(step.retried, 50)
        XCTAssertEqual(step.nextDue, scene.clock.now() + .seconds(60))
        try await scene.run(dispatcher, for: .seconds(200))
        XCTAssertEqual(scene.transport.popWakeUps().count, 50)
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.abandoned, 0)
    }

    func test_rate_limitsWakeUpsASecond_andAttemptsAtOnce() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(names("d", 100))
        var configuration = WakeDispatchConfiguration()
        configuration.rate = try WakeRate(perSecond: 10, burst: 20, maximumConcurrent: 5)
        let dispatcher = scene.makeDispatcher(configuration)
        try await scene.enqueue(to: devices)
        let first = try await dispatcher.step()
        XCTAssertEqual(first.sent, 20)
        let none = try await dispatcher.step()
        XCTAssertEqual(none.sent, 0)
        scene.clock.advance(by: .seconds(1))
        let second = try await dispatcher.step()
        XCTAssertEqual(second.sent, 10)

        scene.clock.advance(by: .seconds(2))
        scene.transport.hold()
        async let held = dispatcher.step()
        await scene.transport.waitForAttempts(35)
        XCTAssertEqual(scene.transport.attempts.count, 35, "30 sent, 5 under way")
        scene.transport.letGo()
        let third = try await held
        XCTAssertEqual(third.sent, 20)
    }

    func test_attemptThatTakesTooLong_isCancelledAndTriedAgain() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"], transport: "deaf")
        let dispatcher = WakeDispatcher(
            storage: scene.storage,
            transports: ["deaf": DeafTransport()],
            capability: scene.capability,
            clock: scene.clock,
            random: scene.random
        )
        try await scene.enqueue(to: devices)
        async let step = dispatcher.step()
        try await scene.clock.waitForSleepers(1)
        scene.clock.advance(by: .seconds(30))
        let report = try await step
        XCTAssertEqual(report.retried, 1)
        XCTAssertTrue(scene.rows[0].lastFailure.contains("no answer"))
    }

    func test_revokedCapability_sendsNothing() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        try await scene.enqueue(to: devices)
        scene.capability.revoke()
        do {
            try await dispatcher.step()
            XCTFail("expected a refusal")
        } catch {
            XCTAssertEqual(error.code, .notCoordinator)
            XCTAssertEqual(error.category, .unavailable)
        }
        try await dispatcher.run()
        XCTAssertEqual(scene.transport.attempts, [])
    }

    func test_run_wakesUpOnAHintAndWhenSomethingFallsDue_andEndsGracefully() async throws {
        let scene = Scene()
        let devices = try await scene.enrol(["d-1"])
        let dispatcher = scene.makeDispatcher()
        try await testGracefulShutdown { trigger in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await dispatcher.run() }
                try await scene.clock.waitForSleepers(1)
                try await scene.enqueue(to: devices)
                dispatcher.hint()
                await scene.transport.waitForAttempts(1)

                // Without a hint the next look finds it.
                try await scene.enqueue(to: devices)
                while try await scene.storage.counters().sent < 2 || !scene.rows.isEmpty {
                    scene.clock.advance(by: .milliseconds(250))
                    await Task.yield()
                }

                // A shutdown lets what is under way end and stores it.
                scene.transport.hold()
                try await scene.enqueue(to: devices)
                dispatcher.hint()
                await scene.transport.waitForAttempts(3)
                trigger.triggerGracefulShutdown()
                scene.transport.letGo()
                try await group.waitForAll()
            }
        }
        XCTAssertEqual(scene.rows, [])
        let counters = try await scene.storage.counters()
        XCTAssertEqual(counters.sent, 3)
    }

    func test_run_withASlowDeviceUnderWay_goesOnWakingOthers() async throws {
        let scene = Scene()
        let slow = try await scene.enrol(["slow"], transport: "deaf")
        let fast = try await scene.enrol(["fast"])
        let dispatcher = WakeDispatcher(
            storage: scene.storage,
            transports: ["deaf": DeafTransport(), "recording": scene.transport],
            capability: scene.capability,
            clock: scene.clock,
            random: scene.random
        )
        try await scene.enqueue(to: slow)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await dispatcher.run() }
            // The attempt's time limit and the idle pause.
            try await scene.clock.waitForSleepers(2)
            try await scene.enqueue(to: fast)
            dispatcher.hint()
            await scene.transport.waitForAttempts(1)
            group.cancelAll()
            try await group.waitForAll()
        }
        XCTAssertEqual(scene.transport.attempts.map(\.device), fast)
    }
}

/// A transport that never answers, until it is cancelled.
private struct DeafTransport: PushTransport {
    func wake(_ request: PushRequest) async -> PushOutcome {
        for await _ in AsyncStream<Never>.makeStream().stream {}
        return .unknown(reason: "cancelled")
    }
}
