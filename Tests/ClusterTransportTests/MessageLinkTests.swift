#if Server && SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import Foundation
import HummingbirdHosting
import ServiceLifecycle
import Synchronization
import HTTPTypes
import XCTest

@testable import ClusterLink

/// Messages and the replicated state over a real server and client.
final class MessageLinkTests: XCTestCase {
    /// What handlers got, in order.
    private final class Heard: Sendable {
        private let lines = Mutex<[String]>([])
        func note(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    /// A worker's messages, on a link of its own.
    private final class MessagingWorker: Sendable {
        let client: LinkClient
        let handlers = MessageHandlers()
        let state: SharedState
        let inbox: MessageInbox

        init(
            _ address: ServerAddress,
            node: String = "worker-1",
            record: any NodeRecord = InMemoryNodeRecord()
        ) throws {
            client = try LinkClient(
                node: NodeID(rawValue: node),
                configuration: LinkClientConfiguration(
                    addresses: ["http://\(address)"],
                    token: node
                ),
                random: SeededRandomSource(seed: 1),
                logger: quiet
            )
            state = SharedState(record: record)
            let seen = Seen()
            inbox = MessageInbox(
                node: NodeID(rawValue: node),
                source: LinkMessageSource(client: client, state: state) { try seen.hear($0) },
                handlers: handlers,
                record: InMemoryNodeRecord(),
                settings: MessageInboxSettings(
                    initialBackoff: .milliseconds(10),
                    pollWait: .seconds(2)
                ),
                logger: quiet
            )
        }

        /// Remembers the highest epoch, as a replica does.
        private final class Seen: Sendable {
            private let highest = Mutex(Epoch.none)
            func hear(_ epoch: Epoch) throws {
                try highest.withLock { highest in
                    guard epoch >= highest else {
                        throw ClusterRoleError.fenced(current: highest)
                    }
                    highest = epoch
                }
            }
        }

        func hello() async throws {
            _ = try await client.hello(
                LinkHello(node: client.node, applied: nil, highestEpoch: .none)
            )
        }

        func running(_ body: () async throws -> Void) async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.inbox.run() }
                do {
                    try await body()
                } catch {
                    group.cancelAll()
                    throw error
                }
                group.cancelAll()
            }
        }
    }

    func test_messages_overTheLink_areHandledAnsweredAndSettled() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let one = try MessagingWorker(address)
            let two = try MessagingWorker(address, node: "worker-2")
            let heard = Heard()
            for worker in [one, two] {
                worker.handlers.on("ping") { message in
                    heard.note("\(worker.client.node) \(message.payload)")
                    return MessageReply(Array("\(worker.client.node)".utf8))
                }
                try await worker.hello()
            }
            try await one.running {
                let receipt = try await manager.messenger.send(
                    MessageDraft("ping", [7], to: .role(.worker), messageClass: .reliable)
                )
                try await eventually("worker-1 has answered") {
                    try await manager.messenger.status(of: receipt.id).silent == ["worker-2"]
                }
                let gathered = try await manager.messenger.request(
                    "ping",
                    [8],
                    to: .members(["worker-1"]),
                    within: .seconds(30)
                )
                XCTAssertEqual(gathered.replies.map(\.reply), [Array("worker-1".utf8)])
                try await two.running {
                    try await eventually("worker-2 has answered") {
                        try await manager.messenger.status(of: receipt.id).silent.isEmpty
                    }
                }
            }
            XCTAssertEqual(
                heard.all,
                ["worker-1 [7]", "worker-1 [8]", "worker-2 [7]"]
            )
        }
    }

    func test_lateJoiner_overTheLink_getsWhatIsReplayed_asSoonAsItIsAMember() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try MessagingWorker(address)
            let heard = Heard()
            for kind: MessageKind in ["replayed", "past"] {
                worker.handlers.on(kind) { message in
                    heard.note("\(message.kind)")
                    return MessageReply()
                }
            }
            try await manager.messenger.send(
                MessageDraft(
                    "replayed",
                    to: .role(.worker),
                    messageClass: .reliable,
                    lateJoiners: .replayed
                )
            )
            try await manager.messenger.send(
                MessageDraft("past", to: .role(.worker), messageClass: .reliable)
            )
            try await worker.running {
                try await worker.hello()
                try await eventually("it is replayed") { !heard.all.isEmpty }
            }
            XCTAssertEqual(heard.all, ["replayed"])
        }
    }

    func test_sharedState_reachesWorkers_survivesRestarts_andInvalidatesCaches() async throws {
        let manager = try ManagerScene()
        try await manager.state.state.refresh()
        let key = SharedStateKey("dark", in: "flags")
        let record = InMemoryNodeRecord()
        try await withServer(manager) { address in
            let worker = try MessagingWorker(address, record: record)
            let caches = CacheInvalidation(state: worker.state)
            try await worker.hello()
            try await manager.state.set([1], for: key)
            try await worker.running {
                try await eventually("the value arrives") {
                    worker.state.entry(key)?.value == [1]
                }
                caches.onInvalidation(of: "prices") {}
                await caches.apply()
                try await manager.state.invalidate(cache: "prices")
                try await eventually("the cache is dropped") {
                    await caches.apply() == ["prices"]
                }
                try await manager.state.remove(key)
                try await eventually("the removal arrives") { worker.state.entry(key) == nil }
                try await manager.state.set([2], for: key)
                try await eventually("the next value arrives") {
                    worker.state.entry(key)?.value == [2]
                }
            }
        }
        // No manager is there any more.
        let again = SharedState(record: record)
        try await again.restore()
        XCTAssertEqual(again.entry(key)?.value, [2])
    }

    func test_worker_asksItsManager_withinWhatItMay() async throws {
        let manager = try ManagerScene()
        manager.handlers.on("price", acceptsWorkers: true) { message in
            MessageReply(message.payload + Array("\(message.sender)".utf8))
        }
        manager.handlers.on("secret") { _ in MessageReply([1]) }
        try await withServer(manager) { address in
            let worker = try MessagingWorker(address)
            let reply = try await worker.client.ask("price", [9], id: MessageID(bits: 1))
            XCTAssertEqual(reply, [9] + Array("worker-1".utf8))
            do {
                _ = try await worker.client.ask("secret", id: MessageID(bits: 2))
                XCTFail("a worker asked what only members of this manager may be told")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.code.rawValue, "cluster.no-handler")
                XCTAssertEqual(error.status, 403)
            }
        }
    }

    func test_replies_forAnotherNode_orThatAreDamaged_areRefused() async throws {
        let manager = try ManagerScene()
        let forged = MessageCoding.encode([
            MessageAcknowledgement(
                message: MessageID(bits: 1),
                node: "worker-2",
                outcome: .handled,
                at: Timestamp(milliseconds: 1)
            )
        ])
        let refused = try await manager.answer(.post, "/replies", body: forged)
        XCTAssertEqual(refused.status, 403)
        XCTAssertEqual(problemCode(refused.body), "link.wrong-node")
        for length in 0..<forged.count {
            let cut = try await manager.answer(
                .post,
                "/replies",
                body: Array(forged.prefix(length))
            )
            XCTAssertEqual(cut.status, 400, "\(length) bytes")
        }
        for path in ["/messages?after=nonsense", "/messages?state=1", "/messages?limit=65"] {
            let answer = try await manager.answer(.get, path)
            XCTAssertEqual(answer.status, 400, path)
        }
    }

    func test_messages_ofAManagerThatIsNotTheCoordinator_areRefused() async throws {
        let manager = try ManagerScene()
        manager.coordinator.isSet = false
        let page = try await manager.answer(.get, "/messages")
        XCTAssertEqual(page.status, 503)
        XCTAssertEqual(problemCode(page.body), "link.not-coordinator")
    }

    func test_page_isReadAsItWasWritten_andDamageIsRefused() throws {
        let revision = Revision(history: HistoryID(bits: 3), number: 9)
        let message = ClusterMessage(
            id: MessageID(bits: 5),
            kind: "x",
            payload: [1, 2],
            messageClass: .idempotent,
            address: .property(name: "zone", value: "a"),
            expectsReply: true,
            sender: "manager-1",
            sentAt: Timestamp(milliseconds: 1),
            expiresAt: Timestamp(milliseconds: 2)
        )
        let page = LinkMessagePage(
            epoch: Epoch(rawValue: 4),
            page: MessagePage(
                messages: [message],
                cursor: MessageCursor(incarnation: IncarnationID(bits: 8), number: 7),
                dropped: 3
            ),
            state: SharedStateDelta(
                revision: revision,
                isSnapshot: true,
                entries: [
                    SharedStateEntry(key: SharedStateKey("a", in: "b"), value: [], version: 8),
                    SharedStateEntry(key: SharedStateKey("c", in: "b"), value: nil, version: 9),
                ]
            )
        )
        let bytes = page.encoded()
        XCTAssertEqual(try LinkMessagePage(decoding: bytes), page)
        for length in bytes.indices {
            XCTAssertThrowsError(try LinkMessagePage(decoding: Array(bytes[..<length])))
        }
    }
}
#endif
