import ClusterRole
import ClusterTestKit
import XCTest

@testable import ClusterMembership

/// Coordinator and members as values, and a network between them that loses, repeats and reorders.
final class MessageDeliveryTests: XCTestCase {
    private static let members = (1...4).map { NodeID(rawValue: "w-\($0)") }

    /// One member: what survives its crashes, and what does not.
    private struct Receiver {
        let node: NodeID
        var core: InboxCore
        var cursor: MessageCursor?
        /// As the record has it.
        var stored: [MessageID] = []
        /// Pages under way to it.
        var pages: [MessagePage] = []
        /// How often each message was handled, over all lives.
        var handled: [MessageID: Int] = [:]
        /// Crashes between handling and noting: each may cost one repetition of one message.
        var repeatable: Set<MessageID> = []
    }

    private struct World {
        let random: SeededRandomSource
        let settings = MessageInboxSettings(capacity: 8, remembered: 64, rememberedRecent: 8)
        let limits = MessageLimits(maximumRecent: 5)
        var now = ManualTimeSource.standardStart
        var monotonic = Duration.zero
        var board: MessageBoard
        /// What the log has.
        var log: [StoredMessage] = []
        var answers: [MessageID: Set<NodeID>] = [:]
        var receivers: [Receiver]
        /// Answers under way to the coordinator.
        var acknowledgements: [[MessageAcknowledgement]] = []
        var sent = 0
        var crashes = 0
        var mostRecent = 0

        init(seed: UInt64) {
            random = SeededRandomSource(seed: seed)
            board = MessageBoard(limits: limits, incarnation: IncarnationID(from: random))
            let settings = settings
            receivers = MessageDeliveryTests.members.map {
                Receiver(node: $0, core: InboxCore(node: $0, settings: settings))
            }
        }

        func chance(_ percent: UInt64) -> Bool { random.number(below: 100) < percent }

        mutating func send(_ messageClass: MessageClass) {
            sent += 1
            let message = ClusterMessage(
                id: MessageID(bits: UInt128(sent)),
                kind: "x",
                messageClass: messageClass,
                address: .everybody,
                sender: "m",
                sentAt: now,
                expiresAt: now + .seconds(86_400)
            )
            let all = MessageDeliveryTests.members
            if messageClass == .idempotent {
                _ = board.onSent(message, to: all)
                mostRecent = max(mostRecent, board.counts.recent)
            } else {
                let stored = StoredMessage(
                    number: Int64(log.count) + 1,
                    message: message,
                    recipients: all
                )
                log.append(stored)
                board.onAppended(stored, at: now)
            }
        }

        /// Another coordinator begins from the log.
        mutating func coordinatorCrashes() {
            board = MessageBoard(limits: limits, incarnation: IncarnationID(from: random))
            for stored in log {
                board.onAppended(
                    stored,
                    answeredBy: (answers[stored.message.id] ?? []).sorted(),
                    at: now
                )
            }
        }

        mutating func fetch(_ index: Int) {
            let room = receivers[index].core.room
            guard room > 0 else { return }
            let cursor = chance(10) ? nil : receivers[index].cursor
            let page = board.onFetch(
                by: receivers[index].node,
                nil,
                after: cursor,
                limit: room,
                at: now
            )
            for _ in 0..<(chance(20) ? 2 : 1) where !chance(25) {
                receivers[index].pages.append(page)
            }
        }

        mutating func receive(_ index: Int) {
            guard !receivers[index].pages.isEmpty else { return }
            let position = Int(random.number(below: UInt64(receivers[index].pages.count)))
            let page = receivers[index].pages.remove(at: position)
            receivers[index].cursor = page.cursor
            receivers[index].core.onPage(page.messages, at: now, monotonic: monotonic)
        }

        /// One turn, in which the member may be killed at any point.
        mutating func turn(_ index: Int, kills: UInt64) {
            guard let directive = receivers[index].core.onTurn(at: now, monotonic: monotonic)
            else { return }
            switch directive {
            case .handle(let message, _):
                receivers[index].handled[message.id, default: 0] += 1
                if chance(kills) {
                    receivers[index].repeatable.insert(message.id)
                    return crash(index)
                }
                receivers[index].core.onHandled(
                    message.id,
                    outcome: .handled,
                    reply: [],
                    at: now
                )
                if message.messageClass == .idempotent {
                    receivers[index].repeatable.insert(message.id)
                }
            case .remember:
                if chance(kills) {
                    let unsaved = receivers[index].core.remembered.filter {
                        !receivers[index].stored.contains($0)
                    }
                    receivers[index].repeatable.formUnion(unsaved)
                    return crash(index)
                }
                receivers[index].stored = receivers[index].core.remembered
                receivers[index].core.onRemembered()
            case .acknowledge(let answers):
                if chance(kills) { return crash(index) }
                // Lost on the way there, or the answer to it is lost: it is sent again then.
                if chance(30) { return }
                acknowledgements.append(answers)
                if chance(30) { return }
                receivers[index].core.onAcknowledged(answers.map(\.message))
            }
        }

