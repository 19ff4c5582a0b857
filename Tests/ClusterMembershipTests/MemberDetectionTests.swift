import ClusterMembership
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

/// How soon a loss is seen, whom it is not blamed on, and what readers are told of it.
final class MemberDetectionTests: XCTestCase {
    private let clock = ManualTimeSource()
    private let ledger = InMemoryLedger()

    private func worker(_ name: String, properties: [String: String] = [:]) -> Member {
        Member(
            node: NodeID(rawValue: name),
            role: .worker,
            domain: .standard(for: .worker),
            address: "10.0.0.4:80",
            properties: properties,
            joinedAt: clock.now(),
            lastHeard: clock.now()
        )
    }

    private func core(maximum: Int = 100) -> MembershipCore {
        MembershipCore(timeouts: .standard, storeEvery: .seconds(5), maximumMembers: maximum)
    }

    private func state(_ core: MembershipCore, _ node: NodeID) -> MemberState? {
        core.members.first { $0.node == node }?.state
    }

    // MARK: Detection

    func test_lossOfTheLink_isSuspectedWithinTwoSecondsAndFailedWithinFive() throws {
        let sweep = ClusterMembersConfiguration().sweepEvery
        // Whenever between two sweeps it falls silent.
        for offset in stride(from: 0, to: 250, by: 10) {
            var core = core()
            let lost = Duration.seconds(60) + .milliseconds(offset)
            _ = try core.onJoin(worker("w"), at: clock.now(), monotonic: lost)
            var suspectedAt: Duration?
            var failedAt: Duration?
            var now = Duration.seconds(60)
            while now < .seconds(70) {
                now += sweep
                _ = core.onSweep(monotonic: now, every: sweep)
                if suspectedAt == nil, state(core, "w") == .suspect { suspectedAt = now }
                if failedAt == nil, state(core, "w") == .failed { failedAt = now }
            }
            XCTAssertLessThanOrEqual(try XCTUnwrap(suspectedAt) - lost, .seconds(2))
            XCTAssertLessThanOrEqual(try XCTUnwrap(failedAt) - lost, .seconds(5))
        }
    }

    func test_oneLostHeartbeat_suspectsNobody() throws {
        var core = core()
        _ = try core.onJoin(worker("w"), at: clock.now(), monotonic: .zero)
        for now in stride(from: 0, through: 1_250, by: 250) {
            _ = core.onSweep(monotonic: .milliseconds(now), every: .milliseconds(250))
        }
        XCTAssertEqual(state(core, "w"), .alive)
    }

    func test_managerThatWasPaused_failsNobody_andGoesOnJudgingAfterwards() throws {
        var core = core()
        let every = Duration.milliseconds(250)
        for name in ["a", "b"] {
            _ = try core.onJoin(worker(name), at: clock.now(), monotonic: .zero)
        }
        _ = core.onSweep(monotonic: every, every: every)
        // A minute in which this process did nothing: it heard nobody because it did not listen.
        _ = core.onSweep(monotonic: .seconds(60), every: every)
        XCTAssertEqual(state(core, "a"), .alive)
        core.onHeard("b", monotonic: .milliseconds(61_000))
        var now = Duration.seconds(60)
        while now < .seconds(65) {
            now += every
            if now > .seconds(61) { core.onHeard("b", monotonic: now) }
            _ = core.onSweep(monotonic: now, every: every)
        }
        XCTAssertEqual(state(core, "a"), .failed, "it stayed silent while it was listened for")
        XCTAssertEqual(state(core, "b"), .alive)
    }

