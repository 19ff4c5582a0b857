import ClusterMembership
import ClusterRole
import ClusterTestKit
import ServiceLifecycle
import ServiceLifecycleTestKit
import Synchronization
import XCTest

final class ClusterTaskRunnerTests: XCTestCase {
    private let clock = ManualTimeSource()
    private let tasks = [
        ClusterTask("singleton", every: .seconds(15), missed: .catchUp(atMost: 100)),
        ClusterTask("asking", slots: 5, every: .seconds(10), missed: .catchUp(atMost: 100)),
    ]

    /// What the nodes did, and who is there.
    private final class Journal: Sendable {
        struct State {
            var runs: [TaskRun] = []
            var running: [TaskSlotID: String] = [:]
            var overlaps: [String] = []
            var members: [NodeID: Member] = [:]
            /// How often a runner has ended.
            var ended = 0
        }

        let state = Mutex(State())

        func begin(_ run: TaskRun, on node: NodeID) {
            state.withLock { state in
                if let other = state.running[run.slot] {
                    state.overlaps.append("\(run.key) on \(node) while \(other)")
                }
                state.running[run.slot] = "\(run.key) on \(node)"
            }
        }

        func end(_ run: TaskRun) {
            state.withLock { state in
                state.running[run.slot] = nil
                state.runs.append(run)
            }
        }
    }

    private func runner(
        _ node: NodeID,
        _ storage: any TaskSlotStorage,
        _ journal: Journal
    ) throws -> ClusterTaskRunner {
        var settings = ClusterTaskRunner.Settings()
        settings.clock = clock
        let clock = clock
        let jobs = tasks.map { task in
            ClusterTaskRunner.Job(task) { run in
                journal.begin(run, on: node)
                try await clock.sleep(for: .milliseconds(700))
                journal.end(run)
            }
        }
        return try ClusterTaskRunner(
            node: node,
            storage: storage,
            jobs: jobs,
            settings: settings
        ) {
            journal.state.withLock { state in
                state.members.keys.sorted().compactMap { state.members[$0] }
            }
        }
    }

    private func join(_ node: NodeID, _ journal: Journal) {
        let member = Member(
            node: node,
            role: .manager,
            domain: .standard(for: .manager),
            properties: ClusterTask.announcement(of: tasks),
            joinedAt: clock.now(),
            lastHeard: clock.now()
        )
        journal.state.withLock { $0.members[node] = member }
    }

    /// Moves the clock as fast as the nodes renew: a slot of a node that is there has always been renewed
    /// lately, so that no lease runs out only because this machine is busy.
    private func advance(
        _ duration: Duration,
        _ storage: any TaskSlotStorage,
        _ journal: Journal
    ) async throws {
        let end = clock.monotonic() + duration
        while clock.monotonic() < end {
            for _ in 0..<20 { await Task.yield() }
            for _ in 0..<200_000 {
                let there = journal.state.withLock { Set($0.members.keys) }
                let isStale = try await storage.slots().contains { slot in
                    slot.remaining < .seconds(12)
                        && (slot.holder.map { there.contains($0) } ?? false)
                }
                if !isStale { break }
                await Task.yield()
            }
            clock.advance(by: .milliseconds(250))
        }
    }

