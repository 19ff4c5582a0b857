#if Server && SQLite && Push
import ArtifactStore
import AsyncHTTPClient
import ClusterLink
import ClusterRole
import Configuration
import Foundation
import HTTPHandling
import HummingbirdHosting
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import NodeCertificates
import ReeveManager
import ReeveWorker
import ServiceLifecycle
import XCTest

@testable import reeve

/// A manager and a worker with certificates, from configuration alone, as the commands start them.
final class CertificateNodeTests: XCTestCase {
    private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func directory() throws -> String {
        let path = FileManager.default.temporaryDirectory.path + "/reeve-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Runs `reeve certificates …` in a process of its own.
    ///
    /// - Returns: what it printed.
    @discardableResult
    private func command(_ root: String, _ arguments: [String]) async throws -> JSONValue? {
        let log = URL(fileURLWithPath: "\(root)/command-\(UUID().uuidString).log")
        let child = try ChildProcess(
            name: "certificates",
            executable: DemoCluster.ownExecutable,
            arguments: ["certificates"] + arguments,
            log: log
        )
        let ending = try await child.waitForEnd(within: .seconds(60))
        let text = try String(contentsOf: log, encoding: .utf8)
        XCTAssertEqual(ending, .exited(0), text)
        return try? JSONValue(parsing: Array(text.utf8))
    }

    /// Runs nodes until `body` has returned.
    private func whileRunning(
        _ nodes: [any Service],
        _ body: () async throws -> Void
    ) async throws {
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(services: nodes, logger: quiet)
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body()
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func until(_ what: String, _ condition: () -> Bool) async throws {
        let limit = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < limit {
            if condition() { return }
            await Task.yield()
        }
        XCTFail("It never happened: \(what)")
    }

    private func keys(
        _ root: String,
        _ node: String,
        _ more: [AbsoluteConfigKey: ConfigValue]
    ) -> ConfigReader {
        var values: [AbsoluteConfigKey: ConfigValue] = [
            ["node", "id"]: .init(stringLiteral: node),
            ["node", "directory"]: .init(stringLiteral: "\(root)/\(node)"),
            ["link", "tls", "certificate"]: .init(stringLiteral: "\(root)/ca/\(node).pem"),
            ["link", "tls", "key"]: .init(stringLiteral: "\(root)/ca/\(node).key"),
            ["link", "tls", "authority"]: .init(stringLiteral: "\(root)/ca/authority.pem"),
            ["link", "tls", "revoked"]: .init(stringLiteral: "\(root)/ca/revoked.txt"),
        ]
        values.merge(more) { _, new in new }
        return ConfigReader(provider: InMemoryProvider(values: values))
    }

    func test_nodes_withCertificatesFromTheCommand_linkOverMutualTLS() async throws {
        let root = try directory()
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await command(root, ["authority", "\(root)/ca", "--domain", "fleet.example"])
        for (role, node) in [("manager", "manager-1"), ("worker", "worker-1")] {
            try await command(root, ["issue", "\(root)/ca", "--role", role, "--node", node])
        }
        let shown = try await command(
            root,
            ["show", "\(root)/ca/manager-1.pem", "\(root)/ca/worker-1.pem"]
        )
        XCTAssertEqual(
            shown?.elements.compactMap { $0["subject"]?.stringValue },
            ["spiffe://fleet.example/manager/manager-1", "spiffe://fleet.example/worker/worker-1"]
        )

        let port = try freePort()
        let refusals = RecordingRefusals()
        var managing = try ManagerConfiguration(
            reading: keys(
                root,
                "manager-1",
                [
                    ["listen", "port"]: .init(integerLiteral: port),
                    ["admin", "token"]: "0123456789abcdef",
                ]
            )
        )
        managing.logger = quiet
        managing.refusals = refusals
        let manager = try await ManagerNode.open(managing)
        XCTAssertEqual(
            manager.certificateStatus?.subject,
            "spiffe://fleet.example/manager/manager-1"
        )
        var working = try WorkerConfiguration(
            reading: keys(
                root,
                "worker-1",
                [
                    ["link", "managers"]: .init(
                        .stringArray(["https://127.0.0.1:\(port)"]),
                        isSecret: false
                    )
                ]
            )
        )
        working.address = .loopback(port: 0)
        working.logger = quiet
        let worker = try await WorkerNode.open(working)
        try await whileRunning([manager, worker]) {
            try await self.until("the worker has a replica") { worker.status.revision != nil }
            let admin = JSONClient(
                base: "https://127.0.0.1:\(port)",
                token: "0123456789abcdef",
                client: try ManagerHTTP.client(authority: "\(root)/ca/authority.pem")
            )
            let status = try await admin.get("/admin/v1/status")
            XCTAssertGreaterThan(status["epoch"]?.count ?? 0, 0)
            XCTAssertEqual(
                status["certificate"]?["subject"]?.stringValue,
                "spiffe://fleet.example/manager/manager-1"
            )
            XCTAssertGreaterThan(status["certificate"]?["daysLeft"]?.numberValue ?? 0, 89)
            XCTAssertEqual(refusals.refusals, [])
            try await self.refusedOnAdmin(root, port, refusals)
            try await self.strangersAreInTheAuditLog(root, port, admin)
        }
        XCTAssertEqual(
            worker.status.certificate?.subject,
            "spiffe://fleet.example/worker/worker-1"
        )
    }

    /// The worker's own certificate, with the administrator's token, on a manager's verb.
    private func refusedOnAdmin(
        _ root: String,
        _ port: Int,
        _ refusals: RecordingRefusals
    ) async throws {
        let thief = try client(root, showing: "\(root)/ca/worker-1")
        var request = HTTPClientRequest(url: "https://127.0.0.1:\(port)/admin/v1/operations")
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer 0123456789abcdef")
        let answer = try await thief.execute(request, timeout: .seconds(20))
        try await thief.shutdown()
        XCTAssertEqual(answer.status.code, 403)
        XCTAssertEqual(refusals.refusals.last?.code, "http.forbidden")
        XCTAssertEqual(refusals.refusals.last?.peer?.subject.node, "worker-1")
    }

    /// Nobody's certificate, and one of another authority: refused, and recorded with what was tried.
    private func strangersAreInTheAuditLog(
        _ root: String,
        _ port: Int,
        _ admin: JSONClient
    ) async throws {
        try await command(root, ["authority", "\(root)/other", "--domain", "fleet.example"])
        try await command(root, ["issue", "\(root)/other", "--role", "worker", "--node", "w"])
        let replica = HTTPClientRequest(url: "https://127.0.0.1:\(port)/link/v1/replica")
        let nobody = try client(root, showing: nil)
        let answer = try await nobody.execute(replica, timeout: .seconds(20))
        try await nobody.shutdown()
        XCTAssertEqual(answer.status.code, 401)
        let foreign = try client(root, showing: "\(root)/other/w")
        do {
            let answer = try await foreign.execute(replica, timeout: .seconds(20))
            XCTFail("another authority's worker was answered \(answer.status)")
        } catch {}
        try await foreign.shutdown()
        let limit = ContinuousClock.now + .seconds(60)
        var codes: Set<String> = []
        var tried: Set<String> = []
        while ContinuousClock.now < limit, tried.isEmpty || !tried.contains("handshake") {
            let page = try await admin.get("/admin/v1/audit")
            let entries = page["entries"]?.elements ?? []
            codes = Set(entries.compactMap { $0["code"]?.stringValue })
            tried = Set(entries.compactMap { $0["operation"]?.stringValue })
        }
        XCTAssertTrue(tried.contains("handshake"), "\(tried)")
        XCTAssertTrue(codes.isSuperset(of: ["http.forbidden", "link.no-certificate"]), "\(codes)")
    }

    /// A client that shows a certificate, or none.
    private func client(_ root: String, showing file: String?) throws -> HTTPClient {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file("\(root)/ca/authority.pem")
        tls.certificateVerification = .noHostnameVerification
        if let file {
            tls.certificateChain = try NIOSSLCertificate.fromPEMFile("\(file).pem").map {
                .certificate($0)
            }
            tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: "\(file).key", format: .pem))
        }
        return HTTPClient(
            eventLoopGroupProvider: .singleton,
            configuration: HTTPClient.Configuration(tlsConfiguration: tls)
        )
    }