    func test_slowStore_makesNobodySilent() async throws {
        let registry = HeldRegistry(InMemoryMemberRegistry(ledger: ledger))
        let writer = ClusterMembers(registry: registry).writer(
            for: WriteCapability(epoch: ledger.raiseEpoch()),
            clock: clock
        )
        try await writer.join(worker("w-1"))
        try await writer.join(worker("w-2"))
        registry.hold()
        let third = worker("w-3")
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Its storing hangs, and every call after it queues.
            group.addTask { try await writer.join(third) }
            await registry.waitUntilHeld()
            clock.advance(by: .seconds(10))
            group.addTask { try await writer.sweep() }
            group.addTask { try await writer.heartbeat("w-1") }
            for _ in 0..<500 { await Task.yield() }
            registry.letGo()
            try await group.waitForAll()
        }
        let one = try await writer.current().first { $0.node == "w-1" }
        XCTAssertEqual(one?.state, .alive, "its word had come before the sweep was done")
        let two = try await writer.current().first { $0.node == "w-2" }
        XCTAssertEqual(two?.state, .failed)
    }

    func test_memberCutOffForADay_joinsAgainAsItIs() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let writer = ClusterMembers(registry: registry).writer(
            for: WriteCapability(epoch: ledger.raiseEpoch()),
            clock: clock
        )
        try await writer.join(worker("w-1"))
        try await writer.ask("w-1", for: .draining)
        clock.advance(by: .seconds(5))
        try await writer.sweep()
        clock.advance(by: .seconds(86_400))
        try await writer.sweep()
        let forgotten = try await registry.members()
        XCTAssertEqual(forgotten, [])
        do {
            try await writer.heartbeat("w-1")
            XCTFail("it has to join")
        } catch {
            XCTAssertEqual(error.code, .notJoined)
        }
        try await writer.join(worker("w-1", properties: ["zone": "south"]))
        let back = try await registry.members().first
        XCTAssertEqual(back?.state, .alive)
        XCTAssertEqual(back?.properties, ["zone": "south"])
    }

    // MARK: Modes

    func test_modeAskedOfAMember_isToldToItAndKeptWhenItJoinsAgain() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let writer = ClusterMembers(registry: registry).writer(
            for: WriteCapability(epoch: ledger.raiseEpoch()),
            clock: clock
        )
        let first = try await writer.join(worker("w-1"))
        XCTAssertEqual(first, .active)
        try await writer.ask("w-1", for: .maintenance)
        let told = try await writer.heartbeat("w-1", mode: .draining)
        XCTAssertEqual(told, .maintenance)
        let stored = try await registry.members().first
        XCTAssertEqual(stored?.mode, .draining)
        XCTAssertEqual(stored?.effectiveMode, .maintenance)
        let again = try await writer.join(worker("w-1"))
        XCTAssertEqual(again, .maintenance)
        try await writer.ask("w-1", for: .active)
        let after = try await writer.heartbeat("w-1")
        XCTAssertEqual(after, .active)
        do {
            try await writer.ask("nobody", for: .draining)
            XCTFail("nobody is no member")
        } catch {
            XCTAssertEqual(error.code, .notJoined)
        }
    }

    // MARK: Events

    func test_joinLeaveAndFailed_areThreeEvents() throws {
        let one = worker("a")
        func with(_ state: MemberState) -> Member {
            var changed = one
            changed.state = state
            return changed
        }
        XCTAssertEqual(MemberChanges.events(from: [], to: [one]), [.joined(one)])
        XCTAssertEqual(
            MemberChanges.events(from: [one], to: [with(.left)]),
            [.left(with(.left))]
        )
        XCTAssertEqual(
            MemberChanges.events(from: [one], to: [with(.failed)]),
            [.failed(with(.failed))]
        )
        XCTAssertEqual(
            MemberChanges.events(from: [one], to: [with(.suspect)]),
            [.suspected(with(.suspect))]
        )
        XCTAssertEqual(
            MemberChanges.events(from: [with(.suspect)], to: [one]),
            [.recovered(one)]
        )
        XCTAssertEqual(MemberChanges.events(from: [with(.failed)], to: [one]), [.joined(one)])
        XCTAssertEqual(
            MemberChanges.events(from: [with(.left)], to: []),
            [.forgotten(with(.left))]
        )
        XCTAssertEqual(MemberChanges.events(from: [], to: [with(.failed)]), [])
        var moved = one
        moved.properties = ["zone": "south"]
        moved.state = .suspect
        XCTAssertEqual(
            MemberChanges.events(from: [one], to: [moved]),
            [.changed(moved, from: one), .suspected(moved)]
        )
        var heard = one
        heard.lastHeard = one.lastHeard + .seconds(1)
        XCTAssertEqual(MemberChanges.events(from: [one], to: [heard]), [], "no news")
    }

    func test_eventSequence_beginsWithWhoIsThere_andGoesOnWithTheNews() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let epoch = ledger.raiseEpoch()
        let hints = InMemoryHintBus()
        var (one, two) = (worker("a"), worker("b"))
        for member in [one, two] { _ = try await registry.put(member, epoch: epoch) }
        var events = ClusterMembers(registry: registry)
            .events(hints: hints, clock: clock).makeAsyncIterator()
        let first = await events.next()
        let second = await events.next()
        XCTAssertEqual([first, second], [.joined(one), .joined(two)])
        one.state = .failed
        two.properties = ["zone": "north"]
        let before = two
        for member in [one, two] { _ = try await registry.put(member, epoch: epoch) }
        hints.publish(ledger.revision)
        let third = await events.next()
        XCTAssertEqual(third, .failed(one))
        let fourth = await events.next()
        XCTAssertEqual(fourth?.member, before)
        // Without a hint it looks by itself.
        two.state = .left
        _ = try await registry.put(two, epoch: epoch)
        let clock = clock
        let fifth = await withTaskGroup(of: Void.self) { group in
            let isDone = Mutex(false)
            group.addTask {
                while !isDone.withLock({ $0 }) {
                    clock.advance(by: .milliseconds(100))
                    await Task.yield()
                }
            }
            defer { isDone.withLock { $0 = true } }
            return await events.next()
        }
        XCTAssertEqual(fifth, .left(two))
    }

    // MARK: Probes and discovery

    func test_aMembersNextWord_answersAProbe() async throws {
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let members = ClusterMembers(registry: registry)
        let writer = members.writer(
            for: WriteCapability(epoch: ledger.raiseEpoch()),
            clock: clock
        )
        try await writer.join(worker("w-1"))
        let probe = MemberProbe(
            members: members,
            writer: { writer },
            direct: DeafProber(),
            others: [(manager: "m-2", prober: GoodProber())],
            clock: clock
        )
        async let asked = probe.probe("w-1")
        try await clock.waitForSleepers(1)
        for _ in 0..<200 {
            await Task.yield()
            try await writer.heartbeat("w-1")
        }
        let report = try await asked
        XCTAssertTrue(report.isThere)
        XCTAssertEqual(report.answers.map(\.way), [.link, .direct, .through("m-2")])
        XCTAssertEqual(report.answers[0].outcome, .answered)
        XCTAssertEqual(report.answers[1].outcome, .failed("it is deaf"))
        XCTAssertEqual(report.answers[2].outcome, .answered)
        do {
            _ = try await probe.probe("nobody")
            XCTFail("nobody is no member")
        } catch {
            XCTAssertEqual(error.code, .notJoined)
        }
    }

    func test_discoveries_areAskedInOrder_andOneThatFailsIsPassedBy() async throws {
        let combined = CombinedDiscovery([
            StaticDiscovery(["a:1", "b:1"]), FailingDiscovery(), StaticDiscovery(["b:1", "c:1"]),
        ])
        let found = try await combined.addresses()
        XCTAssertEqual(found, ["a:1", "b:1", "c:1"])
        do {
            _ = try await CombinedDiscovery([FailingDiscovery()]).addresses()
            XCTFail("nothing was found")
        } catch let error as ClusterMembershipError {
            XCTAssertEqual(error.message, "it is deaf")
        }
    }
}

