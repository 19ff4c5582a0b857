import ClusterRole
import DeviceRegistry
import OperationQueue
import Synchronization
import XCTest

/// Time that moves only when a test moves it.
final class ManualClock: TimeSource {
    private let time: Mutex<Int64>

    init(_ milliseconds: Int64 = 1_000_000) { time = Mutex(milliseconds) }

    func advance(by duration: Duration) { time.withLock { $0 += duration.milliseconds } }
    func now() -> Timestamp { Timestamp(milliseconds: time.withLock { $0 }) }
    func monotonic() -> Duration { .milliseconds(time.withLock { $0 }) }
    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        advance(by: duration)
        await Task.yield()
    }
}

/// SplitMix64: the same seed gives the same history.
final class SeededRandom: RandomSource {
    private let state: Mutex<UInt64>

    init(_ seed: UInt64) { state = Mutex(seed) }

    func next() -> UInt64 {
        state.withLock { state in
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int(number(below: UInt64(elements.count)))]
    }
}

/// A store in memory with every façade on it.
struct House {
    let clock = ManualClock()
    let random: SeededRandom
    let ledger = InMemoryLedger()
    let devices: InMemoryDeviceStorage
    let wakes = InMemoryWakeTable()
    let storage: InMemoryOperationStorage
    let capability: WriteCapability
    let administration: DeviceAdministration
    let enqueuer: OperationEnqueuer
    let inbox: InProcessInbox
    let contacts: ContactBatcher
    let exchange: DeviceExchange
    let browser: ActivityBrowser
    let timers: ActivityTimers
    let explainer: ExecutionExplainer

    init(seed: UInt64 = 1) {
        random = SeededRandom(seed)
        devices = InMemoryDeviceStorage(ledger: ledger)
        storage = InMemoryOperationStorage(ledger: ledger, devices: devices, wakes: wakes)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        administration = DeviceAdministration(
            storage: devices,
            capability: capability,
            clock: clock,
            random: random
        )
        enqueuer = OperationEnqueuer(
            storage: storage,
            capability: capability,
            clock: clock,
            random: random
        )
        inbox = InProcessInbox(storage: storage, capability: capability, clock: clock)
        contacts = ContactBatcher(inbox: inbox, clock: clock)
        exchange = DeviceExchange(
            storage: storage,
            capability: capability,
            contacts: contacts,
            settings: .init(clock: clock, random: random)
        )
        browser = ActivityBrowser(reader: storage)
        timers = ActivityTimers(storage: storage, capability: capability, clock: clock)
        explainer = ExecutionExplainer(operations: storage, devices: devices, clock: clock)
    }

    @discardableResult
    func enrol(_ name: String, groups: [GroupID] = []) async throws -> DeviceIdentity {
        try await administration.enrol(DeviceID(rawValue: name), groups: groups).identity
    }

    func command(_ code: String, to devices: DeviceIdentity...) async throws -> EnqueueReceipt {
        try await enqueuer.enqueue(
            EnqueueRequest(
                OperationCode(rawValue: code),
                to: .devices(devices.map(\.device))
            )
        )
    }

    func report(
        _ offer: OfferedOperation,
        _ outcome: ResultOutcome,
        by device: DeviceIdentity,
        detail: String = "",
        limit: Int = 0
    ) async throws -> ExchangeAnswer {
        let result = ExecutionResult(
            execution: offer.execution,
            attempt: offer.attempt,
            outcome: outcome,
            detail: Array(detail.utf8)
        )
        return try await exchange.exchange(
            device: device,
            report: ExchangeReport(results: [result], limit: limit)
        )
    }

    func poll(_ device: DeviceIdentity, limit: Int = 10) async throws -> ExchangeAnswer {
        try await exchange.exchange(device: device, report: ExchangeReport(limit: limit))
    }

    func counts(of receipt: EnqueueReceipt) async throws -> StateCounts {
        try await browser.activity(receipt.activity).counts
    }
}

extension ExchangeAnswer {
    var codes: [String] { operations.map(\.code.rawValue) }
}

/// Asserts that a call throws an error of this code.
func assertThrows<Value>(
    _ code: OperationQueueError.Code,
    file: StaticString = #filePath,
    line: UInt = #line,
    _ body: () async throws -> Value
) async {
    do {
        _ = try await body()
        XCTFail("nothing was thrown", file: file, line: line)
    } catch let error as OperationQueueError {
        XCTAssertEqual(error.code, code, error.message, file: file, line: line)
    } catch {
        XCTFail("\(error)", file: file, line: line)
    }
}
