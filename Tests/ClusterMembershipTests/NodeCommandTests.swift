import ClusterMembership
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

final class NodeCommandTests: XCTestCase {
    /// What survives a node's restarts.
    private struct Disk: Sendable {
        let handled = InMemoryNodeRecord()
        let standing = InMemoryNodeRecord()
    }

    /// One life of a node.
    private struct Life: Sendable {
        let control: StandingControl
        let inbox: MessageInbox

        init(_ scene: MessageScene, _ disk: Disk, source: (any MessageSource)? = nil) {
            let handlers = MessageHandlers()
            control = StandingControl(
                record: disk.standing,
                drainFor: .zero,
                clock: scene.clock
            )
            NodeCommands.obey(on: handlers, with: control)
            inbox = MessageInbox(
                node: "w-1",
                source: source ?? SceneSource(messenger: scene.messenger, node: "w-1"),
                handlers: handlers,
                record: disk.handled,
                settings: MessageInboxSettings(
                    initialBackoff: .milliseconds(5),
                    pollWait: .milliseconds(20)
                ),
                clock: scene.clock
            )
        }
    }

    /// Loses acknowledgements on their way, or the answers to them.
    private final class LossySource: MessageSource {
        struct Lost: Error {}
        private let inner: SceneSource
        let losesAnswer = Mutex(true)
        let attempts = Mutex(0)

        init(_ inner: SceneSource) { self.inner = inner }

        func fetch(
            after cursor: MessageCursor?,
            limit: Int,
            wait: Duration
        ) async throws -> MessagePage {
            try await inner.fetch(after: cursor, limit: limit, wait: wait)
        }

        func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
            attempts.withLock { $0 += 1 }
            if losesAnswer.withLock({ $0 }) { throw Lost() }
            try await inner.acknowledge(answers)
        }
    }

    func test_restartCommand_isAcknowledgedBeforeTheEnd_andNotObeyedByTheNextLife()
        async throws
    {
        let scene = MessageScene(clock: SystemTimeSource())
        try await scene.join("w-1")
        let disk = Disk()
        let commands = NodeCommands(scene.messenger)
        let receipt = try await commands.send(.gracefulRestart, to: .members(["w-1"]))
        let first = Life(scene, disk)
        var ending: NodeEnding?
        try await whileRunning([{ try await first.inbox.run() }]) {
            ending = await first.control.ended()
            let (_, status) = try await commands.status(of: receipt.id)
            XCTAssertEqual(status.silent, [], "acknowledged before the end")
            XCTAssertEqual(first.control.mode, .draining)
        }
        XCTAssertEqual(ending, NodeEnding(isGraceful: true, restarts: true))
        XCTAssertEqual(ending?.status, 75)

        let second = Life(scene, disk)
        try await whileRunning([{ try await second.inbox.run() }]) {
            let later = try await commands.send(.maintenanceOn, to: .members(["w-1"]))
            try await eventually("the later command is obeyed") {
                try await commands.status(of: later.id).1.silent.isEmpty
            }
        }
        XCTAssertEqual(second.control.mode, .maintenance)
        XCTAssertNil(second.control.ending, "the restart of the first life is not obeyed again")
    }

    func test_restartCommand_whoseAcknowledgementIsLost_waitsForIt_andAfterAKillDoesNotLoop()
        async throws
    {
        let scene = MessageScene(clock: SystemTimeSource())
        try await scene.join("w-1")
        let disk = Disk()
        let commands = NodeCommands(scene.messenger)
        let receipt = try await commands.send(.restart, to: .everybody)
        let source = LossySource(SceneSource(messenger: scene.messenger, node: "w-1"))
        let first = Life(scene, disk, source: source)
        // It is killed before the coordinator has the acknowledgement.
        try await whileRunning([{ try await first.inbox.run() }]) {
            try await eventually("it tried twice") { source.attempts.withLock { $0 } >= 2 }
        }
        XCTAssertNil(first.control.ending, "it does not end before the acknowledgement is taken")
        let second = Life(scene, disk)
        try await whileRunning([{ try await second.inbox.run() }]) {
            try await eventually("the next life acknowledges it") {
                try await commands.status(of: receipt.id).1.silent == ["manager-1"]
            }
        }
        XCTAssertNil(second.control.ending, "and does not restart again")
    }

    func test_commandsToAGroup_reachThoseWhoAreThere_andNobodyWhoJoinsLater() async throws {
        let scene = MessageScene()
        try await scene.join("w-1", properties: ["zone": "a"])
        try await scene.join("w-2", properties: ["zone": "b"])
        let commands = NodeCommands(scene.messenger)
        let receipt = try await commands.send(
            .drain,
            to: .property(name: "zone", value: "a")
        )
        XCTAssertEqual(receipt.recipients, ["w-1"])
        try await scene.join("w-3", properties: ["zone": "a"])
        let offered = try await scene.kinds(for: "w-3")
        XCTAssertEqual(offered, [])
        let mine = try await scene.kinds(for: "w-1")
        XCTAssertEqual(mine, ["reeve.node-command"])
    }

    func test_maintenance_survivesARestart_andDrainingDoesNot() async throws {
        let record = InMemoryNodeRecord()
        let control = StandingControl(record: record)
        try await control.drain()
        XCTAssertEqual(control.mode, .draining)
        let drained = StandingControl(record: record)
        try await drained.restore()
        XCTAssertEqual(drained.mode, .active)
        try await drained.setMaintenance(true)
        try await drained.drain()
        XCTAssertEqual(drained.mode, .maintenance)
        let resting = StandingControl(record: record)
        try await resting.restore()
        XCTAssertEqual(resting.mode, .maintenance)
        try await resting.setMaintenance(false)
        let back = StandingControl(record: record)
        try await back.restore()
        XCTAssertEqual(back.mode, .active)
    }

    func test_endingAtOnce_overtakesAGracefulOne() async throws {
        let control = StandingControl(
            record: InMemoryNodeRecord(),
            drainFor: .seconds(3_600),
            clock: ManualTimeSource()
        )
        await control.end(NodeEnding(isGraceful: true, restarts: true))
        async let told = control.ended()
        await control.end(NodeEnding(isGraceful: false, restarts: false))
        let ending = await told
        XCTAssertEqual(ending, NodeEnding(isGraceful: false, restarts: false))
    }

    func test_statusOfAMessageThatIsNoCommand_isUnknown() async throws {
        let scene = MessageScene()
        let receipt = try await scene.messenger.send(
            MessageDraft("x", to: .everybody, messageClass: .reliable)
        )
        for id in [receipt.id, MessageID(bits: 5)] {
            do {
                _ = try await NodeCommands(scene.messenger).status(of: id)
                XCTFail("\(id)")
            } catch let error as ClusterMembershipError {
                XCTAssertEqual(error.code, .unknownMessage)
            }
        }
    }
}
