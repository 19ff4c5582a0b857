import ClusterMembership
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

/// Which of several managers becomes the coordinator, and how one makes room.
final class CoordinatorPreferenceTests: XCTestCase {
    private let epoch = Epoch(rawValue: 1)

    private func core(_ name: String = "a", rank: Int = 0) -> CoordinatorCore {
        CoordinatorCore(
            node: NodeID(rawValue: name),
            timing: .standard,
            callbackLimit: .seconds(30),
            rank: rank
        )
    }

    private func lease(_ holder: String = "a", epoch: Int64 = 1) -> Lease {
        Lease(
            holder: NodeID(rawValue: holder),
            epoch: Epoch(rawValue: epoch),
            remaining: .seconds(15)
        )
    }

    func test_lessPreferredNode_letsAFreeLeaseLieForAWhile() {
        var core = core(rank: 1)
        XCTAssertEqual(core.onStart(at: .zero), [.look])
        XCTAssertEqual(core.onHolder(nil, at: .zero), [.scheduleNext(after: .seconds(2))])
        XCTAssertEqual(core.onTick(at: .seconds(2)), [.look])
        XCTAssertEqual(
            core.onHolder(nil, at: .seconds(2)),
            [.scheduleNext(after: .seconds(1))]
        )
        XCTAssertEqual(core.onTick(at: .seconds(3)), [.look])
        XCTAssertEqual(core.onHolder(nil, at: .seconds(3)), [.acquire])
    }

    func test_lessPreferredNode_startsItsWaitAnewWhenTheLeaseWasHeldInBetween() {
        var core = core(rank: 1)
        _ = core.onStart(at: .zero)
        _ = core.onHolder(nil, at: .zero)
        XCTAssertEqual(core.onTick(at: .seconds(2)), [.look])
        XCTAssertEqual(
            core.onHolder(lease("b"), at: .seconds(2)),
            [.scheduleRetry(after: .seconds(2))]
        )
        XCTAssertEqual(core.onTick(at: .seconds(4)), [.look])
        XCTAssertEqual(core.onHolder(nil, at: .seconds(4)), [.scheduleNext(after: .seconds(2))])
        // Its own from an earlier life is its own at once.
        XCTAssertEqual(core.onTick(at: .seconds(6)), [.look])
        XCTAssertEqual(core.onHolder(lease(), at: .seconds(6)), [.acquire])
    }

    func test_nodeThatMayNoMore_handsOverOnlyAfterItsLossCallback() {
        var core = core()
        _ = core.onStart(at: .zero)
        _ = core.onLease(lease(), askedAt: .zero, at: .zero)
        _ = core.onGainHandled(succeeded: true, at: .zero)
        XCTAssertEqual(
            core.onEligibility(false, at: .seconds(1)),
            [.lost(epoch, .handedOver), .scheduleNext(after: .seconds(30))]
        )
        XCTAssertEqual(
            core.onLossHandled(at: .seconds(2)),
            [.release(epoch), .scheduleNext(after: .seconds(2))]
        )
        XCTAssertEqual(core.onReleased(at: .seconds(2)), [], "it waits until it may again")
        XCTAssertEqual(core.onTick(at: .seconds(60)), [], "it asks no more")
        XCTAssertEqual(core.onEligibility(true, at: .seconds(61)), [.acquire])
    }

    func test_stuckLossCallback_doesNotKeepALeaseThatIsHandedOver() {
        var core = core()
        _ = core.onStart(at: .zero)
        _ = core.onLease(lease(), askedAt: .zero, at: .zero)
        _ = core.onGainHandled(succeeded: true, at: .zero)
        _ = core.onHandOver(holdOff: .seconds(30), at: .seconds(1))
        XCTAssertEqual(
            core.onTick(at: .seconds(31)),
            [.release(epoch), .scheduleNext(after: .seconds(2))]
        )
        XCTAssertEqual(core.onReleased(at: .seconds(31)), [], "the callback still runs")
        XCTAssertEqual(core.onLossHandled(at: .seconds(90)), [.acquire])
    }

