import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import XCTest

final class PeriodicTaskTests: XCTestCase {
    private let fleet = GroupID(rawValue: "fleet")
    private let battery = InformationKind(rawValue: "battery")

    private func task(
        _ house: House,
        frequency seconds: Int = 600,
        satisfiedBy kind: InformationKind? = nil
    ) -> PeriodicTask {
        PeriodicTask(
            id: "information",
            group: fleet,
            frequency: .seconds(seconds),
            satisfiedBy: kind,
            begins: house.clock.now()
        )
    }

    private func runner(
        _ house: House,
        _ tasks: any PeriodicTaskStorage,
        faults: FaultScript = FaultScript(),
        partition: TaskPartition = .all
    ) -> PeriodicTaskRunner {
        var settings = PeriodicTaskRunner.Settings(clock: house.clock)
        settings.partition = partition
        return PeriodicTaskRunner(
            tasks: FailingPeriodicTaskStorage(tasks, faults),
            enqueuer: OperationEnqueuer(
                storage: FailingOperationStorage(house.storage, faults),
                capability: house.capability,
                clock: house.clock,
                random: house.random
            ),
            capability: house.capability,
            settings: settings
        )
    }

    private func enrol(_ count: Int, _ house: House) async throws -> [DeviceIdentity] {
        var devices: [DeviceIdentity] = []
        for number in 0..<count {
            devices.append(try await house.enrol("d-\(number)", groups: [fleet]))
        }
        return devices
    }

    func test_firstDue_aFleet_isSpreadEvenlyOverThePeriod() {
        let task = PeriodicTask(id: "t", frequency: .seconds(1_000), begins: .distantPast)
        let now = Timestamp(milliseconds: 5_000_000_123)
        var tenths = [Int](repeating: 0, count: 10)
        for number in 0..<10_000 {
            let device = DeviceID(rawValue: "device-\(number)")
            let due = task.firstDue(of: device, at: now, lastReport: nil)
            XCTAssertGreaterThanOrEqual(due, now)
            XCTAssertLessThan(due, now + task.frequency)
            tenths[Int((due - now).milliseconds / 100_000)] += 1
            let later = task.firstDue(of: device, at: due + .milliseconds(1), lastReport: nil)
            XCTAssertEqual(later, due + task.frequency, "in step")
        }
        for count in tenths { XCTAssertEqual(Double(count), 1_000, accuracy: 120) }
    }

    func test_nextDue_missedPeriods_areMadeUpByOne() {
        let task = PeriodicTask(id: "t", frequency: .seconds(60), begins: .distantPast)
        let due = Timestamp(milliseconds: 1_000_000)
        XCTAssertEqual(task.nextDue(after: due, at: due), due + .seconds(60))
        XCTAssertEqual(task.nextDue(after: due, at: due + .seconds(59)), due + .seconds(60))
        XCTAssertEqual(task.nextDue(after: due, at: due + .seconds(60)), due + .seconds(120))
        XCTAssertEqual(task.nextDue(after: due, at: due + .seconds(400)), due + .seconds(420))
    }

