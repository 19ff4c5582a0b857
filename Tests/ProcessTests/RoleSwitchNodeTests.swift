#if Server && SQLite && Push
import ClusterRole
import DeviceRegistry
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import OperationQueue
import ReeveManager
import ReeveWorker
import ServiceLifecycle
import XCTest

/// One process that is promoted and demoted while it serves, over real HTTP.
final class RoleSwitchNodeTests: XCTestCase {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// The worker's half: a worker like any other, which dials the manager's half over the link.
    private func worker(_ directory: String, port: Int, manager: Int) async throws -> WorkerNode {
        var configuration = WorkerConfiguration(node: "worker-1", directory: directory)
        configuration.address = .loopback(port: port)
        configuration.managers = ["http://127.0.0.1:\(manager)"]
        configuration.token = workerToken
        configuration.logger = Self.quiet
        return try await WorkerNode.open(configuration)
    }

    private func eventually(
        _ what: String,
        _ condition: () async throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if try await condition() { return }
            try await ContinuousClock().sleep(for: .milliseconds(50))
        }
        XCTFail("It never happened: \(what)")
    }

    private func configuration(_ directory: String, port: Int) -> ManagerConfiguration {
        var configuration = ManagerConfiguration(node: "node-1", directory: directory)
        configuration.address = .loopback(port: port)
        configuration.enrolmentSecret = "a secret"
        configuration.identities[administrator] = Identity(
            name: "alice",
            permissions: Permission.everything
        )
        configuration.logger = Self.quiet
        return configuration
    }

    private func directory() -> String {
        FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
    }

    private func whileRunning(
        _ service: some Service,
        _ body: () async throws -> Void
    ) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: [service], logger: Self.quiet)
        )
        let running = Task { try await group.run() }
        do {
            try await body()
        } catch {
            await group.triggerGracefulShutdown()
            try? await running.value
            throw error
        }
        await group.triggerGracefulShutdown()
        try await running.value
    }

    /// A node of two halves: devices are served by the worker's all the time, also while there is no manager.
    func test_node_promotedDemotedPromoted_writesOnlyWhileItIsManager_andServesThroughout()
        async throws
    {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (admin, device) = (try freeLoopbackPort(), try freeLoopbackPort())
        var configuration = configuration(directory + "/manager", port: admin)
        configuration.identities[workerToken] = Identity(name: "worker-1", permissions: [.link])
        let managing = configuration
        let serving = try await worker(directory + "/worker", port: device, manager: admin)
        let node = RoleSwitch(serving: serving, logger: Self.quiet) {
            try await ManagerNode.open(managing)
        }
        try await whileRunning(node) {
            try await eventually("the worker listens") {
                try await send("GET", device, "/healthz", token: nil)?.status == 200
            }
            let none = try await send("GET", admin, "/admin/v1/status")
            XCTAssertNil(none, "a worker has no admin API")

            let first = try await node.promote()
            XCTAssertEqual(node.role, .combined)
            try await eventually("the worker has the manager's state") {
                try await send("GET", device, "/readyz", token: nil)?.status == 200
            }
            let put = try await send("PUT", admin, "/admin/v1/tasks/hourly", ["frequency": 3_600])
            XCTAssertEqual(put?.status, 200)
            let status = try await send("GET", admin, "/admin/v1/status")
            XCTAssertEqual(status?.json?["epoch"]?.integerValue, first.rawValue)
            try await eventually("both halves are members") {
                let list = try await send("GET", admin, "/admin/v1/nodes")?.json?["nodes"]
                return list?[0]?["node"] == "node-1" && list?[0]?["state"] == "alive"
                    && list?[1]?["node"] == "worker-1" && list?[1]?["state"] == "alive"
            }
            let work = try await giveWork(admin: admin, device: device)

            try await node.demote()
            XCTAssertEqual(node.role, .worker)
            let demoted = try await send("PUT", admin, "/admin/v1/tasks/a", ["frequency": 60])
            XCTAssertNil(demoted, "nobody listens any more")
            let ready = try await send("GET", device, "/readyz", token: nil)
            XCTAssertEqual(ready?.status, 200)
            let done = try await send(
                "POST",
                device,
                "/device/v1/exchange",
                ["results": [work.result]],
                token: work.credential
            )
            XCTAssertEqual(done?.status, 200, "a worker serves devices without a manager")
            XCTAssertEqual(done?.json?["open"]?.integerValue, 0)

            let second = try await node.promote()
            XCTAssertGreaterThan(second, first)
            try await eventually("what the device did meanwhile has arrived") {
                let list = try await send("GET", admin, "/admin/v1/activities")?.json
                return list?["activities"]?[0]?["counts"]?["completed"]?.integerValue == 1
            }
            let kept = try await send("GET", admin, "/admin/v1/tasks/hourly")
            XCTAssertEqual(kept?.status, 200, "what was written is there")
            let whole = try await send("GET", admin, "/admin/v1/audit/verification")
            XCTAssertEqual(whole?.json?["isWhole"], true, "the audit log goes on across roles")
        }
        XCTAssertEqual(node.role, .worker)
    }

    /// Enrols a device at the worker, and has it given an operation there.
    private func giveWork(
        admin: Int,
        device: Int
    ) async throws -> (credential: String, result: JSONValue) {
        let enrolled = try await send(
            "POST",
            device,
            "/device/v1/enrolments",
            ["device": "till-1", "secret": "a secret", "groups": ["tills"]],
            token: nil
        )
        let credential = try XCTUnwrap(enrolled?.json?["credential"]?.stringValue)
        let asked = try await send(
            "POST",
            admin,
            "/admin/v1/operations",
            ["target": ["group": "tills"], "code": "lock", "wake": "none"]
        )
        XCTAssertEqual(asked?.status, 202)
        var offered: JSONValue?
        try await eventually("the worker gives it to the device") {
            let answer = try await send(
                "POST",
                device,
                "/device/v1/exchange",
                [:],
                token: credential
            )
            offered = answer?.json?["operations"]?[0]
            return offered != nil
        }
        let operation = try XCTUnwrap(offered)
        let result: JSONValue = [
            "execution": operation["execution"] ?? .null, "attempt": operation["attempt"] ?? .null,
            "status": "completed",
        ]
        return (credential, result)
    }

    func test_request_underWayWhileTheNodeIsDemoted_isAnsweredOrGetsATypedError() async throws {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let admin = try freeLoopbackPort()
        let configuration = configuration(directory, port: admin)
        let node = RoleSwitch(logger: Self.quiet) { try await ManagerNode.open(configuration) }
        try await whileRunning(node) {
            try await node.promote()
            try await eventually("the admin API answers") {
                try await send("GET", admin, "/admin/v1/status")?.status == 200
            }
            let answers = try await withThrowingTaskGroup(of: [Answer?].self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        var answers: [Answer?] = []
                        for index in 0..<40 {
                            let answer = try await send(
                                "PUT",
                                admin,
                                "/admin/v1/tasks/t-\(writer)-\(index)",
                                ["frequency": 60]
                            )
                            answers.append(answer)
                            if answer == nil { break }
                        }
                        return answers
                    }
                }
                try await eventually("something is written") {
                    let tasks = try await send("GET", admin, "/admin/v1/tasks")
                    if case .array(let all)? = tasks?.json?["tasks"] { return all.count > 3 }
                    return false
                }
                try await node.demote()
                return try await group.reduce(into: []) { $0 += $1 }
            }
            var written = 0
            for answer in answers.compactMap({ $0 }) {
                switch answer.status {
                case 200: written += 1
                case 503: XCTAssertNotNil(answer.json?["code"]?.stringValue)
                default: XCTFail("\(answer.status) \(String(describing: answer.json))")
                }
            }
            XCTAssertGreaterThan(written, 0)
            // What was answered 200 is there, after the next promotion too.
            try await node.promote()
            try await eventually("the admin API answers again") {
                try await send("GET", admin, "/admin/v1/status")?.status == 200
            }
            let tasks = try await send("GET", admin, "/admin/v1/tasks")
            guard case .array(let all)? = tasks?.json?["tasks"] else { return XCTFail("no tasks") }
            XCTAssertGreaterThanOrEqual(all.count, written)
        }
    }

    // MARK: Open to end users

    func test_managerOpenToUsers_servesThemOnTheirAddressOnly_andNoAdministration() async throws {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (admin, users) = (try freeLoopbackPort(), try freeLoopbackPort())
        var configuration = configuration(directory, port: admin)
        configuration.access = .public
        configuration.userAddress = .loopback(port: users)
        configuration.userOperations = ["ring"]
        let manager = try await ManagerNode.open(configuration)
        try await whileRunning(manager) {
            try await eventually("both listen") {
                let one = try await send("GET", admin, "/admin/v1/status")?.status
                let two = try await send("GET", users, "/healthz", token: nil)?.status
                return one == 200 && two == 200
            }
            _ = try await manager.administration.enrol("tablet-1", owner: "ann")
            let made = try await send(
                "POST",
                admin,
                "/admin/v1/identities",
                ["name": "ann", "kind": "user"]
            )
            let ann = try XCTUnwrap(made?.json?["token"]?.stringValue)
            let list = try await send("GET", users, "/user/v1/devices", token: ann)
            XCTAssertEqual(list?.json?["devices"]?[0]?["id"], "tablet-1")
            let asked = try await send(
                "POST",
                users,
                "/user/v1/devices/tablet-1/operations",
                ["code": "ring"],
                token: ann
            )
            XCTAssertEqual(asked?.status, 202)
            for path in ["/admin/v1/status", "/admin/v1/audit", "/link/v1/hello", "/"] {
                let answer = try await send("GET", users, path)
                XCTAssertEqual(answer?.status, 404, "the users' address has no \(path)")
            }
            let hidden = try await send("GET", admin, "/user/v1/devices", token: ann)
            XCTAssertEqual(hidden?.status, 404)
            _ = try await send("DELETE", admin, "/admin/v1/identities/ann")
            let revoked = try await send("GET", users, "/user/v1/devices", token: ann)
            XCTAssertEqual(revoked?.status, 401)
        }
    }

    func test_privateManager_hasNoAddressForUsers() async throws {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (admin, users) = (try freeLoopbackPort(), try freeLoopbackPort())
        var configuration = configuration(directory, port: admin)
        configuration.userAddress = .loopback(port: users)
        let manager = try await ManagerNode.open(configuration)
        try await whileRunning(manager) {
            try await eventually("the admin API answers") {
                try await send("GET", admin, "/admin/v1/status")?.status == 200
            }
            let nobody = try await send("GET", users, "/user/v1/devices", token: nil)
            XCTAssertNil(nobody)
        }
    }

    // MARK: Behind a load balancer

    func test_forgedProxyFieldsAndRefusedWorkers_areOnRecord() async throws {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let admin = try freeLoopbackPort()
        var configuration = configuration(directory, port: admin)
        configuration.proxies = ProxyTrust(proxies: [try XCTUnwrap(AddressRange("10.0.0.0/8"))])
        configuration.identities["token-of-worker-number-1"] = Identity(
            name: "worker-1",
            permissions: [.link]
        )
        let manager = try await ManagerNode.open(configuration)
        try await whileRunning(manager) {
            try await eventually("the admin API answers") {
                try await send("GET", admin, "/admin/v1/status")?.status == 200
            }
            let forged = try await send(
                "GET",
                admin,
                "/admin/v1/status",
                fields: ["X-Forwarded-For": "10.0.0.1"]
            )
            XCTAssertEqual(forged?.status, 200, "the fields are ignored, the request goes on")
            // A worker's token on a manager's verb, an unknown one on the link, a hello in another's name.
            _ = try await send(
                "PUT",
                admin,
                "/admin/v1/tasks/a",
                ["frequency": 60],
                token: "token-of-worker-number-1"
            )
            _ = try await send(
                "POST",
                admin,
                "/link/v1/heartbeat",
                [:],
                token: "made-up-token-0000"
            )
            let records = try await manager.audit.reader.page().entries.map(\.record)
            XCTAssertEqual(
                records.filter { $0.operation != "getStatus" }.map { "\($0.operation) \($0.code)" },
                [
                    "linkHeartbeat http.unauthenticated", "putTask http.forbidden",
                    "proxyFields http.forged-proxy-fields",
                ]
            )
            XCTAssertEqual(records.map(\.outcome), [.refused, .refused, .refused])
            XCTAssertEqual(records[1].who, "worker-1")
            XCTAssertEqual(records[1].kind, .node)
            XCTAssertEqual(records[1].peer, "127.0.0.1")
        }
    }

    func test_namedProxy_namesTheClient() async throws {
        let directory = directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let admin = try freeLoopbackPort()
        var configuration = configuration(directory, port: admin)
        configuration.proxies = ProxyTrust(proxies: [try XCTUnwrap(AddressRange("127.0.0.1"))])
        let manager = try await ManagerNode.open(configuration)
        try await whileRunning(manager) {
            try await eventually("the admin API answers") {
                try await send("GET", admin, "/admin/v1/status")?.status == 200
            }
            let put = try await send(
                "PUT",
                admin,
                "/admin/v1/tasks/a",
                ["frequency": 60],
                fields: ["X-Forwarded-For": "6.6.6.6, 203.0.113.9"]
            )
            XCTAssertEqual(put?.status, 200)
            let records = try await manager.audit.reader.page().entries.map(\.record)
            XCTAssertEqual(records.map(\.client), ["203.0.113.9", "203.0.113.9"])
            XCTAssertEqual(records.map(\.peer), ["127.0.0.1", "127.0.0.1"])
        }
    }
}

