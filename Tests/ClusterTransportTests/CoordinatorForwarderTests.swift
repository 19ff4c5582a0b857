#if Server && SQLite
import ClusterMembership
import ClusterRole
import ClusterTestKit
import ClusterTransport
import HTTPHandling
import HTTPTypes
import HummingbirdHosting
import Synchronization
import XCTest

@testable import ClusterLink

/// Two managers, one of which is the coordinator.
final class CoordinatorForwarderTests: XCTestCase {
    /// Reaches other managers in memory, by address.
    private final class Network: RequestForwarding {
        let managers = Mutex<[String: any HTTPHandler]>([:])
        let sent = Mutex<[HandlerRequest]>([])

        func forward(
            _ request: HandlerRequest,
            to address: String
        ) async throws -> HandlerResponse {
            sent.withLock { $0.append(request) }
            guard let manager = managers.withLock({ $0[address] }) else {
                throw ClusterLinkError(.unreachable, "nobody listens at \(address)")
            }
            return await manager.answer(request)
        }
    }

    /// Says who answered, and what it got.
    private func admin(_ name: String) -> any HTTPHandler {
        ClosureHandler { request in
            let body = try await request.body.collect(upTo: 1 << 20)
            let token = request.bearerToken ?? "none"
            return .text("\(name) \(request.method.rawValue) \(request.target.path) \(token) ")
                .adding(body)
        }
    }

    private func request(
        _ method: HTTPRequest.Method = .post,
        _ path: String = "/admin/v1/operations?x=%2F",
        fields: HTTPFields = [:],
        body: HandlerBody = HandlerBody(Array("work".utf8))
    ) -> HandlerRequest {
        var fields = fields
        fields[.authorization] = "Bearer secret-token"
        fields[.connection] = "keep-alive, X-Private"
        if let name = HTTPField.Name("X-Private") { fields[name] = "1" }
        return HandlerRequest(
            head: HTTPRequest(
                method: method,
                scheme: "http",
                authority: "standby",
                path: path,
                headerFields: fields
            ),
            body: body,
            remoteAddress: "192.0.2.7",
            logger: quiet
        )
    }

    private func text(_ response: HandlerResponse) async throws -> String {
        String(
            decoding: try await HandlerBody(response.body.chunks).collect(upTo: .max),
            as: UTF8.self
        )
    }

    private func forwarder(
        _ name: String,
        _ network: any RequestForwarding,
        limits: CoordinatorForwarder.Limits = .init(),
        _ location: @escaping @Sendable () async -> CoordinatorLocation
    ) -> CoordinatorForwarder {
        CoordinatorForwarder(
            admin(name),
            node: NodeID(rawValue: name),
            transport: network,
            limits: limits,
            location: location
        )
    }

    func test_standby_handsTheRequestOn_andTheCoordinatorAnswersIt() async throws {
        let network = Network()
        let first = forwarder("m-1", network) { .here }
        network.managers.withLock { $0["10.0.0.1:8180"] = first }
        let second = forwarder("m-2", network) { .at("10.0.0.1:8180", node: "m-1") }
        let response = await second.answer(request())
        XCTAssertEqual(response.status, .ok)
        let answer = try await text(response)
        XCTAssertEqual(answer, "m-1 POST /admin/v1/operations secret-token work")
        let sent = try XCTUnwrap(network.sent.withLock { $0.first })
        XCTAssertEqual(sent.head.path, "/admin/v1/operations?x=%2F")
        func field(_ name: String) -> String? {
            HTTPField.Name(name).flatMap { sent.headerFields[$0] }
        }
        XCTAssertEqual(field(CoordinatorForwarder.hopField), "m-2")
        XCTAssertEqual(field("X-Forwarded-For"), "192.0.2.7")
        XCTAssertNil(field("Connection"))
        XCTAssertNil(field("X-Private"), "what the connection names stays on it")
    }

    func test_requestHandedOnTwice_isRefusedRatherThanSentInACircle() async throws {
        let network = Network()
        let first = forwarder("m-1", network) { .at("two", node: "m-2") }
        let second = forwarder("m-2", network) { .at("one", node: "m-1") }
        network.managers.withLock { $0 = ["one": first, "two": second] }
        let response = await first.answer(request())
        XCTAssertEqual(response.status, .serviceUnavailable)
        XCTAssertEqual(response.headerFields[.retryAfter], "1")
        let answer = try await text(response)
        XCTAssertTrue(answer.contains("link.not-coordinator"), answer)
        XCTAssertEqual(network.sent.withLock { $0.count }, 1)
    }

    func test_withoutACoordinator_theAnswerIs503WithRetryAfter() async throws {
        let alone = forwarder("m-1", Network()) { .nowhere(retryAfter: .seconds(2)) }
        let response = await alone.answer(request())
        XCTAssertEqual(response.status, .serviceUnavailable)
        XCTAssertEqual(response.headerFields[.retryAfter], "2")
        let answer = try await text(response)
        XCTAssertTrue(answer.contains("link.no-coordinator"), answer)
    }

