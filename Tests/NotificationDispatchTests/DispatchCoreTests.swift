import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class DispatchCoreTests: XCTestCase {
    private let now = Timestamp(milliseconds: 1_000_000)
    private let random = SeededRandomSource(seed: 7)

    private func makeCore(
        rate: WakeRate = .standard,
        backoff: BackoffSchedule = .standard
    ) -> DispatchCore {
        DispatchCore(rate: rate, backoff: backoff, transports: ["http"])
    }

    private func wake(attempts: Int32 = 0) -> WakeUp {
        WakeUp(
            tenant: .standard,
            device: DeviceID(rawValue: "d-1"),
            generation: 1,
            number: 1,
            due: now,
            attempts: attempts
        )
    }

    private var registration: PushRegistration {
        PushRegistration(transport: "http", address: "secret", registeredAt: now - .seconds(60))
    }

    private func decide(
        _ core: inout DispatchCore,
        _ outcome: PushOutcome,
        attempts: Int32 = 0,
        at monotonic: Duration = .zero
    ) -> [DispatchCore.OutcomeDirective] {
        core.onOutcome(
            outcome,
            of: wake(attempts: attempts),
            registration: registration,
            random: random,
            at: now,
            monotonic: monotonic
        )
    }

    func test_backoff_doublesUpToItsCap_withinItsJitter() throws {
        let exact = try BackoffSchedule(first: .seconds(10), cap: .seconds(100), jitter: 0)
        let pauses = (1...6).map { exact.delay(afterFailures: $0, random: random) }
        XCTAssertEqual(pauses, [10, 20, 40, 80, 100, 100].map { Duration.seconds($0) })
        XCTAssertEqual(exact.delay(afterFailures: .max, random: random), .seconds(100))
        XCTAssertEqual(exact.delay(afterFailures: 0, random: random), .seconds(10))

        var seen: Set<Duration> = []
        for failures in 1...200 {
            let pause = BackoffSchedule.standard.delay(afterFailures: 2, random: random)
            XCTAssertGreaterThanOrEqual(pause, .seconds(16), "\(failures)")
            XCTAssertLessThanOrEqual(pause, .seconds(24), "\(failures)")
            seen.insert(pause)
        }
        XCTAssertGreaterThan(seen.count, 100)
        let longest = BackoffSchedule.standard.delay(afterFailures: 50, random: random)
        XCTAssertLessThanOrEqual(longest, BackoffSchedule.standard.cap)
    }

    func test_limits_thatWouldNeverSend_areRefused() {
        XCTAssertThrowsError(try WakeRate(perSecond: 0))
        XCTAssertThrowsError(try WakeRate(perSecond: .nan))
        XCTAssertThrowsError(try WakeRate(perSecond: .infinity))
        XCTAssertThrowsError(try WakeRate(maximumConcurrent: 0))
        XCTAssertThrowsError(try WakeRate(burst: 0))
        XCTAssertThrowsError(try BackoffSchedule(first: .zero))
        XCTAssertThrowsError(try BackoffSchedule(first: .seconds(2), cap: .seconds(1)))
        XCTAssertThrowsError(try BackoffSchedule(jitter: 1))
        XCTAssertThrowsError(try BackoffSchedule(maximumAttempts: 0))
    }

    func test_retryAfter_isHonoured_unlessItIsAbsurd() {
        var core = makeCore()
        let polite = decide(&core, .retry(after: .seconds(120), scope: .device, reason: "later"))
        XCTAssertEqual(polite, [.settle(.retry(at: now + .seconds(120), failure: "later"))])
        let absurd = decide(
            &core,
            .retry(after: .seconds(31_536_000), scope: .device, reason: "next year")
        )
        XCTAssertEqual(
            absurd,
            [.settle(.retry(at: now + DispatchCore.longestRetryAfter, failure: "next year"))]
        )
    }

    func test_lastAttempt_givesUp_butNotForTheTransportsTrouble() {
        var core = makeCore()
        XCTAssertEqual(
            decide(&core, .unknown(reason: "cut"), attempts: 7),
            [.settle(.abandon(failure: "cut"))]
        )
        let rest = decide(
            &core,
            .retry(after: .seconds(5), scope: .transport, reason: "down"),
            attempts: 100
        )
        XCTAssertEqual(
            rest,
            [
                .settle(.retry(at: now + .seconds(5), failure: "down")),
                .reportPause(transport: "http", for: .seconds(5)),
            ]
        )
    }

    func test_restingTransport_putsOthersOff_untilItsRestIsOver() {
        var core = makeCore()
        let due = DueWakeUp(wake: wake(), registration: registration)
        _ = decide(&core, .retry(after: .seconds(60), scope: .transport, reason: "down"))
        XCTAssertEqual(
            core.onDue(due, at: now, monotonic: .seconds(20)),
            .settle(.retry(at: now + .seconds(40), failure: "the transport rests"))
        )
        XCTAssertEqual(
            core.onDue(due, at: now, monotonic: .seconds(60)),
            .attempt(registration)
        )
    }

    func test_answerUnderWayWhenTheRestBegan_doesNotEndIt() {
        var core = makeCore()
        let due = DueWakeUp(wake: wake(), registration: registration)
        _ = decide(&core, .retry(after: .seconds(60), scope: .transport, reason: "down"))
        XCTAssertEqual(decide(&core, .accepted, at: .seconds(1)), [.settle(.sent)])
        guard case .settle(.retry) = core.onDue(due, at: now, monotonic: .seconds(2)) else {
            return XCTFail("the transport still rests")
        }
    }

    func test_failureTexts_neverHoldTheAddress() {
        var core = makeCore()
        let outcome = PushOutcome.unknown(reason: "could not reach \(registration.address)!")
        guard case .settle(.retry(_, let failure)) = decide(&core, outcome).first else {
            return XCTFail("expected a retry")
        }
        XCTAssertEqual(failure, "could not reach …!")
    }

    func test_longFailureTexts_areCut() {
        var core = makeCore()
        let long = String(repeating: "ü", count: 10_000)
        guard case .settle(.abandon(let failure)) = decide(&core, .rejected(reason: long)).first
        else { return XCTFail("expected to give up") }
        XCTAssertLessThanOrEqual(failure.utf8.count, DispatchCore.maximumFailureBytes + 3)
    }

    func test_permits_growWithTheMonotonicClock_upToTheBurst() throws {
        var core = makeCore(rate: try WakeRate(perSecond: 3, burst: 6))
        let due = DueWakeUp(wake: wake(), registration: registration)
        XCTAssertEqual(core.permits(at: .zero), 6)
        for _ in 0..<6 { _ = core.onDue(due, at: now, monotonic: .zero) }
        XCTAssertEqual(core.permits(at: .zero), 0)
        XCTAssertEqual(core.permits(at: .milliseconds(333)), 0)
        XCTAssertEqual(core.permits(at: .milliseconds(334)), 1)
        XCTAssertEqual(core.permits(at: .seconds(1)), 3)
        XCTAssertEqual(core.permits(at: .seconds(3_600)), 6)
        // Many tiny steps lose nothing.
        for _ in 0..<6 { _ = core.onDue(due, at: now, monotonic: .seconds(3_600)) }
        var permits = 0
        for step in 1...10_000 {
            permits = core.permits(at: .seconds(3_600) + .microseconds(100 * step))
        }
        XCTAssertGreaterThanOrEqual(permits, 2)
    }
}
