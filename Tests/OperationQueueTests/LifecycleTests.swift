import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

final class LifecycleTests: XCTestCase {
    private let letters: [Character: ExecutionState] = [
        "P": .pending, "D": .delivered, "I": .inProgress, "F": .deferred,
        "W": .awaitingConfirmation, "N": .confirmed, "C": .completed, "E": .failed,
        "T": .timedOut, "X": .expired, "R": .cancelRequested, "K": .cancelled, "S": .superseded,
    ]

    private let events: [ExecutionEvent] = [
        .claim(attempt: AttemptID(bits: 1), leaseEnd: .distantFuture),
        .progress(stepEnd: .distantFuture), .deferred(until: .distantFuture), .awaitConfirmation,
        .confirm, .complete, .fail, .acknowledgeCancel, .requestCancel, .timeOut, .expire,
        .supersede, .retry(until: .distantFuture),
    ]

    /// A row a state, a column an event, in the order above. `=` unchanged, `L` late, `x` refused.
    private let table: [Character: String] = [
        "P": "DIFWxCExKTXSP",
        "D": "DIFWxCExRT==P",
        "I": "DIFWxCExRT==P",
        "F": "DIFWxCExKTXSP",
        "W": "DIFWNCExKTXSP",
        "N": "DIFW=CExKTXSP",
        "R": "x=KKxCEK=K==x",
        "C": "LLLLL=LL====L",
        "E": "LLLLLL=L====L",
        "T": "LLLLLLLL====L",
        "X": "LLLLLLLL====L",
        "K": "LLLLLLL=====L",
        "S": "LLLLLLLL====L",
    ]

    func test_transition_everyPairOfStateAndEvent_isAsTheTableSays() throws {
        XCTAssertEqual(table.count, ExecutionState.allCases.count)
        for (letter, row) in table {
            let state = try XCTUnwrap(letters[letter])
            XCTAssertEqual(row.count, events.count)
            for (event, expected) in zip(events, row) {
                let transition: ExecutionTransition =
                    switch expected {
                    case "=": .unchanged
                    case "L": .late
                    case "x": .refuse
                    default: .move(try XCTUnwrap(letters[expected]))
                    }
                XCTAssertEqual(state.on(event), transition, "\(state) on \(event)")
            }
        }
    }

    func test_finalState_anyEvent_neverMoves() {
        for state in ExecutionState.allCases where state.isFinal {
            for event in events {
                if case .move(let next) = state.on(event) {
                    XCTFail("\(state) on \(event) became \(next)")
                }
            }
        }
    }

    /// A row an activity state; a column a row state in order of raw value; the last for no row.
    func test_effectiveState_everyPairOfActivityAndRow_isAsTheTableSays() throws {
        let table: [(ActivityState, String)] = [
            (.open, "PDIFWNCETXRKSP"),
            (.finished, "PDIFWNCETXRKSP"),
            (.cancelled, "KRRKKKCETXRKSK"),
            (.expired, "XDIXXXCETXRKSX"),
            (.superseded, "SDISSSCETXRKSS"),
        ]
        for (activity, row) in table {
            let rows: [ExecutionState?] = ExecutionState.allCases + [nil]
            XCTAssertEqual(row.count, rows.count)
            for (state, expected) in zip(rows, row) {
                XCTAssertEqual(
                    activity.effective(state),
                    try XCTUnwrap(letters[expected]),
                    "\(activity) with \(String(describing: state))"
                )
            }
        }
    }

    func test_pollingSchedule_manyDraws_staysWithinTheJitter() {
        let random = SeededRandom(5)
        let schedule = PollingSchedule(defaultFrequency: .seconds(100), jitter: 0.1)
        var seen: Set<Int64> = []
        for _ in 0..<2_000 {
            let pause = schedule.pollAfter(
                frequency: nil,
                workRemains: false,
                nextOffer: nil,
                at: .distantPast,
                random: random
            )
            XCTAssertGreaterThanOrEqual(pause, .seconds(90))
            XCTAssertLessThanOrEqual(pause, .seconds(110))
            seen.insert(pause.milliseconds)
        }
        XCTAssertGreaterThan(seen.count, 500)
    }

    func test_pollingSchedule_workWaitsOrRemains_asksSooner() {
        let random = SeededRandom(5)
        let schedule = PollingSchedule()
        let now = Timestamp(milliseconds: 5_000)
        func pause(_ remains: Bool, _ next: Timestamp?) -> Duration {
            schedule.pollAfter(
                frequency: .seconds(3_600),
                workRemains: remains,
                nextOffer: next,
                at: now,
                random: random
            )
        }
        XCTAssertEqual(pause(true, nil), .seconds(1))
        for _ in 0..<200 {
            let due = pause(false, now + .seconds(20))
            XCTAssertGreaterThanOrEqual(due, .seconds(20), "never before it falls due")
            XCTAssertLessThanOrEqual(due, .seconds(22))
        }
        XCTAssertLessThanOrEqual(pause(false, .distantFuture), .seconds(3_960))
    }
}
