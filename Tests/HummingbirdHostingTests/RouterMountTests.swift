#if Server
import ClusterRole
import HTTPHandling
import HTTPTypes
import Hummingbird
import HummingbirdHosting
import ServiceLifecycle
import XCTest

final class RouterMountTests: XCTestCase {
    /// What a product's own login leaves in its context.
    private struct CompanyContext: RequestContext {
        var coreContext: CoreRequestContextStorage
        var user: String?

        init(source: ApplicationRequestContextSource) { coreContext = .init(source: source) }
    }

    private struct CompanyLogin: RouterMiddleware {
        func handle(
            _ request: Request,
            context: CompanyContext,
            next: (Request, CompanyContext) async throws -> Response
        ) async throws -> Response {
            guard let user = request.headers[.from] else { throw HTTPError(.unauthorized) }
            var context = context
            context.user = user
            var response = try await next(request, context)
            response.headers[.via] = "company"
            return response
        }
    }

    private func admin() throws -> RouteTable {
        let robot = Identity(name: "robot", permissions: [.read])
        var table = RouteTable(authenticator: InMemoryTokens(["robot-token": robot]))
        try table.get("/", operationID: "root", access: .open) { _ in .text("root") }
        try table.get("/devices/{device}", operationID: "device", access: .permission(.read)) {
            .text("\(try $0.requireIdentity().name) \(try $0.parameters.require("device"))")
        }
        try table.post("/operations", operationID: "enqueue", access: .permission(.operate)) {
            let body: JSONValue = try await $0.decode()
            return try .json(body, status: .accepted)
        }
        return table
    }

    private func withApplication(
        _ router: Router<CompanyContext>,
        _ body: (RawConnection) async throws -> Void
    ) async throws {
        let (ports, port) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { port.yield($0.localAddress?.port ?? 0) },
            logger: quiet
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [application], logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            var bound = ports.makeAsyncIterator()
            let number = await bound.next() ?? 0
            do {
                try await body(try RawConnection(to: .loopback(port: number)))
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    func test_mount_underOwnLogin_takesTheIdentityItGives() async throws {
        let router = Router(context: CompanyContext.self)
        router.get("own") { _, _ in "own" }
        router.add(middleware: CompanyLogin())
        router.mount(try admin(), at: "/fleet/admin/v1") { _, context in
            context.user.map { Identity(name: $0, permissions: [.read]) }
        }
        try await withApplication(router) { connection in
            let own = try await connection.ask("GET", "/own")
            XCTAssertEqual(own.text, "own")
            let stranger = try await connection.ask("GET", "/fleet/admin/v1/devices/a")
            XCTAssertEqual(stranger.status, 401)
            let user = try await connection.ask(
                "GET",
                "/fleet/admin/v1/devices/a%20b?x=1",
                fields: ["From: ann"]
            )
            XCTAssertEqual(user.text, "ann a b")
            XCTAssertEqual(user.fields["via"], "company")
            for path in ["/fleet/admin/v1", "//fleet/admin//v1"] {
                let root = try await connection.ask("GET", path, fields: ["From: ann"])
                XCTAssertEqual(root.text, "root", path)
            }
            let refused = try await connection.ask(
                "POST",
                "/fleet/admin/v1/operations",
                fields: ["From: ann", "Content-Type: application/json"],
                body: Array("{}".utf8)
            )
            XCTAssertEqual(refused.status, 403)
            XCTAssertEqual(try json(refused.body).code, "http.forbidden")
            let none = try await connection.ask(
                "GET",
                "/fleet/admin/v1/nothing",
                fields: ["From: ann"]
            )
            XCTAssertEqual(try json(none.body).code, "http.no-route")
            let head = try await connection.ask(
                "HEAD",
                "/fleet/admin/v1",
                fields: ["From: ann"]
            )
            XCTAssertEqual(head.fields["content-length"], "4")
            let again = try await connection.ask(
                "GET",
                "/fleet/admin/v1/devices/z",
                fields: ["From: ann"]
            )
            XCTAssertEqual(again.text, "ann z")
        }
    }

    func test_mount_inAGroupWithoutIdentity_leavesItToTheToken() async throws {
        let router = Router(context: CompanyContext.self)
        router.group("internal").group("{tenant}").mount(try admin(), at: "/admin")
        try await withApplication(router) { connection in
            let known = try await connection.ask(
                "GET",
                "/internal/acme/admin/devices/a",
                fields: ["Authorization: Bearer robot-token"]
            )
            XCTAssertEqual(known.text, "robot a")
            let unknown = try await connection.ask("GET", "/internal/acme/admin/devices/a")
            XCTAssertEqual(unknown.status, 401)
            XCTAssertEqual(try json(unknown.body).code, "http.unauthenticated")
        }
    }

    func test_mount_atTheRoot_answersBesideOwnRoutes() async throws {
        let router = Router(context: CompanyContext.self)
        router.get("own") { _, _ in "own" }
        router.mount(try admin(), at: "/")
        try await withApplication(router) { connection in
            let own = try await connection.ask("GET", "/own")
            XCTAssertEqual(own.text, "own")
            let root = try await connection.ask("GET", "/")
            XCTAssertEqual(root.text, "root")
            let device = try await connection.ask(
                "GET",
                "/devices/a",
                fields: ["Authorization: Bearer robot-token"]
            )
            XCTAssertEqual(device.text, "robot a")
        }
    }
}
#endif
