import ClusterMembership
import ClusterRole
import ClusterTestKit
import Synchronization
import XCTest

/// A coordinator in memory, with members that are there.
final class MessageScene: Sendable {
    let clock: any TimeSource
    let random = SeededRandomSource(seed: 21)
    let ledger = InMemoryLedger()
    let registry: InMemoryMemberRegistry
    let log: InMemoryMessageLog
    let capability: WriteCapability
    let handlers = MessageHandlers()
    let messenger: ClusterMessenger

    init(
        clock: any TimeSource = ManualTimeSource(),
        limits: MessageLimits = MessageLimits()
    ) {
        self.clock = clock
        registry = InMemoryMemberRegistry(ledger: ledger)
        log = InMemoryMessageLog(ledger: ledger)
        capability = WriteCapability(epoch: ledger.raiseEpoch())
        messenger = Self.messenger(clock, random, log, registry, capability, handlers, limits)
    }

    /// Another coordinator on the same store.
    func successor() -> ClusterMessenger {
        let capability = WriteCapability(epoch: ledger.raiseEpoch())
        return Self.messenger(
            clock,
            random,
            log,
            registry,
            capability,
            MessageHandlers(),
            MessageLimits()
        )
    }

    private static func messenger(
        _ clock: any TimeSource,
        _ random: SeededRandomSource,
        _ log: InMemoryMessageLog,
        _ registry: InMemoryMemberRegistry,
        _ capability: WriteCapability,
        _ handlers: MessageHandlers,
        _ limits: MessageLimits
    ) -> ClusterMessenger {
        ClusterMessenger(
            own: Member(
                node: "manager-1",
                role: .manager,
                domain: .standard(for: .manager),
                joinedAt: clock.now(),
                lastHeard: clock.now()
            ),
            log: log,
            members: ClusterMembers(registry: registry),
            capability: capability,
            handlers: handlers,
            settings: ClusterMessenger.Settings(
                limits: limits,
                sweepEvery: .milliseconds(20),
                clock: clock,
                random: random
            )
        )
    }

    func join(
        _ name: String,
        role: NodeRole = .worker,
        domain: ClusterDomain? = nil,
        properties: [String: String] = [:],
        state: MemberState = .alive
    ) async throws {
        let member = Member(
            node: NodeID(rawValue: name),
            role: role,
            domain: domain ?? .standard(for: role),
            state: state,
            properties: properties,
            joinedAt: clock.now(),
            lastHeard: clock.now()
        )
        _ = try await registry.put(member, epoch: ledger.epoch)
    }

    /// What a member is offered that has nothing yet.
    func kinds(for node: NodeID, from messenger: ClusterMessenger? = nil) async throws -> [String] {
        try await (messenger ?? self.messenger).page(for: node, after: nil, limit: 100)
            .messages.map(\.kind.rawValue)
    }

    func acknowledge(_ id: MessageID, by node: NodeID) async throws {
        try await messenger.take([
            MessageAcknowledgement(
                message: id,
                node: node,
                outcome: .handled,
                at: clock.now()
            )
        ])
    }
}

/// Fetches for one member of a scene.
struct SceneSource: MessageSource {
    let messenger: ClusterMessenger
    let node: NodeID

    func fetch(
        after cursor: MessageCursor?,
        limit: Int,
        wait: Duration
    ) async throws -> MessagePage {
        try await messenger.fetch(for: node, after: cursor, limit: limit, wait: wait)
    }

    func acknowledge(_ answers: [MessageAcknowledgement]) async throws {
        try await messenger.take(answers)
    }
}

/// Runs services until `body` is over.
func whileRunning(
    _ services: [@Sendable () async throws -> Void],
    _ body: () async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for service in services { group.addTask { try? await service() } }
        do {
            try await body()
        } catch {
            group.cancelAll()
            throw error
        }
        group.cancelAll()
    }
}

/// Waits until `condition` holds; fails after half a minute.
func eventually(
    _ what: String,
    file: StaticString = #filePath,
    line: UInt = #line,
    _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < end {
        if try await condition() { return }
        try await ContinuousClock().sleep(for: .milliseconds(5))
    }
    XCTFail("It never happened: \(what)", file: file, line: line)
    throw NeverHappened()
}

struct NeverHappened: Error {}

/// What happened, in order.
final class MessageJournal: Sendable {
    private let lines = Mutex<[String]>([])
    func note(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}
