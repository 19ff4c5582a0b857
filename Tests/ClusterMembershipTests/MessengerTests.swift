import ClusterMembership
import ClusterRole
import ClusterTestKit
import XCTest

final class MessengerTests: XCTestCase {
    private func draft(
        _ kind: MessageKind,
        to address: MessageAddress,
        _ messageClass: MessageClass = .reliable,
        late: LateJoiners = .skipped,
        lifetime: Duration? = nil,
        id: MessageID? = nil
    ) -> MessageDraft {
        MessageDraft(
            kind,
            [1],
            to: address,
            messageClass: messageClass,
            lateJoiners: late,
            lifetime: lifetime,
            id: id
        )
    }

    // MARK: Who is addressed

    func test_message_isOfferedToThoseItAddresses_andToNobodyElse() async throws {
        let scene = MessageScene()
        try await scene.join("w-1", properties: ["zone": "north"])
        try await scene.join("w-2")
        try await scene.join("w-3", domain: ClusterDomain("reeve", subDomain: "edge"))
        try await scene.join("both", role: .combined)
        try await scene.join("gone", state: .left)
        let sent: [(MessageKind, MessageAddress, [NodeID])] = [
            ("all", .everybody, ["both", "manager-1", "w-1", "w-2", "w-3"]),
            ("named", .members(["w-2", "w-1"]), ["w-1", "w-2"]),
            ("workers", .role(.worker), ["w-1", "w-2", "w-3"]),
            ("managers", .role(.manager), ["manager-1"]),
            ("edge", .domain(try ClusterDomain("reeve", subDomain: "edge")), ["w-3"]),
            ("zone", .property(name: "zone", value: "north"), ["w-1"]),
            ("nobody", .property(name: "zone", value: "south"), []),
        ]
        for messageClass in MessageClass.allCases {
            for (kind, address, expected) in sent {
                let receipt = try await scene.messenger.send(draft(kind, to: address, messageClass))
                XCTAssertEqual(receipt.recipients, expected, "\(kind) \(messageClass)")
            }
        }
        for node in ["w-1", "w-2", "w-3", "both", "manager-1", "gone", "stranger"] {
            let name = NodeID(rawValue: node)
            let expected = sent.filter { $0.2.contains(name) }.map { $0.0.rawValue }
            let offered = try await scene.kinds(for: name)
            XCTAssertEqual(offered, expected + expected, node)
        }
    }

    func test_message_toANameNobodyHas_isRefused() async throws {
        let scene = MessageScene()
        for address in [MessageAddress.members(["nobody"]), .members([])] {
            do {
                try await scene.messenger.send(draft("x", to: address))
                XCTFail("\(address)")
            } catch let error as ClusterMembershipError {
                XCTAssert([.unknownMember, .invalidMessage].contains(error.code), "\(error)")
            }
        }
    }

    func test_message_thatIsTooLargeOrNeverExpires_isRefused() async throws {
        let scene = MessageScene()
        var large = draft("x", to: .everybody)
        large.payload = Array(repeating: 0, count: ClusterMessage.maximumPayloadBytes + 1)
        let bad = [
            large, draft("x", to: .everybody, lifetime: .zero),
            draft("x", to: .everybody, lifetime: .seconds(31 * 86_400)),
            draft("x", to: .everybody, .idempotent, late: .replayed),
        ]
        for draft in bad {
            do {
                try await scene.messenger.send(draft)
                XCTFail("\(draft)")
            } catch let error as ClusterMembershipError {
                XCTAssertEqual(error.code, .invalidMessage)
            }
        }
    }

    // MARK: Reliable

    func test_reliableMessage_isOfferedUntilAcknowledged_byTheNextCoordinatorToo() async throws {
        let scene = MessageScene()
        try await scene.join("w-1")
        try await scene.join("w-2")
        let receipt = try await scene.messenger.send(draft("flush", to: .role(.worker)))
        let first = try await scene.messenger.page(for: "w-1", after: nil, limit: 9)
        XCTAssertEqual(first.messages.map(\.id), [receipt.id])
        let behind = try await scene.messenger.page(for: "w-1", after: first.cursor, limit: 9)
        XCTAssertEqual(behind.messages, [], "the cursor spares it")
        try await scene.acknowledge(receipt.id, by: "w-1")
        let next = scene.successor()
        try await next.refresh()
        let page = try await next.page(for: "w-2", after: first.cursor, limit: 9)
        XCTAssertEqual(page.messages.map(\.id), [receipt.id], "another's cursor means nothing")
        let offered = try await scene.kinds(for: "w-1", from: next)
        XCTAssertEqual(offered, [])
        let status = try await next.status(of: receipt.id)
        XCTAssertEqual(status.silent, ["w-2"])
        XCTAssertEqual(status.acknowledgements.map(\.node), ["w-1"])
    }

