internal import ClusterMembership
internal import ClusterRole

/// The contract of `MessageLog`.
public struct MessageLogConformance: Sendable {
    private let makeStore: StoreFactory
    private let timeLimit: Duration

    /// - Parameters:
    ///   - timeLimit: the most one step may take.
    ///   - makeStore: makes an empty store for each step.
    public init(
        timeLimit: Duration = standardStepTimeLimit,
        _ makeStore: @escaping StoreFactory
    ) {
        self.timeLimit = timeLimit
        self.makeStore = makeStore
    }

    /// Runs every step.
    ///
    /// - Returns: what passed and what was skipped.
    /// - Throws: ``ConformanceFailure`` from the first step that fails.
    public func run() async throws -> ConformanceReport {
        try await runStoreConformance("MessageLog", makeStore, timeLimit, Self.steps)
    }

    private static let steps: [ConformanceStep<StoreScene>] = [
        .init("messages come back in the order of their numbers", keepsOrder),
        .init("every field comes back", keepsFields),
        .init("the same id again is the same message", isIdempotent),
        .init("the same id for another message is a conflict", refusesConflicts),
        .init("a member's first answer stays", keepsFirstAnswer),
        .init("answers to unknown messages are dropped", dropsStrayAnswers),
        .init("a removed message is gone, and its number is not used again", removes),
        .init("an old epoch neither sends nor removes", refusesOldEpoch),
        .init("messages and answers are there after a restart", survivesReopening),
    ]

    private static func log(_ scene: StoreScene) throws -> any MessageLog {
        try scene.needs(\.messages, "MessageLog")
    }

    private static func message(
        _ number: UInt128,
        _ scene: StoreScene,
        to address: MessageAddress = .everybody
    ) -> ClusterMessage {
        ClusterMessage(
            id: MessageID(bits: number),
            kind: "conformance",
            payload: [1, 2, UInt8(truncatingIfNeeded: number)],
            messageClass: .reliable,
            address: address,
            sender: "manager-1",
            sentAt: scene.now,
            expiresAt: scene.now + .seconds(60)
        )
    }

    private static func answer(
        _ id: MessageID,
        _ node: NodeID,
        _ scene: StoreScene,
        reply: [UInt8] = []
    ) -> MessageAcknowledgement {
        MessageAcknowledgement(
            message: id,
            node: node,
            outcome: .handled,
            reply: reply,
            at: scene.now
        )
    }

    private static func keepsOrder(_ scene: StoreScene) async throws {
        let log = try log(scene)
        var stored: [StoredMessage] = []
        for index in 1...20 {
            stored.append(
                try await log.append(
                    message(UInt128(100 - index), scene),
                    recipients: ["a"],
                    epoch: scene.epoch
                )
            )
        }
        let numbers = stored.map(\.number)
        try scene.check.equal(numbers, numbers.sorted(), "numbers grow")
        try scene.check.equal(Set(numbers).count, 20, "distinct numbers")
        try scene.check.equal(
            try await log.messages(after: 0, limit: 100),
            stored,
            "all messages"
        )
        try scene.check.equal(
            try await log.messages(after: numbers[4], limit: 3),
            Array(stored[5..<8]),
            "three behind the fifth"
        )
    }

    private static func keepsFields(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let addresses: [MessageAddress] = [
            .everybody, .members(["b", "a"]), .role(.combined), .domain(.standard(for: .worker)),
            .property(name: "zone", value: "north"),
        ]
        for (index, address) in addresses.enumerated() {
            var sent = message(UInt128(index + 1), scene, to: address)
            sent.lateJoiners = index % 2 == 0 ? .replayed : .skipped
            sent.expectsReply = index == 1
            sent.payload = index == 2 ? [] : sent.payload
            let recipients: [NodeID]? = index % 2 == 0 ? nil : index == 3 ? [] : ["a", "b"]
            let stored = try await log.append(
                sent,
                recipients: recipients,
                epoch: scene.epoch
            )
            try scene.check.equal(stored.message, sent, "the message that append returns")
            let read = try await log.messages(after: stored.number - 1, limit: 1).first
            try scene.check.equal(read, stored, "the message \(index) read back")
            try scene.check.equal(read?.recipients, recipients, "its recipients")
        }
    }

