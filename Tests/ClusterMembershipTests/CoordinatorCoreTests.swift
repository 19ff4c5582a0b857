import ClusterMembership
import ClusterRole
import XCTest

final class CoordinatorCoreTests: XCTestCase {
    private let node = NodeID(rawValue: "manager-1")
    private let epoch = Epoch(rawValue: 7)

    private func makeCore() -> CoordinatorCore {
        CoordinatorCore(node: node, timing: .standard, callbackLimit: .seconds(30))
    }

    private func lease(_ remaining: Duration = .seconds(15), of holder: String = "manager-1")
        -> Lease
    {
        Lease(holder: NodeID(rawValue: holder), epoch: epoch, remaining: remaining)
    }

    /// A core that gained the lease, asked for at zero, and whose gain callback has returned.
    private func makeHolder() -> CoordinatorCore {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        _ = core.onLease(lease(), askedAt: .zero, at: .zero)
        _ = core.onGainHandled(succeeded: true, at: .zero)
        return core
    }

    func test_leaseTiming_thatDoesNotGrow_isRefused() {
        let wrong: [(Int64, Int64, Int64)] = [(10, 10, 2), (15, 2, 2), (120, 24, 20), (15, 10, 0)]
        for (duration, renew, retry) in wrong {
            XCTAssertThrowsError(
                try LeaseTiming(
                    duration: .seconds(duration),
                    renew: .seconds(renew),
                    retry: .seconds(retry)
                )
            ) { error in
                XCTAssertEqual((error as? ClusterMembershipError)?.code, .invalidConfiguration)
            }
        }
        XCTAssertNoThrow(
            try LeaseTiming(duration: .seconds(15), renew: .seconds(10), retry: .seconds(8))
        )
    }

