import ClusterRole
import ClusterTestKit
import DeviceRegistry
import NotificationDispatch
import OperationQueue
import XCTest

final class FaultTests: XCTestCase {
    private let entry = InboxEntry(
        identity: DeviceIdentity(
            tenant: .standard,
            device: DeviceID(rawValue: "d-1"),
            incarnation: IncarnationID(bits: 1)
        ),
        receivedAt: ManualTimeSource.standardStart,
        body: .contact(answeredAt: nil)
    )

    private func outcomes(_ inbox: any DeviceInbox, _ count: Int) async -> [Bool] {
        var outcomes: [Bool] = []
        for _ in 0..<count {
            do {
                try await inbox.accept([entry])
                outcomes.append(true)
            } catch { outcomes.append(false) }
        }
        return outcomes
    }

    func test_script_whenToldToFailCalls_failsThoseOnly() async {
        let script = FaultScript()
        let recording = RecordingDeviceInbox()
        let inbox = FailingDeviceInbox(recording, script)
        script.failNext(2, of: .accept)
        script.failCall(5, of: .accept)
        let seen = await outcomes(inbox, 6)
        XCTAssertEqual(seen, [false, false, true, true, false, true])
        XCTAssertEqual(recording.popEntries().count, 3)
        XCTAssertEqual(recording.entries, [])
        XCTAssertEqual(script.callCount(of: .accept), 6)
    }

    func test_script_whileAConditionHolds_fails() async {
        let time = ManualTimeSource()
        let script = FaultScript()
        let counting = CountingDeviceInbox(RecordingDeviceInbox())
        let inbox = FailingDeviceInbox(counting, script)
        script.fail(.accept) { time.monotonic() < .seconds(10) }
        let before = await outcomes(inbox, 2)
        time.advance(by: .seconds(10))
        let after = await outcomes(inbox, 2)
        XCTAssertEqual(before + after, [false, false, true, true])
        XCTAssertEqual(counting.callCount, 2)
        XCTAssertEqual(counting.entryCount, 2)
        script.reset()
    }

    func test_script_whenToldToCrashAfterCommit_appliesAndThrows() async {
        let script = FaultScript()
        let recording = RecordingDeviceInbox()
        script.crashAfterCommit(of: .accept)
        let seen = await outcomes(FailingDeviceInbox(recording, script), 2)
        XCTAssertEqual(seen, [false, true])
        XCTAssertEqual(recording.entries.count, 2)
    }

    func test_heldCalls_waitUntilTheGateOpens() async throws {
        let script = FaultScript()
        let recording = RecordingDeviceInbox()
        let inbox = FailingDeviceInbox(recording, script)
        let gate = script.hold(.accept)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<3 { group.addTask { [entry] in try await inbox.accept([entry]) } }
            await gate.waitForWaiting(3)
            XCTAssertEqual(recording.entries.count, 0)
            gate.open()
            try await group.waitForAll()
        }
        XCTAssertEqual(recording.entries.count, 3)
    }

    func test_heldCall_whenItsTaskIsCancelled_throws() async {
        let script = FaultScript()
        let inbox = FailingDeviceInbox(RecordingDeviceInbox(), script)
        let gate = script.hold(.accept)
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { [entry] in
                do {
                    try await inbox.accept([entry])
                    return false
                } catch { return error is CancellationError }
            }
            await gate.waitForWaiting(1)
            group.cancelAll()
            for await sawCancellation in group { XCTAssertTrue(sawCancellation) }
        }
        XCTAssertEqual(gate.waitingCount, 0)
    }

    func test_transport_whenItFails_answersAndSendsNothing() async {
        let script = FaultScript()
        let recording = RecordingPushTransport()
        let counting = CountingPushTransport(FailingPushTransport(recording, script))
        let request = PushRequest(
            tenant: .standard,
            device: DeviceID(rawValue: "d-1"),
            registration: PushRegistration(
                transport: "recording",
                address: "d-1",
                registeredAt: ManualTimeSource.standardStart
            ),
            epoch: Epoch(rawValue: 1)
        )
        script.failNext(of: .wake)
        let first = await counting.wake(request)
        XCTAssertEqual(first, .retry(after: nil, scope: .device, reason: "injected fault"))
        XCTAssertEqual(recording.attempts.count, 0)
        script.crashAfterCommit(of: .wake)
        let second = await counting.wake(request)
        guard case .unknown = second else { return XCTFail("\(second)") }
        XCTAssertEqual(recording.attempts.count, 1)
        let third = await counting.wake(request)
        XCTAssertEqual(third, .accepted)
        XCTAssertEqual(counting.attemptCount, 3)
        XCTAssertEqual(counting.acceptedCount, 1)
    }
}