    func test_runner_overAPeriod_asksEachDeviceOnceAtItsTime() async throws {
        let house = House()
        let tasks = InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices)
        let devices = try await enrol(30, house)
        let runner = runner(house, tasks)
        let task = task(house)
        try await runner.schedule(task)
        let start = house.clock.now()
        try await runner.tick(at: start - .milliseconds(1))
        var askedAt: [DeviceID: [Int]] = [:]
        for second in 0..<600 {
            for receipt in try await runner.tick(at: start + .milliseconds(second * 1_000 + 999)) {
                let asked = try await house.browser.executions(of: receipt.activity).executions
                for execution in asked { askedAt[execution.id.device, default: []].append(second) }
            }
        }
        XCTAssertEqual(askedAt.count, 30)
        for identity in devices {
            let due = task.firstDue(of: identity.device, at: start, lastReport: nil)
            let expected = Int((due - start).milliseconds / 1_000)
            XCTAssertEqual(askedAt[identity.device], [expected])
        }
    }

    func test_runner_crashAnywhere_neitherLosesNorDoublesARequest() async throws {
        for (method, isAfter) in [
            (DriverMethod.claim, false), (.claim, true), (.enqueue, false), (.enqueue, true),
            (.finish, false), (.finish, true), (.spread, true),
        ] {
            let house = House()
            let tasks = InMemoryPeriodicTaskStorage(
                ledger: house.ledger,
                devices: house.devices
            )
            _ = try await enrol(5, house)
            try await runner(house, tasks).schedule(task(house))
            let start = house.clock.now()
            if method != .spread { try await runner(house, tasks).tick(at: start) }
            let faults = FaultScript()
            if isAfter {
                faults.crashAfterCommit(of: method)
            } else {
                faults.failNext(of: method)
            }
            let end = start + .seconds(600)
            do {
                let crashAt = method == .spread ? start : end
                try await runner(house, tasks, faults: faults).tick(at: crashAt)
                XCTFail("\(method) was to fail")
            } catch {
                XCTAssertEqual(error.category, .unavailable)
            }
            // A new process.
            try await runner(house, tasks).tick(at: start)
            try await runner(house, tasks).tick(at: end)
            try await runner(house, tasks).tick(at: end)
            let activities = try await house.browser.activities().activities
            XCTAssertEqual(activities.map(\.addressed), [5], "\(method), after: \(isAfter)")
        }
    }

    func test_runner_deviceThatReportedRecently_isNotAsked() async throws {
        let house = House()
        let tasks = InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices)
        let devices = try await enrol(2, house)
        let runner = runner(house, tasks)
        try await runner.schedule(task(house, satisfiedBy: battery))
        let start = house.clock.now()
        try await runner.tick(at: start - .milliseconds(1))
        house.clock.advance(by: .seconds(5))
        try await house.inbox.accept([
            InboxEntry(
                identity: devices[0],
                receivedAt: house.clock.now(),
                body: .information(battery, body: Array("{\"level\":7}".utf8))
            )
        ])
        house.clock.advance(by: .seconds(595))
        let first = try await runner.tick(at: house.clock.now())
        XCTAssertEqual(first.map(\.addressed), [1], "only the one that was silent")
        let asked = try await house.browser.executions(of: first[0].activity).executions
        XCTAssertEqual(asked.map(\.id.device), [devices[1].device])
        house.clock.advance(by: .seconds(5))
        let second = try await runner.tick(at: house.clock.now())
        let later = try await house.browser.executions(of: second[0].activity).executions
        XCTAssertEqual(later.map(\.id.device), [devices[0].device], "when it is no longer fresh")
    }

    func test_runner_silentDevice_hasOneRequestOpen() async throws {
        let house = House()
        let tasks = InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices)
        let device = try await enrol(1, house)[0]
        let runner = runner(house, tasks)
        try await runner.schedule(task(house))
        for _ in 0..<5 {
            house.clock.advance(by: .seconds(600))
            try await runner.tick(at: house.clock.now())
        }
        let offered = try await house.poll(device).operations
        XCTAssertEqual(offered.map(\.code), [.deviceInformation])
        let again = try await house.poll(device).operations
        XCTAssertEqual(again.count, 0, "nothing behind it")
    }

    func test_runners_ofTwoPartitions_askEachDeviceOnce() async throws {
        let house = House()
        let tasks = InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices)
        _ = try await enrol(50, house)
        let low = runner(house, tasks, partition: TaskPartition(slots: 0..<30))
        let high = runner(house, tasks, partition: TaskPartition(slots: 30..<64))
        try await low.schedule(task(house))
        try await low.tick(at: house.clock.now())
        let end = house.clock.now() + .seconds(600)
        let receipts = try await low.tick(at: end) + high.tick(at: end)
        XCTAssertEqual(receipts.count, 2)
        XCTAssertEqual(receipts.reduce(0) { $0 + $1.addressed }, 50)
    }

    func test_schedule_badDefinition_isRefused() async throws {
        let house = House()
        let tasks = InMemoryPeriodicTaskStorage(ledger: house.ledger, devices: house.devices)
        let runner = runner(house, tasks)
        var bad = task(house)
        bad.frequency = .milliseconds(10)
        await assertThrows(.invalidRequest) { try await runner.schedule(bad) }
        bad = task(house)
        bad.freshness = .zero
        await assertThrows(.invalidRequest) { try await runner.schedule(bad) }
        bad = task(house, satisfiedBy: InformationKind(rawValue: "a b"))
        await assertThrows(.invalidRequest) { try await runner.schedule(bad) }
    }
}