private let deaf = ClusterMembershipError(.storage, "it is deaf")

private struct DeafProber: NodeProber {
    func probe(_ node: NodeID, at address: String) async throws { throw deaf }
}

private struct GoodProber: NodeProber {
    func probe(_ node: NodeID, at address: String) async throws {}
}

private struct FailingDiscovery: MemberDiscovery {
    func addresses() async throws -> [String] { throw deaf }
}

/// A registry whose next write waits until it is let go.
private final class HeldRegistry: MemberRegistry {
    private let base: any MemberRegistry
    private let state = Mutex<(isHolding: Bool, isHeld: Bool)>((false, false))

    init(_ base: any MemberRegistry) { self.base = base }

    func hold() { state.withLock { $0.isHolding = true } }
    func letGo() { state.withLock { $0.isHolding = false } }

    func waitUntilHeld() async {
        while !state.withLock({ $0.isHeld }) { await Task.yield() }
    }

    func put(_ member: Member, epoch: Epoch) async throws -> Revision {
        while state.withLock({ state in
            state.isHeld = state.isHolding
            return state.isHolding
        }) { await Task.yield() }
        return try await base.put(member, epoch: epoch)
    }

    func remove(_ node: NodeID, epoch: Epoch) async throws -> Revision {
        try await base.remove(node, epoch: epoch)
    }

    func members() async throws -> [Member] { try await base.members() }
}