        private mutating func crash(_ index: Int) {
            crashes += 1
            receivers[index].core = InboxCore(
                node: receivers[index].node,
                settings: settings,
                remembered: receivers[index].stored
            )
            receivers[index].cursor = nil
        }

        mutating func acknowledge() {
            guard !acknowledgements.isEmpty else { return }
            let position = Int(random.number(below: UInt64(acknowledgements.count)))
            let taken =
                chance(20) ? acknowledgements[position] : acknowledgements.remove(at: position)
            for answer in taken {
                answers[answer.message, default: []].insert(answer.node)
                board.onAnswered(answer.message, by: answer.node, at: now)
            }
        }

        var isSettled: Bool {
            log.allSatisfy { answers[$0.message.id]?.count == MessageDeliveryTests.members.count }
        }
    }

    func test_reliableMessages_throughLossRepetitionAndCrashes_areHandledAtLeastOnce() throws {
        var crashes = 0
        for seed in UInt64(1)...60 {
            var world = World(seed: seed)
            for step in 0..<600 {
                world.monotonic += .milliseconds(10)
                let index = Int(world.random.number(below: 4))
                switch world.random.number(below: 12) {
                case 0 where step < 400: world.send(.reliable)
                case 1 where step < 400: world.send(.idempotent)
                case 2 where world.chance(10): world.coordinatorCrashes()
                case 3, 4: world.fetch(index)
                case 5, 6: world.receive(index)
                case 7: world.acknowledge()
                default: world.turn(index, kills: 5)
                }
            }
            // The network heals: everything settles.
            var rounds = 0
            while !world.isSettled, rounds < 2_000 {
                rounds += 1
                world.monotonic += .milliseconds(10)
                for index in world.receivers.indices {
                    if rounds % 50 == 0 { world.receivers[index].cursor = nil }
                    world.fetch(index)
                    world.receive(index)
                    for _ in 0..<4 { world.turn(index, kills: 0) }
                }
                world.acknowledge()
            }
            XCTAssertTrue(world.isSettled, "seed \(seed)")
            crashes += world.crashes
            for receiver in world.receivers {
                for stored in world.log {
                    let times = receiver.handled[stored.message.id] ?? 0
                    XCTAssertGreaterThanOrEqual(times, 1, "seed \(seed): at least once")
                    if !receiver.repeatable.contains(stored.message.id) {
                        XCTAssertEqual(times, 1, "seed \(seed): not twice without a crash")
                    }
                }
                XCTAssertLessThanOrEqual(receiver.core.remembered.count, 64, "seed \(seed)")
                XCTAssertGreaterThanOrEqual(receiver.core.room, 0)
            }
            XCTAssertLessThanOrEqual(world.mostRecent, 5, "seed \(seed)")
        }
        XCTAssertGreaterThan(crashes, 100)
    }

    func test_receiversMemory_isBounded_andForgetsTheOldestFirst() {
        var core = InboxCore(
            node: "w-1",
            settings: MessageInboxSettings(capacity: 4, remembered: 10)
        )
        let now = ManualTimeSource.standardStart
        func message(_ number: Int) -> ClusterMessage {
            ClusterMessage(
                id: MessageID(bits: UInt128(number)),
                kind: "x",
                messageClass: .reliable,
                address: .everybody,
                sender: "m",
                sentAt: now,
                expiresAt: now + .seconds(9)
            )
        }
        for number in 1...35 {
            core.onPage([message(number)], at: now, monotonic: .zero)
            core.onHandled(
                MessageID(bits: UInt128(number)),
                outcome: .handled,
                reply: [],
                at: now
            )
            core.onAcknowledged([MessageID(bits: UInt128(number))])
        }
        XCTAssertEqual(core.remembered.map(\.bits), (26...35).map { UInt128($0) })
        core.onPage([message(30)], at: now, monotonic: .zero)
        XCTAssertEqual(core.duplicates, 1)
        XCTAssertEqual(core.room, 3, "it is answered again")
    }
}