    func test_reliableMessage_sentAgainUnderItsID_isTheSameMessage() async throws {
        let scene = MessageScene()
        try await scene.join("w-1")
        let id = MessageID(bits: 7)
        var receipts: [MessageReceipt] = []
        for _ in 0..<3 {
            receipts.append(
                try await scene.messenger.send(draft("flush", to: .everybody, id: id))
            )
            // Whoever comes later was not meant.
            try await scene.join("w-2")
        }
        XCTAssertEqual(receipts.map(\.wasRepeated), [false, true, true])
        XCTAssertEqual(Set(receipts.map(\.recipients)).count, 1)
        let offered = try await scene.kinds(for: "w-1")
        XCTAssertEqual(offered, ["flush"])
        do {
            try await scene.messenger.send(draft("other", to: .everybody, id: id))
            XCTFail("another message under the same id")
        } catch let error as ClusterMembershipError {
            XCTAssertEqual(error.code, .messageConflict)
        }
    }

    func test_lateJoiner_getsWhatIsReplayed_untilItExpires_andNothingElse() async throws {
        let clock = ManualTimeSource()
        let scene = MessageScene(clock: clock)
        try await scene.messenger.send(
            draft("replayed", to: .role(.worker), late: .replayed, lifetime: .seconds(60))
        )
        try await scene.messenger.send(draft("then", to: .role(.worker)))
        let before = try await scene.messenger.page(for: "w-1", after: nil, limit: 9)
        XCTAssertEqual(before.messages, [], "it is no member yet")
        try await scene.join("w-1")
        let after = try await scene.messenger.page(for: "w-1", after: before.cursor, limit: 9)
        XCTAssertEqual(after.messages.map(\.kind), ["replayed"])
        clock.advance(by: .seconds(61))
        try await scene.join("w-2")
        let offered = try await scene.kinds(for: "w-2")
        XCTAssertEqual(offered, [])
    }

    func test_expiredAndSettledMessages_leaveTheLog() async throws {
        let clock = ManualTimeSource()
        let scene = MessageScene(clock: clock)
        try await scene.join("w-1")
        try await scene.messenger.send(draft("short", to: .everybody, lifetime: .seconds(10)))
        let settled = try await scene.messenger.send(draft("settled", to: .members(["w-1"])))
        try await scene.messenger.send(draft("open", to: .everybody))
        try await scene.acknowledge(settled.id, by: "w-1")
        clock.advance(by: .seconds(11))
        try await scene.messenger.sweep()
        var left = try await scene.log.messages(after: 0, limit: 9).map(\.message.kind)
        XCTAssertEqual(left, ["settled", "open"], "answers can be asked for")
        clock.advance(by: .seconds(600))
        try await scene.messenger.sweep()
        left = try await scene.log.messages(after: 0, limit: 9).map(\.message.kind)
        XCTAssertEqual(left, ["open"])
        XCTAssertEqual(scene.messenger.counts.kept, 1)
    }

    func test_reliableMessages_beyondTheLimit_areRefused_andNoneIsDropped() async throws {
        let scene = MessageScene(limits: MessageLimits(maximumKept: 2))
        try await scene.join("w-1")
        for _ in 0..<2 { try await scene.messenger.send(draft("x", to: .everybody)) }
        do {
            try await scene.messenger.send(draft("x", to: .everybody))
            XCTFail("a third")
        } catch let error as ClusterMembershipError {
            XCTAssertEqual(error.code, .tooManyMessages)
            XCTAssertEqual(error.category, .overloaded)
        }
        let offered = try await scene.kinds(for: "w-1")
        XCTAssertEqual(offered, ["x", "x"])
    }

