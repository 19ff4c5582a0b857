import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

private final class Tally: Sendable {
    private let value = Mutex(0)
    var count: Int { value.withLock { $0 } }
    func add() { value.withLock { $0 += 1 } }
}

final class ManualTimeSourceTests: XCTestCase {
    func test_clock_whenNobodyMovesIt_standsStill() {
        let time = ManualTimeSource(startingAt: Timestamp(milliseconds: 5_000))
        XCTAssertEqual(time.now(), Timestamp(milliseconds: 5_000))
        XCTAssertEqual(time.monotonic(), .zero)
        XCTAssertEqual(time.now(), Timestamp(milliseconds: 5_000))
    }

    func test_advance_movesBothClocks_withoutLosingFractions() {
        let time = ManualTimeSource(startingAt: Timestamp(milliseconds: 1_000))
        for _ in 0..<4 { time.advance(by: .microseconds(250)) }
        XCTAssertEqual(time.now(), Timestamp(milliseconds: 1_001))
        XCTAssertEqual(time.monotonic(), .milliseconds(1))
        time.advance(by: .seconds(-5))
        XCTAssertEqual(time.monotonic(), .milliseconds(1))
    }

    func test_wallClock_whenItJumps_wakesNobody() async throws {
        let time = ManualTimeSource(startingAt: Timestamp(milliseconds: 1_000))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await time.sleep(for: .seconds(10)) }
            try await time.waitForSleepers(1)
            time.jumpWallClock(by: .seconds(60))
            XCTAssertEqual(time.now(), Timestamp(milliseconds: 61_000))
            XCTAssertEqual(time.monotonic(), .zero)
            XCTAssertEqual(time.sleeperCount, 1)
            time.jumpWallClock(by: .seconds(-60))
            XCTAssertEqual(time.now(), Timestamp(milliseconds: 1_000))
            time.advance(by: .seconds(10))
            try await group.waitForAll()
        }
    }

    func test_sleepers_whenTimeAdvances_wakeOnlyOnceTheirDeadlineIsReached() async throws {
        let time = ManualTimeSource()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for seconds in [30, 10, 20] {
                group.addTask {
                    try await time.sleep(for: .seconds(seconds))
                    return seconds
                }
            }
            try await time.waitForSleepers(3)
            XCTAssertEqual(time.timeToNextWake, .seconds(10))
            for expected in [10, 20, 30] {
                time.advance(by: .seconds(9))
                XCTAssertEqual(time.timeToNextWake, .seconds(1))
                time.advance(by: .seconds(1))
                let woken = try await group.next()
                XCTAssertEqual(woken, expected)
            }
            XCTAssertNil(time.timeToNextWake)
        }
    }

    func test_sleep_whenTheTaskIsCancelled_throwsAndLeavesNoSleeper() async throws {
        let time = ManualTimeSource()
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    try await time.sleep(for: .seconds(10))
                    return false
                } catch { return error is CancellationError }
            }
            try? await time.waitForSleepers(1)
            group.cancelAll()
            for await sawCancellation in group { XCTAssertTrue(sawCancellation) }
        }
        XCTAssertEqual(time.sleeperCount, 0)
    }

    func test_sleep_ofACancelledTask_throwsAtOnce() async {
        let time = ManualTimeSource()
        await withTaskGroup(of: Bool.self) { group in
            group.cancelAll()
            group.addTask {
                do {
                    try await time.sleep(for: .seconds(1))
                    return false
                } catch { return error is CancellationError }
            }
            for await sawCancellation in group { XCTAssertTrue(sawCancellation) }
        }
    }

    func test_waitForSleepers_whenCancelled_throws() async {
        let time = ManualTimeSource()
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    try await time.waitForSleepers(3)
                    return false
                } catch { return error is CancellationError }
            }
            group.cancelAll()
            for await sawCancellation in group { XCTAssertTrue(sawCancellation) }
        }
    }

    func test_clock_whenManyTasksSleepAndCancelAtRandom_losesNobody() async throws {
        let time = ManualTimeSource()
        let finished = Tally()
        await withTaskGroup(of: Void.self) { outer in
            for index in 0..<200 {
                outer.addTask {
                    await withTaskGroup(of: Void.self) { inner in
                        inner.addTask {
                            try? await time.sleep(for: .milliseconds(index % 17 + 1))
                            finished.add()
                        }
                        if index % 3 == 0 { inner.cancelAll() }
                    }
                }
            }
            while finished.count < 200 {
                time.advance(by: .milliseconds(1))
                await Task.yield()
            }
        }
        XCTAssertEqual(time.sleeperCount, 0)
    }
}

final class SeededRandomSourceTests: XCTestCase {
    func test_sequence_ofAKnownSeed_isThePublishedOne() {
        let random = SeededRandomSource(seed: 1_234_567)
        XCTAssertEqual(
            (0..<5).map { _ in random.next() },
            [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973,
                9_817_491_932_198_370_423, 4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        )
    }

    func test_sequences_ofDifferentSeeds_differ() {
        let first = SeededRandomSource(seed: 1).bytes(32)
        XCTAssertEqual(first, SeededRandomSource(seed: 1).bytes(32))
        XCTAssertNotEqual(first, SeededRandomSource(seed: 2).bytes(32))
    }
}
