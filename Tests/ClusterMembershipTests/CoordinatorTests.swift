import ClusterMembership
import ClusterRole
import ClusterTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import XCTest

final class CoordinatorTests: XCTestCase {
    private let clock = ManualTimeSource()
    private let ledger = InMemoryLedger()

    private func makeCoordinator(
        _ name: String,
        _ store: any LeaseStore,
        _ journal: Journal,
        timing: LeaseTiming = .standard,
        callbackLimit: Duration = .seconds(30),
        onGain: @escaping Coordinator.GainCallback = { _ in }
    ) -> Coordinator {
        Coordinator(
            CoordinatorConfiguration(
                node: NodeID(rawValue: name),
                timing: timing,
                callbackLimit: callbackLimit
            ),
            store: store,
            clock: clock,
            random: SeededRandomSource(seed: 1),
            onGain: { capability in
                await journal.note(.gained(name, capability))
                try await onGain(capability)
            },
            onLoss: { reason in await journal.note(.lost(name, reason)) }
        )
    }

    func test_coordinator_gains_andGracefulShutdownHandsTheLeaseOver() async throws {
        let store = InMemoryLeaseStore(ledger: ledger, clock: clock)
        let journal = Journal()
        let first = makeCoordinator("a", store, journal)
        let second = makeCoordinator("b", store, journal)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let gate = Gate()
            group.addTask {
                try await testGracefulShutdown { trigger in
                    try await withThrowingTaskGroup(of: Void.self) { inner in
                        inner.addTask { try await first.run() }
                        await gate.wait()
                        trigger.triggerGracefulShutdown()
                        try await inner.waitForAll()
                    }
                }
            }
            let one = try await journal.next().capability()
            XCTAssertEqual(one.epoch, ledger.epoch)
            XCTAssertFalse(one.isRevoked)
            XCTAssertNotNil(first.capability)

            group.addTask { try await second.run() }
            gate.open()
            let loss = try await journal.next()
            XCTAssertEqual(loss.reason, .shutdown)
            XCTAssertTrue(one.isRevoked, "the capability is revoked before the loss is told")
            XCTAssertNil(first.capability)

            // The other one finds the lease free at its next try.
            let gained = await journal.nextMoving(clock)
            XCTAssertEqual(gained.name, "b")
            let two = try gained.capability()
            XCTAssertGreaterThan(two.epoch, one.epoch)
            XCTAssertThrowsError(try one.requireEpoch())
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_holder_whoseStoreHangs_stopsItself() async throws {
        let store = HangingLeaseStore(InMemoryLeaseStore(ledger: ledger, clock: clock))
        let journal = Journal()
        let coordinator = makeCoordinator("a", store, journal)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await coordinator.run() }
            let capability = try await journal.next().capability()
            store.hang()
            let loss = await journal.nextMoving(clock)
            XCTAssertEqual(loss.reason, .notRenewed)
            XCTAssertTrue(capability.isRevoked)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_holder_whoseClockPassedTheDeadline_hasNoCapabilityBeforeAnybodyTicked() async throws {
        let journal = Journal()
        let store = HangingLeaseStore(InMemoryLeaseStore(ledger: ledger, clock: clock))
        let coordinator = makeCoordinator("a", store, journal)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await coordinator.run() }
            _ = try await journal.next()
            store.hang()
            XCTAssertNotNil(coordinator.capability)
            clock.advance(by: .seconds(10))
            XCTAssertNil(coordinator.capability)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_gainCallback_thatIsStuck_doesNotKeepTheLease() async throws {
        let store = InMemoryLeaseStore(ledger: ledger, clock: clock)
        let journal = Journal()
        let gate = Gate()
        // A lease so long that nothing but the stuck callback can end it.
        let timing = try LeaseTiming(
            duration: .seconds(1_000_000),
            renew: .seconds(900_000),
            retry: .seconds(2)
        )
        let stuck = makeCoordinator("a", store, journal, timing: timing) { _ in await gate.wait() }
        let other = makeCoordinator("b", store, journal, timing: timing)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await stuck.run() }
            let capability = try await journal.next().capability()
            group.addTask { try await other.run() }
            let gained = await journal.nextMoving(clock)
            XCTAssertEqual(gained.name, "b")
            XCTAssertTrue(capability.isRevoked)
            gate.open()
            let loss = try await journal.next()
            XCTAssertEqual(loss.name, "a")
            XCTAssertEqual(loss.reason, .gainStuck)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_exclusiveLease_isHeldWithoutRenewal_andLossIsToldOnCancellation() async throws {
        let journal = Journal()
        let coordinator = makeCoordinator(
            "a",
            InMemoryExclusiveLease(ledger: ledger),
            journal,
            callbackLimit: .seconds(10 * 365 * 86_400)
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await coordinator.run() }
            let capability = try await journal.next().capability()
            clock.advance(by: .seconds(365 * 86_400))
            XCTAssertFalse(capability.isRevoked)
            XCTAssertEqual(coordinator.capability?.epoch, ledger.epoch)
            group.cancelAll()
            try await group.waitForAll()
            XCTAssertTrue(capability.isRevoked)
            let loss = try await journal.next()
            XCTAssertEqual(loss.reason, .cancelled)
        }
    }