private let administrator = "token-of-the-administrator"
private let workerToken = "token-of-worker-number-1"

private struct Answer {
    var status: Int
    var json: JSONValue?
}

/// - Returns: `nil` if nobody listens there.
private func send(
    _ method: String,
    _ port: Int,
    _ path: String,
    _ body: JSONValue? = nil,
    token: String? = administrator,
    fields: [String: String] = [:]
) async throws -> Answer? {
    var arguments = [
        "curl", "-s", "-m", "20", "-X", method, "-w", "\n%{http_code}",
        "http://127.0.0.1:\(port)\(path)",
    ]
    if let token { arguments += ["-H", "Authorization: Bearer \(token)"] }
    for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
        arguments += ["-H", "\(name): \(value)"]
    }
    if let body {
        let text = String(decoding: try body.encoded(), as: UTF8.self)
        arguments += ["-H", "Content-Type: application/json", "-d", text]
    }
    let output = try await Task.detached { [arguments] in
        try run(arguments)
    }.value
    guard let end = output.lastIndex(of: "\n"),
        let status = Int(output[output.index(after: end)...]),
        status > 0
    else { return nil }
    return Answer(status: status, json: try? JSONValue(parsing: Array(output[..<end].utf8)))
}

private func run(_ arguments: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self)
}

/// A port of loopback that nobody has just now.
private func freeLoopbackPort() throws -> Int {
    #if canImport(Glibc)
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
    let handle = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    defer { close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(handle, $0, length) == 0 && getsockname(handle, $0, &length) == 0
        }
    }
    guard isBound else { throw POSIXError(.EADDRNOTAVAIL) }
    return Int(UInt16(bigEndian: address.sin_port))
}
#endif
