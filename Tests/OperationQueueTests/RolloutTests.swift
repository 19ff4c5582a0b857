import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class RolloutTests: XCTestCase {
    private let fleet = GroupID(rawValue: "fleet")

    func test_rank_isEvenlySpread_andTheSameEverywhere() {
        let activity = ActivityID(bits: 0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF)
        XCTAssertEqual(activity.rank(of: "device-1"), activity.rank(of: "device-1"))
        var parts = [Int](repeating: 0, count: 10)
        for number in 0..<20_000 {
            let rank = activity.rank(of: DeviceID(rawValue: "device-\(number)"))
            XCTAssertTrue((0..<RolloutPlan.everyone).contains(rank))
            parts[Int(rank) / 1_000] += 1
        }
        for part in parts {
            XCTAssertGreaterThan(part, 1_800)
            XCTAssertLessThan(part, 2_200)
        }
    }

    func test_waves_eachWaitsForSuccessAndSoak_thenAllFollow() async throws {
        let house = House()
        let devices = try await enrol(40, in: house)
        var request = EnqueueRequest("update", to: .group(fleet))
        request.rollout = RolloutPlan(
            .waves([
                RolloutWave(share: 2_000, successPercent: 100, soak: .seconds(600)),
                RolloutWave(share: 6_000, successPercent: 50),
            ])
        )
        let receipt = try await house.enqueuer.enqueue(request)
        try await house.timers.tick(at: house.clock.now())
        let first = try await answerAll(devices, in: house)
        XCTAssertEqual(first, devices.filter { receipt.activity.rank(of: $0.device) < 2_000 }.count)
        try await house.timers.tick(at: house.clock.now())
        let soaking = try await answerAll(devices, in: house)
        XCTAssertEqual(soaking, 0, "the soak time runs")
        house.clock.advance(by: .seconds(600))
        try await house.timers.tick(at: house.clock.now())
        let second = try await answerAll(devices, in: house)
        XCTAssertEqual(
            first + second,
            devices.filter { receipt.activity.rank(of: $0.device) < 6_000 }.count
        )
        // Success is noted, then the rest is released.
        try await house.timers.tick(at: house.clock.now())
        try await house.timers.tick(at: house.clock.now())
        _ = try await answerAll(devices, in: house)
        let activity = try await house.browser.activity(receipt.activity)
        XCTAssertEqual(activity.state, .finished)
        XCTAssertEqual(activity.counts[.completed], 40)
    }

    func test_failures_overTheThreshold_pauseUntilResumed_orAbort() async throws {
        for action in [RolloutFailureAction.pause, .abort] {
            let house = House()
            let devices = try await enrol(40, in: house)
            var request = EnqueueRequest("update", to: .group(fleet))
            request.rollout = RolloutPlan(
                .waves([RolloutWave(share: 5_000)]),
                failure: RolloutFailureThreshold(percent: 20, minimum: 2, action: action)
            )
            let receipt = try await house.enqueuer.enqueue(request)
            try await house.timers.tick(at: house.clock.now())
            _ = try await answerAll(devices, in: house, outcome: .failed)
            try await house.timers.tick(at: house.clock.now())
            let activity = try await house.browser.activity(receipt.activity)
            XCTAssertEqual(activity.state, action == .pause ? .open : .cancelled)
            XCTAssertEqual(activity.gate.hold, action == .pause ? .pausedByFailures : .none)
            let later = try await answerAll(devices, in: house)
            XCTAssertEqual(later, 0)
        }
    }

    func test_rate_releasesSoManyAMinute() async throws {
        let house = House()
        let devices = try await enrol(60, in: house)
        var request = EnqueueRequest("update", to: .group(fleet))
        request.rollout = RolloutPlan(.rate(devicesPerMinute: 20))
        _ = try await house.enqueuer.enqueue(request)
        var done = 0
        for minute in 0...3 {
            try await house.timers.tick(at: house.clock.now())
            done += try await answerAll(devices, in: house)
            XCTAssertLessThanOrEqual(abs(done - minute * 20), 12, "after \(minute) minutes")
            house.clock.advance(by: .seconds(60))
        }
        try await house.timers.tick(at: house.clock.now())
        done += try await answerAll(devices, in: house)
        XCTAssertEqual(done, 60)
    }

    func test_approval_beforeTheFirstWave_nothingMoves() async throws {
        let house = House()
        let devices = try await enrol(10, in: house)
        var request = EnqueueRequest("update", to: .group(fleet))
        request.approval = .required
        request.rollout = RolloutPlan(.waves([RolloutWave(share: 5_000)]))
        let receipt = try await house.enqueuer.enqueue(request)
        try await house.timers.tick(at: house.clock.now())
        let before = try await answerAll(devices, in: house)
        XCTAssertEqual(before, 0)
        try await house.enqueuer.approve(receipt.activity, by: "ann")
        let approved = try await answerAll(devices, in: house)
        XCTAssertEqual(approved, 0, "the first wave is counted first")
        try await house.timers.tick(at: house.clock.now())
        let after = try await answerAll(devices, in: house)
        XCTAssertEqual(after, devices.filter { receipt.activity.rank(of: $0.device) < 5_000 }.count)
    }

    func test_requests_thatMakeNoSense_areRefused() async throws {
        let house = House()
        _ = try await enrol(1, in: house)
        func refused(_ change: (inout EnqueueRequest) -> Void) async {
            var request = EnqueueRequest("update", to: .group(fleet))
            change(&request)
            await assertThrows(.invalidRequest) { try await house.enqueuer.enqueue(request) }
        }
        await refused { $0.rollout = RolloutPlan(.waves([])) }
        await refused { $0.rollout = RolloutPlan(.rate(devicesPerMinute: 0)) }
        await refused {
            $0.rollout = RolloutPlan(.waves([RolloutWave(share: 50), RolloutWave(share: 50)]))
        }
        await refused { $0.rollout = RolloutPlan(.waves([RolloutWave(share: 10_001)])) }
        await refused {
            $0.scope = .membersAndJoiners
            $0.rollout = RolloutPlan(.waves([RolloutWave(share: 50)]))
        }
        await refused { $0.retry = RetryPolicy(count: 0) }
        await refused { $0.retry = RetryPolicy(count: 1, matching: .errors([])) }
        await refused { $0.control = .supersede("") }
        await refused { $0.timeouts.whole = .zero }
        await refused {
            $0.target = .devices(["device-0"])
            $0.scope = .joinersOnly
        }
    }

    private func enrol(_ count: Int, in house: House) async throws -> [DeviceIdentity] {
        var devices: [DeviceIdentity] = []
        for number in 0..<count {
            devices.append(try await house.enrol("device-\(number)", groups: [fleet]))
        }
        return devices
    }

    /// Lets every device poll and answer what it gets; returns how many got something.
    private func answerAll(
        _ devices: [DeviceIdentity],
        in house: House,
        outcome: ResultOutcome = .completed
    ) async throws -> Int {
        var count = 0
        for device in devices {
            for offer in try await house.poll(device).operations {
                _ = try await house.report(offer, outcome, by: device)
                count += 1
            }
        }
        return count
    }
}
