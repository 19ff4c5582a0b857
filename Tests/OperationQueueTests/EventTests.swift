import ClusterMembership
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import Synchronization
import XCTest

/// Events as an application reads them.
final class EventTests: XCTestCase {
    private func command(
        _ code: OperationCode,
        to devices: DeviceIdentity...,
        in cluster: InMemoryCluster
    ) async throws -> EnqueueReceipt {
        try await cluster.enqueuer.enqueue(
            EnqueueRequest(code, to: .devices(devices.map(\.device)))
        )
    }

    private func complete(_ device: DeviceIdentity, in cluster: InMemoryCluster) async throws {
        let offered = try await cluster.exchange.exchange(device: device).operations
        let results = offered.map {
            ExecutionResult(execution: $0.execution, attempt: $0.attempt, outcome: .completed)
        }
        _ = try await cluster.exchange.exchange(
            device: device,
            report: ExchangeReport(results: results, limit: 0)
        )
    }

    func test_stream_resumedFromAnyEvent_missesAndRepeatsNothing() async throws {
        let cluster = InMemoryCluster()
        let start = try await cluster.events.newest()
        let phone = try await cluster.enrol("phone")
        for _ in 0..<3 {
            _ = try await command("lock", to: phone, in: cluster)
        }
        try await complete(phone, in: cluster)
        let whole = try await cluster.events.page(after: start)
        XCTAssertEqual(whole.events.count, 3 + 3 + 3 + 3)
        XCTAssertTrue(whole.isLast)
        for (index, event) in whole.events.enumerated() {
            let rest = whole.events.count - index - 1
            let found = try await take(rest, from: cluster.events.stream(after: event.position))
            XCTAssertEqual(found, Array(whole.events.dropFirst(index + 1)), "after \(event)")
        }
    }

    func test_page_cutWithinARevision_goesOnThere() async throws {
        let cluster = InMemoryCluster()
        let start = try await cluster.events.newest()
        let phone = try await cluster.enrol("phone")
        for _ in 0..<5 { _ = try await command("lock", to: phone, in: cluster) }
        try await complete(phone, in: cluster)
        let whole = try await cluster.events.page(after: start).events
        for limit in 1...4 {
            var found: [OperationEvent] = []
            var position = start
            while true {
                let page = try await cluster.events.page(after: position, limit: limit)
                XCTAssertLessThanOrEqual(page.events.count, limit)
                found += page.events
                // What a client keeps is the text.
                position = try EventPosition(parsing: page.next.description)
                if page.isLast { break }
            }
            XCTAssertEqual(found, whole, "limit \(limit)")
        }
    }

    func test_page_withAFilter_holdsOnlyWhatIsWanted() async throws {
        let cluster = InMemoryCluster()
        let start = try await cluster.events.newest()
        let phone = try await cluster.enrol("phone")
        let tablet = try await cluster.enrol("tablet")
        let lock = try await command("lock", to: phone, in: cluster)
        _ = try await command("wipe", to: phone, tablet, in: cluster)
        try await complete(phone, in: cluster)
        func found(_ filter: EventFilter) async throws -> [OperationEvent] {
            try await cluster.events.page(after: start, matching: filter).events
        }
        let ofLock = try await found(EventFilter(codes: ["lock"]))
        XCTAssertEqual(Set(ofLock.map(\.activity)), [lock.activity])
        XCTAssertEqual(ofLock.count, 4)
        let ofActivity = try await found(EventFilter(activity: lock.activity))
        XCTAssertEqual(ofActivity, ofLock)
        let ofPhone = try await found(EventFilter(device: phone.device))
        XCTAssertEqual(ofPhone.count, 4)
        XCTAssertEqual(Set(ofPhone.compactMap(\.device)), [phone.device])
        let ofTablet = try await found(EventFilter(device: tablet.device))
        XCTAssertEqual(ofTablet, [])
    }

    func test_stream_withNothingNew_findsWhatAHintAnnounces() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone")
        let start = try await cluster.events.newest()
        let reading = Task { try await take(1, from: cluster.events.stream(after: start)) }
        // The stream waits for its interval now, and the clock stands.
        try await cluster.time.waitForSleepers(1)
        let receipt = try await command("lock", to: phone, in: cluster)
        cluster.hints.publish(receipt.revision)
        let found = try await reading.value
        XCTAssertEqual(found.map(\.activity), [receipt.activity])
    }

    func test_stream_whoseHintWasLost_findsItAfterItsInterval() async throws {
        let cluster = InMemoryCluster()
        let phone = try await cluster.enrol("phone")
        let start = try await cluster.events.newest()
        let reading = Task { try await take(1, from: cluster.events.stream(after: start)) }
        try await cluster.time.waitForSleepers(1)
        let receipt = try await command("lock", to: phone, in: cluster)
        cluster.time.advance(by: .seconds(1))
        let found = try await reading.value
        XCTAssertEqual(found.map(\.activity), [receipt.activity])
    }

    func test_stream_cancelled_throws() async throws {
        let cluster = InMemoryCluster()
        let start = try await cluster.events.newest()
        let reading = Task { try await take(1, from: cluster.events.stream(after: start)) }
        try await cluster.time.waitForSleepers(1)
        reading.cancel()
        do {
            _ = try await reading.value
            XCTFail("a cancelled stream went on")
        } catch is CancellationError {}
    }

    func test_longPoll_withNothingNew_answersWhenItsTimeIsOver() async throws {
        let cluster = InMemoryCluster()
        let start = try await cluster.events.newest()
        let polling = Task {
            try await cluster.events.page(after: start, waitingUpTo: .milliseconds(1_500))
        }
        try await cluster.time.waitForSleepers(1)
        cluster.time.advance(by: .seconds(1))
        try await cluster.time.waitForSleepers(1)
        cluster.time.advance(by: .milliseconds(500))
        let page = try await polling.value
        XCTAssertEqual(page, OperationEventPage(events: [], next: start, isLast: true))
    }

    func test_page_afterAnotherHistorysPosition_saysThatItIsGone() async throws {
        let cluster = InMemoryCluster()
        let newest = try await cluster.events.newest().revision
        let foreign = Revision(history: HistoryID(bits: 99), number: 0)
        do {
            _ = try await cluster.events.page(after: EventPosition(foreign))
            XCTFail("read from a foreign history")
        } catch {
            XCTAssertEqual(error.code, .eventsGone)
            XCTAssertEqual(error.floor, Revision(history: newest.history, number: 0))
            XCTAssertEqual(error.category, .conflict)
        }
    }

    func test_position_inText_isReadBack() throws {
        let revision = Revision(history: HistoryID(bits: 7), number: 12)
        for position in [EventPosition(revision), EventPosition(revision, index: 3)] {
            XCTAssertEqual(try EventPosition(parsing: position.description), position)
        }
        for text in ["", "7", "\(revision):", "\(revision):-1", "\(revision):x", "\(revision):1:2"]
        {
            XCTAssertThrowsError(try EventPosition(parsing: text), text)
        }
    }
}

/// Takes events from a stream until there are `count`.
private func take(
    _ count: Int,
    from stream: OperationEventStream
) async throws -> [OperationEvent] {
    var found: [OperationEvent] = []
    var iterator = stream.makeAsyncIterator()
    while found.count < count, let event = try await iterator.next() { found.append(event) }
    return found
}
