#if Server && SQLite && Push
import Configuration
import DeviceRegistry
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import ReeveManager
import ServiceLifecycle
import XCTest

@testable import reeve

/// Both deployment patterns of the ancestors, each with managers in a private network and open to users.
final class DeploymentPatternTests: XCTestCase {
    func test_demo_inEitherPattern_withEitherAccess_convergesAndLosesNothing() async throws {
        let directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("reeve-patterns-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Two at a time: each is some processes that mostly wait.
            for pattern in DemoTopology.Pattern.allCases {
                group.addTask {
                    for access in DemoTopology.Access.allCases {
                        try await Self.run(pattern, access, in: directory)
                    }
                }
            }
            try await group.waitForAll()
        }
        try FileManager.default.removeItem(at: directory)
    }

    private static func run(
        _ pattern: DemoTopology.Pattern,
        _ access: DemoTopology.Access,
        in directory: URL
    ) async throws {
        let name = "\(pattern.rawValue)-\(access.rawValue)"
        let log = directory.appendingPathComponent("\(name).log")
        let demo = try ChildProcess(
            name: name,
            executable: DemoCluster.ownExecutable,
            arguments: [
                "demo", "--pattern", pattern.rawValue, "--manager-access", access.rawValue,
                "--devices", "40", "--frequency", "0.5",
            ],
            log: log
        )
        let ending = try await demo.waitForEnd(within: .seconds(300))
        let text = try String(contentsOf: log, encoding: .utf8)
        XCTAssertEqual(ending, .exited(0), "\(name): \(text)")
        let expected = [
            "Everything converged and nothing was lost.",
            pattern == .combined
                ? "leads devices to the workers and manager-1" : "leads devices to the workers\n",
            // The combined node counts itself.
            pattern == .combined ? "3 of 3 nodes applied it" : "2 of 2 nodes applied it",
            access == .public
                ? "leads operators to manager-1"
                : "no load balancer leads to the manager's own interfaces",
        ]
        for line in expected {
            XCTAssertTrue(text.contains(line), "\(name) does not say: \(line)\n\(text)")
        }
    }

    func test_managerAccess_withoutAPattern_isRefused() async throws {
        let log = FileManager.default.temporaryDirectory
            .appendingPathComponent("reeve-\(UUID().uuidString).log")
        defer { try? FileManager.default.removeItem(at: log) }
        let demo = try ChildProcess(
            name: "demo",
            executable: DemoCluster.ownExecutable,
            arguments: ["demo", "--manager-access", "public"],
            log: log
        )
        let ending = try await demo.waitForEnd(within: .seconds(60))
        XCTAssertEqual(ending, .exited(64))
        XCTAssertTrue(demo.lastLines(5).contains("needs --pattern"), demo.lastLines(5))
    }

    // MARK: The combined node

    /// From its configuration alone a combined node serves devices, at an address where nothing else is.
    func test_combinedNode_fromConfiguration_servesDevicesAtItsGateway_andNothingElseThere()
        async throws
    {
        let ports = try DemoCluster.freePorts(2)
        let keys = ["profile": "combined", "gateway.port": "\(ports[1])"]
        try await withNode(keys, port: ports[0]) { inside in
            let gateway = self.client(ports[1])
            let enrolled = try await gateway.post(
                "/device/v1/enrolments",
                .object(["device": "till-1", "secret": "the-secret", "groups": ["tills"]])
            )
            let credential = try XCTUnwrap(enrolled["credential"]?.stringValue)
            _ = try await inside.post(
                "/admin/v1/operations",
                .object(["target": .object(["group": "tills"]), "code": "lock", "wake": "none"])
            )
            let device = self.client(ports[1], token: credential)
            let answer = try await device.post("/device/v1/exchange", .object([:]))
            let operation = try XCTUnwrap(answer["operations"]?.elements.first)
            let done = try await device.post(
                "/device/v1/exchange",
                .object([
                    "results": .array([
                        .object([
                            "execution": operation["execution"] ?? .null,
                            "attempt": operation["attempt"] ?? .null, "status": "completed",
                        ])
                    ])
                ])
            )
            XCTAssertEqual(done["open"]?.integerValue, 0)
            let activities = try await inside.get("/admin/v1/activities")
            XCTAssertEqual(
                activities["activities"]?.elements.first?["counts"]?["completed"]?.integerValue,
                1
            )
            let outside = self.client(ports[1], token: Self.adminToken)
            for path in ["/admin/v1/status", "/", "/link/v1/replica"] {
                await self.require(404, from: outside, path)
            }
            await self.require(404, from: inside, "/device/v1/exchange")
        }
    }

    /// Without an address of its own the device API stands beside the rest.
    func test_combinedNode_withoutAGatewayAddress_servesDevicesBesideTheRest() async throws {
        let port = try DemoCluster.freePorts(1)[0]
        try await withNode(["profile": "combined"], port: port) { inside in
            await self.require(405, from: inside, "/device/v1/exchange")
            await self.require(200, from: inside, "/admin/v1/status")
        }
    }

    /// A manager is asked to drain like any member, and tells load balancers so.
    func test_managerAskedToDrain_isNotReady_untilItIsAskedOtherwise() async throws {
        let ports = try DemoCluster.freePorts(2)
        let keys = ["profile": "combined", "gateway.port": "\(ports[1])"]
        try await withNode(keys, port: ports[0]) { inside in
            let list = try await inside.get("/admin/v1/nodes")["nodes"]?.elements ?? []
            XCTAssertEqual(list.map { $0["node"]?.stringValue }, ["node-1"])
            XCTAssertEqual(list.first?["role"], "combined")
            XCTAssertEqual(list.first?["state"], "alive")
            XCTAssertEqual(list.first?["lag"], 0)
            for (mode, isReady) in [("draining", false), ("active", true)] {
                try await inside.put("/admin/v1/nodes/node-1/mode", ["mode": .string(mode)])
                for client in [inside, self.client(ports[1])] {
                    try await eventually("\(client.base) says that it is \(mode)") {
                        do {
                            _ = try await client.get("/readyz")
                            return isReady
                        } catch let refusal as JSONClient.Refusal {
                            return !isReady && refusal.status == 503
                        }
                    }
                }
            }
        }
    }

