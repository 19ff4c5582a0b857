#if SQLite
import ClusterRole
import ClusterTestKit
import DeviceRegistry
import OperationQueue
import SQLiteEngine
import SQLiteStore
import XCTest

/// What a power cut at any write leaves of an embedded store.
final class StoreCrashTests: XCTestCase {
    /// Something a caller was told.
    private enum Fact {
        case activity(ActivityID)
        case closed(ActivityID)
        case execution(ActivityID, DeviceID, ExecutionState)
        case applied(SpoolMark)
    }

    private typealias Facts = [(events: Int64, fact: Fact)]

    /// A small log, so that it is moved into the file again and again.
    private static let shortLog: @Sendable (inout DatabaseFileOptions) -> Void = {
        $0.checkpointPages = 40
    }

    /// Lives a seeded life, one call after the other, and remembers what was acknowledged when.
    private func live(
        _ recording: CrashRecording,
        steps: Int,
        seed: UInt64,
        adjust: @escaping @Sendable (inout DatabaseFileOptions) -> Void
    ) async throws -> Facts {
        let house = try await StoreHouse.open(recording.path, seed: seed, adjust: adjust)
        var life = Life(house: house)
        var facts: Facts = []
        try recording.acknowledge()
        for _ in 0..<steps {
            let told = try await life.step()
            try recording.acknowledge()
            facts += told.map { (recording.events, $0) }
        }
        try await house.store.close()
        try recording.acknowledge()
        return facts
    }

    /// The calls a manager gets.
    private struct Life {
        let house: StoreHouse
        var devices: [DeviceIdentity] = []
        var activities: [ActivityID] = []
        var offers: [(device: DeviceIdentity, offer: OfferedOperation, activity: ActivityID?)] = []
        var spooled: Int64 = 0

        /// Makes one call; returns what it was told.
        mutating func step() async throws -> [Fact] {
            house.time.advance(by: .seconds(20))
            if devices.count < 5 { return try await enrol() }
            switch house.below(10) {
            case 0, 1: return try await enqueue(.devices([house.pick(devices).device]))
            case 2: return try await enqueue(.group(house.pick(StoreHouse.groups)))
            case 3, 4: return try await claim()
            case 5, 6: return try await report()
            case 7, 8: return try await applySpool()
            default: return try await cancel()
            }
        }

        private mutating func enrol() async throws -> [Fact] {
            let name = DeviceID(rawValue: "device-\(devices.count)")
            devices.append(
                try await house.administration.enrol(name, groups: StoreHouse.groups).identity
            )
            return []
        }

        private mutating func enqueue(_ target: OperationTarget) async throws -> [Fact] {
            let receipt = try await house.enqueue(target)
            activities.append(receipt.activity)
            return [.activity(receipt.activity)]
        }

        private mutating func claim() async throws -> [Fact] {
            let device = house.pick(devices)
            let work = try await house.store.openWork(for: device.device, tenant: .standard)
            let activityOf = Dictionary(
                uniqueKeysWithValues: (work?.items ?? []).map {
                    ($0.operation.id, $0.operation.activity)
                }
            )
            let answer = try await house.exchange.exchange(device: device)
            offers += answer.operations.map { (device, $0, activityOf[$0.execution.operation]) }
            return []
        }

        private mutating func report() async throws -> [Fact] {
            guard !offers.isEmpty else { return [] }
            let (device, offer, activity) = offers.remove(at: house.below(offers.count))
            let result = ExecutionResult(
                execution: offer.execution,
                attempt: offer.attempt,
                outcome: house.below(3) == 0 ? .failed : .completed,
                detail: [9, 9]
            )
            _ = try await house.exchange.exchange(
                device: device,
                report: ExchangeReport(results: [result], limit: 0)
            )
            guard let activity else { return [] }
            return [
                .execution(
                    activity,
                    device.device,
                    result.outcome == .failed ? .failed : .completed
                )
            ]
        }

        private mutating func applySpool() async throws -> [Fact] {
            let entries = (0..<3).map { index in
                let device = house.pick(devices)
                let body: InboxEntry.Body
                if let open = offers.popLast() {
                    return SpooledEntry(
                        number: spooled + 1 + Int64(index),
                        entry: InboxEntry(
                            identity: open.device,
                            receivedAt: house.time.now(),
                            body: .result(
                                open.offer.execution.operation,
                                attempt: open.offer.attempt,
                                outcome: .completed,
                                detail: [7]
                            )
                        )
                    )
                } else {
                    body = .information(.location, body: Array("[1,2]".utf8))
                }
                return SpooledEntry(
                    number: spooled + 1 + Int64(index),
                    entry: InboxEntry(
                        identity: device,
                        receivedAt: house.time.now(),
                        body: body
                    )
                )
            }
            spooled += 3
            let mark = SpoolMark(
                node: NodeID(rawValue: "worker-1"),
                incarnation: IncarnationID(bits: 4),
                number: spooled
            )
            _ = try await house.store.apply(
                entries,
                from: mark,
                epoch: house.epoch,
                at: house.time.now()
            )
            return [.applied(mark)]
        }