    func test_run_calledTwice_isRefused() async throws {
        let journal = Journal()
        let coordinator = makeCoordinator("a", InMemoryExclusiveLease(ledger: ledger), journal)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await coordinator.run() }
            _ = try await journal.next()
            do {
                try await coordinator.run()
                XCTFail("expected a refusal")
            } catch let error as ClusterMembershipError {
                XCTAssertEqual(error.code, .invalidConfiguration)
            }
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}

/// What the callbacks of a test said, in order.
private final class Journal: Sendable {
    enum Entry: Sendable {
        case gained(String, WriteCapability)
        case lost(String, LeaseLoss)

        var name: String {
            switch self {
            case .gained(let name, _), .lost(let name, _): name
            }
        }
        var reason: LeaseLoss? { if case .lost(_, let reason) = self { reason } else { nil } }
        func capability() throws -> WriteCapability {
            guard case .gained(_, let capability) = self else {
                throw ClusterRoleError(.wrongRole, "expected a gain, not \(self)")
            }
            return capability
        }
    }

    private struct State {
        var entries: [Entry] = []
        var waiter: CheckedContinuation<Entry, Never>?
    }

    private let state = Mutex(State())

    func note(_ entry: Entry) async {
        let waiter = state.withLock { state -> CheckedContinuation<Entry, Never>? in
            defer { state.waiter = nil }
            if state.waiter == nil { state.entries.append(entry) }
            return state.waiter
        }
        waiter?.resume(returning: entry)
    }

    func next() async throws -> Entry {
        await withCheckedContinuation { continuation in
            let entry = state.withLock { state -> Entry? in
                if !state.entries.isEmpty { return state.entries.removeFirst() }
                state.waiter = continuation
                return nil
            }
            if let entry { continuation.resume(returning: entry) }
        }
    }

    /// The next entry, moving the clock second by second as long as there is none.
    func nextMoving(_ clock: ManualTimeSource) async -> Entry {
        while true {
            for _ in 0..<50 {
                let entry = state.withLock { $0.entries.isEmpty ? nil : $0.entries.removeFirst() }
                if let entry { return entry }
                await Task.yield()
            }
            clock.advance(by: .milliseconds(250))
        }
    }
}

/// A door that stays open once opened.
private final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}

/// A store that stops answering, until the caller is cancelled.
private final class HangingLeaseStore: LeaseStore {
    private let store: any LeaseStore
    private let isHanging = Mutex(false)

    init(_ store: any LeaseStore) { self.store = store }

    func hang() { isHanging.withLock { $0 = true } }

    private func pass() async throws {
        guard isHanging.withLock({ $0 }) else { return }
        for await _ in AsyncStream<Never>.makeStream().stream {}
        throw CancellationError()
    }

    func acquire(holder: NodeID, duration: Duration) async throws -> Lease {
        try await pass()
        return try await store.acquire(holder: holder, duration: duration)
    }

    func renew(holder: NodeID, epoch: Epoch, duration: Duration) async throws -> Lease {
        try await pass()
        return try await store.renew(holder: holder, epoch: epoch, duration: duration)
    }

    func release(holder: NodeID, epoch: Epoch) async throws {
        try await pass()
        try await store.release(holder: holder, epoch: epoch)
    }
}