    func test_coordinatorThatDoesNotAnswer_isToldAsSuch() async throws {
        let standby = forwarder("m-2", Network()) { .at("gone", node: "m-1") }
        let response = await standby.answer(request())
        XCTAssertEqual(response.status, .serviceUnavailable)
        let answer = try await text(response)
        XCTAssertTrue(answer.contains("link.coordinator-unreachable"), answer)
    }

    func test_tooMuchHandedOn_isRefused() async throws {
        let network = Network()
        let first = forwarder("m-1", network) { .here }
        network.managers.withLock { $0["one"] = first }
        var limits = CoordinatorForwarder.Limits()
        limits.maximumBodyBytes = 3
        let large = forwarder("m-2", network, limits: limits) { .at("one", node: "m-1") }
        let tooLarge = await large.answer(request())
        XCTAssertEqual(tooLarge.status, .contentTooLarge)
        limits.maximumConcurrentRequests = 0
        let many = forwarder("m-2", network, limits: limits) { .at("one", node: "m-1") }
        let refused = await many.answer(request())
        XCTAssertEqual(refused.status, .serviceUnavailable)
        let answer = try await text(refused)
        XCTAssertTrue(answer.contains("http.overloaded"), answer)
    }

    func test_locator_findsTheHolderOfTheLease_andBelievesItForASecond() async throws {
        let clock = ManualTimeSource()
        let ledger = InMemoryLedger()
        let leases = InMemoryLeaseStore(ledger: ledger, clock: clock)
        let registry = InMemoryMemberRegistry(ledger: ledger)
        let isCoordinator = Mutex(false)
        let locator = CoordinatorLocator(
            node: "m-2",
            leases: leases,
            members: ClusterMembers(registry: registry),
            clock: clock
        ) { isCoordinator.withLock { $0 } }
        let nobody = await locator.location()
        XCTAssertEqual(nobody, .nowhere(retryAfter: .seconds(2)))
        let lease = try await leases.acquire(holder: "m-1", duration: .seconds(15))
        let member = Member(
            node: "m-1",
            role: .manager,
            domain: .standard(for: .manager),
            address: "10.0.0.1:8180",
            joinedAt: clock.now(),
            lastHeard: clock.now()
        )
        _ = try await registry.put(member, epoch: lease.epoch)
        let believed = await locator.location()
        XCTAssertEqual(believed, nobody)
        clock.advance(by: CoordinatorLocator.freshness)
        let found = await locator.location()
        XCTAssertEqual(found, .at("10.0.0.1:8180", node: "m-1"))
        isCoordinator.withLock { $0 = true }
        let here = await locator.location()
        XCTAssertEqual(here, .here, "its own right a manager knows without asking")
    }

    func test_overHTTP_bodiesStreamBothWays() async throws {
        let bytes = (0..<600_000).map { UInt8(truncatingIfNeeded: $0) }
        let echo = ClosureHandler { request in
            HandlerResponse(
                status: .created,
                headerFields: [.contentType: "application/octet-stream"],
                body: .bytes(try await request.body.collect(upTo: 1 << 20))
            )
        }
        let server = try ReeveServer(
            configuration: ReeveServerConfiguration(address: .loopback(port: 0)),
            mounts: [HandlerMount("/", echo)],
            logger: quiet
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            let address = try await server.boundAddress
            let standby = forwarder("m-2", HTTPRequestForwarder()) {
                .at("127.0.0.1:\(address.port)", node: "m-1")
            }
            let response = await standby.answer(
                request(body: HandlerBody(Chunked(bytes: bytes, size: 10_000)))
            )
            XCTAssertEqual(response.status, .created)
            let answer = try await HandlerBody(response.body.chunks).collect(upTo: 1 << 20)
            XCTAssertEqual(answer, bytes)
            group.cancelAll()
        }
    }
}

/// Bytes a piece at a time.
private struct Chunked: AsyncSequence, Sendable {
    typealias Failure = any Error
    let bytes: [UInt8]
    let size: Int

    func makeAsyncIterator() -> Iterator { Iterator(rest: bytes[...], size: size) }

    struct Iterator: AsyncIteratorProtocol {
        var rest: ArraySlice<UInt8>
        let size: Int

        mutating func next() async throws -> [UInt8]? {
            if rest.isEmpty { return nil }
            defer { rest = rest.dropFirst(size) }
            return Array(rest.prefix(size))
        }
    }
}

extension HandlerResponse {
    fileprivate func adding(_ bytes: [UInt8]) -> HandlerResponse {
        var result = self
        if case .bytes(let own) = body { result.body = .bytes(own + bytes) }
        return result
    }
}
#endif