        private mutating func cancel() async throws -> [Fact] {
            guard !activities.isEmpty else { return [] }
            let activity = house.pick(activities)
            let closed = try await house.enqueuer.cancel(activity)
            return closed.state == .open ? [] : [.closed(activity)]
        }
    }

    /// Opens an image as a manager would and looks whether what callers were told is true.
    private static func reopen(_ path: String, _ events: Int64, _ facts: Facts) async throws {
        let house = try await StoreHouse.open(path)
        do {
            for (_, fact) in facts.filter({ $0.events <= events }) {
                try await check(fact, house)
            }
        } catch {
            try? await house.store.close()
            throw error
        }
        try await house.store.close()
    }

    private struct Missing: Error { var fact: Fact }

    private static func check(_ fact: Fact, _ house: StoreHouse) async throws {
        let holds: Bool
        switch fact {
        case .activity(let id):
            holds = try await house.store.activity(id, tenant: .standard) != nil
        case .closed(let id):
            let found = try await house.store.activity(id, tenant: .standard)
            holds = found.map { $0.state != .open } ?? false
        case .execution(let id, let device, let state):
            let found = try await house.browser.executions(of: id).executions
            holds = found.contains {
                $0.id.device == device && ($0.state == state || $0.state.isFinal)
            }
        case .applied(let mark):
            // A repetition of all that was applied is skipped, so it is still marked.
            let receipt = try await house.store.apply(
                [],
                from: SpoolMark(node: mark.node, incarnation: mark.incarnation, number: 0),
                epoch: house.epoch,
                at: house.time.now()
            )
            holds = (receipt.mark?.number ?? 0) >= mark.number
        }
        if !holds { throw Missing(fact: fact) }
    }

    func test_store_powerCutAtAnyWrite_losesNothingThatWasAcknowledged() async throws {
        let recording = try await CrashRecording()
        let facts = try await live(recording, steps: 60, seed: 11, adjust: Self.shortLog)
        let found = try await recording.explore(seed: 11, reopenEvery: 16) {
            try await Self.reopen($0, $1, facts)
        }
        XCTAssertGreaterThan(found.images, 500)
        XCTAssertGreaterThan(found.reopened, 50)
        XCTAssertEqual(found.losses, 0)
        XCTAssertEqual(found.foreign, 0)
        XCTAssertEqual(found.unreadable, [])
    }

    /// The control: without a sync a commit, the same life loses acknowledged calls. What is left is
    /// still a moment of it.
    func test_store_withoutSyncedCommits_losesWhatWasAcknowledged() async throws {
        let recording = try await CrashRecording {
            try await StoreHouse.open($0).store.close()
        }
        _ = try await live(recording, steps: 40, seed: 11) {
            Self.shortLog(&$0)
            $0.synchronous = .normal
        }
        let found = try await recording.explore(seed: 11, reopenEvery: .max) { _, _ in }
        XCTAssertGreaterThan(found.losses, 20)
        XCTAssertEqual(found.foreign, 0)
        XCTAssertEqual(found.unreadable, [])
    }

    func test_store_powerCutDuringGroupCommits_losesNoAcknowledgedCall() async throws {
        let recording = try await CrashRecording()
        let house = try await StoreHouse.open(recording.path, seed: 5, adjust: Self.shortLog)
        var devices: [DeviceID] = []
        for index in 0..<8 {
            let id = DeviceID(rawValue: "device-\(index)")
            _ = try await house.administration.enrol(id, groups: StoreHouse.groups)
            devices.append(id)
        }
        let begin = recording.events
        var facts: Facts = []
        for round in 0..<4 {
            let named = devices[round]
            facts += try await withThrowingTaskGroup(of: (Int64, Fact).self) { group in
                for index in 0..<24 {
                    group.addTask {
                        let target: OperationTarget =
                            index % 2 == 0 ? .devices([named]) : .group("red")
                        let receipt = try await house.enqueue(target)
                        return (Recorded.events, .activity(receipt.activity))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
        }
        try await house.store.close()
        let found = try await recording.explore(seed: 5, reopenEvery: 5) { path, events in
            guard events >= begin else { return }
            try await Self.reopen(path, events, facts)
        }
        XCTAssertEqual(facts.count, 96)
        XCTAssertGreaterThan(found.reopened, 50)
        XCTAssertEqual(found.unreadable, [])
    }
}
#endif