    private func freePort() throws -> Int {
        try XCTUnwrap(DemoCluster.freePorts(1).first)
    }

    func test_managers_withCertificates_keepEachOthersObjects_withoutTokens() async throws {
        let root = try directory()
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await command(root, ["authority", "\(root)/ca", "--domain", "fleet.example"])
        let ports = try DemoCluster.freePorts(2)
        var managers: [ManagerNode] = []
        for (own, other) in [(0, 1), (1, 0)] {
            let name = "manager-\(own + 1)"
            try await command(root, ["issue", "\(root)/ca", "--role", "manager", "--node", name])
            let peer = "manager-\(other + 1)=https://127.0.0.1:\(ports[other])"
            var configuration = try ManagerConfiguration(
                reading: keys(
                    root,
                    name,
                    [
                        ["listen", "port"]: .init(integerLiteral: ports[own]),
                        ["objects", "peers"]: .init(.stringArray([peer]), isSecret: false),
                    ]
                )
            )
            configuration.logger = quiet
            managers.append(try await ManagerNode.open(configuration))
        }
        let tree = "\(root)/tree"
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        try Data("one".utf8).write(to: URL(fileURLWithPath: "\(tree)/index.html"))
        try await whileRunning(managers) {
            // Published as soon as the other listens: until then it is refused, naming it.
            let limit = ContinuousClock.now + .seconds(60)
            var published: Publication?
            while published == nil, ContinuousClock.now < limit {
                published = try? await managers[0].publisher.publish(tree, to: "site")
            }
            let bundle = try XCTUnwrap(published?.bundles.first)
            let name = "\(bundle.object)"
            let copy = try Data(
                contentsOf: URL(
                    fileURLWithPath: "\(root)/manager-2/objects/\(name.prefix(2))/\(name)"
                )
            )
            XCTAssertEqual(ContentDigest(of: Array(copy)), bundle.object)
        }
    }

    func test_node_withAnotherNodesCertificate_isNotOpened() async throws {
        let root = try directory()
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await command(root, ["authority", "\(root)/ca", "--domain", "fleet.example"])
        try await command(root, ["issue", "\(root)/ca", "--role", "worker", "--node", "manager-1"])
        let configuration = try ManagerConfiguration(reading: keys(root, "manager-1", [:]))
        do {
            _ = try await ManagerNode.open(configuration)
            XCTFail("a worker's certificate was taken for a manager's")
        } catch let error as NodeCertificateError {
            XCTAssertEqual(error.code, .wrongRole)
        }
    }

    func test_revoke_ofAFile_writesTheNextList() async throws {
        let root = try directory()
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await command(root, ["authority", "\(root)/ca", "--domain", "fleet.example"])
        try await command(root, ["issue", "\(root)/ca", "--role", "worker", "--node", "w"])
        try await command(root, ["revoke", "\(root)/ca", "\(root)/ca/w.pem"])
        let list = try CertificateDirectory(opening: "\(root)/ca").revocations()
        XCTAssertEqual(list.number, 2)
        XCTAssertTrue(list.isRevoked(try PeerCertificate(file: "\(root)/ca/w.pem").serial))
    }
}
#endif
