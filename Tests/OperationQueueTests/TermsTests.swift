import ClusterRole
import DeviceRegistry
import OperationQueue
import XCTest

/// What operations do under their terms, through the façades.
final class TermsTests: XCTestCase {
    private func request(
        _ code: String,
        to devices: DeviceIdentity...
    ) -> EnqueueRequest {
        EnqueueRequest(OperationCode(rawValue: code), to: .devices(devices.map(\.device)))
    }

    // MARK: Control

    func test_noRepeat_whileOneIsOpen_offersTheOldestAndEndsTheRest() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var receipts: [EnqueueReceipt] = []
        for _ in 0..<3 {
            var info = request("info", to: device)
            info.control = .noRepeat
            receipts.append(try await house.enqueuer.enqueue(info))
        }
        let answer = try await house.poll(device)
        XCTAssertEqual(answer.operations.count, 1)
        let states = try await states(of: receipts, in: house)
        XCTAssertEqual(states, [.delivered, .superseded, .superseded])
        _ = try await house.report(answer.operations[0], .completed, by: device)
        var again = request("info", to: device)
        again.control = .noRepeat
        _ = try await house.enqueuer.enqueue(again)
        let next = try await house.poll(device)
        XCTAssertEqual(next.codes, ["info"], "once nothing of its kind is open, it is offered")
    }

    func test_supersede_differentTargets_offersTheNewestAndEndsOlderOnes() async throws {
        let house = House()
        let device = try await house.enrol("d", groups: ["fleet"])
        var receipts: [EnqueueReceipt] = []
        for (code, target) in [
            ("one", OperationTarget.group("fleet")), ("two", .devices([device.device])),
            ("three", .group(.everyone)),
        ] {
            var policy = EnqueueRequest(OperationCode(rawValue: code), to: target)
            policy.control = .supersede("policy")
            receipts.append(try await house.enqueuer.enqueue(policy))
        }
        let answer = try await house.poll(device)
        XCTAssertEqual(answer.codes, ["three"])
        let states = try await states(of: receipts, in: house)
        XCTAssertEqual(states, [.superseded, .superseded, .delivered])
    }

    func test_supersede_whatTheDeviceHasInHand_goesOnToItsResult() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var policy = request("policy", to: device)
        policy.control = .supersede("policy")
        let old = try await house.enqueuer.enqueue(policy)
        let held = try await house.poll(device)
        policy.payload = [1]
        let new = try await house.enqueuer.enqueue(policy)
        let state = try await house.browser.activity(old.activity).state
        XCTAssertEqual(state, .superseded, "equal target: closed as a whole")
        let answer = try await house.report(held.operations[0], .completed, by: device, limit: 5)
        XCTAssertEqual(answer.codes, ["policy"])
        let states = try await states(of: [old, new], in: house)
        XCTAssertEqual(states, [.completed, .delivered])
    }

    // MARK: Time

    func test_notBefore_isOfferedAtItsTime_andThePollComesThen() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var later = request("later", to: device)
        later.notBefore = house.clock.now() + .seconds(20)
        _ = try await house.enqueuer.enqueue(later)
        _ = try await house.command("now", to: device)
        let first = try await house.poll(device)
        XCTAssertEqual(first.codes, ["now"], "what waits is passed by")
        let answer = try await house.report(first.operations[0], .completed, by: device, limit: 5)
        XCTAssertEqual(answer.codes, [])
        XCTAssertGreaterThanOrEqual(answer.pollAfter, .seconds(20))
        XCTAssertLessThanOrEqual(answer.pollAfter, .seconds(22))
        house.clock.advance(by: .seconds(20))
        let second = try await house.poll(device)
        XCTAssertEqual(second.codes, ["later"])
    }

    func test_window_isOfferedOnlyWhileItIsOpen() async throws {
        let house = House()
        let device = try await house.enrol("d")
        // To 00:16:40 of a day in 2023.
        house.clock.advance(by: .seconds(1_699_920_000))
        var nightly = request("update", to: device)
        nightly.window = try MaintenanceWindow.resolve(
            days: Set(Weekday.allCases),
            start: 60,
            duration: .seconds(3_600),
            zone: "Etc/UTC",
            from: house.clock.now(),
            through: house.clock.now() + .seconds(86_400),
            using: FixedTimeZones(["Etc/UTC": [ZoneOffset(from: .distantPast, seconds: 0)]])
        )
        _ = try await house.enqueuer.enqueue(nightly)
        let early = try await house.poll(device)
        XCTAssertEqual(early.codes, [])
        house.clock.advance(by: .seconds(2_600))
        let open = try await house.poll(device)
        XCTAssertEqual(open.codes, ["update"])
    }

    func test_strict_thatWaits_blocksWhatIsBehindIt() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var later = request("later", to: device)
        later.notBefore = house.clock.now() + .seconds(20)
        later.order = .strict
        _ = try await house.enqueuer.enqueue(later)
        _ = try await house.command("behind", to: device)
        let blocked = try await house.poll(device)
        XCTAssertEqual(blocked.codes, [])
        house.clock.advance(by: .seconds(20))
        let both = try await house.poll(device)
        XCTAssertEqual(both.codes, ["later", "behind"])
    }

    func test_strict_thatHasExpiredWhileItWaited_blocksNothing() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var ask = request("ask", to: device)
        ask.order = .strict
        ask.expiresAfter = .seconds(60)
        _ = try await house.enqueuer.enqueue(ask)
        _ = try await house.command("behind", to: device)
        let first = try await house.poll(device, limit: 1)
        let blocked = try await house.report(
            first.operations[0],
            .awaitingConfirmation,
            by: device,
            limit: 5
        )
        XCTAssertEqual(blocked.codes, [])
        house.clock.advance(by: .seconds(60))
        let free = try await house.poll(device)
        XCTAssertEqual(free.codes, ["behind"])
    }

    // MARK: Sequences

    func test_sequence_stepsFollowEachOtherInOneExchangeEach() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let steps = ["lock", "wipe", "report"].map { request($0, to: device) }
        let receipts = try await house.enqueuer.enqueue(sequence: steps)
        var answer = try await house.poll(device)
        for code in ["lock", "wipe", "report"] {
            XCTAssertEqual(answer.codes, [code])
            answer = try await house.report(answer.operations[0], .completed, by: device, limit: 5)
        }
        XCTAssertEqual(answer.codes, [])
        let states = try await states(of: receipts, in: house)
        XCTAssertEqual(states, [.completed, .completed, .completed])
    }

    func test_sequence_aStepFails_stopsOrPauses() async throws {
        for rule in [DependencyFailureRule.stop, .pause] {
            let house = House()
            let device = try await house.enrol("d")
            let receipts = try await house.enqueuer.enqueue(
                sequence: ["one", "two", "three"].map { request($0, to: device) },
                onFailure: rule
            )
            let first = try await house.poll(device)
            let answer = try await house.report(first.operations[0], .failed, by: device, limit: 5)
            XCTAssertEqual(answer.codes, [])
            let states = try await states(of: receipts, in: house)
            XCTAssertEqual(
                states,
                rule == .stop ? [.failed, .cancelled, .cancelled] : [.failed, .pending, .pending]
            )
            guard rule == .pause else { continue }
            let why = try await house.explainer.explain(receipts[1].activity, on: device.device)
            XCTAssertEqual(
                why.reasons,
                [.waits(.failedDependency(receipts[0].activity), until: nil)]
            )
        }
    }

    // MARK: Retry, confirmation, deferral

    func test_retry_matchingError_isRepeatedAfterItsBackoff_thenFails() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var install = request("install", to: device)
        install.retry = RetryPolicy(count: 2, backoff: .seconds(60), matching: .errors(["net.*"]))
        let receipt = try await house.enqueuer.enqueue(install)
        for repetition in 0...2 {
            let answer = try await house.poll(device)
            XCTAssertEqual(answer.operations.map(\.retries), [Int32(repetition)])
            let outcome = ResultOutcome.failedBecause("net.unreachable")
            let next = try await house.report(answer.operations[0], outcome, by: device, limit: 5)
            XCTAssertEqual(next.codes, [], "not at once")
            house.clock.advance(by: .seconds(66 << repetition))
        }
        let states = try await states(of: [receipt], in: house)
        XCTAssertEqual(states, [.failed])
    }

    func test_confirmation_isAskedFor_andGivenWithTheNextOffer() async throws {
        let house = House()
        let device = try await house.enrol("d")
        var wipe = request("wipe", to: device)
        wipe.confirmation = .required
        _ = try await house.enqueuer.enqueue(wipe)
        let asked = try await house.poll(device)
        XCTAssertEqual(asked.operations.map(\.confirmation), [.required])
        _ = try await house.report(asked.operations[0], .awaitingConfirmation, by: device)
        let waiting = try await house.poll(device)
        XCTAssertEqual(waiting.codes, [])
        let agreed = try await house.report(asked.operations[0], .confirmed, by: device, limit: 5)
        XCTAssertEqual(agreed.operations.map(\.confirmation), [.given])
    }

    func test_notNow_askedAgainAndAgain_isAskedLessAndLessOften() async throws {
        let house = House()
        let device = try await house.enrol("d")
        let receipt = try await house.command("update", to: device)
        var waits: [Duration] = []
        for _ in 0..<5 {
            let answer = try await house.poll(device)
            let now = house.clock.now()
            _ = try await house.report(answer.operations[0], .notNow(until: now), by: device)
            let row = try await house.browser.executions(of: receipt.activity).executions[0]
            waits.append(try XCTUnwrap(row.until) - now)
            house.clock.advance(by: waits[waits.count - 1])
        }
        XCTAssertEqual(waits[0], .zero, "the first time as the device wishes")
        for (before, after) in zip(waits, waits.dropFirst()) { XCTAssertGreaterThan(after, before) }
        XCTAssertLessThanOrEqual(waits[4], .seconds(3_960))
    }

    // MARK: Joiners, timeouts, commands

    func test_joiners_firstOperationsAtEnrolment_reachEachEnrolmentOnce() async throws {
        let house = House()
        let old = try await house.enrol("old")
        var welcome = EnqueueRequest("welcome", to: .group(.everyone))
        welcome.scope = .joinersOnly
        let receipt = try await house.enqueuer.enqueue(welcome)
        let nothing = try await house.poll(old)
        XCTAssertEqual(nothing.codes, [])
        let new = try await house.enrol("new")
        let first = try await house.poll(new)
        XCTAssertEqual(first.codes, ["welcome"])
        let next = try await house.report(first.operations[0], .completed, by: new, limit: 5)
        XCTAssertEqual(next.codes, [])
        let again = try await house.enrol("new")
        let anew = try await house.poll(again)
        XCTAssertEqual(anew.codes, ["welcome"], "a new enrolment begins anew")
        let activity = try await house.browser.activity(receipt.activity)
        XCTAssertEqual(activity.state, .open, "it waits for the next one")
    }

    func test_groupAndJoiners_whoJoinsLaterGetsIt_whoLeavesDoesNot() async throws {
        let house = House()
        let first = try await house.enrol("first", groups: ["fleet"])
        let second = try await house.enrol("second")
        var policy = EnqueueRequest("policy", to: .group("fleet"))
        policy.scope = .membersAndJoiners
        _ = try await house.enqueuer.enqueue(policy)
        try await house.administration.join("fleet", [second.device])
        try await house.administration.leave("fleet", [first.device])
        let left = try await house.poll(first)
        XCTAssertEqual(left.codes, [])
        let joined = try await house.poll(second)
        XCTAssertEqual(joined.codes, ["policy"])
    }

    func test_query_aDeviceThatComesToMatch_getsTheStandingOperation() async throws {
        let house = House()
        let device = try await house.enrol("d")
        try await house.administration.define(
            "old-systems",
            as: try DeviceQuery(parsing: "os < 17")
        )
        var update = EnqueueRequest("update", to: .group("old-systems"))
        update.scope = .membersAndJoiners
        _ = try await house.enqueuer.enqueue(update)
        let before = try await house.poll(device)
        XCTAssertEqual(before.codes, [])
        try await house.exchange.record(
            .properties,
            body: Array("{\"os\":16}".utf8),
            device: device
        )
        let matching = try await house.poll(device)
        XCTAssertEqual(matching.codes, ["update"])
        try await house.exchange.record(
            .properties,
            body: Array("{\"os\":17}".utf8),
            device: device
        )
        let updated = try await house.poll(device)
        XCTAssertEqual(updated.cancel.count, 1, "what it had in hand is asked back")
    }

    func test_timeouts_wholeAndStep_endTheExecution_andALateAnswerIsEvidence() async throws {
        let house = House()
        let devices = [try await house.enrol("a"), try await house.enrol("b")]
        var update = request("update", to: devices[0], devices[1])
        update.timeouts = ExecutionTimeouts(whole: .seconds(600), step: .seconds(60))
        let receipt = try await house.enqueuer.enqueue(update)
        let offer = try await house.poll(devices[0]).operations[0]
        let other = try await house.poll(devices[1]).operations[0]
        _ = try await house.exchange.exchange(
            device: devices[1],
            report: ExchangeReport(
                progress: [ExecutionProgress(execution: other.execution)],
                limit: 0
            )
        )
        house.clock.advance(by: .seconds(60))
        try await house.timers.tick(at: house.clock.now())
        let half = try await states(of: [receipt], in: house)
        XCTAssertEqual(half, [.delivered, .timedOut])
        house.clock.advance(by: .seconds(540))
        try await house.timers.tick(at: house.clock.now())
        let states = try await states(of: [receipt], in: house)
        XCTAssertEqual(states, [.timedOut, .timedOut])
        _ = try await house.report(offer, .completed, by: devices[0], detail: "late")
        let row = try await house.browser.executions(of: receipt.activity).executions[0]
        XCTAssertEqual(row.state, .timedOut)
        XCTAssertEqual(row.lateAnswer, Array("late".utf8))
        let activity = try await house.browser.activity(receipt.activity)
        XCTAssertEqual(activity.answeredLate, 1)
    }

    func test_cancelAll_ofADevice_endsWhatIsPendingAndAsksBackWhatIsInHand() async throws {
        let house = House()
        let device = try await house.enrol("a")
        let receipts = [
            try await house.command("one", to: device), try await house.command("two", to: device),
        ]
        _ = try await house.poll(device, limit: 1)
        let count = try await house.enqueuer.cancelAll(of: device.device)
        XCTAssertEqual(count, 2)
        let states = try await states(of: receipts, in: house)
        XCTAssertEqual(states, [.cancelRequested, .cancelled])
        let answer = try await house.poll(device)
        XCTAssertEqual(answer.codes, [])
        XCTAssertEqual(answer.cancel.count, 1)
    }

    func test_perform_onAnOldVersion_isAConflictAndChangesNothing() async throws {
        let house = House()
        let device = try await house.enrol("a")
        let receipt = try await house.command("one", to: device)
        let read = try await house.browser.executions(of: receipt.activity).executions[0]
        _ = try await house.poll(device)
        await assertThrows(.versionConflict) {
            try await house.enqueuer.perform(.cancel, on: read.id, ifVersion: read.version)
        }
        let states = try await states(of: [receipt], in: house)
        XCTAssertEqual(states, [.delivered])
        let row = try await house.enqueuer.perform(.cancel, on: read.id, ifVersion: 1)
        XCTAssertEqual(row.state, .cancelRequested)
    }

    private func states(
        of receipts: [EnqueueReceipt],
        in house: House
    ) async throws -> [ExecutionState] {
        var states: [ExecutionState] = []
        for receipt in receipts {
            states += try await house.browser.executions(of: receipt.activity).executions
                .map(\.state)
        }
        return states
    }
}