    /// A manager is no worker, whatever else is configured.
    func test_manager_withAGatewayAddress_servesNoDevices() async throws {
        let ports = try DemoCluster.freePorts(2)
        try await withNode(["gateway.port": "\(ports[1])"], port: ports[0]) { inside in
            await self.require(404, from: inside, "/device/v1/exchange")
            await self.require(nil, from: self.client(ports[1]), "/healthz")
        }
    }

    func test_combinedConfiguration_thatCannotWork_isRefused() async throws {
        let wrong = [
            ["profile": "worker"], ["gateway.port": "70000", "profile": "combined"],
            ["gateway.port": "8180", "profile": "combined"],
            ["exchange.waiting": "-1", "profile": "combined"],
        ]
        for keys in wrong {
            do {
                _ = try await ManagerNode.open(
                    try configuration(keys, port: 8_180, directory: "/nowhere")
                )
                XCTFail("\(keys) was taken")
            } catch is ManagerConfigurationError {}
        }
    }

    private static let adminToken = "the-token-of-the-administrator"

    private func configuration(
        _ keys: [String: String],
        port: Int,
        directory: String
    ) throws -> ManagerConfiguration {
        var arguments = [
            "reeve", "--node-id", "node-1", "--node-directory", directory, "--listen-port",
            "\(port)", "--admin-token", Self.adminToken, "--enrolment-secret", "the-secret",
        ]
        for (key, value) in keys.sorted(by: { $0.key < $1.key }) {
            arguments += ["--" + key.replacingOccurrences(of: ".", with: "-"), value]
        }
        var configuration = try ManagerConfiguration(
            reading: ConfigReader(provider: CommandLineArgumentsProvider(arguments: arguments))
        )
        configuration.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return configuration
    }

    private func client(_ port: Int, token: String? = nil) -> JSONClient {
        // Where nobody listens the call is over after this.
        JSONClient(base: "http://127.0.0.1:\(port)", token: token, timeout: .seconds(3))
    }

    /// Asserts how a `GET` is answered; `nil` for not at all.
    private func require(_ status: Int?, from client: JSONClient, _ path: String) async {
        var found: Int? = 200
        do {
            _ = try await client.get(path)
        } catch {
            found = (error as? JSONClient.Refusal)?.status
        }
        XCTAssertEqual(found, status, "\(client.base)\(path)")
    }

    /// Runs a node with its servers until `body` has returned.
    private func withNode(
        _ keys: [String: String],
        port: Int,
        _ body: (JSONClient) async throws -> Void
    ) async throws {
        let directory = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let node = try await ManagerNode.open(
            try configuration(keys, port: port, directory: directory)
        )
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [node],
                logger: node.configuration.logger
            )
        )
        let inside = client(port, token: Self.adminToken)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                let limit = ContinuousClock.now + .seconds(60)
                while ContinuousClock.now < limit, (try? await inside.get("/readyz")) == nil {
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await body(inside)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    // MARK: The load balancer of the demonstration

    /// A caller keeps its upstream, and meets the next one when that is gone.
    func test_front_keepsACallerWithItsUpstream_untilThatIsGone() async throws {
        let ports = try DemoCluster.freePorts(3)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        func server(_ port: Int, _ handler: any HTTPHandler) throws -> ReeveServer {
            try ReeveServer(
                configuration: ReeveServerConfiguration(address: .loopback(port: port)),
                mounts: [HandlerMount("/", handler)],
                logger: logger
            )
        }
        let upstreams = try ports[1...].map { port in
            try server(port, ClosureHandler { _ in try .json(["port": port]) })
        }
        let route = FrontRoute(
            prefix: "/device/v1",
            upstreams: ports[1...].map { "http://127.0.0.1:\($0)" }
        )
        let front = try server(ports[0], FrontHandler([route]))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            var ends: [Int: ServiceGroup] = [:]
            for (port, one) in zip([ports[0]] + ports[1...], [front] + upstreams) {
                let group = ServiceGroup(
                    configuration: ServiceGroupConfiguration(services: [one], logger: logger)
                )
                ends[port] = group
                tasks.addTask { try await group.run() }
                _ = try await one.boundAddress
            }
            let caller = self.client(ports[0], token: "a-device")
            let first = try await caller.post("/device/v1/x", .object([:]))["port"]?.count
            for _ in 0..<5 {
                let again = try await caller.post("/device/v1/x", .object([:]))["port"]?.count
                XCTAssertEqual(again, first)
            }
            await ends[try XCTUnwrap(first)]?.triggerGracefulShutdown()
            let limit = ContinuousClock.now + .seconds(60)
            var other = first
            while ContinuousClock.now < limit, other == first {
                other = try await caller.post("/device/v1/x", .object([:]))["port"]?.count
            }
            XCTAssertNotEqual(other, first)
            await self.require(404, from: caller, "/device/v10/x")
            await self.require(404, from: caller, "/admin/v1/status")
            for group in ends.values { await group.triggerGracefulShutdown() }
            try await tasks.waitForAll()
        }
    }
}
#endif