    func test_start_asksForTheLease_andHoldsItFromBeforeItAsked() {
        var core = makeCore()
        XCTAssertEqual(core.onStart(at: .seconds(1)), [.acquire])
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .seconds(1), at: .seconds(3)),
            [
                .hold(epoch, until: .seconds(11)), .gained(epoch),
                .scheduleNext(after: .seconds(2)),
            ]
        )
        XCTAssertEqual(core.epoch, epoch)
    }

    func test_leaseOfAnother_isAskedForAgainLater() {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        XCTAssertEqual(
            core.onLease(lease(of: "manager-2"), askedAt: .zero, at: .zero),
            [.scheduleRetry(after: .seconds(2))]
        )
        XCTAssertEqual(core.onTick(at: .seconds(2)), [.acquire])
    }

    func test_anAnswerThatTookLongerThanTheLease_isNoGain() {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .zero, at: .seconds(12)),
            [.scheduleRetry(after: .seconds(2))]
        )
        XCTAssertNil(core.epoch)
    }

    func test_holder_whoseStoreHangs_stopsItselfAtTheDeadline() {
        var core = makeHolder()
        XCTAssertEqual(
            core.onTick(at: .seconds(2)),
            [.renew(epoch), .scheduleNext(after: .seconds(8))]
        )
        XCTAssertEqual(core.onTick(at: .seconds(9)), [.scheduleNext(after: .seconds(1))])
        XCTAssertEqual(core.onTick(at: .seconds(10)), [.lost(epoch, .notRenewed)])
        XCTAssertNil(core.epoch)
        // Nothing more is asked while the store owes an answer; then the lease is taken anew.
        XCTAssertEqual(core.onLossHandled(at: .seconds(10)), [])
        XCTAssertEqual(core.onTick(at: .seconds(30)), [])
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .seconds(2), at: .seconds(31)),
            [.acquire]
        )
    }

    func test_holder_whoseStoreFails_triesAgainUntilTheDeadline() {
        var core = makeHolder()
        for second in [2, 4, 6, 8] as [Int64] {
            XCTAssertEqual(core.onTick(at: .seconds(second)).first, .renew(epoch))
            XCTAssertEqual(
                core.onStoreFailure(.unavailable, at: .seconds(second)),
                [.scheduleNext(after: .seconds(min(2, 10 - second)))]
            )
        }
        XCTAssertEqual(core.onTick(at: .seconds(10)), [.lost(epoch, .notRenewed)])
    }

    func test_renewal_movesTheDeadline() {
        var core = makeHolder()
        _ = core.onTick(at: .seconds(2))
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .seconds(2), at: .seconds(3)),
            [.hold(epoch, until: .seconds(12)), .scheduleNext(after: .seconds(2))]
        )
    }

    func test_renewal_thatIsFenced_losesAtOnce() {
        var core = makeHolder()
        _ = core.onTick(at: .seconds(2))
        XCTAssertEqual(
            core.onStoreFailure(.fenced(current: epoch.next), at: .seconds(2)),
            [.lost(epoch, .fenced(current: epoch.next))]
        )
        XCTAssertEqual(
            core.onLossHandled(at: .seconds(2)),
            [.scheduleRetry(after: .seconds(2))]
        )
    }

    func test_unlimitedLease_isNeverRenewed() {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        XCTAssertEqual(
            core.onLease(lease(Lease.unlimited), askedAt: .zero, at: .zero),
            [.hold(epoch, until: nil), .gained(epoch), .scheduleNext(after: .seconds(30))]
        )
        XCTAssertEqual(core.onGainHandled(succeeded: true, at: .seconds(1)), [])
        XCTAssertEqual(core.onTick(at: .seconds(1_000_000)), [])
        XCTAssertEqual(core.epoch, epoch)
    }

    func test_gainCallback_thatFailsOrIsStuck_givesTheLeaseBack() {
        var failing = makeCore()
        _ = failing.onStart(at: .zero)
        _ = failing.onLease(lease(), askedAt: .zero, at: .zero)
        XCTAssertEqual(
            failing.onGainHandled(succeeded: false, at: .seconds(1)),
            [.lost(epoch, .gainFailed), .release(epoch)]
        )

        var stuck = makeCore()
        _ = stuck.onStart(at: .zero)
        _ = stuck.onLease(lease(Lease.unlimited), askedAt: .zero, at: .zero)
        XCTAssertEqual(
            stuck.onTick(at: .seconds(30)),
            [.lost(epoch, .gainStuck), .release(epoch)]
        )
        XCTAssertEqual(stuck.onReleased(at: .seconds(30)), [])
        // It does not compete again before both callbacks have returned.
        XCTAssertEqual(stuck.onGainHandled(succeeded: true, at: .seconds(60)), [])
        XCTAssertEqual(stuck.onLossHandled(at: .seconds(61)), [.acquire])
    }

    func test_stuckGain_whileARenewalIsUnderWay_givesTheLeaseBackWhenThatHasAnswered() {
        var asking = makeCore()
        _ = asking.onStart(at: .zero)
        _ = asking.onLease(lease(.seconds(15)), askedAt: .seconds(25), at: .zero)
        XCTAssertEqual(asking.onTick(at: .seconds(29)).first, .renew(epoch))
        XCTAssertEqual(asking.onTick(at: .seconds(30)), [.lost(epoch, .gainStuck)])
        XCTAssertEqual(
            asking.onLease(lease(), askedAt: .seconds(29), at: .seconds(31)),
            [.release(epoch)]
        )
        XCTAssertEqual(asking.onReleased(at: .seconds(31)), [])
    }

    func test_shutdown_tellsTheLossThenGivesTheLeaseBackThenStops() {
        var core = makeHolder()
        XCTAssertEqual(
            core.onShutdown(at: .seconds(1)),
            [.lost(epoch, .shutdown), .scheduleNext(after: .seconds(30))]
        )
        XCTAssertEqual(core.onShutdown(at: .seconds(1)), [])
        XCTAssertEqual(
            core.onLossHandled(at: .seconds(2)),
            [.release(epoch), .scheduleNext(after: .seconds(2))]
        )
        XCTAssertEqual(core.onReleased(at: .seconds(2)), [.stop])
    }

    func test_shutdown_withAStuckLossCallback_givesTheLeaseBackAnyway() {
        var core = makeHolder()
        _ = core.onShutdown(at: .seconds(1))
        XCTAssertEqual(
            core.onTick(at: .seconds(31)),
            [.release(epoch), .scheduleNext(after: .seconds(2))]
        )
        // And a store that hangs does not keep the node.
        XCTAssertEqual(core.onTick(at: .seconds(33)), [.stop])
    }

    func test_shutdown_whileAsking_givesBackWhatIsGained() {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        XCTAssertEqual(core.onShutdown(at: .zero), [.scheduleNext(after: .seconds(2))])
        XCTAssertEqual(
            core.onLease(lease(), askedAt: .zero, at: .seconds(1)),
            [.release(epoch), .scheduleNext(after: .seconds(1))]
        )
        XCTAssertEqual(core.onReleased(at: .seconds(1)), [.stop])
    }

    func test_shutdown_beforeAnything_stops() {
        var core = makeCore()
        _ = core.onStart(at: .zero)
        _ = core.onLease(lease(of: "manager-2"), askedAt: .zero, at: .zero)
        XCTAssertEqual(core.onShutdown(at: .seconds(1)), [.stop])
    }
}
