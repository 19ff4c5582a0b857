import ClusterRole
import ClusterTestKit
import DeviceRegistry
import Logging
import OperationQueue
import ServiceLifecycle
import Synchronization
import XCTest

/// A clock on which a sleep ends by cancellation only, for tests with thousands of sleepers.
private struct StoppedClock: TimeSource {
    func now() -> Timestamp { ManualTimeSource.standardStart }
    func monotonic() -> Duration { .zero }
    func sleep(for duration: Duration) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        for await _ in stream {}
        continuation.finish()
        throw CancellationError()
    }
}

/// Counts looks, and lets a test do something in the middle of one.
private final class WatchedReader: PendingWorkReader, WorkSignals {
    private let base: InMemoryOperationStorage
    private let state = Mutex((count: 0, after: [Int: @Sendable () async throws -> Void]()))

    init(_ base: InMemoryOperationStorage) { self.base = base }

    var count: Int { state.withLock { $0.count } }

    /// Runs `body` after the `number`th look has read and before it is answered.
    func after(look number: Int, _ body: @escaping @Sendable () async throws -> Void) {
        state.withLock { $0.after[number] = body }
    }

    func openWork(for device: DeviceID, tenant: TenantID) async throws -> OpenWork? {
        let work = try await base.openWork(for: device, tenant: tenant)
        let body = state.withLock { state in
            state.count += 1
            return state.after[state.count]
        }
        try await body?()
        return work
    }

    func observeWork(_ observer: @escaping @Sendable (WorkConcern) -> Void) {
        base.observeWork(observer)
    }
}

final class LongPollTests: XCTestCase {
    private let long = ExchangeReport(wait: .seconds(30))

    private func until(
        _ what: String,
        _ condition: @Sendable () -> Bool
    ) async throws {
        for _ in 0..<2_000_000 {
            if condition() { return }
            await Task.yield()
        }
        XCTFail("It never happened: \(what)")
        throw CancellationError()
    }

    private func scene() async throws -> (InMemoryCluster, WatchedReader, DeviceExchange) {
        let cluster = InMemoryCluster()
        let reader = WatchedReader(cluster.operations)
        let exchange = DeviceExchange(
            reader: reader,
            inbox: InProcessInbox(
                storage: cluster.operations,
                capability: cluster.capability,
                clock: cluster.time
            ),
            settings: .init(clock: cluster.time, random: cluster.random)
        )
        return (cluster, reader, exchange)
    }

    private func lock(_ device: DeviceIdentity) -> EnqueueRequest {
        EnqueueRequest("lock", to: .devices([device.device]))
    }