    private static func isIdempotent(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let first = try await log.append(
            message(1, scene),
            recipients: ["a"],
            epoch: scene.epoch
        )
        var again = message(1, scene)
        again.sentAt = scene.now + .seconds(5)
        let second = try await log.append(
            again,
            recipients: ["a", "b"],
            epoch: scene.epoch
        )
        try scene.check.equal(second, first, "the message sent again")
        try scene.check.equal(
            try await log.messages(after: 0, limit: 9).count,
            1,
            "messages stored"
        )
    }

    private static func refusesConflicts(_ scene: StoreScene) async throws {
        let log = try log(scene)
        _ = try await log.append(message(1, scene), recipients: [], epoch: scene.epoch)
        var other = message(1, scene)
        other.payload = [9]
        do {
            _ = try await log.append(other, recipients: [], epoch: scene.epoch)
            throw scene.check.failure("another message under a known id was stored")
        } catch let error as ClusterMembershipError {
            try scene.check.equal(error.code, .messageConflict, "the refusal")
        }
    }

    private static func keepsFirstAnswer(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let id = MessageID(bits: 1)
        _ = try await log.append(message(1, scene), recipients: nil, epoch: scene.epoch)
        let first = answer(id, "b", scene, reply: [7])
        var failed = answer(id, "a", scene)
        failed.outcome = .failed
        failed.reason = "it burns"
        try await log.acknowledge([first, failed])
        try await log.acknowledge([answer(id, "b", scene, reply: [8])])
        try scene.check.equal(
            try await log.acknowledgements(of: id),
            [failed, first],
            "the answers, by name"
        )
    }

    private static func dropsStrayAnswers(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let id = MessageID(bits: 5)
        try await log.acknowledge([answer(id, "a", scene)])
        try scene.check.equal(
            try await log.acknowledgements(of: id),
            [],
            "answers to a message nobody sent"
        )
        _ = try await log.append(message(5, scene), recipients: nil, epoch: scene.epoch)
        try scene.check.equal(
            try await log.acknowledgements(of: id),
            [],
            "answers that came before it"
        )
    }

    private static func removes(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let id = MessageID(bits: 2)
        let first = try await log.append(message(1, scene), recipients: nil, epoch: scene.epoch)
        let last = try await log.append(message(2, scene), recipients: nil, epoch: scene.epoch)
        try await log.acknowledge([answer(id, "a", scene)])
        for _ in 0..<2 {
            try await log.remove([id, MessageID(bits: 77)], epoch: scene.epoch)
        }
        try scene.check.equal(
            try await log.messages(after: 0, limit: 9),
            [first],
            "what is left"
        )
        try scene.check.equal(
            try await log.acknowledgements(of: id),
            [],
            "answers to what was removed"
        )
        let next = try await log.append(message(3, scene), recipients: nil, epoch: scene.epoch)
        try scene.check.isTrue(next.number > last.number, "a number is used once")
    }

    private static func refusesOldEpoch(_ scene: StoreScene) async throws {
        let log = try log(scene)
        let kept = try await log.append(message(1, scene), recipients: nil, epoch: scene.epoch)
        let new = try await scene.store.newEpoch()
        func isFenced(_ body: () async throws -> Void) async throws -> Bool {
            do {
                try await body()
                return false
            } catch let error as ClusterRoleError where error.code == .fenced {
                return true
            }
        }
        let sent = try await isFenced {
            _ = try await log.append(message(2, scene), recipients: nil, epoch: scene.epoch)
        }
        let removed = try await isFenced {
            try await log.remove([kept.message.id], epoch: scene.epoch)
        }
        try scene.check.isTrue(sent && removed, "both are fenced")
        try scene.check.equal(try await log.messages(after: 0, limit: 9), [kept], "the log")
        try await log.remove([kept.message.id], epoch: new)
    }

    private static func survivesReopening(_ scene: StoreScene) async throws {
        guard let reopen = scene.store.reopen else {
            throw StepSkip(reason: "the store keeps nothing")
        }
        let log = try log(scene)
        let stored = try await log.append(
            message(1, scene),
            recipients: ["a"],
            epoch: scene.epoch
        )
        let said = answer(stored.message.id, "a", scene, reply: [3])
        try await log.acknowledge([said])
        let again = try await reopen()
        do {
            let log = try scene.check.some(again.messages, "the log after the restart")
            try scene.check.equal(
                try await log.messages(after: 0, limit: 9),
                [stored],
                "the messages after the restart"
            )
            try scene.check.equal(
                try await log.acknowledgements(of: stored.message.id),
                [said],
                "the answers after the restart"
            )
        } catch {
            try? await again.close()
            throw error
        }
        try await again.close()
    }
}