    func test_runners_throughThirtyRollingRestarts_runEachDueTimeOnce() async throws {
        let storage = InMemoryTaskSlotStorage(clock: clock)
        let journal = Journal()
        let nodes = (0..<4).map { NodeID(rawValue: "node-\($0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            var triggers: [NodeID: AsyncStream<Never>.Continuation] = [:]
            func start(_ node: NodeID) throws {
                let (shutdown, trigger) = AsyncStream.makeStream(of: Never.self)
                triggers[node] = trigger
                join(node, journal)
                let runner = try runner(node, storage, journal)
                group.addTask {
                    try await testGracefulShutdown { graceful in
                        try await withThrowingTaskGroup(of: Void.self) { inner in
                            inner.addTask { try await runner.run() }
                            for await _ in shutdown {}
                            graceful.triggerGracefulShutdown()
                            try await inner.waitForAll()
                        }
                    }
                    journal.state.withLock { $0.ended += 1 }
                }
            }
            for node in nodes { try start(node) }
            try await advance(.seconds(30), storage, journal)
            for round in 0..<30 {
                let node = nodes[round % 4]
                journal.state.withLock { $0.members[node]?.state = .left }
                triggers[node]?.finish()
                // It ends once its runs have: they need the clock.
                var waited = 0
                while journal.state.withLock({ $0.ended }) <= round, waited < 200 {
                    try await advance(.milliseconds(250), storage, journal)
                    waited += 1
                }
                XCTAssertEqual(journal.state.withLock { $0.ended }, round + 1)
                try await advance(.seconds(2), storage, journal)
                try start(node)
                try await advance(.seconds(4), storage, journal)
            }
            try await advance(.seconds(40), storage, journal)
            group.cancelAll()
            while let _ = try? await group.next() {}
        }
        let (runs, overlaps) = journal.state.withLock { ($0.runs, $0.overlaps) }
        XCTAssertEqual(overlaps, [])
        for task in tasks {
            for number in 0..<task.slots {
                let slot = TaskSlotID(task: task.name, number: number)
                let dues = runs.filter { $0.slot == slot }.map(\.due.milliseconds)
                let first = try XCTUnwrap(dues.first, "\(slot) never ran")
                let last = (clock.now() - .seconds(20)).milliseconds
                let expected = Array(
                    stride(from: first, through: last, by: Int(task.frequency.milliseconds))
                )
                XCTAssertEqual(dues.filter { $0 <= last }, expected, "\(slot)")
                XCTAssertGreaterThan(expected.count, 10)
            }
        }
    }

    func test_aNodeWhoseStoreHangs_cancelsItsBodiesByItsOwnClock() async throws {
        let storage = HangingTaskSlots(InMemoryTaskSlotStorage(clock: clock))
        let journal = Journal()
        let (begun, beginning) = AsyncStream.makeStream(of: TaskRun.self)
        let (cancelled, cancelling) = AsyncStream.makeStream(of: TaskRun.self)
        let task = ClusterTask("long", every: .seconds(5))
        var settings = ClusterTaskRunner.Settings()
        settings.clock = clock
        join("a", journal)
        journal.state.withLock {
            $0.members["a"]?.properties = ClusterTask.announcement(of: [task])
        }
        let job = ClusterTaskRunner.Job(task) { run in
            beginning.yield(run)
            for await _ in AsyncStream<Never>.makeStream().stream {}
            cancelling.yield(run)
        }
        let runner = try ClusterTaskRunner(
            node: "a",
            storage: storage,
            jobs: [job],
            settings: settings
        ) { journal.state.withLock { Array($0.members.values) } }
        let clock = clock
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await runner.run() }
            let mover = Mutex(true)
            group.addTask {
                while mover.withLock({ $0 }) {
                    for _ in 0..<50 { await Task.yield() }
                    clock.advance(by: .milliseconds(250))
                }
            }
            var begins = begun.makeAsyncIterator()
            let run = await begins.next()
            storage.hang()
            let hangsAt = clock.monotonic()
            var ends = cancelled.makeAsyncIterator()
            let ended = await ends.next()
            XCTAssertEqual(ended, run)
            XCTAssertNotNil(run)
            XCTAssertGreaterThanOrEqual(clock.monotonic() - hangsAt, .seconds(5))
            XCTAssertEqual(runner.heldSlots, [])
            mover.withLock { $0 = false }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_tasksOfOneName_andRunningTwice_areRefused() async throws {
        let storage = InMemoryTaskSlotStorage(clock: clock)
        let job = ClusterTaskRunner.Job(tasks[0]) { _ in }
        XCTAssertThrowsError(
            try ClusterTaskRunner(node: "a", storage: storage, jobs: [job, job]) { [] }
        ) { XCTAssertEqual(($0 as? ClusterMembershipError)?.code, .invalidTask) }
        let runner = try ClusterTaskRunner(node: "a", storage: storage, jobs: [job]) { [] }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await runner.run() }
            group.cancelAll()
            try await group.waitForAll()
        }
        do {
            try await runner.run()
            XCTFail("it ran twice")
        } catch let error as ClusterMembershipError {
            XCTAssertEqual(error.code, .invalidConfiguration)
        }
    }
}

/// A store that stops answering, until the caller is cancelled.
private final class HangingTaskSlots: TaskSlotStorage {
    private let storage: any TaskSlotStorage
    private let isHanging = Mutex(false)

    init(_ storage: any TaskSlotStorage) { self.storage = storage }

    func hang() { isHanging.withLock { $0 = true } }

    private func pass() async throws {
        guard isHanging.withLock({ $0 }) else { return }
        for await _ in AsyncStream<Never>.makeStream().stream {}
        throw CancellationError()
    }

    func slots() async throws -> [TaskSlot] {
        try await pass()
        return try await storage.slots()
    }

    func acquire(
        _ slots: [TaskSlotID],
        holder: NodeID,
        duration: Duration
    ) async throws -> [TaskSlot] {
        try await pass()
        return try await storage.acquire(slots, holder: holder, duration: duration)
    }

    func renew(_ claims: [TaskSlotClaim], duration: Duration) async throws -> [TaskSlot] {
        try await pass()
        return try await storage.renew(claims, duration: duration)
    }

    func release(_ claims: [TaskSlotClaim]) async throws {
        try await pass()
        try await storage.release(claims)
    }

    func advance(_ claim: TaskSlotClaim, to progress: TaskProgress) async throws {
        try await pass()
        try await storage.advance(claim, to: progress)
    }

    func remove(_ task: ClusterTaskName) async throws {
        try await pass()
        try await storage.remove(task)
    }
}