    func test_nodeThatHandedOver_leavesTheLeaseToOthersForAWhile() {
        var core = core()
        _ = core.onStart(at: .zero)
        _ = core.onLease(lease(), askedAt: .zero, at: .zero)
        _ = core.onGainHandled(succeeded: true, at: .zero)
        _ = core.onHandOver(holdOff: .seconds(30), at: .seconds(1))
        _ = core.onLossHandled(at: .seconds(1))
        _ = core.onReleased(at: .seconds(1))
        XCTAssertEqual(core.onTick(at: .seconds(3)), [.scheduleRetry(after: .seconds(28))])
        XCTAssertEqual(core.onTick(at: .seconds(31)), [.acquire])
    }

    func test_leaseGainedWhileStandingAside_goesBackUnused() {
        var core = core()
        XCTAssertEqual(core.onStart(at: .zero), [.acquire])
        XCTAssertEqual(core.onEligibility(false, at: .zero), [])
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .zero, at: .seconds(1)),
            [.release(epoch), .scheduleNext(after: .seconds(2))]
        )
        XCTAssertNil(core.epoch)
    }

    func test_preferredManager_thatComesLater_getsTheLease() async throws {
        let clock = ManualTimeSource()
        let store = InMemoryLeaseStore(ledger: InMemoryLedger(), clock: clock)
        let isPreferredThere = Mutex(false)
        let holder = Mutex<[String]>([])
        func coordinator(_ name: String, rank: Int) -> Coordinator {
            Coordinator(
                CoordinatorConfiguration(
                    node: NodeID(rawValue: name),
                    rank: rank,
                    shouldHandOver: rank == 0
                        ? nil : { @Sendable in isPreferredThere.withLock { $0 } }
                ),
                store: store,
                clock: clock,
                random: SeededRandomSource(seed: 4),
                onGain: { _ in holder.withLock { $0.append("+\(name)") } },
                onLoss: { _ in holder.withLock { $0.append("-\(name)") } }
            )
        }
        let (second, first) = (coordinator("b", rank: 1), coordinator("a", rank: 0))
        /// Moves the clock until one holds the lease and the other does not. On a busy machine the clock may
        /// outrun a renewal, and a holder loses the lease before it gets it again.
        func wait(for name: String) async {
            func isHolder() -> Bool {
                let journal = holder.withLock { $0 }
                let other = journal.last { !$0.hasSuffix(name) }
                return journal.last == "+\(name)" && other?.hasPrefix("+") != true
            }
            for _ in 0..<4_000 where !isHolder() {
                for _ in 0..<200 { await Task.yield() }
                clock.advance(by: .milliseconds(250))
            }
            XCTAssertTrue(isHolder(), "\(holder.withLock { $0 })")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await second.run() }
            await wait(for: "b")
            group.addTask { try await first.run() }
            isPreferredThere.withLock { $0 = true }
            await wait(for: "a")
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    func test_members_tellWhetherSomebodyIsPreferred() async throws {
        let ledger = InMemoryLedger()
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let epoch = ledger.raiseEpoch()
        let members = ClusterMembers(registry: registry)
        var other = Member(
            node: "a",
            role: .manager,
            domain: .standard(for: .manager),
            properties: [Member.coordinatorRank: "0"],
            joinedAt: Timestamp(milliseconds: 1),
            lastHeard: Timestamp(milliseconds: 1)
        )
        func isPreferred() async throws -> Bool {
            _ = try await registry.put(other, epoch: epoch)
            return await members.hasCandidate(preferredTo: 1, of: "b")
        }
        let alive = try await isPreferred()
        XCTAssertTrue(alive)
        other.askedMode = .draining
        let draining = try await isPreferred()
        XCTAssertFalse(draining)
        other.askedMode = .active
        other.state = .suspect
        let suspect = try await isPreferred()
        XCTAssertFalse(suspect)
        other.state = .alive
        other.properties = [Member.coordinatorRank: "1"]
        let equal = try await isPreferred()
        XCTAssertFalse(equal)
    }
}