    func test_send_withoutTheRightToWrite_isRefused() async throws {
        let scene = MessageScene()
        scene.capability.revoke()
        for messageClass in MessageClass.allCases {
            do {
                try await scene.messenger.send(draft("x", to: .everybody, messageClass))
                XCTFail("\(messageClass)")
            } catch let error as ClusterMembershipError {
                XCTAssertEqual((error.cause as? ClusterRoleError)?.code, .revoked)
            }
        }
    }

    // MARK: Idempotent

    func test_idempotentMessage_isOfferedOnce_andNotStored() async throws {
        let scene = MessageScene()
        try await scene.join("w-1")
        try await scene.join("w-2")
        try await scene.messenger.send(draft("hint", to: .role(.worker), .idempotent))
        for (node, expected) in [("w-1", ["hint"]), ("w-1", []), ("w-2", ["hint"]), ("w-2", [])] {
            let offered = try await scene.kinds(for: NodeID(rawValue: node))
            XCTAssertEqual(offered, expected, node)
        }
        let stored = try await scene.log.messages(after: 0, limit: 9)
        XCTAssertEqual(stored, [])
        XCTAssertEqual(scene.messenger.counts.recentBytes, 0)
    }

    func test_idempotentMessages_beyondTheBuffer_dropTheOldest_andTheDropsAreCounted()
        async throws
    {
        let clock = ManualTimeSource()
        let scene = MessageScene(clock: clock, limits: MessageLimits(maximumRecent: 3))
        try await scene.join("slow")
        try await scene.join("quick")
        for number in 1...10 {
            let kind = MessageKind(rawValue: "m\(number)")
            try await scene.messenger.send(draft(kind, to: .role(.worker), .idempotent))
            let offered = try await scene.kinds(for: "quick")
            XCTAssertEqual(offered, ["m\(number)"])
        }
        let page = try await scene.messenger.page(for: "slow", after: nil, limit: 9)
        XCTAssertEqual(page.messages.map(\.kind), ["m8", "m9", "m10"])
        XCTAssertEqual(page.dropped, 7)
        XCTAssertEqual(scene.messenger.counts.drops, [.init(node: "slow", count: 7)])
        try await scene.messenger.send(draft("late", to: .members(["slow"]), .idempotent))
        clock.advance(by: .seconds(61))
        try await scene.messenger.sweep()
        XCTAssertEqual(scene.messenger.counts.drops, [.init(node: "slow", count: 8)])
        XCTAssertEqual(scene.messenger.counts.recent, 0)
    }

    // MARK: Requests

    func test_request_gathersReplies_andNamesTheSilentAtTheDeadline() async throws {
        let scene = MessageScene(clock: SystemTimeSource())
        for name in ["w-1", "w-2", "w-3"] { try await scene.join(name) }
        let answering = MessageHandlers()
        answering.on("uptime") { MessageReply($0.payload + [42]) }
        let throwing = MessageHandlers()
        throwing.on("uptime") { _ in throw ClusterMembershipError(.storage, "it burns") }
        let inboxes = [("w-1", answering), ("w-2", throwing)].map { name, handlers in
            makeInbox(NodeID(rawValue: name), scene, handlers)
        }
        let services = inboxes.map { inbox -> @Sendable () async throws -> Void in
            { try await inbox.run() }
        }
        try await whileRunning(services) {
            let all = try await scene.messenger.request(
                "uptime",
                [7],
                to: .role(.worker),
                within: .milliseconds(700)
            )
            XCTAssertEqual(all.replies.map(\.node), ["w-1", "w-2"])
            XCTAssertEqual(all.replies.map(\.outcome), [.handled, .failed])
            XCTAssertEqual(all.replies.first?.reply, [7, 42])
            XCTAssertTrue(all.replies.last?.reason.contains("it burns") ?? false)
            XCTAssertEqual(all.silent, ["w-3"])
            let two = try await scene.messenger.request(
                "uptime",
                to: .members(["w-1", "w-2"]),
                within: .seconds(30)
            )
            XCTAssertTrue(two.isComplete)
            let none = try await scene.messenger.request(
                "uptime",
                to: .property(name: "zone", value: "nowhere"),
                within: .seconds(30)
            )
            XCTAssertEqual(none.replies, [])
        }
    }