    func test_longPoll_workThatArrives_endsTheWait() async throws {
        let (cluster, _, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        let report = long
        async let answer = exchange.exchange(device: device, report: report)
        try await cluster.time.waitForSleepers(1)
        _ = try await cluster.enqueuer.enqueue(lock(device))
        // Signals within the look interval are found by one look at its end.
        try await until("the pause begins") { cluster.time.timeToNextWake == .milliseconds(50) }
        cluster.time.advance(by: .milliseconds(50))
        let codes = try await answer.codes
        XCTAssertEqual(codes, ["lock"])
        XCTAssertEqual(exchange.waitingCount, 0)
    }

    func test_longPoll_withWorkOrReport_isAnsweredAtOnce() async throws {
        let (cluster, _, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        _ = try await cluster.enqueuer.enqueue(lock(device))
        let first = try await exchange.exchange(device: device, report: long)
        XCTAssertEqual(first.codes, ["lock"])
        XCTAssertEqual(first.open, 1)
        var report = long
        report.results = [
            ExecutionResult(execution: first.operations[0].execution, outcome: .completed)
        ]
        let second = try await exchange.exchange(device: device, report: report)
        XCTAssertEqual(second.codes, [])
        XCTAssertEqual(second.open, 0)
        XCTAssertEqual(cluster.time.sleeperCount, 0)
    }

    func test_longPoll_timeOver_answersWithNothing() async throws {
        let (cluster, reader, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        // More than the limit of 60 s is cut down to it.
        async let answer = exchange.exchange(
            device: device,
            report: ExchangeReport(wait: .seconds(3_600))
        )
        try await cluster.time.waitForSleepers(1)
        XCTAssertEqual(cluster.time.timeToNextWake, .seconds(60))
        cluster.time.advance(by: .seconds(60))
        let given = try await answer
        XCTAssertEqual(given.codes, [])
        XCTAssertEqual(reader.count, 2)
        XCTAssertEqual(exchange.waitingCount, 0)
    }

    func test_longPoll_deferredWorkFallsDue_isOfferedThen() async throws {
        let (cluster, _, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        _ = try await cluster.enqueuer.enqueue(lock(device))
        let offer = try await exchange.exchange(device: device).operations[0]
        let until = cluster.time.now() + .seconds(7)
        let notNow = ExecutionResult(execution: offer.execution, outcome: .notNow(until: until))
        _ = try await exchange.exchange(
            device: device,
            report: ExchangeReport(results: [notNow], limit: 0)
        )
        let report = long
        async let answer = exchange.exchange(device: device, report: report)
        try await cluster.time.waitForSleepers(1)
        XCTAssertEqual(cluster.time.timeToNextWake, .seconds(7))
        cluster.time.advance(by: .seconds(7))
        let codes = try await answer.codes
        XCTAssertEqual(codes, ["lock"])
    }

    /// The race: work arrives after the look has read and before the device waits.
    func test_longPoll_workBetweenLookAndWait_isNotLost() async throws {
        let (cluster, reader, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        let request = lock(device)
        reader.after(look: 1) { _ = try await cluster.enqueuer.enqueue(request) }
        let report = long
        async let answer = exchange.exchange(device: device, report: report)
        try await until("the pause begins") { cluster.time.timeToNextWake == .milliseconds(50) }
        cluster.time.advance(by: .milliseconds(50))
        let codes = try await answer.codes
        XCTAssertEqual(codes, ["lock"])
        XCTAssertEqual(reader.count, 2)
    }

    func test_longPoll_stormOfChanges_costsOneLook() async throws {
        let (cluster, reader, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        _ = try await cluster.enrol("other", groups: ["others"])
        let report = long
        async let answer = exchange.exchange(device: device, report: report)
        try await cluster.time.waitForSleepers(1)
        for _ in 0..<200 {
            _ = try await cluster.enqueuer.enqueue(EnqueueRequest("lock", to: .group("others")))
        }
        try await until("the pause begins") { cluster.time.timeToNextWake == .milliseconds(50) }
        XCTAssertEqual(reader.count, 1)
        cluster.time.advance(by: .milliseconds(50))
        try await until("it has looked and waits again") {
            reader.count == 2 && cluster.time.sleeperCount == 1
        }
        cluster.time.advance(by: .seconds(30))
        let codes = try await answer.codes
        XCTAssertEqual(codes, [])
        XCTAssertEqual(reader.count, 3)
    }

    func test_longPoll_deviceGone_freesItsPlace() async throws {
        let (cluster, _, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        let report = long
        let poll = Task { try await exchange.exchange(device: device, report: report) }
        try await cluster.time.waitForSleepers(1)
        XCTAssertEqual(exchange.waitingCount, 1)
        poll.cancel()
        await assertThrows(.cancelled) { try await poll.value }
        XCTAssertEqual(exchange.waitingCount, 0)
        XCTAssertEqual(cluster.time.sleeperCount, 0)
    }

    func test_longPoll_gracefulShutdown_answersAtOnce() async throws {
        let (cluster, _, exchange) = try await scene()
        let device = try await cluster.enrol("d")
        let service = PollingService(exchange: exchange, device: device)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service, successTerminationBehavior: .ignore)],
                logger: .init(label: "test")
            )
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await cluster.time.waitForSleepers(1)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        XCTAssertEqual(service.answers, 1)
        XCTAssertEqual(exchange.waitingCount, 0)
    }

    func test_longPoll_beyondThePlaces_isAnsweredAtOnce() async throws {
        let cluster = InMemoryCluster()
        var settings = DeviceExchange.Settings(clock: cluster.time, random: cluster.random)
        settings.limits.waiters = 1
        let exchange = DeviceExchange(
            reader: cluster.operations,
            inbox: InProcessInbox(
                storage: cluster.operations,
                capability: cluster.capability,
                clock: cluster.time
            ),
            settings: settings
        )
        let first = try await cluster.enrol("d-1")
        let second = try await cluster.enrol("d-2")
        let report = long
        async let waiting = exchange.exchange(device: first, report: report)
        try await cluster.time.waitForSleepers(1)
        let answer = try await exchange.exchange(device: second, report: long)
        XCTAssertEqual(answer.codes, [])
        cluster.time.advance(by: .seconds(30))
        _ = try await waiting
    }

    func test_tenThousandWaiters_oneNamedOperation_wakesOne_andAGroupWakesAll() async throws {
        let cluster = InMemoryCluster()
        let count = 10_000
        var devices: [DeviceIdentity] = []
        for index in 0..<count {
            devices.append(
                try await cluster.administration.enrol(DeviceID(rawValue: "d-\(index)")).identity
            )
        }
        let reader = WatchedReader(cluster.operations)
        var settings = DeviceExchange.Settings(clock: StoppedClock(), random: cluster.random)
        settings.limits.waiters = count
        settings.limits.lookInterval = .zero
        let exchange = DeviceExchange(
            reader: reader,
            inbox: InProcessInbox(
                storage: cluster.operations,
                capability: cluster.capability,
                clock: cluster.time
            ),
            settings: settings
        )
        let report = long
        let answered = Collected()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for device in devices {
                group.addTask {
                    let answer = try await exchange.exchange(device: device, report: report)
                    answered.add(answer.codes)
                }
            }
            try await until("all wait") { exchange.waitingCount == count && reader.count == count }
            _ = try await cluster.enqueuer.enqueue(lock(devices[4_321]))
            try await until("the one is answered") {
                exchange.waitingCount == count - 1 && !answered.codes.isEmpty
            }
            XCTAssertEqual(reader.count, count + 1, "nobody else has looked")
            XCTAssertEqual(answered.codes, ["lock"])
            _ = try await cluster.enqueuer.enqueue(EnqueueRequest("all", to: .group(.everyone)))
            try await group.waitForAll()
        }
        XCTAssertEqual(answered.codes.count { $0 == "all" }, count - 1)
        XCTAssertEqual(exchange.waitingCount, 0)
    }
}

/// Codes that were handed out.
private final class Collected: Sendable {
    private let state = Mutex<[String]>([])
    var codes: [String] { state.withLock { $0 } }
    func add(_ codes: [String]) { state.withLock { $0 += codes } }
}

/// Polls once, as a handler inside a server does.
private final class PollingService: Service {
    private let exchange: DeviceExchange
    private let device: DeviceIdentity
    private let count = Mutex(0)

    init(exchange: DeviceExchange, device: DeviceIdentity) {
        self.exchange = exchange
        self.device = device
    }

    var answers: Int { count.withLock { $0 } }

    func run() async throws {
        _ = try await exchange.exchange(
            device: device,
            report: ExchangeReport(wait: .seconds(30))
        )
        count.withLock { $0 += 1 }
    }
}
