#if Server && SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import Foundation
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import OperationQueue
import Synchronization
import XCTest

@testable import ClusterLink

/// What members and their managers tell each other over the link.
final class LinkMembershipTests: XCTestCase {
    private func member(_ manager: ManagerScene) async throws -> Member? {
        try await manager.members.members().first { $0.node == "worker-1" }
    }

    func test_workerTakenForDead_joinsAgainWithItsNextHeartbeat() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            try await worker.running {
                try await eventually("it joined") {
                    try await self.member(manager)?.state == .alive
                }
                // As after a day: the coordinator's writer has given it up.
                try await manager.keeper.leave("worker-1")
                try await eventually("it is back") {
                    try await self.member(manager)?.state == .alive
                }
            }
            try await eventually("it said good-bye") {
                try await self.member(manager)?.state == .left
            }
        }
    }

    func test_modeAndProperties_changeWhileTheLinkStands_bothWays() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            let worker = try WorkerScene(addresses: ["http://\(address)"])
            defer { worker.remove() }
            try await worker.running {
                try await eventually("it joined") {
                    try await self.member(manager)?.state == .alive
                }
                worker.link.setMode(.draining)
                worker.link.setProperties(["zone": "south"])
                try await eventually("the manager knows") {
                    let known = try await self.member(manager)
                    return known?.mode == .draining && known?.properties == ["zone": "south"]
                }
                worker.link.setMode(.active)
                try await manager.keeper.ask("worker-1", for: .maintenance)
                try await eventually("the worker knows") { worker.link.mode == .maintenance }
                try await manager.keeper.ask("worker-1", for: .active)
                try await eventually("it works again") { worker.link.mode == .active }
            }
        }
    }

    func test_workerByTheManagersOwnName_isRefused() async throws {
        let manager = try ManagerScene()
        manager.tokens.insert(
            TokenDigest(of: "manager-1"),
            for: Identity(name: "manager-1", permissions: [.link])
        )
        try await withServer(manager) { address in
            let client = try LinkClient(
                node: "manager-1",
                configuration: LinkClientConfiguration(
                    addresses: ["http://\(address)"],
                    token: "manager-1"
                ),
                random: SeededRandomSource(seed: 2),
                logger: quiet
            )
            do {
                _ = try await client.hello(
                    LinkHello(node: "manager-1", applied: nil, highestEpoch: .none)
                )
                XCTFail("two nodes of one name")
            } catch let error as ClusterLinkError {
                XCTAssertEqual(error.code.rawValue, "link.wrong-node")
            }
            let members = try await manager.members.members()
            XCTAssertEqual(members, [])
        }
    }

    func test_workerWithoutAddresses_findsItsManagerByDiscovery() async throws {
        let manager = try ManagerScene()
        try await withServer(manager) { address in
            // The first answer is an address where nobody listens any more.
            let resolver = ScriptedResolver([["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]])
            let client = try LinkClient(
                node: "worker-1",
                configuration: LinkClientConfiguration(
                    addresses: [],
                    token: "worker-1",
                    requestTimeout: .seconds(5),
                    discovery: DNSDiscovery(
                        name: "managers.test",
                        port: address.port,
                        resolver: resolver
                    )
                ),
                random: SeededRandomSource(seed: 2),
                logger: quiet
            )
            let hello = LinkHello(node: "worker-1", applied: nil, highestEpoch: .none)
            var welcome = try? await client.hello(hello)
            if welcome == nil { welcome = try await client.hello(hello) }
            XCTAssertEqual(welcome?.epoch, manager.ledger.epoch)
            XCTAssertEqual(resolver.names, Array(repeating: "managers.test", count: 2))
            XCTAssertEqual(client.connection.knownManagers.count, 2)
        }
    }

    func test_theSystemsResolver_knowsLocalhost() async throws {
        let found = try await DNSDiscovery(name: "localhost", port: 8_180).addresses()
        XCTAssertTrue(
            found.contains("http://127.0.0.1:8180") || found.contains("http://[::1]:8180"),
            "\(found)"
        )
        do {
            _ = try await SystemNameResolver().addresses(of: "no-such-name.invalid")
            XCTFail("a name that cannot be was found")
        } catch let error as ClusterLinkError {
            XCTAssertEqual(error.code, .unresolved)
        }
    }

    // MARK: Rolling upgrade

    /// Messages as builds before modes and compatibility wrote them, byte for byte.
    private static let recordedHello = """
        {"address":"127.0.0.1:8280","applied":{"history":"0000000000000000000000000000002a",\
        "number":4711},"domain":"reeve\\/worker","format":1,"highestEpoch":3,"node":"worker-1",\
        "properties":{"zone":"a"},"role":"worker","version":"1.0.0"}
        """
    private static let recordedHeartbeat = """
        {"applied":{"history":"0000000000000000000000000000002a","number":4711},"highestEpoch":3,\
        "properties":{"zone":"a"},"state":"alive"}
        """
    private static let recordedWelcome = """
        {"epoch":3,"revision":{"history":"0000000000000000000000000000002a","number":4712}}
        """

    /// The messages as those builds read them.
    private struct OlderHello: Decodable {
        var node: String
        var role: NodeRole
        var domain: String
        var address: String
        var version: String
        var format: Int
        var applied: Revision?
        var highestEpoch: Epoch
        var properties: [String: String]
    }

    private struct OlderHeartbeat: Decodable {
        var state: MemberState
        var applied: Revision?
        var highestEpoch: Epoch
        var properties: [String: String]
    }

    private struct OlderWelcome: Decodable {
        var epoch: Epoch
        var revision: Revision
    }

    func test_messagesOfTheBuildBefore_areReadAsTheyWereMeant() throws {
        let decoder = JSONDecoder()
        let hello = try decoder.decode(LinkHello.self, from: Data(Self.recordedHello.utf8))
        XCTAssertEqual(hello.node, "worker-1")
        XCTAssertEqual(hello.applied?.number, 4_711)
        XCTAssertNil(hello.mode)
        XCTAssertEqual(LinkTerms(codecs: ["zstandard"]).differences(of: hello), [])
        let heartbeat = try decoder.decode(
            LinkHeartbeat.self,
            from: Data(Self.recordedHeartbeat.utf8)
        )
        XCTAssertEqual(heartbeat.state, .alive)
        XCTAssertNil(heartbeat.mode)
        let welcome = try decoder.decode(LinkWelcome.self, from: Data(Self.recordedWelcome.utf8))
        XCTAssertEqual(welcome.epoch, Epoch(rawValue: 3))
        XCTAssertNil(welcome.heartbeatEvery)
    }

    func test_messagesOfThisBuild_areReadByTheBuildBefore() throws {
        let revision = Revision(history: HistoryID(bits: 42), number: 4_711)
        let (encoder, decoder) = (JSONEncoder(), JSONDecoder())
        let hello = LinkHello(
            node: "worker-1",
            applied: revision,
            highestEpoch: Epoch(rawValue: 3),
            mode: .draining,
            codecs: ["plain"],
            tenant: .standard
        )
        let older = try decoder.decode(OlderHello.self, from: encoder.encode(hello))
        XCTAssertEqual(older.node, "worker-1")
        XCTAssertEqual(older.format, 1, "the version the build before asks for")
        XCTAssertEqual(older.applied, revision)
        let heartbeat = try decoder.decode(
            OlderHeartbeat.self,
            from: encoder.encode(
                LinkHeartbeat(
                    state: .left,
                    applied: revision,
                    highestEpoch: Epoch(rawValue: 3),
                    mode: .maintenance
                )
            )
        )
        XCTAssertEqual(heartbeat.state, .left)
        let welcome = try decoder.decode(
            OlderWelcome.self,
            from: encoder.encode(
                LinkWelcome(
                    epoch: Epoch(rawValue: 3),
                    revision: revision,
                    mode: .draining,
                    heartbeatEvery: .milliseconds(500)
                )
            )
        )
        XCTAssertEqual(welcome.revision, revision)
    }

    func test_helloOfTheBuildBefore_isWelcomeAtThisManager() async throws {
        let manager = try ManagerScene(epochs: 3)
        let answer = try await manager.answer(
            .post,
            "/hello",
            body: Array(Self.recordedHello.utf8),
            contentType: "application/json"
        )
        XCTAssertEqual(answer.status, 200, String(decoding: answer.body, as: UTF8.self))
        _ = try JSONDecoder().decode(OlderWelcome.self, from: Data(answer.body))
        let joined = try await member(manager)
        XCTAssertEqual(joined?.mode, .active)
    }

    func test_rangesOfFormats_haveToOverlap() {
        var hello = LinkHello(node: "w", applied: nil, highestEpoch: .none)
        hello.format = 3
        hello.oldestFormat = 2
        XCTAssertEqual(LinkTerms(formats: 1...2).differences(of: hello), [])
        XCTAssertEqual(LinkTerms(formats: 3...4).differences(of: hello), [])
        XCTAssertEqual(LinkTerms(formats: 4...5).differences(of: hello).count, 1)
        hello.oldestFormat = nil
        XCTAssertEqual(LinkTerms(formats: 1...2).differences(of: hello).count, 1)
        // Whatever a peer sends, it is an answer and no crash.
        hello.oldestFormat = 9
        XCTAssertEqual(LinkTerms(formats: 1...2).differences(of: hello).count, 1)
        hello.oldestFormat = 3
        hello.tenant = "other"
        XCTAssertEqual(
            LinkTerms(formats: 3...9, tenants: [.standard]).differences(of: hello).count,
            1
        )
    }
}

/// Gives one answer after the other, the last one again and again.
private final class ScriptedResolver: NameResolver {
    private let state: Mutex<(answers: [[String]], asked: [String])>

    init(_ answers: [[String]]) { state = Mutex((answers, [])) }

    var names: [String] { state.withLock { $0.asked } }

    func addresses(of name: String) async throws -> [String] {
        state.withLock { state in
            state.asked.append(name)
            return state.answers.count > 1 ? state.answers.removeFirst() : state.answers[0]
        }
    }
}
#endif