    func test_requestOfAWorker_isAnswered_onceForEachID_andOnlyForKindsThatAcceptWorkers()
        async throws
    {
        let scene = MessageScene()
        let journal = MessageJournal()
        scene.handlers.on("count", acceptsWorkers: true) { message in
            journal.note("\(message.sender)")
            return MessageReply([UInt8(journal.all.count)])
        }
        scene.handlers.on("secret") { _ in MessageReply([9]) }
        func request(_ kind: MessageKind, _ id: UInt128) -> ClusterMessage {
            ClusterMessage(
                id: MessageID(bits: id),
                kind: kind,
                messageClass: .idempotent,
                address: .role(.manager),
                sender: "forged",
                sentAt: scene.clock.now(),
                expiresAt: scene.clock.now() + .seconds(9)
            )
        }
        var answers: [[UInt8]] = []
        for id: UInt128 in [1, 1, 2] {
            answers.append(try await scene.messenger.answer(request("count", id), from: "w-1"))
        }
        answers.append(try await scene.messenger.answer(request("count", 1), from: "w-2"))
        XCTAssertEqual(answers, [[1], [1], [2], [3]])
        XCTAssertEqual(journal.all, ["w-1", "w-1", "w-2"])
        for kind: MessageKind in ["secret", "unknown"] {
            do {
                _ = try await scene.messenger.answer(request(kind, 5), from: "w-1")
                XCTFail("\(kind)")
            } catch let error as ClusterMembershipError {
                XCTAssertEqual(error.code, .noHandler)
                XCTAssertEqual(error.category, .forbidden)
            }
        }
    }

    // MARK: The inbox

    private func makeInbox(
        _ node: NodeID,
        _ scene: MessageScene,
        _ handlers: MessageHandlers,
        record: any NodeRecord = InMemoryNodeRecord()
    ) -> MessageInbox {
        MessageInbox(
            node: node,
            source: SceneSource(messenger: scene.messenger, node: node),
            handlers: handlers,
            record: record,
            settings: MessageInboxSettings(
                attempts: 3,
                initialBackoff: .milliseconds(5),
                pollWait: .milliseconds(50)
            ),
            clock: scene.clock
        )
    }

    func test_handlerThatThrows_isAskedAgain_thenItsFailureIsReported_andOthersGoOn()
        async throws
    {
        let scene = MessageScene(clock: SystemTimeSource())
        try await scene.join("w-1")
        let journal = MessageJournal()
        let handlers = MessageHandlers()
        handlers.on("bad") { message in
            journal.note("bad \(message.attempt)")
            throw ClusterMembershipError(.storage, "it burns")
        }
        handlers.on("shaky") { message in
            journal.note("shaky \(message.attempt)")
            if message.attempt < 3 { throw ClusterMembershipError(.storage, "not yet") }
            return MessageReply([1])
        }
        let inbox = makeInbox("w-1", scene, handlers)
        try await whileRunning([{ try await inbox.run() }]) {
            var ids: [MessageID] = []
            for kind: MessageKind in ["bad", "shaky", "unknown"] {
                ids.append(
                    try await scene.messenger.send(draft(kind, to: .members(["w-1"]))).id
                )
            }
            var outcomes: [MessageOutcome?] = []
            try await eventually("all are answered") {
                outcomes = []
                for id in ids {
                    let status = try await scene.messenger.status(of: id)
                    outcomes.append(status.acknowledgements.first?.outcome)
                }
                return !outcomes.contains(nil)
            }
            XCTAssertEqual(outcomes, [.failed, .handled, .unknownKind])
            let failed = try await scene.messenger.status(of: ids[0]).acknowledgements.first
            XCTAssertTrue(failed?.reason.contains("it burns") ?? false)
        }
        XCTAssertEqual(journal.all.filter { $0.hasPrefix("bad") }, ["bad 1", "bad 2", "bad 3"])
        XCTAssertEqual(
            journal.all.filter { $0.hasPrefix("shaky") },
            ["shaky 1", "shaky 2", "shaky 3"]
        )
        XCTAssertEqual(inbox.status.failures, 1)
    }
}
